//! `/health*`: for load balancers and people.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use leafresh_chat::Catalog;
use serde_json::json;

use super::envelope::Envelope;
use super::error::with_retry_after;
use crate::installed::Installed;
use crate::life::Life;
use crate::state::{AppState, IndexState, Started};

pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/health", get(live))
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
}

async fn live(State(catalog): State<Arc<Catalog>>, State(started): State<Started>) -> Response {
    let uptime = started.uptime().as_secs();
    let data = json!({ "version": env!("CARGO_PKG_VERSION"), "uptimeSeconds": uptime });
    Envelope::ok(&catalog.replies().ok.alive, data).response()
}

async fn ready(
    State(catalog): State<Arc<Catalog>>,
    State(installed): State<Arc<Installed>>,
    State(index): State<IndexState>,
    State(life): State<Life>,
) -> Response {
    let model = installed.get().map(|recommender| recommender.backend().model().name.clone());
    let reasons = reasons(&installed, &index, &life);
    let ready = reasons.is_empty();
    let ok = &catalog.replies().ok;
    let (status, message) = if ready { (200, &ok.ready) } else { (503, &ok.not_ready) };
    let data = json!({ "ready": ready, "reasons": reasons, "model": model });
    with_retry_after(Envelope { status, message: message.clone(), data }.response())
}

/// Why the server isn't ready; empty when it is.
pub(super) fn reasons(installed: &Installed, index: &IndexState, life: &Life) -> Vec<&'static str> {
    let mut reasons = Vec::new();
    match installed.get() {
        None => reasons.push("loading"),
        // Its process has died and is being started again.
        Some(recommender) if !recommender.backend().health().ready => reasons.push("engine"),
        Some(_) => {}
    }
    if index.prepares() {
        reasons.push("index");
    }
    if life.draining() {
        reasons.push("draining");
    }
    reasons
}
