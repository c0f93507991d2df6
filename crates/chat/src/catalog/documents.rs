//! `documents/*.jsonl`: the challenges that answers are chosen from, one JSON object a line.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use leafresh_retrieval::Document;
use serde_json::Value;

use super::Files;
use super::choices::{Lists, Term, comparable};
use super::source::{self, check_line, error_on_line, explain, suggest};
use crate::Error;

/// Characters of a title.
const TITLE: RangeInclusive<usize> = 4..=24;

/// Sentences of a description.
const SENTENCES: RangeInclusive<usize> = 1..=2;

pub(super) fn load(files: &Files, lists: &Lists) -> Result<Vec<Document>, Error> {
    let mut documents = Vec::new();
    let mut seen = Seen::default();
    for name in source::list(files, "documents", "jsonl")? {
        let (text, path) = source::read(files, &name)?;
        for (index, line) in text.lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            let position = Position { path: path.clone(), line: index + 1 };
            let document = parse(line)
                .and_then(|document| check(&document, lists).map(|()| document))
                .and_then(|document| seen.add(&document, &position).map(|()| document))
                .map_err(|reason| error_on_line(&position.path, position.line, reason))?;
            documents.push(document);
        }
    }
    Ok(documents)
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Position {
    path: PathBuf,
    line: usize,
}

fn parse(line: &str) -> Result<Document, String> {
    if !line.trim_start().starts_with('{') {
        return Err("expected one JSON object on a line, `{\"id\": …}`".into());
    }
    serde_json::from_str(line).map_err(|error| {
        if !error.is_data() {
            let reason = error.to_string();
            // Every line is a text of its own to the parser: its line number would always be 1.
            let reason = reason.split(" at line ").next().unwrap_or_default();
            return format!("malformed JSON at column {}: {reason}", error.column());
        }
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or_default();
        match wrong_type(line) {
            Some(key) if message.starts_with("invalid type") => format!("`{key}`: {message}"),
            _ => explain(message, ""),
        }
    })
}

/// The first key whose value isn't of the type that a document has there.
fn wrong_type(line: &str) -> Option<String> {
    let object: serde_json::Map<String, Value> = serde_json::from_str(line).ok()?;
    let fits = |key: &str, value: &Value| match key {
        "places" | "work_types" | "questions" => {
            value.as_array().is_some_and(|list| list.iter().all(Value::is_string))
        }
        _ => value.is_string(),
    };
    object.iter().find(|(key, value)| !fits(key, value)).map(|(key, _)| key.clone())
}

fn check(document: &Document, lists: &Lists) -> Result<(), String> {
    let Document { id, category, places, work_types, title, text, short, questions, source } = document;
    let texts = [("id", id), ("title", title), ("text", text), ("short", short), ("source", source)];
    for (key, value) in texts {
        check_line(value).map_err(|reason| format!("`{key}` {reason}"))?;
    }
    document.check_questions()?;
    for question in questions {
        check_line(question).map_err(|reason| format!("`questions`: `{question}` {reason}"))?;
    }
    if !id.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')) {
        return Err(format!("`id` may hold ASCII letters, digits, `-`, `_` and `.` only, found `{id}`"));
    }

    let categories: Vec<&str> =
        lists.categories.items().iter().map(|category| category.code.as_str()).collect();
    check_code("category", category, &categories)?;
    check_codes("places", places, lists.places.items())?;
    check_codes("work_types", work_types, lists.work_types.items())?;

    let length = title.chars().count();
    if !TITLE.contains(&length) {
        return Err(format!(
            "`title` has {length} characters; expected {} to {}",
            TITLE.start(),
            TITLE.end()
        ));
    }
    for (key, value) in [("text", text), ("short", short)] {
        check_sentences(value).map_err(|reason| format!("`{key}` {reason}"))?;
    }
    Ok(())
}

fn check_codes(key: &str, codes: &[String], terms: &[Term]) -> Result<(), String> {
    let known: Vec<&str> = terms.iter().map(|term| term.code.as_str()).collect();
    if codes.is_empty() {
        return Err(format!(
            "`{key}` is empty; name the codes that fit, or all of them: {}",
            known.join(", ")
        ));
    }
    for (index, code) in codes.iter().enumerate() {
        check_code(key, code, &known)?;
        if codes[..index].contains(code) {
            return Err(format!("`{key}` names `{code}` twice"));
        }
    }
    Ok(())
}

fn check_code(key: &str, code: &str, known: &[&str]) -> Result<(), String> {
    if known.contains(&code) {
        return Ok(());
    }
    Err(format!("`{key}`: categories.toml has no code `{code}`; {}", suggest(code, known)))
}

/// A sentence ends with `.`, `!` or `?` before a space or the end, so that "1.5" doesn't end one.
fn check_sentences(text: &str) -> Result<(), String> {
    let is_end = |c: char| matches!(c, '.' | '!' | '?');
    if !text.ends_with(is_end) {
        return Err("has to end with `.`, `!` or `?`".into());
    }
    let count = text.split_whitespace().filter(|word| word.ends_with(is_end)).count();
    if SENTENCES.contains(&count) {
        return Ok(());
    }
    Err(format!("has {count} sentences; expected {} or {}", SENTENCES.start(), SENTENCES.end()))
}

/// Ids and titles so far: the same title twice would be offered as two challenges.
#[derive(Default)]
struct Seen {
    ids: HashMap<String, Position>,
    titles: HashMap<String, Position>,
}

impl Seen {
    fn add(&mut self, document: &Document, position: &Position) -> Result<(), String> {
        let Document { id, title, .. } = document;
        for (key, value, seen) in [("id", id, &mut self.ids), ("title", title, &mut self.titles)] {
            if let Some(first) = seen.insert(comparable(value), position.clone()) {
                return Err(format!("`{key}` repeats {}:{}: `{value}`", first.path.display(), first.line));
            }
        }
        Ok(())
    }
}
