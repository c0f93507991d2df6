//! Where a person says that they live and work.

use std::ops::Range;

use regex::Regex;

use super::MARK;
use crate::catalog::{Coded, Keywords, Mentions, Said};
use crate::words::{Words, plain};

/// Codes, or texts that were mentioned.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Mentioned {
    pub(super) location: Option<String>,
    pub(super) work_type: Option<String>,
}

/// A way to tell a place or a job from a clause.
type Told<'a> = &'a dyn Fn(&Clause) -> Option<String>;

pub(super) fn of(message: &str, keywords: &Keywords) -> Mentioned {
    let mentions = &keywords.mentions;
    let clauses: Vec<Clause> =
        clauses(message, &mentions.ends).map(|text| Clause::new(text, keywords)).collect();
    // The surest way first, whichever clause comes first.
    let first = |ways: &[Told]| ways.iter().find_map(|way| clauses.iter().find_map(way));
    let work_type = first(&[
        &|clause| clause.work(&clause.work_types, &mentions.working),
        &|clause| clause.work(&clause.jobs, &mentions.working),
        &|clause| clause.work(&clause.shops, &mentions.running),
        &|clause| clause.job_word(0).map(|(word, _)| clause.work_text(word)),
        &|clause| clause.other_work(0).map(|word| clause.work_text(word)),
        &|clause| clause.guess().map(|word| clause.work_text(word)),
    ]);
    let location = first(&[
        &|clause| clause.place(&clause.places, &mentions.living),
        &|clause| clause.place(&clause.towns, &mentions.living),
        &|clause| clause.other_place(),
        &|clause| clause.place(&clause.regions, &mentions.staying),
        &|clause| clause.place_of_work(),
        &|clause| clause.place(&clause.regions, &mentions.commuting),
    ]);
    // A place that no list has may read as one's work as well.
    let work_type = work_type.filter(|work| location.as_ref() != Some(work));
    Mentioned { location, work_type }
}

/// The clauses of a message, without the signs around them.
fn clauses<'a>(message: &'a str, ends: &'a Regex) -> impl Iterator<Item = &'a str> {
    let mut from = 0;
    let ends = ends.find_iter(message).map(|end| end.end()).chain([message.len()]);
    let clauses = ends.map(move |end| &message[std::mem::replace(&mut from, end)..end]);
    clauses.map(|text| text.trim_matches(|c: char| !c.is_alphanumeric())).filter(|text| !text.is_empty())
}

/// A word of a list in a clause.
#[derive(Clone)]
struct Found<'a> {
    stands_for: &'a str,
    range: Range<usize>,
}

/// A clause of the message, its letters, and the words of the lists in it.
struct Clause<'a> {
    text: &'a str,
    words: Words<'a>,
    keywords: &'a Keywords,
    mentions: &'a Mentions,
    places: Vec<Found<'a>>,
    towns: Vec<Found<'a>>,
    /// Those of both that are no buildings.
    regions: Vec<Found<'a>>,
    work_types: Vec<Found<'a>>,
    jobs: Vec<Found<'a>>,
    shops: Vec<Found<'a>>,
}

