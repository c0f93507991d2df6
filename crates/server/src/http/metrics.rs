//! `/metrics` in Prometheus' text format.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use leafresh_chat::Sessions;

use crate::installed::Installed;
use crate::metrics::{Metrics, StreamFigures};
use crate::state::AppState;
use crate::streams::Streams;

pub(super) fn router() -> Router<AppState> {
    Router::new().route("/metrics", get(metrics))
}

async fn metrics(
    State(metrics): State<Arc<Metrics>>,
    State(installed): State<Arc<Installed>>,
    State(streams): State<Streams>,
    State(sessions): State<Arc<OnceLock<Sessions>>>,
) -> impl IntoResponse {
    if let Some(recommender) = installed.get() {
        metrics.chat(recommender.figures());
    }
    if let Some(sessions) = sessions.get() {
        metrics.sessions(sessions);
    }
    let taken = StreamFigures { bytes: streams.bytes(), parked: streams.parked() };
    let figures = metrics.render(&installed.health(), taken);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], figures)
}
