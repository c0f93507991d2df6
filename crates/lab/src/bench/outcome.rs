//! How requests ended, and what errors say.

use serde_json::Value;

/// How much of an error's text is shown.
const ERROR_TEXT: usize = 120;

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Valid,
    /// The stream came to its end mark, but the answer isn't what was asked for.
    Invalid(String),
    /// It did not come to its end mark.
    Failed(String),
}

/// What an error says of itself, as this server and OpenAI-compatible ones write it.
pub(super) fn message(json: &Value) -> String {
    let texts = [&json["message"], &json["error"]["message"], &json["error"]];
    let text = texts.into_iter().find_map(Value::as_str).unwrap_or("no reason given");
    text.trim().chars().take(ERROR_TEXT).collect()
}
