//! Patterns of strings, as JSON schemas have them (ECMA-262), inside a JSON string.

use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, Hir, HirKind, Look};
use regex_syntax::{escape, parse};
use serde_json::Value;

use super::CHARACTER;

/// A day that there is in every year.
const DATE: &str = "[12][0-9]{3}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)\
    |02-(?:0[1-9]|1[0-9]|2[0-8]))";
const TIME: &str =
    "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{1,6})?(?:Z|[+-](?:0[0-9]|1[0-4]):[0-5][0-9])";
const UUID: &str = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}";
const IPV4: &str =
    "(?:(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\\.){3}(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";

/// The formats that can be followed. A moment is a date and a time.
pub(super) const FORMATS: [(&str, &[&str]); 5] = [
    ("date-time", &[DATE, "T", TIME]),
    ("date", &[DATE]),
    ("time", &[TIME]),
    ("uuid", &[UUID]),
    ("ipv4", &[IPV4]),
];

pub(super) fn format(name: &str) -> Option<String> {
    let (_, parts) = FORMATS.into_iter().find(|(known, _)| *known == name)?;
    Some(format!("(?:{})", parts.join(")(?:")))
}

/// A JSON string of a text in which the pattern is found.
///
/// # Errors
/// What of the pattern can't be followed.
pub(super) fn string(pattern: &str) -> Result<String, String> {
    let hir = parse(&with_classes_of_ascii(pattern)).map_err(|error| {
        let error = error.to_string();
        let reason = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
        format!("the pattern can't be followed: {reason}")
    })?;
    Ok(format!("\"{}\"", found(&hir)?))
}

/// `\d`, `\w` and `\s` are ASCII in ECMA-262. Classes may stand inside of classes here.
fn with_classes_of_ascii(pattern: &str) -> String {
    let mut result = String::with_capacity(pattern.len());
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        result.push(character);
        if character != '\\' {
            continue;
        }
        let Some(escaped) = characters.next() else { break };
        let class = match escaped {
            'd' => "[0-9]",
            'D' => "[^0-9]",
            'w' => "[0-9A-Za-z_]",
            'W' => "[^0-9A-Za-z_]",
            's' => "[ \\t\\n\\r]",
            'S' => "[^ \\t\\n\\r]",
            other => {
                result.push(other);
                continue;
            }
        };
        result.pop();
        result.push_str(class);
    }
    result
}

/// A pattern is found anywhere, unless it says where a text begins and ends.
fn found(hir: &Hir) -> Result<String, String> {
    let (parts, any) = match hir.kind() {
        HirKind::Alternation(ways) => {
            let ways: Result<Vec<String>, String> = ways.iter().map(found).collect();
            return Ok(format!("(?:{})", ways?.join("|")));
        }
        HirKind::Capture(capture) => return found(&capture.sub),
        HirKind::Concat(parts) => (parts.as_slice(), format!("{CHARACTER}*")),
        _ => (std::slice::from_ref(hir), format!("{CHARACTER}*")),
    };
    let is = |part: Option<&Hir>, look| part.is_some_and(|part| *part.kind() == HirKind::Look(look));
    let begins = is(parts.first(), Look::Start);
    let parts = &parts[usize::from(begins)..];
    let ends = is(parts.last(), Look::End);
    let parts = &parts[..parts.len() - usize::from(ends)];
    let inside: Result<String, String> = parts.iter().map(written).collect();
    let unless = |said: bool| if said { "" } else { any.as_str() };
    let (before, behind) = (unless(begins), unless(ends));
    Ok(format!("{before}(?:{}){behind}", inside?))
}

/// A part of a pattern as it is written in a JSON string.
fn written(hir: &Hir) -> Result<String, String> {
    Ok(match hir.kind() {
        HirKind::Empty => String::new(),
        HirKind::Literal(literal) => {
            let text = std::str::from_utf8(&literal.0).map_err(|_| "it matches what is no text")?;
            escape(in_json(text).as_str())
        }
        HirKind::Class(Class::Unicode(class)) => one_of(class)?,
        HirKind::Class(Class::Bytes(_)) => return Err("it matches what is no text".into()),
        HirKind::Look(_) => {
            return Err(
                "`^` and `$` can be followed at the beginning and end only, and \\b not at all".into()
            );
        }
        HirKind::Repetition(repetition) => {
            let most = repetition.max.map_or_else(String::new, |most| most.to_string());
            format!("(?:{}){{{},{most}}}", written(&repetition.sub)?, repetition.min)
        }
        HirKind::Capture(capture) => format!("(?:{})", written(&capture.sub)?),
        HirKind::Concat(parts) => parts.iter().map(written).collect::<Result<String, _>>()?,
        HirKind::Alternation(ways) => {
            format!("(?:{})", ways.iter().map(written).collect::<Result<Vec<_>, _>>()?.join("|"))
        }
    })
}

/// A text inside a JSON string, without its quotes.
fn in_json(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// A class as JSON writes it: a few characters are escaped, those that have no short escape are left out.
fn one_of(class: &ClassUnicode) -> Result<String, String> {
    const ESCAPED: [char; 7] = ['"', '\\', '\n', '\r', '\t', '\u{8}', '\u{c}'];
    let has = |character: char| {
        class.ranges().iter().any(|range| (range.start()..=range.end()).contains(&character))
    };
    let mut ways: Vec<String> = ESCAPED
        .into_iter()
        .filter(|&character| has(character))
        .map(|character| escape(&in_json(&character.to_string())))
        .collect();
    let mut plain = class.clone();
    let not_plain = [('\0', '\u{1f}'), ('"', '"'), ('\\', '\\')];
    plain.difference(&ClassUnicode::new(not_plain.map(|(first, last)| ClassUnicodeRange::new(first, last))));
    if !plain.ranges().is_empty() {
        let range = |range: &ClassUnicodeRange| {
            format!("\\x{{{:x}}}-\\x{{{:x}}}", u32::from(range.start()), u32::from(range.end()))
        };
        ways.push(format!("[{}]", plain.ranges().iter().map(range).collect::<String>()));
    }
    if ways.is_empty() { Err("no text matches it".into()) } else { Ok(format!("(?:{})", ways.join("|"))) }
}
