//! A slot's grammar for engines whose tokens are somebody else's: it is followed character by character.

use std::sync::Arc;

use crate::constraint::{Automata, Constraint, Next};
use crate::sequence::{Language, constraint, texts};
use crate::vocab::{Token, Tokenizer, Vocab};
use crate::{Error, Grammar, Slot};

/// Compiled grammars, each once. A token is a byte here.
pub struct Grammars(Language);

impl std::fmt::Debug for Grammars {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Grammars").field(&self.0.automata).finish()
    }
}

struct Bytes;

impl Tokenizer for Bytes {
    fn tokenize(&self, text: &str, _special: bool) -> Vec<Token> {
        text.bytes().map(Token::from).collect()
    }
}

impl Default for Grammars {
    fn default() -> Self {
        let pieces = (0..=u8::MAX).map(|byte| Box::from([byte])).collect();
        let vocab = Arc::new(Vocab::new(pieces, |_| true, Vec::new(), None));
        Self(Language {
            automata: Automata::new(vocab.clone()),
            vocab,
            tokenizer: Arc::new(Bytes),
            jump_forward: true,
        })
    }
}

/// What a slot holds, and what may come next in it.
///
/// From every text that it takes there is a way to the slot's end: what doesn't lead to one isn't taken.
#[derive(Debug, Clone)]
pub struct Matcher {
    constraint: Constraint,
    text: String,
}

impl Matcher {
    /// A slot that holds `written` already, where the slots before it hold `done`.
    ///
    /// # Errors
    /// [`Error::Program`] when its grammar is malformed or leaves nothing to write, or when `written` doesn't fit it.
    pub fn new(slot: &Slot, done: &[String], written: &str, grammars: &Grammars) -> Result<Self, Error> {
        let mut matcher = Self { constraint: constraint(slot, 0, done, &grammars.0)?, text: String::new() };
        if matcher.take(written) < written.len() {
            return Err(Error::Program(format!("the text {written:?} does not fit its slot")));
        }
        Ok(matcher)
    }

    /// What the slot holds.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Takes whole characters as long as they fit; says how many bytes those have.
    pub fn take(&mut self, text: &str) -> usize {
        let mut taken = 0;
        for character in text.chars() {
            let mut next = self.constraint.clone();
            let mut buffer = [0; 4];
            if !character.encode_utf8(&mut buffer).bytes().all(|byte| next.take_byte(byte)) {
                break;
            }
            self.constraint = next;
            self.text.push(character);
            taken += character.len_utf8();
        }
        taken
    }

    /// Whether the slot may end here.
    pub fn may_end(&self) -> bool {
        self.constraint.may_end()
    }

    /// Whether nothing may follow.
    pub fn must_end(&self) -> bool {
        self.constraint.next(usize::MAX) == Next::End
    }

    /// What comes next whatever the model says, whole characters of it: nothing where there is a choice.
    pub fn forced(&self) -> String {
        let mut ahead = self.constraint.clone();
        let mut bytes = Vec::new();
        while let Next::Forced(byte) = ahead.next(usize::MAX) {
            bytes.push(byte as u8);
            ahead.advance(byte);
        }
        whole(bytes)
    }

    /// The shortest texts with which the slot can end, at most so many of them, none where it may end already.
    pub fn shortest_ends(&self, most: usize) -> Vec<String> {
        let mut ends = Vec::new();
        if !self.may_end() {
            walk(&self.constraint, &mut Vec::new(), &mut |bytes| {
                ends.push(String::from_utf8_lossy(bytes).into_owned());
                ends.len() < most
            });
        }
        ends
    }

    /// The fewest bytes to the slot's end.
    pub fn distance(&self) -> usize {
        self.constraint.distance()
    }
}

/// Visits the shortest ways to the end; `false` when it was told to stop.
fn walk(from: &Constraint, bytes: &mut Vec<u8>, visit: &mut impl FnMut(&[u8]) -> bool) -> bool {
    let distance = from.distance();
    if distance == 0 {
        return visit(bytes);
    }
    for byte in 0..=u8::MAX {
        let mut next = from.clone();
        if next.take_byte(byte) && next.distance() + 1 == distance {
            bytes.push(byte);
            let goes_on = walk(&next, bytes, visit);
            bytes.pop();
            if !goes_on {
                return false;
            }
        }
    }
    true
}

