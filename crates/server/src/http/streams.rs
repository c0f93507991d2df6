//! `DELETE /ai/chatbot/streams/{stream}`: the stop button.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use axum::routing::delete;
use axum::{Extension, Router};
use leafresh_chat::Catalog;

use super::access::no_content;
use super::error::Error;
use super::paths::Segment;
use crate::door::Identity;
use crate::state::AppState;
use crate::streams::{StreamId, Streams};

pub(super) fn router() -> Router<AppState> {
    Router::new().route("/ai/chatbot/streams/{stream}", delete(stop).fallback(not_allowed))
}

/// Says the same whether or not there is such a stream, so that nobody learns of another's.
async fn stop(
    State(streams): State<Streams>,
    Extension(identity): Extension<Identity>,
    Segment(stream): Segment,
) -> Response {
    if let Some(stream) = StreamId::parse(&stream) {
        streams.stop(identity.name(), stream);
    }
    no_content()
}

async fn not_allowed(State(catalog): State<Arc<Catalog>>) -> Response {
    let mut response = Error::MethodNotAllowed.response(catalog.replies());
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("DELETE"));
    response
}
