//! From a question to documents.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, OnceLock};

use leafresh_engine::{Embedder, EmbedderInfo};
use unicode_normalization::UnicodeNormalization;

use crate::asking::Questions;
use crate::lexical::{self, Sparse};
use crate::metric::{self, Metric};
use crate::store::{Candidate, Candidates, Filter, PointId, Request, Store};
use crate::vector::{QueryVector, dot, indexed_text};
use crate::{Document, Error};

/// What the best match of words counts beside the best one of meaning.
const WORDS_WEIGHT: f32 = 0.9;

/// Cosines of the nearest documents differ by more than this, unless they are the same.
const LEAST_SPAN: f32 = 1e-3;

/// Candidates of each kind for a result, and at least: filters by category and duplicates take some away.
const CANDIDATES_PER_RESULT: usize = 4;
const FEWEST_CANDIDATES: usize = 80;

/// Questions embedded at once where there are many: people's get in between.
const AT_ONCE: usize = 16;

/// Finds documents. Cheap to clone: clones share the model and the index.
#[derive(Clone)]
pub struct Search {
    questions: Option<Arc<Questions>>,
    store: Arc<dyn Store>,
    metric: Arc<OnceLock<Metric>>,
}

impl fmt::Debug for Search {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Search").field("embeds", &self.can_embed()).finish_non_exhaustive()
    }
}

/// What is asked for. `Query { text, ..Query::default() }` asks for five documents, two of a category at most.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// What the person said, or category, place and work as a phrase.
    pub text: String,
    /// Of `text`, from [`Search::embed`]. None: it is embedded here, where there is a model.
    pub vector: Option<QueryVector>,
    /// A category's code: nothing else is found.
    pub category: Option<String>,
    /// A place's code: documents that name other places only aren't found.
    pub place: Option<String>,
    /// The code of a kind of work: documents that name other kinds only aren't found.
    pub work_type: Option<String>,
    /// Documents at most.
    pub limit: usize,
    /// Documents of one category at most, when none is asked for.
    pub per_category: usize,
    /// Ids and titles of documents that were offered before: they aren't found.
    pub leave_out: Vec<String>,
}

impl Default for Query {
    fn default() -> Self {
        Self {
            text: String::new(),
            vector: None,
            category: None,
            place: None,
            work_type: None,
            limit: 5,
            per_category: 2,
            leave_out: Vec::new(),
        }
    }
}

/// A document that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    pub document: Document,
    /// How near it is to the query: the cosine of their vectors, 0 to 1. Without an embedding model that of their words.
    pub score: f32,
    /// From 0: the best one. Ranks count words too, so scores needn't fall with them.
    pub rank: usize,
}

impl Search {
    pub(crate) fn new(embedder: Option<Arc<dyn Embedder>>, store: Arc<dyn Store>) -> Self {
        let questions = embedder.map(|embedder| Arc::new(Questions::new(embedder)));
        Self { questions, store, metric: Arc::default() }
    }

    pub(crate) fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    /// Whether texts can be embedded. Without a model documents are found by their words.
    pub fn can_embed(&self) -> bool {
        self.questions.is_some()
    }

    /// What the embedding model says of itself.
    pub fn model(&self) -> Option<&EmbedderInfo> {
        self.questions.as_ref().map(|questions| questions.embedder.info())
    }

    /// The embedding model, for whoever embeds what isn't searched for.
    pub fn embedder(&self) -> Option<Arc<dyn Embedder>> {
        self.questions.as_ref().map(|questions| questions.embedder.clone())
    }

    /// Documents there are.
    ///
    /// # Errors
    /// [`Error::Store`] when the store can't be reached.
    pub async fn count(&self) -> Result<usize, Error> {
        self.store.count().await
    }

    /// What a message means. One vector serves the gate and the search.
    ///
    /// # Errors
    /// [`Error::NoEmbedder`] without a model, [`Error::Busy`] when too many wait, [`Error::Engine`] when it fails.
    pub async fn embed(&self, text: &str) -> Result<QueryVector, Error> {
        let mut vectors = self.embed_all(vec![text.to_owned()]).await?;
        vectors.pop().ok_or(Error::NoEmbedder)
    }

    /// [`Search::embed`] for many messages at once: labelled examples, for instance.
    ///
    /// # Errors
    /// As [`Search::embed`].
    pub async fn embed_all(&self, texts: Vec<String>) -> Result<Vec<QueryVector>, Error> {
        let questions = self.questions.as_ref().ok_or(Error::NoEmbedder)?;
        let vectors = questions.embed(texts).await?;
        Ok(vectors.into_iter().map(QueryVector).collect())
    }

    /// Learns from what people ask, as documents tell it ([`Document::questions`]), what of a question's vector tells
    /// documents apart. None when they tell too little. Takes seconds.
    ///
    /// # Errors
    /// As [`Search::embed`].
    pub async fn learn_metric(&self, documents: &[Document]) -> Result<Option<Metric>, Error> {
        let groups: Vec<&[String]> = documents.iter().filter_map(metric::questions).collect();
        let mut vectors = Vec::new();
        for some in groups.concat().chunks(AT_ONCE) {
            vectors.extend(self.embed_all(some.to_vec()).await?);
        }
        let mut rest = vectors.as_slice();
        let groups = groups.iter().map(|group| {
            let vectors;
            (vectors, rest) = rest.split_at(group.len());
            vectors
        });
        Ok(Metric::learn(&groups.collect::<Vec<_>>()))
    }

