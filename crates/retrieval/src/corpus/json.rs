//! One JSON object a line, read line by line: such files may be larger than the memory.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde::Deserialize;
use unicode_normalization::UnicodeNormalization;

use super::Codes;
use crate::{Document, Error};

/// A document as people write it: only `text` has to be there.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    #[serde(default)]
    id: String,
    #[serde(default)]
    category: String,
    #[serde(default)]
    places: Vec<String>,
    #[serde(default)]
    work_types: Vec<String>,
    #[serde(default)]
    title: String,
    text: String,
    #[serde(default)]
    short: String,
    #[serde(default)]
    questions: Vec<String>,
    #[serde(default)]
    source: String,
}

pub(super) fn read(
    path: &Path,
    name: &str,
    codes: &Codes,
    each: &mut dyn FnMut(Document) -> Result<(), Error>,
) -> Result<(), Error> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let mut reader = BufReader::new(File::open(path).map_err(io)?);
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        if reader.read_until(b'\n', &mut bytes).map_err(io)? == 0 {
            break;
        }
        let fault = |reason| Error::Document { path: path.to_owned(), line, reason };
        let text = str::from_utf8(&bytes)
            .map_err(|_| fault("not UTF-8 text; save the file with the encoding UTF-8".into()))?;
        let text: String = text.trim_start_matches('\u{feff}').trim().nfc().collect();
        if !text.is_empty() {
            each(parse(&text, name, line, codes).map_err(fault)?)?;
        }
    }
    Ok(())
}

fn parse(text: &str, name: &str, line: usize, codes: &Codes) -> Result<Document, String> {
    if !text.starts_with('{') {
        return Err("expected one JSON object on a line, `{\"title\": …, \"text\": …}`".into());
    }
    let row: Row = serde_json::from_str(text).map_err(|error| {
        let said = error.to_string();
        // Every line is a text of its own to the parser: its line number would always be 1.
        let said = said.split(" at line ").next().unwrap_or_default();
        format!("column {}: {said}", error.column())
    })?;
    let Row { id, category, places, work_types, title, text, short, questions, source } = row;
    check(
        "category",
        std::slice::from_ref(&category).iter().filter(|code| !code.is_empty()),
        &codes.categories,
    )?;
    check("places", places.iter(), &codes.places)?;
    check("work_types", work_types.iter(), &codes.work_types)?;
    if text.trim().is_empty() {
        return Err("`text` is empty".into());
    }
    let or = |value: String, other: String| if value.is_empty() { other } else { value };
    let document = Document {
        id: or(id, format!("{name}:{line}")),
        category,
        places,
        work_types,
        title,
        text,
        short,
        questions,
        source: or(source, name.into()),
    };
    document.check_questions().map(|()| document)
}

fn check<'a>(key: &str, found: impl Iterator<Item = &'a String>, known: &[String]) -> Result<(), String> {
    for code in found {
        if !known.is_empty() && !known.contains(code) {
            return Err(format!(
                "`{key}`: the catalogue has no code `{code}`; known are {}",
                known.join(", ")
            ));
        }
    }
    Ok(())
}
