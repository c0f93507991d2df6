//! `/health*`: for load balancers and people.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use serde_json::json;

use super::envelope::Envelope;
use super::error::with_retry_after;
use crate::state::AppState;

pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/health", get(live))
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
}

async fn live(State(app): State<AppState>) -> Response {
    let data = json!({ "version": env!("CARGO_PKG_VERSION"), "uptimeSeconds": app.uptime_seconds() });
    Envelope::ok(&app.replies().ok.alive, data).response()
}

async fn ready(State(app): State<AppState>) -> Response {
    let recommender = app.recommender();
    let model = recommender.as_ref().map(|recommender| recommender.backend().model().name.clone());
    let mut reasons = Vec::new();
    match recommender {
        None => reasons.push("loading"),
        // Its process has died and is being started again.
        Some(recommender) if !recommender.backend().health().ready => reasons.push("engine"),
        Some(_) => {}
    }
    if app.waits_for_index() {
        reasons.push("index");
    }
    if app.draining() {
        reasons.push("draining");
    }
    let ready = reasons.is_empty();
    let ok = &app.replies().ok;
    let (status, message) = if ready { (200, &ok.ready) } else { (503, &ok.not_ready) };
    let data = json!({ "ready": ready, "reasons": reasons, "model": model });
    with_retry_after(Envelope { status, message: message.clone(), data }.response())
}