/// Without the bytes of a character that isn't whole.
fn whole(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| {
        let whole = error.utf8_error().valid_up_to();
        let mut bytes = error.into_bytes();
        bytes.truncate(whole);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// The texts that a slot of choices may still hold, whole; `None` for other slots.
///
/// # Errors
/// [`Error::Program`] when none is left.
pub fn choices(slot: &Slot, done: &[String]) -> Result<Option<Vec<String>>, Error> {
    match slot.grammar {
        Grammar::Regex(_) => Ok(None),
        Grammar::Choices(_) | Grammar::Lookup { .. } => texts(slot, done).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn slot(grammar: Grammar, distinct_from: &[usize]) -> Slot {
        Slot { name: "slot".into(), grammar, max_tokens: 1, distinct_from: distinct_from.to_vec() }
    }

    fn matcher(slot: &Slot, done: &[&str], written: &str) -> Result<Matcher, Error> {
        let done: Vec<String> = done.iter().map(|text| (*text).to_owned()).collect();
        Matcher::new(slot, &done, written, &Grammars::default())
    }

    #[test]
    fn text_is_taken_up_to_the_first_character_that_does_not_fit() {
        let slot = slot(Grammar::Regex("[가-힣](?: ?[가-힣]){2,5}(?:니다|요)\\.".into()), &[]);
        let mut matcher = matcher(&slot, &[], "나무").unwrap();
        assert_eq!(matcher.take("를 A"), "를 ".len());
        assert_eq!(matcher.take("심어요"), "심어요".len());
        assert!(!matcher.may_end() && matcher.take("!") == 0);
        assert_eq!(matcher.forced(), "");
        assert_eq!(matcher.take(".뒤"), 1);
        assert!(matcher.may_end() && matcher.must_end());
        assert_eq!(matcher.text(), "나무를 심어요.");
    }

    #[test]
    fn what_leads_to_no_end_is_not_taken() {
        let title = slot(Grammar::Regex("[가-힣]{2}(?: 걷기)?".into()), &[0]);
        let mut matcher = matcher(&title, &["천천 걷기"], "").unwrap();
        // The last character would make it the title that there was before.
        assert_eq!(matcher.take("천천 걷기"), "천천".len());
        assert!(matcher.may_end() && matcher.must_end());
    }

    #[test]
    fn a_text_that_was_used_is_no_end_but_may_go_on() {
        let title = slot(Grammar::Regex("[가-힣]{2,4}".into()), &[0]);
        let mut matcher = matcher(&title, &["걷기"], "").unwrap();
        assert_eq!(matcher.take("걷기"), "걷기".len());
        assert!(!matcher.may_end() && !matcher.must_end());
        matcher.take("도");
        assert!(matcher.may_end());
    }

    #[test]
    fn choices_are_followed_and_forced_where_they_agree() {
        let table = BTreeMap::from([("걷기".to_owned(), vec!["산을 걷습니다.".into(), "산에 가요.".into()])]);
        let text = slot(Grammar::Lookup { of: 0, table }, &[]);
        let mut matcher = matcher(&text, &["걷기"], "").unwrap();
        assert_eq!(matcher.forced(), "산");
        matcher.take("산을");
        assert_eq!(matcher.forced(), " 걷습니다.");
        assert_eq!(matcher.shortest_ends(9), [" 걷습니다."]);
        assert!(matches!(
            Matcher::new(&text, &["걷기".into()], "강", &Grammars::default()),
            Err(Error::Program(_))
        ));
    }

    #[test]
    fn the_shortest_ends_are_found_and_counted() {
        let sentence = slot(Grammar::Regex("[가-힣]{3,9}(?:니다|어요)\\.".into()), &[]);
        let ends = |written| matcher(&sentence, &[], written).unwrap().shortest_ends(9);
        assert_eq!(ends("나무심"), ["니다.", "어요."]);
        assert_eq!(ends("나무심어"), ["요."]);
        assert_eq!(ends("나무").len(), 9, "one for each syllable, were it not for the bound");
        assert!(ends("나무심니다.").is_empty());
    }
}
