//! `/metrics` in Prometheus' text format.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use leafresh_chat::Sessions;

use super::health;
use crate::installed::Installed;
use crate::life::Life;
use crate::metrics::{Metrics, Now, StreamFigures};
use crate::otlp::Otlp;
use crate::state::{AppState, IndexState};
use crate::streams::Streams;

pub(super) fn router() -> Router<AppState> {
    Router::new().route("/metrics", get(metrics))
}

async fn metrics(
    State(metrics): State<Arc<Metrics>>,
    State(installed): State<Arc<Installed>>,
    State(streams): State<Streams>,
    State(sessions): State<Arc<OnceLock<Sessions>>>,
    State(index): State<IndexState>,
    State(life): State<Life>,
    State(otlp): State<Otlp>,
) -> impl IntoResponse {
    if let Some(recommender) = installed.get() {
        metrics.chat(recommender.figures());
    }
    if let Some(sessions) = sessions.get() {
        metrics.sessions(sessions);
    }
    let figures = metrics.render(&Now {
        ready: health::reasons(&installed, &index, &life).is_empty(),
        engine: installed.health(),
        streams: StreamFigures { bytes: streams.bytes(), parked: streams.parked() },
        spans_dropped: otlp.dropped(),
    });
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], figures)
}
