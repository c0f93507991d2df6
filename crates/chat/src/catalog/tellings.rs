//! `tellings/*.jsonl`: the documents' challenges as they are told to particular people, one JSON object a line. A catalogue
//! may have none.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::ops::RangeInclusive;

use leafresh_retrieval::Document;
use serde::Deserialize;

use super::Files;
use super::choices::{Lists, comparable};
use super::source::{self, check_line, error_on_line, explain, suggest};
use crate::Error;

const FOLDER: &str = "tellings";

/// People that a challenge is told for, beside the places and kinds of work of `categories.toml`.
pub(super) const PEOPLE: [&str; 11] = [
    "children",
    "alone",
    "elders",
    "student",
    "homemaker",
    "shop",
    "farmer",
    "courier",
    "nurse",
    "soldier",
    "carer",
];
const SEASONS: [&str; 4] = ["spring", "summer", "autumn", "winter"];
const COMPANY: [&str; 5] = ["alone", "children", "family", "friends", "colleagues"];
const NEEDS: [&str; 14] = [
    "car", "bicycle", "garden", "balcony", "field", "sea", "mountain", "kitchen", "pet", "sewing", "shop",
    "office", "computer", "phone",
];

/// Latin words that people read without a second thought.
const LATIN: [&str; 17] =
    ["LED", "PET", "QR", "OTT", "SNS", "TV", "PC", "CO", "USB", "A", "AI", "L", "kWh", "kg", "km", "cm", "g"];

/// A document's challenge, as it is told.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Telling {
    /// The document's.
    id: String,
    /// Documents of one idea have one name for it.
    idea: String,
    /// When it can be done; empty: always.
    seasons: Vec<String>,
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
    people: Vec<String>,
    title: String,
    text: String,
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

#[derive(Debug)]
pub(crate) struct Tellings(HashMap<String, Telling>);

