//! Finding words in a message that is written as people write: with particles, spaces where they like, capitals.

use std::ops::Range;

/// A word to look for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Term {
    /// Without spaces and signs, ASCII letters small.
    text: String,
    stands: Stands,
}

/// Where a word counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    Anywhere,
    /// Where a word begins, whatever follows.
    First,
    /// As a word of its own.
    Alone,
    /// As a word of its own, or as the end of one.
    Last,
}

/// Letters from which on a word counts wherever it stands.
const LONG: usize = 3;
/// Before a word that counts as the end of a longer one too.
const ENDS: char = '*';

impl Term {
    pub(crate) fn new(text: &str) -> Self {
        let (text, ends) = match text.strip_prefix(ENDS) {
            Some(text) => (text, true),
            None => (text, false),
        };
        let plain = plain(text);
        let first = text.split_whitespace().next().unwrap_or_default();
        let stands = if ends {
            Stands::Last
        } else if first.len() < text.trim().len() && first.chars().count() == 1 {
            Stands::First
        } else if plain.chars().count() >= LONG || text.trim().contains(' ') {
            Stands::Anywhere
        } else {
            Stands::Alone
        };
        Self { text: plain, stands }
    }
}

fn letter(c: char) -> Option<char> {
    c.is_alphanumeric().then_some(c.to_ascii_lowercase())
}

/// Letters and digits only, as [`Words::text`] has them.
pub(crate) fn plain(text: &str) -> String {
    text.chars().filter_map(letter).collect()
}

/// A message without spaces and signs, and where its words begin and end.
#[derive(Debug)]
pub(crate) struct Words<'a> {
    text: String,
    spans: Vec<Range<usize>>,
    particles: &'a [String],
}

impl<'a> Words<'a> {
    pub(crate) fn new(message: &str, particles: &'a [String]) -> Self {
        let mut text = String::new();
        let mut spans = Vec::new();
        for word in message.split(|c: char| !c.is_alphanumeric()) {
            let start = text.len();
            text.extend(word.chars().filter_map(letter));
            if text.len() > start {
                spans.push(start..text.len());
            }
        }
        Self { text, spans, particles }
    }

    /// The message's letters and digits.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// How many there are.
    pub(crate) fn letters(&self) -> usize {
        self.text.chars().count()
    }

    pub(crate) fn has_any(&self, terms: &[Term]) -> bool {
        terms.iter().any(|term| self.find(term, 0).is_some())
    }

    /// Where a word stands first, from this byte on.
    fn find(&self, term: &Term, from: usize) -> Option<Range<usize>> {
        if term.text.is_empty() {
            return None;
        }
        let words = || self.spans.iter().filter(|word| word.start >= from);
        let bare = |rest: &str| rest.is_empty() || self.particles.iter().any(|particle| particle == rest);
        let start = match term.stands {
            Stands::Anywhere => from + self.text[from..].find(&term.text)?,
            Stands::First => words().find(|word| self.text[word.start..].starts_with(&term.text))?.start,
            Stands::Alone => {
                let is = |word: &&Range<usize>| {
                    self.text[(*word).clone()].strip_prefix(&term.text).is_some_and(bare)
                };
                words().find(is)?.start
            }
            Stands::Last => {
                let end = |word: &Range<usize>| {
                    let (_, rest) = self.text[word.clone()].rsplit_once(&term.text)?;
                    bare(rest).then_some(word.start..word.end - rest.len())
                };
                return words().find_map(end);
            }
        };
        Some(start..start + term.text.len())
    }

    /// The words of a list that the message holds, as what each stands for and its place, in the order of the message
    /// and then of the list. What lies inside a longer one isn't meant.
    pub(crate) fn coded<'t, T>(&self, terms: &'t [(T, Term)]) -> Vec<(&'t T, Range<usize>)> {
        let mut found = Vec::new();
        for (stands_for, term) in terms {
            let mut from = 0;
            while let Some(range) = self.find(term, from) {
                from = range.end;
                found.push((stands_for, range));
            }
        }
        let inside = |inner: &Range<usize>, outer: &Range<usize>| {
            outer.start <= inner.start && inner.end <= outer.end && outer.len() > inner.len()
        };
        let mut meant: Vec<_> = found
            .iter()
            .filter(|(_, range)| !found.iter().any(|(_, other)| inside(range, other)))
            .cloned()
            .collect();
        meant.sort_by_key(|(_, range)| range.start);
        meant
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn particles() -> Vec<String> {
        ["에서", "는", "에서는", "을"].map(String::from).to_vec()
    }

    #[test]
    fn short_words_count_with_particles_only_and_long_ones_anywhere() {
        let particles = particles();
        for (message, term, expected) in [
            ("도시에서 살아요", "도시", true),
            ("저는 도시에서는 못 해요", "도시", true),
            ("도시락 싸기", "도시", false),
            ("신도시", "도시", false),
            ("부산에서", "산", false),
            ("산에서, 바로", "산", true),
            ("산 밑이라", "산 밑", true),
            ("부산 밑에", "산 밑", false),
            ("섬유공장에서", "*공장", true),
            ("공장에서", "*공장", true),
            ("공장장이", "*공장", false),
            ("쓰는텀블러가", "텀블러", true),
            ("텀 블러", "텀블러", true),
            ("또 있나요?", "또 있", true),
            ("VEGAN 요리", "vegan", true),
            ("", "산", false),
            ("산", "", false),
        ] {
            let words = Words::new(message, &particles);
            assert_eq!(words.has_any(&[Term::new(term)]), expected, "{term} in {message}");
        }
    }

    #[test]
    fn what_lies_inside_a_longer_word_is_not_meant() {
        let particles = particles();
        let terms = [("A", "탄소발자국"), ("B", "디지털 탄소발자국"), ("C", "비건")]
            .map(|(code, word)| (code, Term::new(word)));
        let codes = |message: &str| -> Vec<&str> {
            Words::new(message, &particles).coded(&terms).iter().map(|(code, _)| **code).collect()
        };
        assert_eq!(codes("비건 말고 디지털 탄소 발자국"), ["C", "B"]);
        assert_eq!(codes("탄소발자국을"), ["A"]);
        assert_eq!(codes("비건, 탄소발자국, 비건"), ["C", "A", "C"]);
        assert!(codes("없음").is_empty());
    }
}
