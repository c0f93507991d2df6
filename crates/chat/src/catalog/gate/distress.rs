//! People in distress or in danger, by expressions. `gate/distress.toml` says how a message is compared.

use regex::{Regex, RegexSet};
use serde::Deserialize;
use unicode_normalization::UnicodeNormalization;

use super::disguises::{composed, is_jamo};
use crate::Error;
use crate::catalog::files::Files;
use crate::catalog::source::{self, error_on_line, line_of};

const DISTRESS: &str = "gate/distress.toml";

/// Stands for what an exception matched: a character that no expression has.
const CUT: &str = "\u{E000}";

/// Who needs people rather than challenges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Emergency {
    /// Thinks of suicide or self-harm.
    Distress,
    /// In danger at this moment.
    Danger,
}

#[derive(Debug)]
pub(super) struct Emergencies {
    distress: Expressions,
    danger: Expressions,
}

#[derive(Debug)]
struct Expressions {
    patterns: RegexSet,
    except: Vec<Regex>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    distress: Lists,
    danger: Lists,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lists {
    patterns: Vec<String>,
    except: Vec<String>,
}

impl Emergencies {
    /// # Errors
    /// [`Error::Catalog`] when the file can't be used.
    pub(super) fn load(files: &Files) -> Result<Self, Error> {
        let (text, path) = source::read(files, DISTRESS)?;
        let file: File = source::from_toml(&text, &path)?;
        let fail = |pattern: &str, error: &regex::Error| {
            let line = line_of(&text, text.find(pattern).unwrap_or(0));
            error_on_line(&path, line, format!("`{pattern}`: {error}"))
        };
        let expressions = |lists: &Lists| -> Result<Expressions, Error> {
            // One by one first: a set's error doesn't say which one is wrong.
            let compiled = |pattern: &String| Regex::new(pattern).map_err(|error| fail(pattern, &error));
            lists.patterns.iter().try_for_each(|pattern| compiled(pattern).map(drop))?;
            let patterns = RegexSet::new(&lists.patterns).map_err(|error| fail("", &error))?;
            let except = lists.except.iter().map(compiled).collect::<Result<_, _>>()?;
            Ok(Expressions { patterns, except })
        };
        Ok(Self { distress: expressions(&file.distress)?, danger: expressions(&file.danger)? })
    }

    pub(super) fn of(&self, message: &str) -> Option<Emergency> {
        let text = plain(message);
        if self.distress.match_in(&text) {
            return Some(Emergency::Distress);
        }
        self.danger.match_in(&text).then_some(Emergency::Danger)
    }
}

impl Expressions {
    fn match_in(&self, text: &str) -> bool {
        // Most messages end here.
        if !self.patterns.is_match(text) {
            return false;
        }
        let mut rest = text.to_owned();
        for except in &self.except {
            if except.is_match(&rest) {
                rest = except.replace_all(&rest, CUT).into_owned();
            }
        }
        self.patterns.is_match(&rest)
    }
}

/// Letters and digits only, small; jamo that spell syllables are put together.
fn plain(message: &str) -> String {
    let mut chars: Vec<char> = Vec::new();
    for c in message.nfc() {
        // NFKC would make jamo that stand alone a part of the next syllable.
        if is_jamo(c) {
            chars.push(c);
        } else {
            chars.extend([c].into_iter().nfkc().flat_map(char::to_lowercase));
        }
    }
    composed(&chars).into_iter().filter(|c| c.is_alphanumeric()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Labelled {
        text: String,
        kind: String,
        split: String,
    }

    /// Of the labelled messages of one half and kind: how many there are, and those taken for something else.
    fn mistaken(split: &str, kind: &str, expected: &[Option<Emergency>]) -> (usize, Vec<String>) {
        let files = Files::built_in();
        let emergencies = Emergencies::load(&files).unwrap();
        let text = String::from_utf8(files.read("eval/distress.jsonl").unwrap()).unwrap();
        let all = text.lines().map(|line| serde_json::from_str::<Labelled>(line).unwrap());
        let of_kind: Vec<Labelled> = all.filter(|one| one.split == split && one.kind == kind).collect();
        let wrong = of_kind.iter().filter(|one| !expected.contains(&emergencies.of(&one.text)));
        (of_kind.len(), wrong.map(|one| one.text.clone()).collect())
    }

    /// Field report 33.
    #[test]
    fn people_in_distress_are_recognised_and_idioms_are_not() {
        for (kind, expected) in [
            ("distress", &[Some(Emergency::Distress)][..]),
            ("danger", &[Some(Emergency::Danger)]),
            ("none", &[None]),
        ] {
            for split in ["tune", "test"] {
                let (all, wrong) = mistaken(split, kind, expected);
                println!("{split} {kind}: {} of {all} mistaken", wrong.len());
                assert!(all >= 50 && wrong.len() * 50 <= all, "{split} {kind}: {wrong:?} of {all}");
            }
        }
    }

    /// Field report 33.
    #[test]
    fn disguises_and_signs_change_nothing() {
        let emergencies = Emergencies::load(&Files::built_in()).unwrap();
        for (message, expected) in [
            ("죽고 싶다", Some(Emergency::Distress)),
            ("ㅈㅜㄱ고 싶어", Some(Emergency::Distress)),
            ("자.살 하고 싶다", Some(Emergency::Distress)),
            ("부엌에서 가스 냄새가 나요", Some(Emergency::Danger)),
            ("콘센트 만지다가 감전됐어요", Some(Emergency::Danger)),
            ("배고파 죽겠다", None),
            ("비건으로 추천해 주세요", None),
        ] {
            assert_eq!(emergencies.of(message), expected, "{message}");
        }
    }
}
