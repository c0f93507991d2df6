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
        serde_json::to_string(self).unwrap_or_default()
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
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}
