//! `tellings/*.jsonl`: the documents' challenges as they are told to particular people, one JSON object a line, by the rules of
//! `tellings/rules.toml`. A catalogue may have none.

mod rules;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use leafresh_retrieval::Document;
use serde::Deserialize;

use self::rules::People;
pub(super) use self::rules::RULES;
pub(crate) use self::rules::{OwnWords, Rules};
use super::choices::Lists;
use super::intent::Intent;
use super::{Files, source};
use crate::Error;
use crate::words::Words;

/// A document's challenge, as it is told. What of it no answer has yet is checked all the same.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Telling {
    /// The document's.
    id: String,
    /// Documents of one idea have one name for it.
    idea: String,
    /// When it can be done; empty: always.
    seasons: Vec<Season>,
    /// What it takes once.
    minutes: u16,
    effort: Effort,
    rhythm: Rhythm,
    /// With whom.
    with: Vec<String>,
    /// What one has to have.
    needs: Vec<String>,
    /// What a photo of it shows.
    proof: String,
    /// What to beware of; empty: nothing.
    safety: String,
    variants: Vec<Variant>,
    /// Sentences that answer the need behind the document's questions.
    openings: Vec<String>,
    more: More,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Season {
    Spring,
    Summer,
    Autumn,
    Winter,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Effort {
    Easy,
    Medium,
    Hard,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Rhythm {
    Once,
    Daily,
    Weekly,
    Monthly,
}

/// The challenge for particular people.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Variant {
    /// Codes of places, kinds of work or people; any of them fits.
    #[serde(rename = "for")]
    audience: Vec<String>,
    title: String,
    text: String,
}

impl Variant {
    fn is_for(&self, codes: &[&str]) -> bool {
        self.audience.iter().any(|code| codes.contains(&code.as_str()))
    }
}

/// What people ask afterwards.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct More {
    why: String,
    begin: String,
    long: String,
    hard: String,
    easier: String,
    proof: String,
}

/// What somebody would rather have. `Default` is anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Liking {
    pub(crate) easy: bool,
    /// At most so many.
    pub(crate) minutes: Option<u16>,
    /// With any of these people.
    pub(crate) with: Vec<String>,
    /// What can't be done now isn't liked.
    pub(crate) season: Option<Season>,
    /// Told to one of these, or else done at any work.
    pub(crate) people: Vec<String>,
    /// What is done in some places or at some kinds of work only isn't for somebody of whom these aren't known; unless they are
    /// mentioned.
    pub(crate) somewhere: bool,
    pub(crate) at_some_work: bool,
    pub(crate) mentioned: Vec<String>,
    /// All codes of somebody's place, work and people: what needs something that others have isn't for them. None: whoever it is.
    pub(crate) who: Option<Vec<String>>,
}

#[derive(Debug, Default)]
pub(crate) struct Tellings {
    by_id: HashMap<String, Telling>,
    people: People,
    /// By a need, the codes of those who have it.
    has: BTreeMap<String, Vec<String>>,
    /// Places and kinds of work that there are.
    places: usize,
    work_types: usize,
}

impl Tellings {
    pub(super) fn load(files: &Files, lists: &Lists, documents: &[Document]) -> Result<Self, Error> {
        let names = source::list_if_any(files, "tellings", "jsonl")?;
        if names.is_empty() {
            return Ok(Self::default());
        }
        let rules = Rules::load(files, lists)?;
        let known: HashMap<&str, &Document> =
            documents.iter().map(|document| (document.id.as_str(), document)).collect();
        let (mut tellings, mut seen) = (Self::default(), rules::Seen::default());
        source::json_lines(files, &names, |telling: Telling| {
            let id = telling.id.clone();
            let Some(document) = known.get(id.as_str()) else {
                let ids: Vec<&str> = known.keys().copied().collect();
                return Err(format!("`id`: no document `{id}`; {}", source::suggest(&id, &ids)));
            };
            rules.check(&telling, document, &mut seen)?;
            match tellings.by_id.insert(id, telling) {
                Some(twice) => Err(format!("`id`: `{}` is told twice", twice.id)),
                None => Ok(()),
            }
        })?;
        tellings.people = rules.people;
        tellings.has = rules.has;
        tellings.places = lists.places.items().len();
        tellings.work_types = lists.work_types.items().len();
        Ok(tellings)
    }

    /// Codes of the people that somebody seems to be, by a message and by their own words for their work.
    pub(crate) fn people(&self, message: Option<&Words<'_>>, work: Option<&Words<'_>>) -> Vec<&str> {
        let said = message.map(|words| words.coded(&self.people.said));
        let job = work.map(|words| {
            let others = words.coded(&self.people.not_jobs);
            let mut jobs = words.coded(&self.people.jobs);
            jobs.retain(|(code, _)| !others.iter().any(|(other, _)| other == code));
            jobs
        });
        let mut people: Vec<&str> = Vec::new();
        for (code, _) in said.into_iter().chain(job).flatten() {
            if !people.contains(&code.as_str()) {
                people.push(code);
            }
        }
        people
    }

