//! `replies.toml`: every sentence that the server itself says.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::Files;
use super::source::{self, check_line, error_at};
use crate::{Error, Kind};

/// The sentences, as `replies.toml` groups them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replies {
    pub required: RequiredReplies,
    pub events: EventReplies,
    pub fixed: FixedReplies,
    pub errors: ErrorReplies,
    pub ok: OkReplies,
}

/// A required field is missing, blank or null (400).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequiredReplies {
    pub location: String,
    pub work_type: String,
    pub category: String,
    pub message: String,
}

/// The `message` of a stream's events.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventReplies {
    /// One piece of text.
    pub token: String,
    challenge: String,
    close_base_info: String,
    /// Also that of `complete` and of the dialect `token`.
    pub close_free_text: String,
    pub queued: String,
    pub retrieving: String,
    pub writing: String,
}

impl EventReplies {
    /// One finished challenge, with its number from 1.
    pub fn challenge(&self, number: usize) -> String {
        self.challenge.replace("{n}", &number.to_string())
    }

    /// The end of an answer.
    pub fn close(&self, kind: Kind) -> &str {
        match kind {
            Kind::BaseInfo => &self.close_base_info,
            Kind::FreeText => &self.close_free_text,
        }
    }
}

/// Whole answers to messages that ask for no challenge.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FixedReplies {
    pub distress: String,
    pub danger: String,
    pub off_topic: String,
    pub insult: String,
    pub nonsense: String,
    /// "네" without anything before it.
    pub short: String,
    /// "네" to challenges.
    pub consent: String,
    again: String,
}

impl FixedReplies {
    /// A challenge of the last answer, with its number from 1.
    pub fn again(&self, number: usize, title: &str, description: &str) -> String {
        fill(&self.again, |name| match name {
            "n" => number.to_string(),
            "title" => title.to_owned(),
            _ => description.to_owned(),
        })
    }
}

/// A sentence with what stands in braces put in. In one pass: what is put in may hold braces itself.
pub(super) fn fill(sentence: &str, value: impl Fn(&str) -> String) -> String {
    let mut told = String::new();
    let mut rest = sentence;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        told.extend([before, &value(name)]);
        rest = after;
    }
    told + rest
}

/// Errors, as JSON bodies and as `error` events.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErrorReplies {
    /// 400: the request can't be read.
    pub malformed_json: String,
    pub not_an_object: String,
    pub invalid_encoding: String,
    invalid_fields: String,
    /// 401.
    pub unauthorized: String,
    /// 404.
    pub not_found: String,
    /// 405.
    pub method_not_allowed: String,
    /// 403: a page of another site.
    pub foreign_page: String,
    /// 421: a `Host` that isn't ours.
    pub foreign_host: String,
    /// 408.
    pub too_slow: String,
    /// 413.
    pub too_large: String,
    /// 415.
    pub unsupported_media_type: String,
    /// 431.
    pub headers_too_large: String,
    /// 422.
    pub message_too_long: String,
    /// 429.
    pub rate_limited: String,
    /// 410: a stream that can't be resumed, whatever the reason.
    pub stream_gone: String,
    /// 499: stopped by the reader.
    pub cancelled: String,
    /// 500: a fault of ours.
    pub internal: String,
    /// 500: an answer that stopped growing.
    pub stalled: String,
    /// 502.
    pub upstream_failed: String,
    /// 504.
    pub upstream_timeout: String,
    /// 503: the queue is full.
    pub overloaded: String,
    /// 503: no model yet.
    pub loading: String,
    /// 503: the server is shutting down.
    pub draining: String,
}

impl ErrorReplies {
    /// 400: these fields have values that can't be used.
    pub fn invalid_fields(&self, fields: &[&str]) -> String {
        self.invalid_fields.replace("{fields}", &fields.join(", "))
    }
}

/// Successful answers that are no stream.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OkReplies {
    pub success: String,
    /// `/health/live`.
    pub alive: String,
    /// `/health/ready`, 200.
    pub ready: String,
    /// `/health/ready`, 503.
    pub not_ready: String,
    /// After `DELETE` of a session.
    pub deleted: String,
}

impl Replies {
    pub(super) fn load(files: &Files) -> Result<Self, Error> {
        let (text, path) = source::read(files, "replies.toml")?;
        let replies = source::from_toml(&text, &path)?;

        // Once more without names, for what holds for every sentence and needs its line.
        let sections: BTreeMap<String, BTreeMap<String, Spanned<String>>> = source::from_toml(&text, &path)?;
        for (section, sentences) in &sections {
            for (key, sentence) in sentences {
                check(section, key, sentence.as_ref()).map_err(|reason| {
                    error_at(&path, &text, sentence.span().start, format!("`{section}.{key}` {reason}"))
                })?;
            }
        }
        Ok(replies)
    }
}

fn check(section: &str, key: &str, sentence: &str) -> Result<(), String> {
    check_line(sentence)?;
    let wanted: &[&str] = match (section, key) {
        ("events", "challenge") => &["{n}"],
        ("errors", "invalid_fields") => &["{fields}"],
        ("fixed", "again") => &["{n}", "{title}", "{description}"],
        _ => &[],
    };
    let mut rest = sentence.to_owned();
    for wanted in wanted {
        if !rest.contains(wanted) {
            return Err(format!("lacks `{wanted}`, which the server fills in"));
        }
        rest = rest.replace(wanted, "");
    }
    match (rest.contains(['{', '}']), wanted) {
        (false, _) => Ok(()),
        (true, []) => Err("holds a brace, but nothing is filled in here".into()),
        (true, _) => Err(format!("holds a brace that isn't part of `{}`", wanted.join("`, `"))),
    }
}
