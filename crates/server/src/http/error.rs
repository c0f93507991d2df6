//! Everything that is answered with an error, and the one mapping to status, sentence and data.

use axum::http::{HeaderValue, header};
use axum::response::Response;
use leafresh_chat::{Failure, Replies};
use serde_json::{Value, json};

use super::envelope::Envelope;
use super::names::Name;
use crate::door::TooMuch;

/// Seconds after which a client may try again.
const RETRY_AFTER: &str = "3";

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("required field missing: {0}")]
    Missing(Name),
    #[error("invalid fields: {0:?}")]
    InvalidFields(Vec<Name>),
    #[error("the message is too long")]
    MessageTooLong,
    #[error("malformed JSON")]
    MalformedJson,
    #[error("the body is no JSON object")]
    NotAnObject,
    #[error("invalid UTF-8")]
    InvalidEncoding,
    #[error("no key that fits")]
    Unauthorized,
    #[error("a page of another site, which cors.origins doesn't name")]
    ForeignPage,
    #[error("a host that server.hosts doesn't name")]
    ForeignHost,
    #[error("no such path")]
    NotFound,
    #[error("no such method")]
    MethodNotAllowed,
    #[error("the request took too long to arrive")]
    TooSlow,
    #[error("the body is too large")]
    TooLarge,
    #[error("the body is not declared as JSON")]
    UnsupportedMediaType,
    #[error("the stream can't be resumed")]
    StreamGone,
    #[error("over the client's limit; again in {0} s")]
    TooMuch(u64),
    #[error("cancelled")]
    Cancelled,
    #[error("the answer stopped growing")]
    Stalled,
    #[error("internal fault")]
    Internal,
    #[error("an upstream failed")]
    UpstreamFailed,
    #[error("an upstream took too long")]
    UpstreamTimeout,
    #[error("full (engine.running and engine.queue)")]
    Overloaded,
    #[error("the model is loading")]
    Loading,
    #[error("draining")]
    Draining,
}

impl Error {
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Missing(_)
            | Self::InvalidFields(_)
            | Self::MalformedJson
            | Self::NotAnObject
            | Self::InvalidEncoding => 400,
            Self::Unauthorized => 401,
            Self::ForeignPage => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::TooSlow => 408,
            Self::StreamGone => 410,
            Self::TooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::ForeignHost => 421,
            Self::MessageTooLong => 422,
            Self::TooMuch(_) => 429,
            Self::Cancelled => 499,
            Self::Internal | Self::Stalled => 500,
            Self::UpstreamFailed => 502,
            Self::UpstreamTimeout => 504,
            Self::Overloaded | Self::Loading | Self::Draining => 503,
        }
    }

    /// Whether the client's values are to blame, rather than how, where or when it asked.
    pub(crate) fn is_input(&self) -> bool {
        matches!(self.status(), 400 | 422)
    }

    pub(crate) fn envelope(&self, replies: &Replies) -> Envelope {
        let errors = &replies.errors;
        let message = match self {
            Self::Missing(name) => name.missing(replies),
            Self::InvalidFields(names) => errors.invalid_fields(&list(names)),
            Self::MessageTooLong => errors.message_too_long.clone(),
            Self::MalformedJson => errors.malformed_json.clone(),
            Self::NotAnObject => errors.not_an_object.clone(),
            Self::InvalidEncoding => errors.invalid_encoding.clone(),
            Self::Unauthorized => errors.unauthorized.clone(),
            Self::ForeignPage => errors.foreign_page.clone(),
            Self::ForeignHost => errors.foreign_host.clone(),
            Self::NotFound => errors.not_found.clone(),
            Self::MethodNotAllowed => errors.method_not_allowed.clone(),
            Self::TooSlow => errors.too_slow.clone(),
            Self::TooLarge => errors.too_large.clone(),
            Self::UnsupportedMediaType => errors.unsupported_media_type.clone(),
            Self::StreamGone => errors.stream_gone.clone(),
            Self::TooMuch(_) => errors.rate_limited.clone(),
            Self::Cancelled => errors.cancelled.clone(),
            Self::Internal => errors.internal.clone(),
            Self::Stalled => errors.stalled.clone(),
            Self::UpstreamFailed => errors.upstream_failed.clone(),
            Self::UpstreamTimeout => errors.upstream_timeout.clone(),
            Self::Overloaded => errors.overloaded.clone(),
            Self::Loading => errors.loading.clone(),
            Self::Draining => errors.draining.clone(),
        };
        let data = match self {
            Self::InvalidFields(names) => json!({ "invalidFields": list(names) }),
            Self::MessageTooLong => json!({ "invalidFields": [Name::Message.as_str()] }),
            _ => Value::Null,
        };
        Envelope { status: self.status(), message, data }
    }

    /// The envelope as a body with the real HTTP status.
    pub(crate) fn response(&self, replies: &Replies) -> Response {
        let mut response = with_retry_after(self.envelope(replies).response());
        let headers = response.headers_mut();
        match self {
            Self::Unauthorized => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Self::TooMuch(seconds) => {
                headers.insert(header::RETRY_AFTER, (*seconds).into());
            }
            _ => {}
        }
        response
    }

    /// Why a running answer failed. A server that is going away says so.
    pub(crate) fn from_failure(failure: Failure, draining: bool) -> Self {
        match failure {
            Failure::Internal => Self::Internal,
            Failure::Stalled => Self::Stalled,
            Failure::Upstream => Self::UpstreamFailed,
            Failure::UpstreamLate => Self::UpstreamTimeout,
            Failure::Unavailable if draining => Self::Draining,
            Failure::Unavailable => Self::Overloaded,
            Failure::Cancelled => Self::Cancelled,
        }
    }

    /// Why a request was not admitted.
    pub(crate) fn from_admission(error: &leafresh_chat::Error, draining: bool) -> Self {
        use leafresh_engine::Error as Engine;
        match error {
            leafresh_chat::Error::Engine(Engine::Overloaded { .. } | Engine::Stopped) => {
                Self::from_failure(Failure::Unavailable, draining)
            }
            other => {
                tracing::error!(error = %other, "a valid request could not be started");
                Self::Internal
            }
        }
    }
}

/// Adds `Retry-After` to a 503.
pub(crate) fn with_retry_after(mut response: Response) -> Response {
    if response.status() == axum::http::StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
    }
    response
}

impl From<TooMuch> for Error {
    fn from(TooMuch(after): TooMuch) -> Self {
        // Whole seconds, rounded up: a client that comes back then is let in.
        Self::TooMuch(after.as_secs() + u64::from(after.subsec_nanos() > 0))
    }
}

fn list(names: &[Name]) -> Vec<&'static str> {
    names.iter().map(|name| name.as_str()).collect()
}
