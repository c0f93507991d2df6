//! Expressions of `keywords.toml`, and what is wrong with one that can't be read.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;

use regex::{Regex, RegexSet};

use crate::Error;
use crate::catalog::source::{error_on_line, line_of};

/// What is said of a place, a job or a category: counts where one of the first matches and none of the second.
#[derive(Debug)]
pub(crate) struct Said {
    yes: RegexSet,
    no: RegexSet,
}

impl Said {
    pub(crate) fn of(&self, marked: &str) -> bool {
        self.yes.is_match(marked) && !self.no.is_match(marked)
    }

    pub(crate) fn denied(&self, marked: &str) -> bool {
        self.no.is_match(marked)
    }
}

/// A part may hold parts, and these again; so often at most.
const DEPTH: usize = 5;

/// Makes expressions of texts, and says which one is wrong.
pub(super) struct Compiler<'a> {
    pub(super) text: &'a str,
    pub(super) path: &'a Path,
    /// Texts that expressions hold by name.
    pub(super) parts: &'a BTreeMap<String, String>,
}

impl Compiler<'_> {
    pub(super) fn fail(&self, key: &str, reason: String) -> Error {
        error_on_line(
            self.path,
            line_of(self.text, self.text.find(key).unwrap_or(0)) + usize::from(key.starts_with('\n')),
            reason,
        )
    }

    fn fail_at(&self, key: &str, reason: &dyn Display) -> Error {
        self.fail(&format!("\n{key} ="), format!("`{key}`: {reason}"))
    }

    /// The text with the parts that it holds in the place of their names.
    fn whole(&self, key: &str, text: &str, depth: usize) -> Result<String, Error> {
        let (mut whole, mut rest) = (String::new(), text);
        while let Some((before, name, after)) = held(rest) {
            let part = self.parts.get(name).ok_or_else(|| {
                self.fail_at(key, &format!("holds `{{{name}}}`, but [mentions.parts] has no `{name}`"))
            })?;
            if depth == DEPTH {
                let reason = format!("`{name}` of [mentions.parts] holds itself, or parts {DEPTH} deep");
                return Err(self.fail_at(key, &reason));
            }
            whole.push_str(before);
            whole.push_str(&self.whole(key, part, depth + 1)?);
            rest = after;
        }
        Ok(whole + rest)
    }

    pub(super) fn regex(&self, key: &str, pattern: &str) -> Result<Regex, Error> {
        Regex::new(&self.whole(key, pattern, 0)?).map_err(|error| self.fail_at(key, &error))
    }

    fn set(&self, key: &str, patterns: &[String]) -> Result<RegexSet, Error> {
        let whole: Vec<String> =
            patterns.iter().map(|pattern| self.whole(key, pattern, 0)).collect::<Result<_, _>>()?;
        RegexSet::new(whole).map_err(|error| self.fail_at(key, &error))
    }

    pub(super) fn said(&self, yes: (&str, &[String]), no: (&str, &[String])) -> Result<Said, Error> {
        Ok(Said { yes: self.set(yes.0, yes.1)?, no: self.set(no.0, no.1)? })
    }

    /// Expressions with a group to remember.
    pub(super) fn groups(&self, key: &str, patterns: &[String]) -> Result<Vec<Regex>, Error> {
        let group = |pattern: &String| {
            let regex = self.regex(key, pattern)?;
            if regex.captures_len() > 1 {
                return Ok(regex);
            }
            let reason = format!("`mentions.{key}` has no group to remember in `{pattern}`");
            Err(self.fail(&format!("\n{key} ="), reason))
        };
        patterns.iter().map(group).collect()
    }
}

/// What stands before the first name of a part, the name, and what follows: `a{name}b`. Counts of repetition are no names.
fn held(text: &str) -> Option<(&str, &str, &str)> {
    let letter = |c: char| c.is_ascii_lowercase() || c == '_';
    text.match_indices('{').find_map(|(start, _)| {
        let (name, after) = text[start + 1..].split_once('}')?;
        (!name.is_empty() && name.chars().all(letter)).then_some((&text[..start], name, after))
    })
}
