//! What tellings have to keep to: `tellings/rules.toml`, and their documents.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use leafresh_retrieval::Document;
use regex::Regex;
use serde::Deserialize;

use super::super::Files;
use super::super::choices::{Lists, comparable};
use super::super::source::{self, check_line, error_on_line, line_of, suggest};
use super::{Effort, More, Rhythm, Telling, Variant};
use crate::Error;
use crate::words::{Term, Words};

pub(in super::super) const RULES: &str = "tellings/rules.toml";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    company: Vec<String>,
    needs: Vec<String>,
    text: String,
    description: String,
    sentence: String,
    #[serde(default)]
    has: BTreeMap<String, Vec<String>>,
    own: OwnTable,
    people: BTreeMap<String, Vec<String>>,
    jobs: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    not_jobs: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnTable {
    form: String,
    not: String,
    name: String,
    place: String,
    work: String,
    never: Vec<String>,
    #[serde(default)]
    called: BTreeMap<String, String>,
}

#[derive(Debug)]
pub(crate) struct Rules {
    company: Vec<String>,
    needs: Vec<String>,
    /// Codes of places, kinds of work and people.
    audience: Vec<String>,
    text: Regex,
    description: Regex,
    sentence: Regex,
    pub(super) people: People,
    /// By a need, the codes of those who have it.
    pub(super) has: BTreeMap<String, Vec<String>>,
    pub(in super::super) own: OwnWords,
}

/// Which of somebody's own words an answer may repeat.
#[derive(Debug)]
pub(crate) struct OwnWords {
    like: Regex,
    unlike: [Regex; 2],
    pub(in super::super) place: Regex,
    pub(in super::super) work: Regex,
    never: Vec<Term>,
    /// How work ends that is something done, and what whoever does it is called instead.
    called: BTreeMap<String, String>,
}

impl OwnWords {
    /// Words for work as words for whoever does it.
    pub(in super::super) fn doer<'a>(&self, work: &'a str) -> Cow<'a, str> {
        let ends =
            self.called.iter().filter_map(|(end, name)| Some((work.strip_suffix(end.as_str())?, name)));
        // The longest ending counts.
        match ends.min_by_key(|(begin, _)| begin.len()) {
            Some((begin, name)) => Cow::Owned(format!("{begin}{name}")),
            None => Cow::Borrowed(work),
        }
    }

    /// Whether a text is words that may be repeated, if they are such of a place or of work.
    pub(in super::super) fn may_be(&self, text: &str) -> bool {
        let mut words = BTreeSet::new();
        self.like.is_match(text)
            && !self.unlike.iter().any(|unlike| unlike.is_match(text))
            && text.split(' ').all(|word| words.insert(word))
            && !Words::new(text, &[]).has_any(&self.never)
    }
}

/// Words by which people are known, with their codes.
#[derive(Debug, Default)]
pub(super) struct People {
    /// In a message.
    pub(super) said: Vec<(String, Term)>,
    /// In their own words for their work, and what is said there of others than these people.
    pub(super) jobs: Vec<(String, Term)>,
    pub(super) not_jobs: Vec<(String, Term)>,
}

/// What was told so far, to find what is told twice.
#[derive(Debug, Default)]
pub(super) struct Seen(BTreeSet<String>);

impl Rules {
    pub(in super::super) fn load(files: &Files, lists: &Lists) -> Result<Self, Error> {
        let (text, path) = source::read(files, RULES)?;
        let file: File = source::from_toml(&text, &path)?;
        let whole = |pattern: &str| {
            Regex::new(&format!("^(?:{pattern})$")).map_err(|error| {
                let line = line_of(&text, text.find(pattern).unwrap_or(0));
                error_on_line(&path, line, format!("`{pattern}`: {error}"))
            })
        };
        let chosen = lists.places.items().iter().chain(lists.work_types.items());
        let codes = file.people.keys().chain(file.jobs.keys()).cloned();
        let audience: Vec<String> = chosen.map(|term| term.code.clone()).chain(codes).collect();
        for (need, codes) in &file.has {
            let wrong = all_known("has", std::slice::from_ref(need), &file.needs);
            wrong.and_then(|()| all_known(need, codes, &audience)).map_err(|reason| {
                error_on_line(&path, line_of(&text, text.find("[has]").unwrap_or(0)), reason)
            })?;
        }
        let terms = |table: &BTreeMap<String, Vec<String>>| {
            let words = table.iter().flat_map(|(code, words)| words.iter().map(move |word| (code, word)));
            words.map(|(code, word)| (code.clone(), Term::new(word))).collect()
        };
        Ok(Self {
            text: whole(&file.text)?,
            description: whole(&file.description)?,
            sentence: whole(&file.sentence)?,
            people: People {
                said: terms(&file.people),
                jobs: terms(&file.jobs),
                not_jobs: terms(&file.not_jobs),
            },
            own: OwnWords {
                like: whole(&file.own.form)?,
                unlike: [whole(&file.own.not)?, whole(&file.own.name)?],
                place: whole(&file.own.place)?,
                work: whole(&file.own.work)?,
                never: file.own.never.iter().map(|word| Term::new(word)).collect(),
                called: file.own.called,
            },
            audience,
            has: file.has,
            company: file.company,
            needs: file.needs,
        })
    }

    /// With whom one can do something.
    pub(in super::super) fn company_codes(&self) -> &[String] {
        &self.company
    }

