//! Where a person says that they live and work.

use std::ops::Range;

use regex::Regex;

use super::MARK;
use crate::catalog::{Keywords, Mentions, Said};
use crate::words::{Term, Words, plain};

/// Codes, or texts that were mentioned.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Mentioned {
    pub(super) location: Option<String>,
    pub(super) work_type: Option<String>,
}

/// Signs that end what is said of something.
const SIGNS: [char; 9] = ['.', ',', '!', '?', '~', '\n', ';', '…', '/'];

/// A clause of the message, and its letters.
struct Clause<'a> {
    text: &'a str,
    words: Words<'a>,
}

/// What tells a kind of word: words with what they stand for, and what has to be said of them.
type List<'a> = (&'a [(String, Term)], &'a Said);

pub(super) fn of(message: &str, keywords: &Keywords) -> Mentioned {
    let mentions = &keywords.mentions;
    let clauses: Vec<Clause> = message
        .split(SIGNS)
        .filter(|text| !text.trim().is_empty())
        .map(|text| Clause { text, words: keywords.words(text) })
        .collect();
    let places: [List; 2] = [(&keywords.places, &mentions.living), (&mentions.towns, &mentions.living)];
    let work: [List; 3] = [
        (&keywords.work_types, &mentions.working),
        (&mentions.jobs, &mentions.working),
        (&mentions.shops, &mentions.running),
    ];
    let first = |lists: &[List], pattern: &Regex, said: &Said| -> Option<String> {
        let listed = lists.iter().find_map(|list| {
            clauses.iter().find_map(|clause| clause.said(mentions, list, 0).map(str::to_owned))
        });
        listed.or_else(|| clauses.iter().find_map(|clause| clause.any_other(mentions, pattern, said)))
    };
    let location = first(&places, &mentions.place, &mentions.living);
    let work_type = first(&work, &mentions.work, &mentions.working);
    let location = location.or_else(|| {
        work_type.as_ref()?;
        clauses.iter().find_map(|clause| clause.place_of_work(mentions, &places, &work))
    });
    Mentioned { location, work_type }
}

impl Clause<'_> {
    /// The clause's letters from the last "I" on, with a mark for what stands there.
    fn marked(&self, mentions: &Mentions, range: &Range<usize>) -> String {
        let text = self.words.text();
        let head = &text[..range.start];
        let from = mentions.myself.find_iter(head).last().map_or(0, |found| found.end());
        format!("{}{MARK}{}", &head[from..], &text[range.end..])
    }

    /// What the first word of the list stands for of which it is said, from this byte on.
    fn said<'t>(&self, mentions: &Mentions, (terms, said): &List<'t>, from: usize) -> Option<&'t str> {
        let found = self.words.coded(terms).into_iter().filter(|(_, range)| range.start >= from);
        let mut found = found.take(MENTIONS);
        found
            .find(|(_, range)| said.of(&self.marked(mentions, range)))
            .map(|(stands_for, _)| stands_for.as_str())
    }

    /// What an expression finds that isn't in the lists.
    fn any_other(&self, mentions: &Mentions, pattern: &Regex, said: &Said) -> Option<String> {
        let mut found = pattern.captures_iter(self.text).filter_map(|found| found.get(1)).take(MENTIONS);
        let meant = found.find(|found| {
            let start = plain(&self.text[..found.start()]).len();
            let range = start..start + plain(found.as_str()).len();
            !mentions.ignore.iter().any(|word| word == found.as_str())
                && !said.denied(&self.marked(mentions, &range))
        });
        meant.map(|found| found.as_str().to_owned())
    }

    /// A place with the person's work behind it: "서울에서 간호사로 일해요".
    fn place_of_work(&self, mentions: &Mentions, places: &[List], work: &[List]) -> Option<String> {
        let found = places.iter().flat_map(|(terms, said)| {
            self.words.coded(terms).into_iter().take(MENTIONS).map(move |found| (found, *said))
        });
        let mut meant = found.filter(|((_, range), said)| {
            let marked = self.marked(mentions, range);
            mentions.there.is_match(&marked)
                && !said.denied(&marked)
                && work.iter().any(|list| self.said(mentions, list, range.end).is_some())
        });
        meant.next().map(|((stands_for, _), _)| stands_for.clone())
    }
}

/// Words of a kind in one clause that are looked at: people don't write more, and each costs time.
const MENTIONS: usize = 8;
