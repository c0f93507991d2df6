//! `/ai/chatbot/sessions/{id}`: what is remembered of a conversation, and forgetting it.

use std::sync::{Arc, OnceLock};

use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use leafresh_chat::{Catalog, Session, SessionKey, Sessions};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::envelope::Envelope;
use super::error::Error;
use super::paths::Segment;
use crate::door::Identity;
use crate::state::AppState;
use crate::streams::Streams;

pub(super) fn router() -> Router<AppState> {
    Router::new().route("/ai/chatbot/sessions/{id}", get(show).delete(forget))
}

/// Each key has conversations of its own.
fn key(identity: &Identity, id: String) -> SessionKey {
    SessionKey { owner: identity.name().to_owned(), id }
}

async fn show(
    State(sessions): State<Arc<OnceLock<Sessions>>>,
    State(catalog): State<Arc<Catalog>>,
    Extension(identity): Extension<Identity>,
    Segment(id): Segment,
) -> Response {
    let key = key(&identity, id);
    let found = match sessions.get() {
        Some(sessions) => sessions.load(&key).await,
        None => Ok(None),
    };
    match found {
        Ok(Some(session)) => Envelope::ok(&catalog.replies().ok.success, data(&key.id, &session)).response(),
        Ok(None) => Error::NotFound.response(catalog.replies()),
        Err(error) => {
            tracing::error!(%error, "a session could not be read");
            Error::Internal.response(catalog.replies())
        }
    }
}

/// First the running answers end, for they could still write into the conversation.
async fn forget(
    State(streams): State<Streams>,
    State(sessions): State<Arc<OnceLock<Sessions>>>,
    State(catalog): State<Arc<Catalog>>,
    Extension(identity): Extension<Identity>,
    Segment(id): Segment,
) -> Response {
    let key = key(&identity, id);
    streams.forget_session(&key.owner, &key.id).await;
    if let Some(sessions) = sessions.get()
        && let Err(error) = sessions.delete(&key).await
    {
        tracing::error!(%error, "a session could not be deleted");
        return Error::Internal.response(catalog.replies());
    }
    Envelope::ok(&catalog.replies().ok.deleted, Value::Null).response()
}

fn data(id: &str, session: &Session) -> Value {
    let turns: Vec<Value> = session
        .turns
        .iter()
        .map(|turn| json!({ "role": turn.role.as_str(), "text": turn.text, "at": text(turn.at) }))
        .collect();
    let standing = &session.standing;
    // A conversation of fixed replies has no category yet.
    let category = |code: &str| (!code.is_empty()).then(|| code.to_owned());
    json!({
        "sessionId": id,
        "baseCategory": category(&standing.base_category),
        "category": category(&standing.category),
        "location": standing.location,
        "workType": standing.work_type,
        "turns": turns,
        "expiresAt": text(session.expires_at),
    })
}

/// RFC 3339, in UTC.
fn text(at: OffsetDateTime) -> Option<String> {
    at.format(&Rfc3339).ok()
}
