//! Paths, and what every request and response has in common.

mod body;
mod direct;
mod door;
mod envelope;
mod error;
mod health;
mod metrics;
mod params;
mod paths;
mod recommend;
mod sessions;
mod sse;
mod streams;
mod view;
mod web;

pub use direct::{Refused, base_info, sentence};
pub(crate) use error::Error;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, Method, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tracing::Instrument;

use crate::config::Origin;
use crate::state::AppState;

/// Every path, with everything around it. Requests carry the [`Peer`](crate::door::Peer) that they come from.
pub(crate) fn app(state: &AppState) -> Router {
    let router = Router::new()
        .merge(recommend::router())
        .merge(streams::router())
        .merge(door::router())
        .merge(sessions::router())
        .merge(health::router())
        .merge(metrics::router())
        .merge(web::router(state.catalog()))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(state.clone(), door::pass));
    let router = match cors(state.origins()) {
        Some(layer) => router.layer(layer),
        None => router,
    };
    let router = router.layer(from_fn(door::guarded)).layer(from_fn(traced));
    paths::below(&state.server().prefix, state.catalog(), router.with_state(state.clone()))
}

async fn not_found(State(app): State<AppState>) -> Response {
    Error::NotFound.response(app.replies())
}

/// axum adds `Allow`.
async fn method_not_allowed(State(app): State<AppState>) -> Response {
    Error::MethodNotAllowed.response(app.replies())
}

/// Gives the request an id for the logs. The query isn't logged: it holds people's words.
async fn traced(request: Request, next: Next) -> Response {
    let id = format!("{:016x}", rand::random::<u64>());
    let span = tracing::info_span!("request", %id, method = %request.method(), path = request.uri().path());
    async {
        let response = next.run(request).await;
        tracing::debug!(status = response.status().as_u16(), "answered");
        response
    }
    .instrument(span)
    .await
}

/// `None` when no other origin may read our answers.
fn cors(origins: &[Origin]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let allowed = if origins.iter().any(Origin::is_any) {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(origins.iter().map(|origin| origin.header().clone()))
    };
    Some(
        CorsLayer::new()
            .allow_origin(allowed)
            .allow_methods([Method::GET, Method::POST, Method::DELETE])
            .allow_headers([
                header::CONTENT_TYPE,
                header::AUTHORIZATION,
                HeaderName::from_static("x-api-key"),
                HeaderName::from_static("last-event-id"),
                HeaderName::from_static("idempotency-key"),
            ])
            .expose_headers([header::RETRY_AFTER]),
    )
}
