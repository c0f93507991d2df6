//! Reading the catalogue's files, and saying exactly where one is wrong.

use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use unicode_normalization::UnicodeNormalization;

use super::Files;
use crate::Error;

/// Reads a file of the catalogue: its text in NFC, without a byte order mark, and its path for messages.
pub(crate) fn read(files: &Files, name: &str) -> Result<(String, PathBuf), Error> {
    let (path, bytes) = (files.path(name), files.read(name)?);
    match String::from_utf8(bytes) {
        // An editor on macOS may have written decomposed Hangul: the model and every comparison expect NFC.
        Ok(text) => Ok((text.trim_start_matches('\u{feff}').nfc().collect(), path)),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let line = line_of(&String::from_utf8_lossy(&error.as_bytes()[..valid]), valid);
            Err(error_on_line(&path, line, "not UTF-8 text; save the file with the encoding UTF-8"))
        }
    }
}

/// The names of the files in `folder` with this extension, as `folder/name`, sorted.
pub(crate) fn list(files: &Files, folder: &str, extension: &str) -> Result<Vec<String>, Error> {
    let counts = |name: &String| {
        !name.starts_with('.') && Path::new(name).extension().is_some_and(|found| found == extension)
    };
    let names = files.names_in(folder)?.into_iter().filter(counts);
    let mut names: Vec<String> = names.map(|name| format!("{folder}/{name}")).collect();
    if names.is_empty() {
        let reason = format!("no *.{extension} file here; the catalogue needs at least one");
        let source = io::Error::new(io::ErrorKind::NotFound, reason);
        return Err(Error::Io { path: files.path(folder), source });
    }
    names.sort();
    Ok(names)
}

/// As [`list`], of a folder that a catalogue may do without.
pub(crate) fn list_if_any(files: &Files, folder: &str, extension: &str) -> Result<Vec<String>, Error> {
    match list(files, folder, extension) {
        Err(Error::Io { path, source })
            if source.kind() == io::ErrorKind::NotFound && path == files.path(folder) =>
        {
            Ok(Vec::new())
        }
        names => names,
    }
}

/// Reads files of one JSON object a line; `take` says what is wrong with one.
pub(crate) fn json_lines<T: DeserializeOwned>(
    files: &Files,
    names: &[String],
    mut take: impl FnMut(T) -> Result<(), String>,
) -> Result<(), Error> {
    for name in names {
        let (text, path) = read(files, name)?;
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let parsed = serde_json::from_str(line).map_err(|error| {
                let message = error.to_string();
                // Every line is a text of its own to the parser: its line number would always be 1.
                explain(message.split(" at line ").next().unwrap_or_default(), "")
            });
            parsed.and_then(&mut take).map_err(|reason| error_on_line(&path, index + 1, reason))?;
        }
    }
    Ok(())
}

/// Deserialises TOML; an error names the line and the key.
pub(crate) fn from_toml<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T, Error> {
    toml::from_str(text).map_err(|mut error| {
        let span = error.span().unwrap_or(0..0);
        let message = error.message().to_owned();
        let reason = if message == "duplicate key" {
            format!("duplicate key `{}`; keep one of them", text.get(span.clone()).unwrap_or_default())
        } else {
            // Without its input the error prints the path of the key instead of an excerpt.
            error.set_input(None);
            let printed = error.to_string();
            explain(&message, printed.strip_prefix(&message).unwrap_or_default().trim())
        };
        error_at(path, text, span.start, reason)
    })
}

/// An error at the line that holds this byte of `text`.
pub(crate) fn error_at(path: &Path, text: &str, offset: usize, reason: impl Into<String>) -> Error {
    error_on_line(path, line_of(text, offset), reason)
}

pub(crate) fn error_on_line(path: &Path, line: usize, reason: impl Into<String>) -> Error {
    Error::Catalog { path: path.to_owned(), line, reason: reason.into() }
}

/// The line, from 1, that holds this byte.
pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|&byte| byte == b'\n').count() + 1
}

/// Serde's message in the words of somebody who edits a file: keys, and which one was probably meant. `place` says
/// in which table or key it happened ("in `category`"); it may be empty.
pub(crate) fn explain(message: &str, place: &str) -> String {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let place = if place.is_empty() { String::new() } else { format!(" {place}") };
    match quoted.split_first() {
        Some((unknown, known)) if message.starts_with("unknown field") => {
            format!("unknown key `{unknown}`{place}; {}", suggest(unknown, known))
        }
        Some((missing, _)) if message.starts_with("missing field") => {
            format!("missing key `{missing}`{place}")
        }
        Some((twice, _)) if message.starts_with("duplicate field") => {
            format!("duplicate key `{twice}`{place}; keep one of them")
        }
        _ => format!("{message}{place}"),
    }
}

/// "did you mean …?", or all that is known when nothing is close.
pub(crate) fn suggest(word: &str, known: &[&str]) -> String {
    let near = known.iter().map(|&candidate| (distance(word, candidate), candidate)).min();
    match near {
        Some((distance, candidate)) if distance * 2 <= candidate.chars().count() => {
            format!("did you mean `{candidate}`?")
        }
        _ => {
            let known: Vec<String> = known.iter().map(|candidate| format!("`{candidate}`")).collect();
            format!("known are {}", known.join(", "))
        }
    }
}

/// How many characters to insert, delete or replace, ASCII case aside (Levenshtein's distance, one row at a time).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(!a.eq_ignore_ascii_case(b));
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

/// Checks a text that people read: one line, not empty, nothing invisible.
pub(crate) fn check_line(text: &str) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err("is empty".into());
    }
    if text.trim() != text {
        return Err("begins or ends with a space".into());
    }
    let bad = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{fffd}');
    match text.chars().find(|&c| bad(c)) {
        Some('\u{fffd}') => Err("holds U+FFFD, left by a conversion from a wrong encoding".into()),
        Some('\n' | '\r' | '\u{2028}' | '\u{2029}') => {
            Err("holds a line break; it has to be one line".into())
        }
        Some(c) => Err(format!("holds the control character U+{:04X}", u32::from(c))),
        None => Ok(()),
    }
}