    /// The document as it is told to somebody of these people or, as far as it isn't told to them, of these places and kinds
    /// of work. Its title stays, by which it is known. `draw` chooses among so many.
    pub(crate) fn told(
        &self,
        document: &Document,
        people: &[&str],
        surroundings: &[&str],
        mut draw: impl FnMut(usize) -> usize,
    ) -> Document {
        let mut told = document.clone();
        let Some(telling) = self.by_id.get(&document.id) else { return told };
        let mut left: Vec<&Variant> = telling.variants.iter().collect();
        let mut next = || {
            let fit = |codes: &[&str]| -> Vec<usize> {
                (0..left.len()).filter(|&index| left[index].is_for(codes)).collect()
            };
            let fitting = Some(fit(people)).filter(|fitting| !fitting.is_empty());
            let fitting = fitting.unwrap_or_else(|| fit(surroundings));
            let chosen = *fitting.get(draw(fitting.len().max(1)))?;
            Some(left.swap_remove(chosen))
        };
        if let Some(variant) = next() {
            told.text.clone_from(&variant.text);
        }
        if let Some(variant) = next() {
            told.short.clone_from(&variant.text);
        }
        told
    }

    /// What people ask about a document afterwards; `None` where nobody has written it.
    pub(crate) fn more(&self, document: &Document, about: Intent) -> Option<&str> {
        let More { why, begin, long, hard, easier: _, proof } = &self.by_id.get(&document.id)?.more;
        match about {
            Intent::Why => Some(why.as_str()),
            Intent::Begin => Some(begin.as_str()),
            Intent::Long => Some(long.as_str()),
            Intent::Hard => Some(hard.as_str()),
            Intent::Proof => Some(proof.as_str()),
            _ => None,
        }
    }

    /// Whether somebody has what a document needs, as far as that is said of people.
    pub(crate) fn has_needs(&self, document: &Document, liking: &Liking) -> bool {
        let (Some(telling), Some(who)) = (self.by_id.get(&document.id), &liking.who) else { return true };
        let theirs = |code: &String| who.contains(code) || liking.mentioned.contains(code);
        telling.needs.iter().all(|need| self.has.get(need).is_none_or(|codes| codes.iter().any(theirs)))
    }

    /// Whether a document can be done at this time of the year.
    pub(crate) fn is_in_season(&self, document: &Document, season: Season) -> bool {
        let seasons = self.by_id.get(&document.id).map_or(&[][..], |telling| &telling.seasons);
        seasons.is_empty() || seasons.contains(&season)
    }

    /// Whether a document is for everybody, as far as place and work of somebody aren't known, and needs nothing that they haven't.
    pub(crate) fn is_for_strangers(&self, document: &Document, liking: &Liking) -> bool {
        let fits = |codes: &[String], all: usize| {
            all == 0 || codes.len() == all || codes.iter().any(|code| liking.mentioned.contains(code))
        };
        (!liking.somewhere || fits(&document.places, self.places))
            && (!liking.at_some_work || fits(&document.work_types, self.work_types))
            && self.has_needs(document, liking)
    }

    /// Whether a document is what somebody would rather have; one of which nothing is known is.
    pub(crate) fn suits(&self, document: &Document, liking: &Liking) -> bool {
        let Some(telling) = self.by_id.get(&document.id) else { return true };
        let now = liking.season.is_none_or(|season| self.is_in_season(document, season));
        let people: Vec<&str> = liking.people.iter().map(String::as_str).collect();
        let theirs = people.is_empty()
            || document.work_types.len() == self.work_types
            || telling.variants.iter().any(|variant| variant.is_for(&people));
        let easy = matches!(telling.effort, Effort::Easy) || !liking.easy;
        let short = liking.minutes.is_none_or(|minutes| telling.minutes <= minutes);
        let together = liking.with.is_empty() || telling.with.iter().any(|with| liking.with.contains(with));
        easy && short && together && now && theirs
    }

    /// How many minutes a document's challenge takes once, and what a photo of it shows.
    pub(crate) fn demands(&self, id: &str) -> Option<(u16, String)> {
        self.by_id.get(id).map(|telling| (telling.minutes, telling.proof.clone()))
    }

    /// Sentences that answer the need behind the document's questions.
    pub(crate) fn openings(&self, document: &Document) -> &[String] {
        self.by_id.get(&document.id).map_or(&[], |telling| &telling.openings)
    }

    /// Whether both are the same thing to do.
    pub(crate) fn same_idea(&self, one: &Document, other: &Document) -> bool {
        match (self.by_id.get(&one.id), self.by_id.get(&other.id)) {
            (Some(one), Some(other)) => one.idea == other.idea,
            _ => false,
        }
    }

    /// The document's texts for particular people.
    pub(crate) fn variants<'a>(&'a self, document: &Document) -> impl Iterator<Item = &'a str> {
        let variants = self.by_id.get(&document.id).into_iter().flat_map(|telling| &telling.variants);
        variants.map(|variant| variant.text.as_str())
    }

    /// What an answer may say of the document.
    pub(crate) fn texts<'a>(&'a self, document: &'a Document) -> impl Iterator<Item = &'a str> {
        let variants = self.by_id.get(&document.id).into_iter().flat_map(|telling| &telling.variants);
        let told = variants.map(|variant| variant.text.as_str());
        [document.text.as_str(), document.short.as_str()].into_iter().chain(told)
    }

    /// The document with the longest of its texts.
    pub(crate) fn longest(&self, document: &Document) -> Document {
        let text = self.texts(document).max_by_key(|text| text.len()).unwrap_or_default();
        Document { text: text.to_owned(), ..document.clone() }
    }
}
