//! `openings.jsonl`: sentences that an answer to three choices opens with, for the people they are true of, one JSON object a
//! line. By the rules of `tellings/rules.toml`; a catalogue may have none.

mod own;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use serde::Deserialize;

use self::own::{Sentence, Words};
use super::choices::{Lists, comparable};
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
    /// Place and work in their own words, where these may be repeated.
    pub(crate) own_place: Option<&'a str>,
    pub(crate) own_work: Option<&'a str>,
}

impl Person<'_> {
    /// The place and the kind of work that were chosen.
    pub(crate) fn surroundings(&self) -> Vec<&str> {
        [self.place, self.work].into_iter().flatten().collect()
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

    /// Whether an answer may repeat somebody's own words for their place or work.
    pub(crate) fn may_repeat(&self, text: &str) -> bool {
        self.own.as_ref().is_some_and(|own| own.may_be(text))
    }

    /// What an answer in this category may open with: what is true of this person, and says as much of them as anything
    /// does. Empty where the catalogue has nothing for all.
    pub(crate) fn of(&self, category: &str, person: &Person<'_>) -> Vec<String> {
        let fitting = || {
            let of_category = self.lines.iter().filter(|line| line.category == category);
            of_category.filter_map(|line| Some((line.says_of(person)?, line)))
        };
        let Some(most) = fitting().map(|(says, _)| says).max() else { return Vec::new() };
        let lines = fitting().filter(|(says, _)| *says == most).map(|(_, line)| line);
        lines.flat_map(|line| &line.openings).map(|sentence| sentence.said(person)).collect()
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