impl Tellings {
    pub(super) fn load(files: &Files, lists: &Lists, documents: &[Document]) -> Result<Self, Error> {
        let names = match source::list(files, FOLDER, "jsonl") {
            Err(Error::Io { path, source })
                if source.kind() == io::ErrorKind::NotFound && path == files.path(FOLDER) =>
            {
                Vec::new()
            }
            names => names?,
        };
        let by_id: HashMap<&str, &Document> =
            documents.iter().map(|document| (document.id.as_str(), document)).collect();
        let (mut tellings, mut seen) = (HashMap::new(), BTreeSet::new());
        for name in names {
            let (text, path) = source::read(files, &name)?;
            for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
                let mut read = || -> Result<Telling, String> {
                    let telling: Telling = serde_json::from_str(line).map_err(|error| {
                        let message = error.to_string();
                        explain(message.split(" at line ").next().unwrap_or_default(), "")
                    })?;
                    let Some(document) = by_id.get(telling.id.as_str()) else {
                        let ids: Vec<&str> = by_id.keys().copied().collect();
                        return Err(format!(
                            "`id`: no document `{}`; {}",
                            telling.id,
                            suggest(&telling.id, &ids)
                        ));
                    };
                    telling.check(document, lists, &mut seen)?;
                    Ok(telling)
                };
                let telling = read().map_err(|reason| error_on_line(&path, index + 1, reason))?;
                if let Some(telling) = tellings.insert(telling.id.clone(), telling) {
                    let reason = format!("`id`: `{}` is told twice", telling.id);
                    return Err(error_on_line(&path, index + 1, reason));
                }
            }
        }
        Ok(Self(tellings))
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
        let Some(telling) = self.0.get(&document.id) else { return told };
        let mut left: Vec<&Variant> = telling.variants.iter().collect();
        let mut next = || {
            let fit = |codes: &[&str]| -> Vec<usize> {
                let fits =
                    |variant: &Variant| variant.people.iter().any(|code| codes.contains(&code.as_str()));
                (0..left.len()).filter(|&index| fits(left[index])).collect()
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

    /// Whether both are the same thing to do.
    pub(crate) fn same_idea(&self, one: &Document, other: &Document) -> bool {
        match (self.0.get(&one.id), self.0.get(&other.id)) {
            (Some(one), Some(other)) => one.idea == other.idea,
            _ => false,
        }
    }

    /// What an answer may say of the document.
    pub(crate) fn texts<'a>(&'a self, document: &'a Document) -> impl Iterator<Item = &'a str> {
        let variants = self.0.get(&document.id).into_iter().flat_map(|telling| &telling.variants);
        let told = variants.map(|variant| variant.text.as_str());
        [document.text.as_str(), document.short.as_str()].into_iter().chain(told)
    }

    /// The document with the longest of its texts.
    pub(crate) fn longest(&self, document: &Document) -> Document {
        let text = self.texts(document).max_by_key(|text| text.len()).unwrap_or_default();
        Document { text: text.to_owned(), ..document.clone() }
    }
}

impl Telling {
    /// `seen`: what was told so far, to find what is told twice.
    fn check(&self, document: &Document, lists: &Lists, seen: &mut BTreeSet<String>) -> Result<(), String> {
        let kebab = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if self.idea.is_empty() || !self.idea.chars().all(kebab) {
            return Err(format!("`idea` has small letters, digits and `-` only, found `{}`", self.idea));
        }
        for (key, codes, known) in [
            ("seasons", &self.seasons, &SEASONS[..]),
            ("with", &self.with, &COMPANY),
            ("needs", &self.needs, &NEEDS),
        ] {
            all_known(key, codes, known)?;
        }
        if !(1..=240).contains(&self.minutes) {
            return Err(format!("`minutes` is {}; expected 1 to 240", self.minutes));
        }
        if matches!((self.effort, self.rhythm), (Effort::Easy, Rhythm::Daily | Rhythm::Weekly))
            && self.minutes > 180
        {
            return Err("`effort`: hours every day or week aren't `easy`".into());
        }
        phrase("proof", &self.proof, 8..=40)?;
        if !self.safety.is_empty() {
            sentences("safety", &self.safety, 10..=90)?;
        }
        let More { why, begin, long, hard, easier, proof } = &self.more;
        for (key, text) in [
            ("why", why),
            ("begin", begin),
            ("long", long),
            ("hard", hard),
            ("easier", easier),
            ("proof", proof),
        ] {
            sentences(key, text, 20..=110)?;
        }
        at_least("openings", self.openings.len(), 5)?;
        for opening in &self.openings {
            sentences("openings", opening, 25..=80)?;
        }
        at_least("variants", self.variants.len(), 6)?;
        let places = lists.places.items().iter().chain(lists.work_types.items());
        let known: Vec<&str> = places.map(|term| term.code.as_str()).chain(PEOPLE).collect();
        let numbers = numbers(&[&document.title, &document.text, &document.short]);
        let mut audiences = BTreeSet::new();
        for Variant { people, title, text } in &self.variants {
            at_least("for", people.len(), 1)?;
            all_known("for", people, &known)?;
            if !audiences.insert(people.iter().collect::<BTreeSet<_>>()) {
                return Err(format!("`for`: two variants are for {people:?}"));
            }
            phrase("title", title, 4..=24)?;
            sentences("text", text, 40..=110)?;
            // As in all that models write.
            if text.contains(['?', '!']) {
                return Err(format!("`text` asks or cries: {text}"));
            }
            if let Some(number) = self::numbers(&[title, text]).difference(&numbers).next() {
                return Err(format!("`text`: {number} isn't in the document: {text}"));
            }
        }
        let titles = self.variants.iter().flat_map(|variant| [&variant.title, &variant.text]);
        for text in titles.chain(&self.openings) {
            if !seen.insert(comparable(text)) {
                return Err(format!("told twice: `{text}`"));
            }
        }
        Ok(())
    }
}

fn at_least(key: &str, count: usize, least: usize) -> Result<(), String> {
    if count < least {
        return Err(format!("`{key}` has {count}; expected at least {least}"));
    }
    Ok(())
}

fn all_known(key: &str, codes: &[String], known: &[&str]) -> Result<(), String> {
    match codes.iter().find(|code| !known.contains(&code.as_str())) {
        Some(code) => Err(format!("`{key}`: there is no `{code}`; {}", suggest(code, known))),
        None => Ok(()),
    }
}

fn numbers(texts: &[&String]) -> BTreeSet<String> {
    let digits = |text: &&String| {
        let runs = text.split(|c: char| !c.is_ascii_digit()).filter(|run| !run.is_empty());
        runs.map(str::to_owned).collect::<Vec<_>>()
    };
    texts.iter().flat_map(digits).collect()
}

/// Of the alphabet that all texts of an answer share, in one line, and of a length.
fn phrase(key: &str, text: &str, length: RangeInclusive<usize>) -> Result<(), String> {
    check_line(text).map_err(|reason| format!("`{key}` {reason}"))?;
    let count = text.chars().count();
    if !length.contains(&count) {
        return Err(format!("`{key}` has {count} characters; expected {length:?}: {text}"));
    }
    let allowed =
        |c: char| matches!(c, '가'..='힣' | '0'..='9' | ' ' | '.' | ',' | '!' | '?' | '·' | '~' | '%' | '℃');
    if let Some(stranger) = text.chars().find(|c| !allowed(*c) && !c.is_ascii_alphabetic()) {
        return Err(format!("`{key}` holds `{stranger}`: {text}"));
    }
    let latin = text.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| !word.is_empty());
    match latin.into_iter().find(|word| !LATIN.contains(word)) {
        Some(word) => Err(format!("`{key}` holds `{word}`: {text}")),
        None => Ok(()),
    }
}

/// One or two, in the one style that answers have.
fn sentences(key: &str, text: &str, length: RangeInclusive<usize>) -> Result<(), String> {
    phrase(key, text, length)?;
    let ends = |word: &&str| word.ends_with(['.', '!', '?']);
    let ended: Vec<&str> = text.split_whitespace().filter(ends).collect();
    let polite = |word: &&str| {
        let word = word.trim_end_matches(['.', '!', '?']);
        word.ends_with('요') || word.ends_with('죠')
    };
    if !(1..=2).contains(&ended.len()) || !text.ends_with(['.', '!', '?']) || !ended.iter().all(polite) {
        return Err(format!("`{key}` has to be one or two sentences that end in `요` or `죠`: {text}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Catalog;

    fn catalog() -> Catalog {
        Catalog::of(&Files::built_in()).unwrap()
    }

    #[test]
    fn every_document_is_told_to_those_it_fits() {
        let catalog = catalog();
        for document in catalog.documents() {
            for place in &document.places {
                let told = catalog.tellings().told(document, &[], &[place], |_| 0);
                assert_eq!((&told.id, &told.title), (&document.id, &document.title));
            }
            let codes = document.places.iter().chain(&document.work_types).map(String::as_str);
            let told = catalog.tellings().told(document, &[], &codes.collect::<Vec<_>>(), |_| 0);
            assert!(told.text != document.text && told.short != document.short, "{}", document.id);
            assert_ne!(told.text, told.short);
            let stranger = catalog.tellings().told(document, &["울릉도"], &["어부"], |_| 0);
            assert_eq!(stranger, *document, "own words are nobody's code");
        }
    }

    #[test]
    fn the_one_that_is_drawn_is_told() {
        let catalog = catalog();
        let document = &catalog.documents()[0];
        let codes: Vec<&str> = document.places.iter().map(String::as_str).collect();
        let texts: BTreeSet<String> =
            (0..9).map(|n| catalog.tellings().told(document, &[], &codes, |count| n % count).text).collect();
        assert!(texts.len() > 1 && !texts.contains(&document.text), "{texts:?}");
    }

    type Change<'a> = &'a dyn Fn(&mut Telling);

    #[test]
    fn who_somebody_is_counts_more_than_where_they_are() {
        let catalog = catalog();
        let mut told_to_parents = 0;
        for document in catalog.documents() {
            let variants = &catalog.tellings().0[&document.id].variants;
            let mut to_parents =
                variants.iter().filter(|variant| variant.people.iter().any(|code| code == "children"));
            let told = catalog.tellings().told(document, &["children"], &["city", "office"], |_| 0);
            if to_parents.clone().next().is_some() {
                told_to_parents += 1;
                assert!(to_parents.any(|variant| variant.text == told.text), "{}", document.id);
            }
        }
        assert!(told_to_parents > 200, "{told_to_parents}");
    }

    #[test]
    fn people_are_known_by_what_they_say_of_themselves() {
        let catalog = catalog();
        let keywords = catalog.keywords();
        for (message, expected) in [
            ("아이랑 할 수 있는 거", &["children"][..]),
            ("저는 3교대 간호사예요", &["nurse"]),
            ("자취생이라 요리를 잘 안 해요", &["alone"]),
            ("아이스크림 통이 쌓여요", &[]),
            ("메일함이 가득 찼어", &[]),
        ] {
            let words = keywords.words(message);
            let mut found: Vec<&str> =
                words.coded(&keywords.people).into_iter().map(|(code, _)| code.as_str()).collect();
            found.dedup();
            assert_eq!(found, expected, "{message}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_telling_is_named() {
        let files = Files::built_in();
        let catalog = catalog();
        let document = &catalog.documents()[0];
        let all = String::from_utf8(files.read("tellings/carbon_footprint.jsonl").unwrap()).unwrap();
        let line = all.lines().find(|line| line.contains(&format!("\"{}\"", document.id))).unwrap();
        let lists = Lists::load(&files).unwrap();
        let check = |change: &dyn Fn(&mut Telling)| {
            let mut telling: Telling = serde_json::from_str(line).unwrap();
            change(&mut telling);
            telling.check(document, &lists, &mut BTreeSet::new()).err().unwrap_or_default()
        };
        assert_eq!(check(&|_| {}), "");
        let cases: [(Change<'_>, &str); 13] = [
            (
                &|t| {
                    t.variants[0].text =
                        "하루에 77번씩 걸어서 다녀 보세요. 짧은 거리부터 시작하면 훨씬 쉬워져요.".into();
                },
                "77 isn't in the document",
            ),
            (&|t| t.variants[0].text = t.variants[0].text.replace('.', "?"), "asks or cries"),
            (&|t| t.variants[1].people = t.variants[0].people.clone(), "two variants are for"),
            (&|t| t.variants[0].people = vec!["ofice".into()], "office"),
            (&|t| t.variants[0].title = "걷".into(), "expected 4..=24"),
            (
                &|t| t.openings[0] = "가까운 거리는 걸어서 다녀오는 편이 훨씬 더 가볍고 좋습니다.".into(),
                "`요` or `죠`",
            ),
            (&|t| t.openings[1] = t.openings[0].clone(), "told twice"),
            (&|t| t.openings.truncate(4), "`openings` has 4"),
            (
                &|t| t.more.why = "Walking이 차보다 좋아요. 가까운 거리일수록 그래요.".into(),
                "holds `Walking`",
            ),
            (&|t| t.needs = vec!["무엇".into()], "`needs`"),
            (&|t| t.minutes = 0, "`minutes`"),
            (&|t| t.proof = "신발 사진 😀 한 장이에요".into(), "holds"),
            (&|t| t.idea = "Walk".into(), "`idea`"),
        ];
        for (change, expected) in cases {
            let found = check(change);
            assert!(found.contains(expected), "{expected}: {found}");
        }
    }
}
