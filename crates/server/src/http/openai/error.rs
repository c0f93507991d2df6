//! Refusals in the form in which OpenAI's clients expect them.

use std::borrow::Cow;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};

use super::super::error::{Error, RETRY_AFTER};
use crate::door::TooMuch;

const INVALID: &str = "invalid_request_error";

/// Why a request isn't answered, or not to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    /// What the client can do about it: its request is wrong, it asks too much, or it may try again.
    kind: &'static str,
    pub(super) message: Cow<'static, str>,
    /// The parameter that is to blame, with the way to it: `messages[0].content`.
    pub(super) param: Option<String>,
    pub(super) code: Option<&'static str>,
    /// Seconds after which it is worth asking again.
    retry_after: Option<u64>,
    /// An answer was begun, which is counted by itself.
    pub(super) has_begun: bool,
}

impl Refusal {
    fn new(status: u16, kind: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        let message = message.into();
        Self { status, kind, message, param: None, code: None, retry_after: None, has_begun: false }
    }

    /// A parameter whose value can't be used. The sentence says what was expected.
    pub(super) fn invalid(param: &str, message: impl std::fmt::Display) -> Self {
        let message = if param.is_empty() { message.to_string() } else { format!("{param}: {message}") };
        let param = (!param.is_empty()).then(|| param.to_owned());
        Self { param, code: Some("invalid_value"), ..Self::new(400, INVALID, message) }
    }

    /// A parameter that OpenAI's API has and this server hasn't. The sentence says what to do instead.
    pub(super) fn unsupported(param: &str, message: impl std::fmt::Display) -> Self {
        Self { code: Some("unsupported_parameter"), ..Self::invalid(param, message) }
    }

    pub(super) fn unknown_parameter(param: &str) -> Self {
        let message = "no such parameter; check its spelling, or leave it out";
        Self { code: Some("unknown_parameter"), ..Self::invalid(param, message) }
    }

    pub(super) fn missing(param: &str, expected: &str) -> Self {
        let message = format!("is required: {expected}");
        Self { code: Some("missing_required_parameter"), ..Self::invalid(param, message) }
    }

    pub(super) fn context_length(param: &str, message: String) -> Self {
        Self { code: Some("context_length_exceeded"), ..Self::invalid(param, message) }
    }

    /// There is no such model; `there_are` are those that there are.
    pub(super) fn no_model(wanted: &str, there_are: &[String]) -> Self {
        let message =
            format!("The model `{wanted}` does not exist. This server has: {}.", there_are.join(", "));
        let param = Some("model".to_owned());
        Self { param, code: Some("model_not_found"), ..Self::new(404, INVALID, message) }
    }

    /// As [`Error`], told in this form. `request` is the request's method and path.
    pub(super) fn from_error(error: &Error, request: &str) -> Self {
        let invalid = |status, message: &'static str| Self::new(status, INVALID, message);
        let server = |status, message: &'static str| Self::new(status, "server_error", message);
        let with = |code, refusal| Self { code: Some(code), ..refusal };
        match error {
            Error::Unauthorized => with(
                "invalid_api_key",
                invalid(
                    401,
                    "No API key was given, or it is none of this server's. Send one as `Authorization: Bearer KEY`.",
                ),
            ),
            Error::ForeignPage => {
                invalid(403, "A page of another site asks; the server's `cors.origins` doesn't list it.")
            }
            Error::NotFound => {
                let message = format!(
                    "Unknown request URL: {request}. There are /v1/models, /v1/chat/completions, /v1/completions, \
                     /v1/responses and /v1/embeddings, where the server's `admin.listen`, `keys.file` and `openai.enabled` open them."
                );
                with("unknown_url", Self::new(404, INVALID, message))
            }
            Error::MethodNotAllowed => Self::new(405, INVALID, format!("Not allowed: {request}.")),
            Error::TooSlow => invalid(408, "The request took too long to arrive."),
            Error::TooLarge => {
                invalid(413, "The body is larger than the server allows; its setting is `openai.body_kib`.")
            }
            Error::UnsupportedMediaType => {
                invalid(415, "The body has to be `Content-Type: application/json`.")
            }
            Error::ForeignHost => {
                invalid(421, "The server isn't asked by this name; it can be listed in its `server.hosts`.")
            }
            Error::TooMuch(seconds) => {
                let message = "This client asks more than the server lets it; try again later.";
                let refusal = Self::new(429, "requests", message);
                with("rate_limit_exceeded", Self { retry_after: Some(*seconds), ..refusal })
            }
            Error::Overloaded => {
                server(503, "The server is full. Try again later.").worth_repeating("overloaded")
            }
            Error::Loading => {
                server(503, "The model is still loading. Try again soon.").worth_repeating("loading")
            }
            Error::Draining => {
                server(503, "The server is about to stop. Try again later.").worth_repeating("draining")
            }
            Error::Stalled => server(500, "The model took too long."),
            Error::Cancelled | Error::Internal => {
                server(500, "The server met a fault of its own; its log says which.")
            }
            Error::MalformedJson | Error::InvalidEncoding => invalid(400, "The body is no JSON."),
            Error::NotAnObject => invalid(400, "The body has to be a JSON object."),
            // Of parameters that are called otherwise here.
            Error::Missing(_) | Error::InvalidFields(_) | Error::MessageTooLong | Error::StreamGone => {
                Self::new(error.status(), INVALID, error.to_string())
            }
        }
    }

    /// The answer counts already as one that failed.
    pub(super) fn of_a_begun_answer(self) -> Self {
        Self { has_begun: true, ..self }
    }

    fn worth_repeating(self, code: &'static str) -> Self {
        Self { retry_after: Some(RETRY_AFTER), code: Some(code), ..self }
    }

    /// `{"error": …}`, as a body and as the last event of a stream that fails.
    pub(super) fn json(&self) -> Value {
        let Self { kind, message, param, code, .. } = self;
        json!({ "error": { "message": message, "type": kind, "param": param, "code": code } })
    }

    pub(super) fn response(&self) -> Response {
        let mut response = Response::new(Body::from(self.json().to_string()));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::from_error(&error, "")
    }
}

impl From<TooMuch> for Refusal {
    fn from(too_much: TooMuch) -> Self {
        Error::from(too_much).into()
    }
}
