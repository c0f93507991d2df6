//! Errors of the configuration as one sentence: where, what was found, what was expected.

use figment::error::{Actual, Kind};
use figment::{Profile, Source};

pub(super) fn text(error: &figment::Error) -> String {
    let place = place(error);
    let reason = match &error.kind {
        Kind::UnknownField(found, known) => unknown("key", found, known),
        Kind::UnknownVariant(found, known) => unknown("value", found, known),
        // What stands there may be a key that was meant for a setting of it.
        Kind::InvalidType(_, expected) if expected.starts_with("struct ") => {
            "this is a section; set its keys".into()
        }
        Kind::InvalidType(_, expected) | Kind::InvalidValue(_, expected) if is_secret(error) => {
            format!("found something else, expected {}", plain(expected))
        }
        Kind::InvalidType(found, expected) | Kind::InvalidValue(found, expected) => {
            format!("found {}, expected {}", quoted(found), plain(expected))
        }
        other => other.to_string().trim_end().to_owned(),
    };
    format!("{place}: {reason}")
}

/// Settings whose values are in no message.
const SECRETS: [&[&str]; 1] = [&["retrieval", "api_key"]];

fn is_secret(error: &figment::Error) -> bool {
    SECRETS.iter().any(|secret| error.path.iter().zip(*secret).all(|(found, own)| found == own))
}

/// `server.listen in config/leafresh.toml`, `LEAFRESH_SERVER__LISTEN (environment)`, `--listen (command line)`.
fn place(error: &figment::Error) -> String {
    let Some(metadata) = &error.metadata else {
        return if error.path.is_empty() { "configuration".into() } else { error.path.join(".") };
    };
    let keys: Vec<_> = error.path.iter().map(String::as_str).collect();
    match &metadata.source {
        Some(Source::File(path)) if keys.is_empty() => path.display().to_string(),
        Some(Source::File(path)) => format!("{} in {}", keys.join("."), path.display()),
        _ => format!("{} ({})", metadata.interpolate(&Profile::Default, &keys), metadata.name),
    }
}

fn unknown(what: &str, found: &str, known: &[&str]) -> String {
    let nearest = known
        .iter()
        .map(|name| (strsim::jaro_winkler(found, name), name))
        .filter(|(likeness, _)| *likeness > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((_, name)) if found.strip_prefix(*name).is_some_and(|rest| rest.starts_with('_')) => {
            format!(
                "unknown {what} `{found}`; section and key are separated by two underscores: LEAFRESH_{}__{}",
                name.to_ascii_uppercase(),
                found[name.len() + 1..].to_ascii_uppercase()
            )
        }
        Some((_, name)) => format!("unknown {what} `{found}`; did you mean `{name}`?"),
        None if known.is_empty() => format!("unknown {what} `{found}`"),
        None => format!("unknown {what} `{found}`; known are `{}`", known.join("`, `")),
    }
}

fn quoted(found: &Actual) -> String {
    match found {
        Actual::Str(text) => format!("\"{text}\""),
        Actual::Bool(value) => value.to_string(),
        Actual::Unsigned(number) => number.to_string(),
        Actual::Signed(number) => number.to_string(),
        Actual::Float(number) => number.to_string(),
        other => other.to_string(),
    }
}

/// Rust's names of types in words.
fn plain(expected: &str) -> &str {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a string" | "path string" => "a text in quotes",
        "a sequence" => "a list in brackets",
        other => other,
    }
}
