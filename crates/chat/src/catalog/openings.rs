//! `openings.jsonl`: sentences that an answer to three choices opens with, for the people they are true of, one JSON object a
//! line. By the rules of `tellings/rules.toml`; a catalogue may have none.

mod own;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use self::own::{Sentence, Words};
use super::choices::{Lists, comparable};
use super::keywords::Keywords;
use super::tellings::{OwnWords, Rules};
use super::{Files, source};
use crate::Error;

const OPENINGS: &str = "openings.jsonl";

/// Whom an answer is for, as far as that is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Person<'a> {
    /// Codes of the catalogue.
    pub(crate) place: Option<&'a str>,
    pub(crate) work: Option<&'a str>,
    /// Codes of `[people]` in the rules.
    pub(crate) people: Vec<&'a str>,
    /// Their place in their own words, where these may be repeated; and what they are called by those for their work.
    pub(crate) own_place: Option<&'a str>,
    pub(crate) own_work: Option<Cow<'a, str>>,
}

impl Person<'_> {
    /// The place and the kind of work that were chosen.
    pub(crate) fn surroundings(&self) -> Vec<&str> {
        [self.place, self.work].into_iter().flatten().collect()
    }

    /// All that is known by a code: place, work and people.
    pub(crate) fn codes(&self) -> Vec<String> {
        self.surroundings().into_iter().chain(self.people.iter().copied()).map(String::from).collect()
    }
}

/// For whom sentences are; for nobody in particular: for all whom no other line is for.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    /// Its code.
    category: String,
    place: Option<String>,
    work: Option<String>,
    people: Option<String>,
    /// What the sentences repeat of the person's own words.
    #[serde(default)]
    own: BTreeSet<Words>,
    openings: Vec<Sentence>,
}

/// How much a line says of somebody: the one that says most speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Says {
    Nothing,
    OwnWords,
    PlaceAndWork,
    BothOwnWords,
    WhoTheyAre,
}

#[derive(Debug, Default)]
pub(crate) struct Openings {
    lines: Vec<Line>,
    own: Option<OwnWords>,
}

impl Openings {
    pub(super) fn load(files: &Files, lists: &Lists) -> Result<Self, Error> {
        if !files.has(OPENINGS) {
            return Ok(Self::default());
        }
        let rules = Rules::load(files, lists)?;
        let (mut openings, mut seen) = (Self::default(), BTreeSet::new());
        source::json_lines(files, &[OPENINGS.to_owned()], |line: Line| {
            line.check(&rules, lists)?;
            match line.openings.iter().find(|sentence| !seen.insert(comparable(sentence.pattern()))) {
                Some(twice) => return Err(format!("`openings`: twice: `{}`", twice.pattern())),
                None => openings.lines.push(line),
            }
            Ok(())
        })?;
        openings.own = Some(rules.own);
        Ok(openings)
    }

    /// Whether an answer may repeat somebody's own words for their place.
    pub(crate) fn may_repeat_place(&self, text: &str, keywords: &Keywords) -> bool {
        let own = self.own.as_ref().filter(|own| own.may_be(text));
        own.is_some_and(|own| own.place.is_match(text) || keywords.knows_place(text))
    }

    /// What an answer may call somebody by their own words for their work, if it may repeat these.
    pub(crate) fn doer<'a>(&self, work: &'a str, keywords: &Keywords) -> Option<Cow<'a, str>> {
        let own = self.own.as_ref().filter(|own| own.may_be(work))?;
        (own.work.is_match(work) || keywords.knows_work(work)).then(|| own.doer(work))
    }

    /// What an answer in this category may open with: what is true of this person, first those that say as much of them as any
    /// do. Empty where the catalogue has nothing for all.
    pub(crate) fn of(&self, category: &str, person: &Person<'_>) -> Vec<Vec<String>> {
        let mut by_how_much: BTreeMap<Says, Vec<String>> = BTreeMap::new();
        for line in self.lines.iter().filter(|line| line.category == category) {
            if let Some(says) = line.says_of(person) {
                let said = line.openings.iter().map(|sentence| sentence.said(person));
                by_how_much.entry(says).or_default().extend(said);
            }
        }
        by_how_much.into_values().rev().collect()
    }

    /// A category's sentences as they are written.
    pub(super) fn patterns(&self, category: &str) -> impl Iterator<Item = &str> {
        let of_category = self.lines.iter().filter(move |line| line.category == category);
        of_category.flat_map(|line| &line.openings).map(Sentence::pattern)
    }

    /// Every sentence with its category's code, with somebody's own words put in as they might be.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, String)> {
        let said = |line: &Line| -> Vec<String> {
            line.openings.iter().map(|sentence| sentence.said(&own::example())).collect()
        };
        self.lines.iter().flat_map(move |line| said(line).into_iter().map(|text| (&*line.category, text)))
    }
}

impl Line {
    fn check(&self, rules: &Rules, lists: &Lists) -> Result<(), String> {
        if self.openings.is_empty() {
            return Err("`openings` is empty".into());
        }
        let categories: Vec<&str> = lists.categories.items().iter().map(|category| &*category.code).collect();
        let [places, work_types] = [&lists.places, &lists.work_types]
            .map(|terms| terms.items().iter().map(|term| &*term.code).collect::<Vec<&str>>());
        let named = [
            ("category", Some(&self.category), categories),
            ("place", self.place.as_ref(), places),
            ("work", self.work.as_ref(), work_types),
            ("people", self.people.as_ref(), rules.people_codes().collect()),
        ];
        for (key, code, known) in &named {
            if let Some(code) = code.filter(|code| !known.contains(&code.as_str())) {
                return Err(format!("`{key}`: there is no `{code}`; {}", source::suggest(code, known)));
            }
        }
        let kinds =
            [self.place.is_some() || self.work.is_some(), self.people.is_some(), !self.own.is_empty()];
        if kinds.iter().filter(|kind| **kind).count() > 1 || self.place.is_some() != self.work.is_some() {
            return Err(
                "a line is for a `place` with a `work`, for `people`, for `own` words, or for all".into()
            );
        }
        for sentence in &self.openings {
            if sentence.repeats() != self.own {
                return Err(format!("`own` is {:?}, but a sentence is `{}`", self.own, sentence.pattern()));
            }
            rules.opening(&sentence.said(&own::example()))?;
        }
        Ok(())
    }

    fn says_of(&self, person: &Person<'_>) -> Option<Says> {
        let Self { place, work, people, own, .. } = self;
        if let Some(code) = people {
            return person.people.contains(&code.as_str()).then_some(Says::WhoTheyAre);
        }
        if place.is_some() {
            let same = (place.as_deref(), work.as_deref()) == (person.place, person.work);
            return same.then_some(Says::PlaceAndWork);
        }
        let has = |words: &Words| words.of(person).is_some();
        match own.len() {
            0 => Some(Says::Nothing),
            _ if !own.iter().all(has) => None,
            1 => Some(Says::OwnWords),
            _ => Some(Says::BothOwnWords),
        }
    }
}
