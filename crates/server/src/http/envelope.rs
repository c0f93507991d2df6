//! The one JSON shape of bodies and of events' data.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Envelope<T = Value> {
    pub(crate) status: u16,
    pub(crate) message: String,
    pub(crate) data: T,
}

impl<T: Serialize> Envelope<T> {
    pub(crate) fn ok(message: &str, data: T) -> Self {
        Self { status: 200, message: message.to_owned(), data }
    }

    /// JSON on one line.
    pub(crate) fn json(&self) -> String {
        // Fails only for maps whose keys are no strings and for types that refuse; ours have neither.
        one_line(serde_json::to_string(self).unwrap_or_default())
    }

    /// As a body, with this status or, where HTTP has no such status, 500.
    pub(crate) fn response(&self) -> Response {
        let mut response = Response::new(Body::from(self.json()));
        *response.status_mut() = match self.status {
            // "Client closed request" is a custom of logs, no status of HTTP.
            499 => StatusCode::INTERNAL_SERVER_ERROR,
            status => StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        };
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

/// JSON without the characters that some readers take for a line break. JSON has them in strings only, where an escape
/// means the same.
pub(super) fn one_line(json: String) -> String {
    const BREAKS: [(char, &str); 3] =
        [('\u{85}', "\\u0085"), ('\u{2028}', "\\u2028"), ('\u{2029}', "\\u2029")];
    let broken = json.contains(BREAKS.map(|(c, _)| c));
    if broken { BREAKS.iter().fold(json, |json, (c, escape)| json.replace(*c, escape)) } else { json }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Envelope;

    /// Field report 27.
    #[test]
    fn no_json_holds_what_a_reader_could_take_for_a_line_break() {
        let data = json!({ "\u{2028}": "a\u{85}b\u{2028}c\u{2029}d\n\u{2027}" });
        let json = Envelope::ok("\u{2029}", data.clone()).json();
        assert!(!json.contains(['\u{85}', '\u{2028}', '\u{2029}', '\n']), "{json}");
        let read: Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&read["data"], &read["message"]), (&data, &json!("\u{2029}")));
    }
}
