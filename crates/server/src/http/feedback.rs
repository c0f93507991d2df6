//! `POST /ai/chatbot/streams/{stream}/feedback`: what somebody thinks of an answer that is remembered.

use std::sync::{Arc, OnceLock};

use axum::extract::{FromRef, Request, State};
use axum::response::Response;
use axum::routing::post;
use axum::{Extension, Router};
use leafresh_chat::{Catalog, SessionKey, Sessions};
use serde_json::Value;

use super::body;
use super::envelope::Envelope;
use super::error::Error;
use super::params::{self, Known, Table};
use super::paths::Segment;
use crate::config;
use crate::door::{Door, Identity};
use crate::metrics::Metrics;
use crate::socket::Exchange;
use crate::state::AppState;

pub(super) fn router() -> Router<AppState> {
    Router::new().route("/ai/chatbot/streams/{stream}/feedback", post(feedback))
}

/// What keeping it needs.
#[derive(Clone)]
struct Keeping {
    server: Arc<config::Server>,
    door: Arc<Door>,
    catalog: Arc<Catalog>,
    sessions: Arc<OnceLock<Sessions>>,
    metrics: Arc<Metrics>,
}

impl FromRef<AppState> for Keeping {
    fn from_ref(app: &AppState) -> Self {
        Self {
            server: app.part(),
            door: app.part(),
            catalog: app.part(),
            sessions: app.part(),
            metrics: app.part(),
        }
    }
}

async fn feedback(
    State(keeping): State<Keeping>,
    Extension(identity): Extension<Identity>,
    Segment(stream): Segment,
    request: Request,
) -> Response {
    let kept = keeping.keep(&identity, stream, request).await;
    let replies = keeping.catalog.replies();
    match kept {
        Ok(()) => Envelope::ok(&replies.ok.success, Value::Null).response(),
        Err(error) => {
            tracing::info!(status = error.status(), reason = %error, "refused");
            keeping.metrics.refused(error.status());
            error.response(replies)
        }
    }
}

impl Keeping {
    async fn keep(&self, identity: &Identity, stream: String, request: Request) -> Result<(), Error> {
        let (head, body) = request.into_parts();
        let bytes = body::read(&head.headers, body, body::SHORT, self.server.request_seconds.0).await;
        if let Some(exchange) = head.extensions.get::<Exchange>() {
            exchange.has_body();
        }
        let bytes = bytes?;
        let known = Known { catalog: &self.catalog, adapters: None };
        let values = params::check(&Table::FEEDBACK, &params::from_json(&bytes)?, known)?;
        self.door.ask(identity)?;
        let sessions = self.sessions.get().ok_or(Error::NotFound)?;
        let id = values.session_id.unwrap_or_default();
        let key = SessionKey { owner: identity.name().to_owned(), id };
        match sessions.rate(&key, stream, values.rating).await {
            Ok(true) => {
                if let Some(rating) = values.rating {
                    self.metrics.rated(rating);
                }
                Ok(())
            }
            Ok(false) => Err(Error::NotFound),
            Err(error) => {
                tracing::error!(%error, "a rating could not be kept");
                Err(Error::Internal)
            }
        }
    }
}