    /// Puts documents into order by it from now on; all clones do. Only the first one counts.
    pub fn use_metric(&self, metric: Metric) {
        let _ = self.metric.set(metric);
    }

    /// Whether one is in use.
    pub fn has_metric(&self) -> bool {
        self.metric.get().is_some()
    }

    /// The documents that fit best, best first; fewer than [`Query::limit`] when no more fit.
    ///
    /// # Errors
    /// [`Error::Store`] when the store can't be reached, [`Error::Engine`] when the model fails.
    pub async fn search(&self, query: &Query) -> Result<Vec<Hit>, Error> {
        let vector = match &query.vector {
            Some(vector) => Some(vector.clone()),
            None if self.can_embed() => Some(self.embed(&query.text).await?),
            None => None,
        };
        let Query { category, place, work_type, leave_out, .. } = query;
        let candidates = self.store.candidates(Request {
            dense: vector.as_ref().map(|vector| vector.as_slice().to_vec()),
            sparse: Sparse::of_query(&query.text),
            filter: Filter {
                category: category.clone(),
                place: place.clone(),
                work_type: work_type.clone(),
                leave_out: leave_out.clone(),
            },
            limit: (query.limit * CANDIDATES_PER_RESULT).max(FEWEST_CANDIDATES),
        });
        let per_category = if category.is_some() { usize::MAX } else { query.per_category };
        let chosen =
            choose(fuse(candidates.await?, vector.as_ref(), self.metric.get()), query.limit, per_category);
        let score = |candidate: &Candidate| match &vector {
            Some(vector) => vector.near(&candidate.dense).clamp(0.0, 1.0),
            None => lexical::cosine(&query.text, &indexed_text(&candidate.document)),
        };
        let hits = chosen.into_iter().enumerate();
        Ok(hits.map(|(rank, found)| Hit { score: score(&found), document: found.document, rank }).collect())
    }
}

/// One list of both, best first: a convex combination of the scores, each stretched to 0 to 1 over its list (Bruch et al.,
/// TOIS 2023, "An Analysis of Fusion Functions for Hybrid Retrieval"). How far ahead a document is tells more than its rank.
fn fuse(candidates: Candidates, vector: Option<&QueryVector>, metric: Option<&Metric>) -> Vec<Candidate> {
    let Candidates { by_meaning, by_words } = candidates;
    let asked = vector.zip(metric).map(|(vector, metric)| (metric, metric.view(vector.as_slice())));
    let near = |candidate: &Candidate| match (&asked, vector) {
        (Some((metric, asked)), _) => dot(asked, &metric.view(&candidate.dense)),
        (None, Some(vector)) => vector.near(&candidate.dense),
        (None, None) => 0.0,
    };
    let most = by_words.first().map_or(0.0, |candidate| candidate.score).max(f32::MIN_POSITIVE);
    let words: HashMap<PointId, f32> =
        by_words.iter().map(|candidate| (candidate.id, candidate.score / most)).collect();
    let nearest: Vec<f32> = by_meaning.iter().map(near).collect();
    let last = nearest.iter().copied().reduce(f32::min).unwrap_or_default();
    let span = (nearest.iter().copied().fold(last, f32::max) - last).max(LEAST_SPAN);
    let mut seen: HashSet<PointId> = by_meaning.iter().map(|candidate| candidate.id).collect();
    let only_words = by_words.into_iter().filter(|candidate| seen.insert(candidate.id));
    let only_words: Vec<(f32, Candidate)> =
        only_words.map(|candidate| (near(&candidate), candidate)).collect();
    let mut fused: Vec<(f32, Candidate)> = nearest.into_iter().zip(by_meaning).chain(only_words).collect();
    for (score, candidate) in &mut fused {
        let words = words.get(&candidate.id).copied().unwrap_or(0.0);
        *score = (*score - last) / span + WORDS_WEIGHT * words;
    }
    // Stable: equal scores stay in the order of meaning.
    fused.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    fused.into_iter().map(|(_, candidate)| candidate).collect()
}

/// The first `limit` that say different things, at most so many of each category.
fn choose(candidates: Vec<Candidate>, limit: usize, per_category: usize) -> Vec<Candidate> {
    let mut titles = HashSet::new();
    let mut texts = HashSet::new();
    let mut categories: HashMap<String, usize> = HashMap::new();
    let mut chosen = Vec::new();
    for candidate in candidates {
        if chosen.len() == limit {
            break;
        }
        let Document { category, title, text, .. } = &candidate.document;
        // Passages of one file share its title, challenges don't.
        let same_title = !candidate.document.short.is_empty() && titles.contains(&plain(title));
        if same_title || texts.contains(&plain(text)) {
            continue;
        }
        let of_category = categories.entry(category.clone()).or_default();
        if *of_category == per_category && !category.is_empty() {
            continue;
        }
        *of_category += 1;
        titles.insert(plain(title));
        texts.insert(plain(text));
        chosen.push(candidate);
    }
    chosen
}

/// A text as it is compared: without spaces, punctuation and capitals.
fn plain(text: &str) -> String {
    text.nfc().filter(|character| character.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests;