    /// Codes of people.
    pub(in super::super) fn people_codes(&self) -> impl Iterator<Item = &str> {
        let People { said, jobs, .. } = &self.people;
        said.iter().chain(jobs).map(|(code, _)| code.as_str())
    }

    /// What an answer opens with.
    pub(in super::super) fn opening(&self, text: &str) -> Result<(), String> {
        self.sentences("openings", text, 25..=80)
    }

    pub(super) fn check(
        &self,
        telling: &Telling,
        document: &Document,
        seen: &mut Seen,
    ) -> Result<(), String> {
        let Telling { idea, seasons, minutes, with, needs, proof, safety, variants, openings, more, .. } =
            telling;
        let kebab = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if idea.is_empty() || !idea.chars().all(kebab) {
            return Err(format!("`idea` has small letters, digits and `-` only, found `{idea}`"));
        }
        if seasons.iter().enumerate().any(|(index, season)| seasons[..index].contains(season)) {
            return Err("`seasons` names one twice".into());
        }
        for (key, codes, known) in [("with", with, &self.company), ("needs", needs, &self.needs)] {
            all_known(key, codes, known)?;
        }
        // The longest is an evening; what is done again and again is shorter.
        let most = match (telling.effort, telling.rhythm) {
            (Effort::Easy, Rhythm::Daily | Rhythm::Weekly) => 180,
            (Effort::Easy | Effort::Medium | Effort::Hard, _) => 240,
        };
        if !(1..=most).contains(minutes) {
            return Err(format!("`minutes` is {minutes}; expected 1 to {most}"));
        }
        self.phrase("proof", proof, 8..=40)?;
        if !safety.is_empty() {
            self.sentences("safety", safety, 10..=90)?;
        }
        let More { why, begin, long, hard, easier, proof } = more;
        let answers = [("why", why), ("begin", begin), ("long", long), ("hard", hard), ("easier", easier)];
        for (key, text) in answers.into_iter().chain([("proof", proof)]) {
            self.sentences(key, text, 20..=110)?;
        }
        at_least("openings", openings.len(), 5)?;
        for opening in openings {
            self.opening(opening)?;
        }
        self.check_variants(variants, document)?;
        let told = variants.iter().flat_map(|variant| [&variant.title, &variant.text]);
        match told.chain(openings).find(|text| !seen.0.insert(comparable(text))) {
            Some(text) => Err(format!("told twice: `{text}`")),
            None => Ok(()),
        }
    }

    fn check_variants(&self, variants: &[Variant], document: &Document) -> Result<(), String> {
        at_least("variants", variants.len(), 6)?;
        let known = numbers(&[&document.title, &document.text, &document.short]);
        let mut audiences = BTreeSet::new();
        for Variant { audience, title, text } in variants {
            at_least("for", audience.len(), 1)?;
            all_known("for", audience, &self.audience)?;
            if !audiences.insert(audience.iter().collect::<BTreeSet<_>>()) {
                return Err(format!("`for`: two variants are for {audience:?}"));
            }
            self.phrase("title", title, 4..=24)?;
            self.sentences("text", text, 40..=110)?;
            if !self.description.is_match(text) {
                return Err(format!("`text` is no `description` of {RULES}: {text}"));
            }
            if let Some(number) = numbers(&[title, text]).difference(&known).next() {
                return Err(format!("`text`: {number} isn't in the document: {text}"));
            }
        }
        Ok(())
    }

    fn phrase(&self, key: &str, text: &str, length: RangeInclusive<usize>) -> Result<(), String> {
        check_line(text).map_err(|reason| format!("`{key}` {reason}"))?;
        let count = text.chars().count();
        if !length.contains(&count) {
            return Err(format!("`{key}` has {count} characters; expected {length:?}: {text}"));
        }
        if !self.text.is_match(text) {
            return Err(format!("`{key}` is no `text` of {RULES}: {text}"));
        }
        Ok(())
    }

    /// One or two.
    fn sentences(&self, key: &str, text: &str, length: RangeInclusive<usize>) -> Result<(), String> {
        self.phrase(key, text, length)?;
        let mut sentences: Vec<String> = Vec::new();
        let mut ended = true;
        for word in text.split(' ') {
            match sentences.last_mut().filter(|_| !ended) {
                Some(sentence) => sentence.extend([" ", word]),
                None => sentences.push(word.to_owned()),
            }
            ended = word.ends_with(['.', '!', '?']);
        }
        if sentences.len() > 2 {
            return Err(format!("`{key}` has {} sentences; expected 1 or 2: {text}", sentences.len()));
        }
        match sentences.into_iter().find(|sentence| !self.sentence.is_match(sentence)) {
            Some(sentence) => Err(format!("`{key}`: `{sentence}` is no `sentence` of {RULES}")),
            None => Ok(()),
        }
    }
}

fn at_least(key: &str, count: usize, least: usize) -> Result<(), String> {
    if count < least {
        return Err(format!("`{key}` has {count}; expected at least {least}"));
    }
    Ok(())
}

fn all_known(key: &str, codes: &[String], known: &[String]) -> Result<(), String> {
    let Some(code) = codes.iter().find(|code| !known.contains(code)) else { return Ok(()) };
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    Err(format!("`{key}`: there is no `{code}`; {}", suggest(code, &known)))
}

/// Runs of digits.
fn numbers<'a>(texts: &[&'a String]) -> BTreeSet<&'a str> {
    let runs = texts.iter().flat_map(|text| text.split(|c: char| !c.is_ascii_digit()));
    runs.filter(|run| !run.is_empty()).collect()
}
