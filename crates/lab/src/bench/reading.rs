//! Answers as they come over the wire, in each API's words.

use std::collections::BTreeSet;

use serde_json::Value;

use super::outcome::{Outcome, message};
use super::target::Api;

/// A line or an event's data that is longer is a fault, not an answer.
const MAX_EVENT: usize = 1024 * 1024;

/// Challenges in an answer.
const CHALLENGES: usize = 3;

/// A server-sent event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) name: String,
    pub(super) data: String,
}

/// Bytes in, events out (WHATWG HTML, section 9.2). Also takes llama-server's `error:` lines as events of that name.
#[derive(Debug, Default)]
pub(super) struct Parser {
    line: Vec<u8>,
    event: Event,
    after_cr: bool,
}

impl Parser {
    /// # Errors
    /// A sentence when the bytes are no such stream.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Event>, String> {
        let mut events = Vec::new();
        for &byte in bytes {
            let second_half = byte == b'\n' && std::mem::take(&mut self.after_cr);
            if second_half {
                continue;
            }
            self.after_cr = byte == b'\r';
            if !matches!(byte, b'\r' | b'\n') {
                self.line.push(byte);
                if self.line.len() > MAX_EVENT {
                    return Err("a line of the stream is over 1 MiB".into());
                }
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let line = std::str::from_utf8(&line).map_err(|_| "the stream is not UTF-8")?;
            events.extend(self.end_line(line));
            if self.event.data.len() > MAX_EVENT {
                return Err("an event of the stream is over 1 MiB".into());
            }
        }
        Ok(events)
    }

    fn end_line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            return (!event.data.is_empty()).then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event.name),
            "data" | "error" => {
                if field == "error" {
                    self.event.name = "error".into();
                }
                if !self.event.data.is_empty() {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            _ => {}
        }
        None
    }
}

/// Understands one answer.
#[derive(Debug)]
pub(super) struct Reader {
    api: Api,
    /// Whether the text must be a recommendation.
    strict: bool,
    /// The `data` of this server's `close`.
    close: Option<Value>,
    /// The server said that the token cap, and not the answer, ended it.
    cut: bool,
    finished: bool,
}

impl Reader {
    pub(super) fn new(api: Api, strict: bool) -> Self {
        Self { api, strict, close: None, cut: false, finished: false }
    }

    /// Appends the event's text and says whether it was the last event.
    ///
    /// # Errors
    /// Why the answer broke off.
    pub(super) fn event(&mut self, event: &Event, text: &mut String) -> Result<bool, String> {
        if self.api == Api::Openai && event.data == "[DONE]" {
            return Ok(true);
        }
        let data: Value =
            serde_json::from_str(&event.data).map_err(|_| "an event's data is not JSON".to_owned())?;
        if event.name == "error" || data.get("error").is_some_and(|error| !error.is_null()) {
            return Err(format!("error event: {}", message(&data)));
        }
        let piece = match self.api {
            Api::Leafresh => match event.name.as_str() {
                "challenge" => &data["data"],
                "close" => {
                    self.close = Some(data["data"].clone());
                    return Ok(true);
                }
                _ => &Value::Null,
            },
            Api::Openai => {
                let choice = &data["choices"][0];
                if let Some(reason) = choice["finish_reason"].as_str() {
                    self.finished = true;
                    self.cut |= reason == "length";
                }
                if choice["text"].is_string() { &choice["text"] } else { &choice["delta"]["content"] }
            }
            Api::LlamaServer => {
                self.finished |= data["stop"] == true;
                self.cut |= data["stop_type"] == "limit" || data["stopped_limit"] == true;
                &data["content"]
            }
        };
        text.push_str(piece.as_str().unwrap_or_default());
        Ok(self.api == Api::LlamaServer && self.finished)
    }

    /// The body is over without an end mark.
    ///
    /// # Errors
    /// Unless the server had said before that the answer is finished.
    pub(super) fn end_of_body(&self) -> Result<(), String> {
        if self.finished { Ok(()) } else { Err("the stream ended without its end mark".into()) }
    }

    /// What an answer that came to its end is worth.
    pub(super) fn verdict(&self, text: &str) -> Outcome {
        let fault = match &self.close {
            _ if self.cut => Some("cut off at the token cap".to_owned()),
            Some(close) => of_leafresh(close, text),
            None if !self.strict => text.is_empty().then(|| "no text".to_owned()),
            None => match serde_json::from_str(text) {
                Ok(answer) => of_answer(&answer),
                Err(_) => Some("the text is not JSON".to_owned()),
            },
        };
        fault.map_or(Outcome::Valid, Outcome::Invalid)
    }
}

/// What is wrong with the `data` of `close`, or with the texts before it.
pub(crate) fn of_leafresh(close: &Value, text: &str) -> Option<String> {
    if let Some(reason) = close["degradedReason"].as_str() {
        return Some(format!("from the catalogue instead of the model: {reason}"));
    }
    let mut rendered = close["recommend"].as_str().unwrap_or_default().to_owned();
    for (index, challenge) in close["challenges"].as_array().into_iter().flatten().enumerate() {
        let part = |key: &str| challenge[key].as_str().unwrap_or_default();
        let number = (index + 1).to_string();
        rendered.extend(["\n\n", &number, ". ", part("title"), "\n", part("description")]);
    }
    if rendered != text {
        return Some("the texts joined are not what `close` says".into());
    }
    of_answer(close)
}

/// What is missing for a recommendation of three different challenges.
fn of_answer(answer: &Value) -> Option<String> {
    let is_text = |value: &Value| value.as_str().is_some_and(|text| !text.trim().is_empty());
    if !is_text(&answer["recommend"]) {
        return Some("no `recommend`".into());
    }
    let challenges = answer["challenges"].as_array().map_or(&[][..], Vec::as_slice);
    if challenges.len() != CHALLENGES {
        return Some(format!("{} challenges instead of {CHALLENGES}", challenges.len()));
    }
    if challenges.iter().any(|one| !is_text(&one["title"]) || !is_text(&one["description"])) {
        return Some("a challenge without title or description".into());
    }
    let titles: BTreeSet<_> =
        challenges.iter().filter_map(|one| one["title"].as_str()).map(str::trim).collect();
    (titles.len() != CHALLENGES).then(|| "a title comes twice".into())
}

#[cfg(test)]
mod tests;
