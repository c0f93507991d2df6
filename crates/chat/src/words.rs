//! Finding words in a message that is written as people write: with particles, spaces where they like, capitals.

use std::ops::Range;

/// A word to look for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Term {
    /// Without spaces and signs, ASCII letters small.
    text: String,
    /// Counts wherever it stands; else only as a word of its own.
    anywhere: bool,
}

/// Letters from which on a word counts wherever it stands.
const LONG: usize = 3;

impl Term {
    pub(crate) fn new(text: &str) -> Self {
        let plain = plain(text);
        let anywhere = plain.chars().count() >= LONG || text.trim().contains(' ');
        Self { text: plain, anywhere }
    }

    /// Whether a text is this word and nothing else.
    pub(crate) fn is(&self, text: &str) -> bool {
        self.text == plain(text)
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
        if term.anywhere {
            let start = from + self.text[from..].find(&term.text)?;
            return Some(start..start + term.text.len());
        }
        let word = self.spans.iter().filter(|word| word.start >= from).find(|word| {
            let rest = self.text[(*word).clone()].strip_prefix(&term.text);
            rest.is_some_and(|rest| rest.is_empty() || self.particles.iter().any(|particle| particle == rest))
        })?;
        Some(word.start..word.start + term.text.len())
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
