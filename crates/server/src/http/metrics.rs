//! `/metrics` in Prometheus' text format.

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;

use crate::state::AppState;

pub(super) fn router() -> Router<AppState> {
    Router::new().route("/metrics", get(metrics))
}

async fn metrics(State(app): State<AppState>) -> impl IntoResponse {
    if let Some(recommender) = app.recommender() {
        app.metrics().chat(recommender.figures());
    }
    if let Some(sessions) = app.sessions() {
        app.metrics().sessions(sessions);
    }
    let figures = app.metrics().render(&app.engine(), app.streams());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], figures)
}
