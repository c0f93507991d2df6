//! Insults by list, with the usual ways of hiding them. `gate/insults.toml` says how a message is compared.

use serde::Deserialize;
use unicode_normalization::UnicodeNormalization;

use super::disguises::{composed, is_jamo, prolonged, split, with_finals, without_single_jamo};
use crate::Error;
use crate::catalog::files::Files;
use crate::catalog::source;

const INSULTS: &str = "gate/insults.toml";

/// Stands for an innocent text, or for a number in front of a word: a letter that no other text has.
const BLANK: char = '\u{E000}';

#[derive(Debug)]
pub(super) struct Insults {
    anywhere: Vec<Pattern>,
    start: Vec<Pattern>,
    word: Vec<Pattern>,
    message: Vec<Pattern>,
    allowed: Vec<Pattern>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    anywhere: Vec<String>,
    start: Vec<String>,
    word: Vec<String>,
    message: Vec<String>,
    allowed: Vec<String>,
    /// What the lists are tested with.
    #[serde(default)]
    case: Vec<Case>,
}

/// Messages that are insults, or that look like some and are none.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    insult: bool,
    texts: Vec<String>,
}

/// An entry's letters; a space stands for any number of spaces.
#[derive(Debug)]
struct Pattern(Vec<char>);

impl Pattern {
    fn new(text: &str) -> Self {
        Self(squeeze(&plain(text)))
    }

    /// Where the entry ends if it begins at `start`.
    fn end(&self, text: &[char], start: usize) -> Option<usize> {
        let mut at = start;
        for &c in &self.0 {
            if c == ' ' {
                while text.get(at) == Some(&' ') {
                    at += 1;
                }
            } else {
                if text.get(at) != Some(&c) {
                    return None;
                }
                at += 1;
            }
        }
        Some(at)
    }
}

impl Insults {
    /// # Errors
    /// [`Error::Catalog`] when the file can't be used, or when one of its own cases comes out wrong.
    pub(super) fn load(files: &Files) -> Result<Self, Error> {
        let (text, path) = source::read(files, INSULTS)?;
        let file: File = source::from_toml(&text, &path)?;
        let patterns = |list: &[String]| list.iter().map(|entry| Pattern::new(entry)).collect();
        let insults = Self {
            anywhere: patterns(&file.anywhere),
            start: patterns(&file.start),
            word: patterns(&file.word),
            message: patterns(&file.message),
            allowed: patterns(&file.allowed),
        };
        for case in &file.case {
            for message in &case.texts {
                if insults.is_in(message) != case.insult {
                    let expected = if case.insult { "an insult" } else { "no insult" };
                    let line = source::line_of(&text, text.find(message.as_str()).unwrap_or(0));
                    let reason = format!("the case `{message}` has to be {expected} by the lists above");
                    return Err(source::error_on_line(&path, line, reason));
                }
            }
        }
        Ok(insults)
    }

    pub(super) fn is_in(&self, message: &str) -> bool {
        let mut text = plain(message);
        self.blank_out(&mut text);
        let one = squeeze(&text);
        let other = squeeze(&without_single_jamo(&text));
        let third = squeeze(&with_finals(&text));
        [one, other, third].iter().any(|form| self.matches(form))
    }

    fn blank_out(&self, text: &mut [char]) {
        for pattern in &self.allowed {
            for start in 0..text.len() {
                if let Some(end) = pattern.end(text, start) {
                    text[start..end].fill(BLANK);
                }
            }
        }
    }

    fn matches(&self, text: &[char]) -> bool {
        let begins = |at: usize| at == 0 || text[at - 1] == ' ';
        let ends = |at: usize| at == text.len() || text[at] == ' ';
        (0..text.len()).filter(|&at| text[at] != ' ').any(|at| {
            let found = |patterns: &[Pattern], fits: &dyn Fn(usize) -> bool| {
                patterns.iter().any(|pattern| pattern.end(text, at).is_some_and(fits))
            };
            found(&self.anywhere, &|_| true)
                || begins(at) && found(&self.start, &|_| true)
                || begins(at) && found(&self.word, &ends)
                || at == 0 && found(&self.message, &|end| end == text.len())
        })
    }
}

