//! Which documents an answer is made from.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use leafresh_retrieval::{Hit, Query, QueryVector, Search};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngCore, SeedableRng};

use crate::catalog::{CHALLENGES, Catalog, Document, Liking};

/// A document, and how near its meaning is to what was asked, 0 to 1; none where that wasn't looked at.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Found {
    pub(crate) document: Document,
    pub(crate) score: Option<f32>,
}

/// What is looked for.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    /// The person's words, or the choices as a phrase.
    pub(crate) text: &'a str,
    pub(crate) vector: Option<QueryVector>,
    pub(crate) category: &'a str,
    pub(crate) place: Option<&'a str>,
    pub(crate) work_type: Option<&'a str>,
    /// Ids of documents that were offered before, oldest first.
    pub(crate) offered: &'a [String],
    /// Others come in only where too few of these are left.
    pub(crate) liking: Liking,
    pub(crate) count: usize,
    /// Draw from the best so many; those that fit equally well aren't always the same.
    pub(crate) pool: usize,
    /// Challenges only, no passages of other texts.
    pub(crate) challenges: bool,
    pub(crate) seed: Option<u64>,
}

/// When nearly all was offered before, only so many of the last ones stay left out.
const LATELY: usize = 3 * CHALLENGES;

/// The category that a message is nearest to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Nearest {
    pub(crate) category: String,
    /// Hardly another one comes into question: a conversation may move there.
    pub(crate) clear: bool,
}

/// Of the weights of the nearest documents the share that one category has to have, for that to be clear.
const CLEAR: f32 = 0.75;

/// The same of a message that asks for something new.
const CLEAR_ENOUGH: f32 = 0.5;

/// Documents of a category that are looked through for what is liked.
const ALL: usize = 64;

/// Documents among which the nearest category is looked for.
const NEIGHBOURS: usize = 12;

/// Finds documents by search or, without one, in the catalogue by their words.
#[derive(Debug, Clone)]
pub(crate) struct Library {
    catalog: Arc<Catalog>,
    pub(crate) search: Option<Search>,
    /// By the catalogue's order of documents.
    lexicon: Arc<Lexicon>,
}

pub(crate) fn randomness(seed: Option<u64>) -> StdRng {
    seed.map_or_else(|| StdRng::from_rng(&mut rand::rng()), StdRng::seed_from_u64)
}

impl Library {
    pub(crate) fn new(catalog: Arc<Catalog>) -> Self {
        let lexicon = Arc::new(Lexicon::new(catalog.documents()));
        Self { catalog, search: None, lexicon }
    }

    pub(crate) fn without_search(&self) -> Self {
        Self { search: None, ..self.clone() }
    }

    /// At least three challenges for a category of the catalogue, best first.
    pub(crate) async fn find(&self, wanted: &Wanted<'_>) -> Vec<Found> {
        for left_out in relaxed(wanted.offered) {
            let found = self.searched(wanted, left_out).await;
            let found = found.unwrap_or_else(|| self.ranked(wanted, left_out));
            if found.len() >= CHALLENGES {
                return found;
            }
        }
        self.ranked(&Wanted { place: None, work_type: None, ..borrowed(wanted) }, &[])
    }

    /// `None` when there is no search, or when it fails.
    async fn searched(&self, wanted: &Wanted<'_>, left_out: &[String]) -> Option<Vec<Found>> {
        let query = Query {
            text: wanted.text.to_owned(),
            vector: wanted.vector.clone(),
            category: Some(wanted.category.to_owned()),
            place: wanted.place.map(str::to_owned),
            work_type: wanted.work_type.map(str::to_owned),
            limit: if wanted.liking == Liking::default() { wanted.pool.max(wanted.count) } else { ALL },
            leave_out: left_out.to_vec(),
            ..Query::default()
        };
        let by_meaning = query.vector.is_some() || self.search.as_ref()?.can_embed();
        let hits = self.hits(&query).await?;
        let found = hits.into_iter().map(|Hit { document, score, .. }| Found {
            document,
            // Without an embedding model it is that of the words.
            score: by_meaning.then_some(score),
        });
        let found = found.filter(|found| !wanted.challenges || !found.document.short.is_empty());
        Some(draw(self.liked(found, wanted), wanted))
    }

    /// Those that are liked, and of the others as many as an answer still needs.
    fn liked(&self, found: impl Iterator<Item = Found>, wanted: &Wanted<'_>) -> Vec<Found> {
        let (tellings, liking) = (self.catalog.tellings(), &wanted.liking);
        // What is near to a message is hardly so by chance, whomever it is for.
        let drawn = wanted.pool > wanted.count;
        let likes = |found: &Found| {
            tellings.suits(&found.document, liking)
                && (!drawn || tellings.is_for_strangers(&found.document, liking))
        };
        let (mut liked, others): (Vec<Found>, Vec<Found>) = found.partition(likes);
        liked.truncate(wanted.pool.max(wanted.count));
        let missing = CHALLENGES.saturating_sub(liked.len());
        liked.extend(others.into_iter().take(missing));
        liked
    }

    async fn hits(&self, query: &Query) -> Option<Vec<Hit>> {
        match self.search.as_ref()?.search(query).await {
            Ok(hits) => Some(hits),
            Err(error) => {
                tracing::warn!(%error, "search failed; documents come from the catalogue");
                None
            }
        }
    }

