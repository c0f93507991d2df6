//! What a text for readers may be written with.

use std::collections::{BTreeMap, BTreeSet};

use leafresh_chat::Catalog;

/// Hangul syllables, digits and spaces; besides them only what the catalogue's own texts use.
#[derive(Debug, Clone)]
pub(super) struct Alphabet {
    marks: BTreeSet<char>,
    words: BTreeSet<String>,
}

impl Alphabet {
    pub(super) fn of(catalog: &Catalog) -> Self {
        let titles = catalog.documents().iter().map(|document| &*document.title);
        let descriptions = catalog.documents().iter().flat_map(|document| catalog.descriptions(document));
        let labels = catalog.categories().iter().map(|category| &*category.label);
        let openings: Vec<String> = catalog.opening_sentences().collect();
        Self::of_texts(titles.chain(descriptions).chain(labels).chain(openings.iter().map(String::as_str)))
    }

    fn of_texts<'a>(texts: impl Iterator<Item = &'a str>) -> Self {
        let mut alphabet = Self { marks: BTreeSet::new(), words: BTreeSet::new() };
        for text in texts {
            alphabet.words.extend(words(text).map(str::to_owned));
            alphabet.marks.extend(text.chars().filter(|c| !c.is_alphanumeric() && *c != ' '));
        }
        alphabet
    }

    /// What doesn't belong into the text: marks, letters of other scripts, and words in them.
    pub(super) fn strangers(&self, text: &str) -> Vec<String> {
        let mut strangers: Vec<String> =
            words(text).filter(|word| !self.words.contains(*word)).map(str::to_owned).collect();
        let marks = text.chars().filter(|c| !c.is_alphanumeric() && *c != ' ' && !self.marks.contains(c));
        strangers.extend(marks.map(|mark| format!("U+{:04X}", u32::from(mark))));
        strangers
    }
}

/// Runs of letters that are no Hangul syllables and no digits.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let plain = |c: char| ('가'..='힣').contains(&c) || c.is_ascii_digit() || !c.is_alphanumeric();
    text.split(plain).filter(|word| !word.is_empty())
}

/// How often each comes, the most frequent first.
pub(super) fn counted(strangers: impl Iterator<Item = String>) -> Vec<(String, usize)> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for stranger in strangers {
        *counts.entry(stranger).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_catalogues_own_letters_and_marks_belong() {
        let alphabet = Alphabet::of_texts(["PET병을 80%만, 채워요.", "1km 걷기"].into_iter());
        for (text, strangers) in [
            ("병 3개를 80% 채워요.", vec![]),
            ("PET병, 5km.", vec![]),
            ("LED 전구", vec!["LED"]),
            ("pet병", vec!["pet"]),
            ("재활용 リサイクル 해요", vec!["リサイクル"]),
            ("ㅋㅋ 좋아요!", vec!["ㅋㅋ", "U+0021"]),
            ("環境을 \u{200B}지켜요", vec!["環境", "U+200B"]),
            ("줄\n바꿈", vec!["U+000A"]),
            ("١٢", vec!["١٢"]),
        ] {
            assert_eq!(alphabet.strangers(text), strangers, "{text:?}");
        }
    }

    #[test]
    fn strangers_are_counted_the_most_frequent_first() {
        let counts = counted(["a", "b", "b"].map(String::from).into_iter());
        assert_eq!(counts, [("b".into(), 2), ("a".into(), 1)]);
    }
}