/// NFKC but for jamo, small letters, single spaces; jamo that spell syllables are put together, and signs and digits
/// between two letters are dropped.
fn plain(message: &str) -> Vec<char> {
    let mut chars: Vec<char> = Vec::new();
    for c in message.nfc() {
        // NFKC would make jamo that stand alone a part of the next syllable.
        if is_jamo(c) {
            chars.extend(split(c));
        } else {
            chars.extend([c].into_iter().nfkc().flat_map(char::to_lowercase));
        }
    }
    let chars = composed(&chars);
    let mut plain: Vec<char> = Vec::new();
    for (index, &c) in chars.iter().enumerate() {
        if is_letter(c) {
            plain.push(c);
        } else if c.is_whitespace() {
            if plain.last().is_some_and(|&last| last != ' ') {
                plain.push(' ');
            }
        } else if c.is_ascii_digit()
            && plain.last().is_none_or(|&last| last == ' ')
            && chars.get(index + 1).is_some_and(|&next| is_letter(next))
        {
            // What follows a number doesn't begin a word.
            plain.push(BLANK);
        } else {
            // Between two letters it hides a word; elsewhere it ends one.
            let next = chars[index..].iter().find(|&&c| is_letter(c) || c.is_whitespace());
            let hides = plain.last().is_some_and(|&last| last != ' ') && next.is_some_and(|&c| is_letter(c));
            if !hides && plain.last().is_some_and(|&last| last != ' ') {
                plain.push(' ');
            }
        }
    }
    while plain.last() == Some(&' ') {
        plain.pop();
    }
    plain
}

fn is_letter(c: char) -> bool {
    c.is_alphabetic() || c == BLANK
}

/// Spaces between syllables that stand alone, letters that only prolong a syllable, and repeated letters are dropped.
fn squeeze(text: &[char]) -> Vec<char> {
    let alone = |at: usize| {
        let space = |at: Option<usize>| at.and_then(|at| text.get(at)).is_none_or(|&c| c == ' ');
        space(at.checked_sub(1)) && space(Some(at + 1))
    };
    let mut squeezed: Vec<char> = Vec::new();
    for (at, &c) in text.iter().enumerate() {
        let between = at > 0 && at + 1 < text.len() && alone(at - 1) && alone(at + 1);
        if c == ' ' && between && !text[at - 1].is_ascii() && !text[at + 1].is_ascii() {
            continue;
        }
        match squeezed.last().copied() {
            Some(last) if c == last && c.is_ascii_alphabetic() => {}
            Some(last) => match prolonged(last, c) {
                Some(syllable) => *squeezed.last_mut().unwrap_or(&mut ' ') = syllable,
                None => squeezed.push(c),
            },
            None => squeezed.push(c),
        }
    }
    squeezed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogues_own_cases_come_out_right() {
        Insults::load(&Files::built_in()).unwrap();
    }

    #[test]
    fn jamo_are_put_together_where_they_spell_syllables() {
        let text = |message: &str| plain(message).into_iter().collect::<String>();
        assert_eq!(text("ㅅㅣㅂㅏㄹ"), "시발");
        assert_eq!(text("ㅂㅕㅇㅅㅣㄴ아"), "병신아");
        assert_eq!(text("ㅋㅋㅋ 네"), "ㅋㅋㅋ 네");
        assert_eq!(text("ㅄ"), "ㅂㅅ");
        assert_eq!(text("시1발, F.U.C.K! 그래"), "시발 fuck 그래");
        assert_eq!(text("10시발 8등신 1.시발"), "\u{E000}시발 \u{E000}등신 시발");
    }

    #[test]
    fn letters_that_prolong_a_syllable_and_spaces_between_single_ones_go() {
        let text = |message: &str| squeeze(&plain(message)).into_iter().collect::<String>();
        assert_eq!(text("지이이랄"), "지랄");
        assert_eq!(text("시바아알"), "시발");
        assert_eq!(text("개 새 끼야"), "개새 끼야");
        assert_eq!(text("개 새 끼"), "개새끼");
        assert_eq!(text("다시 발견"), "다시 발견");
        assert_eq!(text("fuuuck you"), "fuck you");
    }
}
