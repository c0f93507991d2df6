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
        let plain: String = text.chars().filter_map(letter).collect();
        let anywhere = plain.chars().count() >= LONG || text.trim().contains(' ');
        Self { text: plain, anywhere }
    }
}

fn letter(c: char) -> Option<char> {
    c.is_alphanumeric().then_some(c.to_ascii_lowercase())
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

    /// Letters and digits of the message.
    pub(crate) fn letters(&self) -> usize {
        self.text.chars().count()
    }

    pub(crate) fn has_any(&self, terms: &[Term]) -> bool {
        terms.iter().any(|term| self.find(term).is_some())
    }

    /// Where a word stands first.
    pub(crate) fn find(&self, term: &Term) -> Option<Range<usize>> {
        if term.text.is_empty() {
            return None;
        }
        if term.anywhere {
            return self.text.find(&term.text).map(|start| start..start + term.text.len());
        }
        let word = self.spans.iter().find(|word| {
            let rest = self.text[(*word).clone()].strip_prefix(&term.text);
            rest.is_some_and(|rest| rest.is_empty() || self.particles.iter().any(|particle| particle == rest))
        })?;
        Some(word.start..word.start + term.text.len())
    }

    /// The words of a list that the message holds, as the code of each and its place, in the order of the message.
    /// What lies inside a longer one isn't meant.
    pub(crate) fn coded<'t>(&self, terms: &'t [(String, Term)]) -> Vec<(&'t str, Range<usize>)> {
        let found: Vec<_> =
            terms.iter().filter_map(|(code, term)| Some((code.as_str(), self.find(term)?))).collect();
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

    /// Whether one of `words` follows, a particle between them or not.
    pub(crate) fn followed_by(&self, range: &Range<usize>, words: &[String]) -> bool {
        let rest = &self.text[range.end..];
        let begins = |text: &str| words.iter().any(|word| text.starts_with(word.as_str()));
        begins(rest)
            || self.particles.iter().filter_map(|particle| rest.strip_prefix(particle.as_str())).any(begins)
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
            assert_eq!(words.find(&Term::new(term)).is_some(), expected, "{term} in {message}");
        }
    }

    #[test]
    fn what_lies_inside_a_longer_word_is_not_meant() {
        let particles = particles();
        let terms = [("A", "탄소발자국"), ("B", "디지털 탄소발자국"), ("C", "비건")]
            .map(|(code, word)| (code.to_owned(), Term::new(word)));
        let codes = |message: &str| -> Vec<String> {
            Words::new(message, &particles).coded(&terms).iter().map(|(code, _)| (*code).to_owned()).collect()
        };
        assert_eq!(codes("비건 말고 디지털 탄소 발자국"), ["C", "B"]);
        assert_eq!(codes("탄소발자국을"), ["A"]);
        assert!(codes("없음").is_empty());
    }

    #[test]
    fn what_follows_may_come_after_a_particle() {
        let particles = particles();
        let except = ["말고".to_owned(), "싫".to_owned()];
        for (message, expected) in
            [("비건 말고", true), ("비건은요", false), ("비건을 싫어해", true), ("비건", false)]
        {
            let words = Words::new(message, &particles);
            let range = words.find(&Term::new("비건")).unwrap_or(0..6);
            assert_eq!(words.followed_by(&range, &except), expected, "{message}");
        }
    }
}