impl<'a> Clause<'a> {
    fn new(text: &'a str, keywords: &'a Keywords) -> Self {
        let mentions = &keywords.mentions;
        let words = keywords.words(text);
        let found = |terms: &'a Coded| -> Vec<Found> {
            let found = words.coded(terms).into_iter().take(MENTIONS);
            found.map(|(stands_for, range)| Found { stands_for, range }).collect()
        };
        let (places, towns) = (found(&keywords.places), found(&mentions.towns));
        let is_region = |found: &&Found| !mentions.buildings.contains(&words.text()[found.range.clone()]);
        let regions = places.iter().chain(&towns).filter(is_region).cloned().collect();
        let (work_types, jobs) = (found(&keywords.work_types), found(&mentions.jobs));
        let shops = found(&mentions.shops);
        Self { text, words, keywords, mentions, places, towns, regions, work_types, jobs, shops }
    }

    /// The clause's letters from the last "I" on, with a mark for what stands there.
    fn marked(&self, range: &Range<usize>) -> String {
        let text = self.words.text();
        let head = &text[..range.start];
        let from = self.mentions.myself.find_iter(head).last().map_or(0, |found| found.end());
        format!("{}{MARK}{}", &head[from..], &text[range.end..])
    }

    /// The first place of which it is said.
    fn place(&self, places: &[Found], said: &Said) -> Option<String> {
        let place = places.iter().find(|place| said.of(&self.marked(&self.with_parts(&place.range))))?;
        Some(self.place_text(place))
    }

    /// The first work of which it is said.
    fn work(&self, work: &[Found], said: &Said) -> Option<String> {
        let work = work.iter().find(|work| said.of(&self.marked(&work.range)))?;
        Some(work.stands_for.to_owned())
    }

    /// A word that is a job by how it ends, from this byte on.
    fn job_word(&self, from: usize) -> Option<(&'a str, Range<usize>)> {
        let words = self.captured(&self.mentions.job_words).map(|word| self.without_region(word));
        words
            .filter(|(_, range)| range.start >= from)
            .find(|(_, range)| self.mentions.working.of(&self.marked(range)))
    }

    /// Work that isn't in the lists, from this byte on.
    fn other_work(&self, from: usize) -> Option<&'a str> {
        let mut words = self.not_denied(&self.mentions.work);
        words.find(|(_, range)| range.start >= from).map(|(word, _)| word)
    }

    /// What may be work, if nothing else is.
    fn guess(&self) -> Option<&'a str> {
        let is_common = |word: &str| {
            word.split_whitespace().last().is_some_and(|last| self.mentions.common.contains(last))
        };
        self.not_denied(&self.mentions.guess).map(|(word, _)| word).find(|word| !is_common(word))
    }

    /// What expressions find that is no region, and of which it isn't denied that one works there.
    fn not_denied(&self, expressions: &'a [Regex]) -> impl Iterator<Item = (&'a str, Range<usize>)> {
        let is_region = |range: &Range<usize>| {
            let mut regions = self.regions.iter().map(|region| &region.range);
            regions.any(|region| range.contains(&region.start) && range.end == region.end)
        };
        let words = self.captured(expressions).map(|word| self.without_region(word));
        words
            .filter(move |(_, range)| !is_region(range) && !self.mentions.working.denied(&self.marked(range)))
    }

    /// What was captured behind the region that it begins with: "약방 주인" of "시골 약방 주인".
    fn without_region(&self, (word, range): (&'a str, Range<usize>)) -> (&'a str, Range<usize>) {
        let is_first = |region: &&Found| region.range.start == range.start && region.range.end < range.end;
        let Some(region) = self.regions.iter().find(is_first) else { return (word, range) };
        let mut letters = plain(&self.words.text()[region.range.clone()]).chars().count();
        let rest = word.trim_start_matches(|c: char| {
            let skipped = letters > 0 || !c.is_alphanumeric();
            letters = letters.saturating_sub(usize::from(c.is_alphanumeric()));
            skipped
        });
        (rest, region.range.end..range.end)
    }

    /// The code of work that isn't in the lists, which its last word tells, or else the text.
    fn work_text(&self, work: &str) -> String {
        let words = self.keywords.words(work);
        let coded = words.coded(&self.keywords.work_types);
        let last = coded.last().filter(|(_, range)| range.end == words.text().len());
        last.map_or(work, |(code, _)| code).to_owned()
    }

    /// A place that isn't in the lists.
    fn other_place(&self) -> Option<String> {
        let mut words = self.captured(&self.mentions.place);
        let (word, range) = words.find(|(_, range)| !self.mentions.living.denied(&self.marked(range)))?;
        let coded = self.keywords.words(word).coded(&self.keywords.places);
        let code = coded.last().map(|(code, _)| (*code).clone());
        Some(code.unwrap_or_else(|| self.within(&range) + word))
    }

    /// What expressions find.
    fn captured(&self, expressions: &'a [Regex]) -> impl Iterator<Item = (&'a str, Range<usize>)> {
        let text = self.text;
        let found = expressions
            .iter()
            .flat_map(move |one| one.captures_iter(text).filter_map(|found| found.get(1)).take(MENTIONS));
        found.filter(|found| !self.mentions.ignore.contains(found.as_str())).map(move |found| {
            let start = plain(&text[..found.start()]).len();
            (found.as_str(), start..start + plain(found.as_str()).len())
        })
    }

    /// A place with the person's work behind it: "서울에서 간호사로 일해요", "서울 간호사예요".
    fn place_of_work(&self) -> Option<String> {
        let Mentions { living, working, running, there, beside, .. } = self.mentions;
        let lists = [(&self.work_types, working), (&self.jobs, working), (&self.shops, running)];
        // Where work that is the person's begins, from a byte on.
        let works = |from: usize| {
            let listed = lists.iter().flat_map(|(work, said)| {
                let own = work.iter().filter(|work| said.of(&self.marked(&work.range)));
                own.map(|work| work.range.start)
            });
            let worded = self.job_word(from).map(|(_, range)| range.start);
            listed.filter(|start| *start >= from).chain(worded).collect::<Vec<_>>()
        };
        let place = self.regions.iter().find(|place| {
            let range = self.with_parts(&place.range);
            let marked = self.marked(&range);
            if living.denied(&marked) {
                return false;
            }
            let work = works(range.end);
            work.iter().any(|start| beside.is_match(&self.words.text()[range.end..*start]))
                || there.is_match(&marked) && (!work.is_empty() || self.other_work(range.end).is_some())
        })?;
        Some(self.place_text(place))
    }

    /// A place with the towns that follow it: "강원도" of "강원도 홍천군 서면" is all of it.
    fn with_parts(&self, place: &Range<usize>) -> Range<usize> {
        let is_next = |town: &&Found| {
            town.range.start == place.end && self.regions.iter().any(|region| region.range == town.range)
        };
        let next = self.towns.iter().find(is_next);
        place.start..next.map_or(place.end, |town| self.with_parts(&town.range).end)
    }

    /// The towns in front of a place, each with a space behind it.
    fn within(&self, place: &Range<usize>) -> String {
        let before = self.towns.iter().find(|town| town.range.end == place.start);
        before.map_or_else(String::new, |town| self.within(&town.range) + town.stands_for + " ")
    }

    /// A town with those around it, a building with the town that it is in, or else a code.
    fn place_text(&self, place: &Found) -> String {
        let within = self.within(&place.range);
        let word = &self.words.text()[place.range.clone()];
        if self.towns.iter().any(|town| town.range == place.range) {
            let next = self.towns.iter().find(|town| town.range.start == place.range.end);
            return match next {
                Some(next) => self.place_text(next),
                None => within + place.stands_for,
            };
        }
        if self.mentions.buildings.contains(word) && !within.is_empty() {
            return within + word;
        }
        place.stands_for.to_owned()
    }
}

/// Words of a kind in one clause that are looked at: people don't write more, and each costs time.
const MENTIONS: usize = 8;