    /// Documents of the catalogue by the words they share with what was asked; where they are drawn from a pool, all
    /// that fit count alike.
    pub(crate) fn ranked(&self, wanted: &Wanted<'_>, left_out: &[String]) -> Vec<Found> {
        let asked = bigrams(wanted.text);
        let alike = wanted.pool > wanted.count;
        let mut rng = randomness(wanted.seed);
        let fitting = self.catalog.fitting(wanted.category, wanted.place, wanted.work_type);
        let mut keyed: Vec<(f32, u32, &Document)> = fitting
            .into_iter()
            .filter(|document| !left_out.contains(&document.id))
            .map(|document| {
                let score = if alike { 1.0 } else { self.lexicon.likeness(&asked, document) };
                (score, rng.next_u32(), document)
            })
            .collect();
        // What shares nothing comes in any order.
        keyed.sort_by(|(score, key, _), (other, other_key, _)| {
            other.total_cmp(score).then(key.cmp(other_key))
        });
        let found =
            keyed.into_iter().map(|(_, _, document)| Found { document: document.clone(), score: None });
        self.liked(found, wanted).into_iter().take(wanted.count).collect()
    }

    /// The category whose documents are nearest to a message; `None` when none has anything to do with it. `is_new`: the message is
    /// known to ask for something new.
    pub(crate) async fn nearest_category(
        &self,
        message: &str,
        vector: Option<&QueryVector>,
        is_new: bool,
    ) -> Option<Nearest> {
        let query = Query {
            text: message.to_owned(),
            vector: vector.cloned(),
            limit: NEIGHBOURS,
            per_category: NEIGHBOURS,
            ..Query::default()
        };
        let hits = self.hits(&query).await;
        let by_meaning = hits.is_some() && vector.is_some();
        let neighbours: Vec<String> = match hits {
            Some(hits) => hits.into_iter().map(|hit| hit.document.category).collect(),
            None => self.neighbours(message),
        };
        let mut weights: BTreeMap<String, f32> = BTreeMap::new();
        let known =
            neighbours.into_iter().enumerate().filter(|(_, code)| self.catalog.category(code).is_some());
        for (rank, code) in known {
            *weights.entry(code).or_default() += 1.0 / (rank as f32 + 2.0);
        }
        let all: f32 = weights.values().sum();
        let (category, weight) = weights.into_iter().max_by(|(_, a), (_, b)| a.total_cmp(b))?;
        let needed = if is_new { CLEAR_ENOUGH } else { CLEAR };
        Some(Nearest { category, clear: by_meaning && weight >= needed * all })
    }

    /// The categories of the documents that share words with a message, nearest first.
    fn neighbours(&self, message: &str) -> Vec<String> {
        let asked = bigrams(message);
        let mut near: Vec<(f32, &Document)> = self
            .catalog
            .documents()
            .iter()
            .map(|document| (self.lexicon.likeness(&asked, document), document))
            .filter(|(likeness, _)| *likeness > 0.0)
            .collect();
        near.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        near.into_iter().take(NEIGHBOURS).map(|(_, document)| document.category.clone()).collect()
    }
}

/// What is left out, less and less of it.
fn relaxed(offered: &[String]) -> impl Iterator<Item = &[String]> {
    let lately = &offered[offered.len().saturating_sub(LATELY)..];
    [offered, lately, &[]].into_iter()
}

fn borrowed<'a>(wanted: &Wanted<'a>) -> Wanted<'a> {
    Wanted { vector: None, liking: wanted.liking.clone(), ..*wanted }
}

/// `count` of the found ones, in their order.
fn draw(found: Vec<Found>, wanted: &Wanted<'_>) -> Vec<Found> {
    if wanted.pool <= wanted.count || found.len() <= wanted.count {
        return found.into_iter().take(wanted.count).collect();
    }
    let indices: Vec<usize> = (0..found.len()).collect();
    let mut rng = randomness(wanted.seed);
    let drawn: BTreeSet<usize> = indices.choose_multiple(&mut rng, wanted.count).copied().collect();
    found.into_iter().enumerate().filter(|(index, _)| drawn.contains(index)).map(|(_, found)| found).collect()
}

/// Pairs of neighbouring letters within words.
type Bigrams = BTreeSet<(char, char)>;

fn bigrams(text: &str) -> Bigrams {
    let words = text.split(|c: char| !c.is_alphanumeric());
    words.flat_map(|word| word.chars().zip(word.chars().skip(1)).collect::<Vec<_>>()).collect()
}

/// What the catalogue's documents are made of. A pair that few of them have says more.
#[derive(Debug)]
struct Lexicon {
    documents: HashMap<String, Bigrams>,
    /// How many documents have a pair.
    counts: HashMap<(char, char), usize>,
}

impl Lexicon {
    fn new(documents: &[Document]) -> Self {
        let documents: HashMap<String, Bigrams> = documents
            .iter()
            .map(|document| {
                let text = format!("{} {} {}", document.title, document.text, document.short);
                (document.id.clone(), bigrams(&text))
            })
            .collect();
        let mut counts = HashMap::new();
        for pair in documents.values().flatten() {
            *counts.entry(*pair).or_insert(0) += 1;
        }
        Self { documents, counts }
    }

    /// The inverse document frequency.
    fn weight(&self, pair: (char, char)) -> f32 {
        let with = self.counts.get(&pair).copied().unwrap_or(0) as f32;
        ((self.documents.len() as f32 + 1.0) / (with + 0.5)).ln().max(0.0)
    }

    /// The share of what was asked that the document has, 0 to 1; pairs that no document has don't count.
    fn likeness(&self, asked: &Bigrams, document: &Document) -> f32 {
        let Some(has) = self.documents.get(&document.id) else {
            return 0.0;
        };
        let known = asked.iter().filter(|pair| self.counts.contains_key(pair));
        let (mut shared, mut all) = (0.0, 0.0);
        for pair in known {
            let weight = self.weight(*pair);
            all += weight;
            shared += if has.contains(pair) { weight } else { 0.0 };
        }
        if all > 0.0 { shared / all } else { 0.0 }
    }
}
