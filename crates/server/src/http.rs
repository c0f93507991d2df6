//! Paths, and what every request and response has in common.

mod access;
mod body;
mod direct;
mod envelope;
mod error;
mod feedback;
mod health;
mod metrics;
mod names;
mod openai;
mod params;
mod paths;
mod pieces;
mod recommend;
mod request_id;
mod sessions;
mod sse;
mod streams;
mod traced;
mod view;
mod web;

pub use direct::{Refused, base_info, sentence};
pub(crate) use error::Error;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use leafresh_chat::Catalog;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};
use tower_http::set_header::SetResponseHeaderLayer;

use crate::config::{self, Origin};
use crate::metrics::Metrics;
use crate::state::AppState;

/// Every path, with everything around it. Requests carry the [`Peer`](crate::door::Peer) that they come from.
pub(crate) fn app(state: &AppState) -> Router {
    let catalog = state.part::<Arc<Catalog>>();
    let router = Router::new()
        .merge(recommend::router())
        .merge(streams::router())
        .merge(feedback::router())
        .merge(access::router())
        .merge(sessions::router())
        .merge(health::router())
        .merge(metrics::router())
        .merge(openai::router(&state.part::<Arc<config::OpenAi>>()))
        .merge(web::router(&catalog, &state.part::<Arc<config::Page>>()))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(state.part::<access::Access>(), access::pass));
    let router = caught(&catalog, router);
    let router = router.layer(from_fn_with_state(state.part::<Arc<Metrics>>(), openai::shaped));
    let router = match cors(&state.part::<Arc<[Origin]>>()) {
        Some(layer) => router.layer(layer),
        None => router,
    };
    let told = from_fn_with_state(state.part::<traced::Following>(), traced::traced);
    let router = router.layer(told).with_state(state.clone());
    let server = state.part::<Arc<config::Server>>();
    let router = paths::below(&server.prefix, &catalog, router);
    request_id::identified(careful(router))
}

async fn not_found(State(catalog): State<Arc<Catalog>>) -> Response {
    Error::NotFound.response(catalog.replies())
}

/// axum adds `Allow`.
async fn method_not_allowed(State(catalog): State<Arc<Catalog>>) -> Response {
    Error::MethodNotAllowed.response(catalog.replies())
}

/// What every response says to browsers, unless it says something of its own.
fn careful(router: Router) -> Router {
    let said = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ];
    said.into_iter().fold(router, |router, (name, value)| {
        router.layer(SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value)))
    })
}

/// `None` when no other origin may read our answers.
fn cors(origins: &[Origin]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let layer = CorsLayer::new()
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .expose_headers([header::RETRY_AFTER, request_id::NAME])
        .max_age(Duration::from_mins(10));
    Some(if origins.iter().any(Origin::is_any) {
        let names =
            ["x-api-key", "last-event-id", "idempotency-key", "traceparent", "baggage", "x-request-id"];
        let ours = names.map(HeaderName::from_static);
        let theirs = [header::CONTENT_TYPE, header::AUTHORIZATION, header::CACHE_CONTROL];
        let all = theirs.into_iter().chain(ours).chain(openai::HEADERS.map(HeaderName::from_static));
        layer.allow_origin(AllowOrigin::any()).allow_headers(AllowHeaders::list(all))
    } else {
        // Libraries add headers of their own, and front ends ask with their cookies.
        layer
            .allow_origin(AllowOrigin::list(origins.iter().map(|origin| origin.header().clone())))
            .allow_headers(AllowHeaders::mirror_request())
            .allow_credentials(true)
    })
}

/// A fault in a handler is answered as one; its text is in the log.
fn caught(catalog: &Arc<Catalog>, router: Router<AppState>) -> Router<AppState> {
    let catalog = catalog.clone();
    router.layer(CatchPanicLayer::custom(move |_: Box<dyn Any + Send>| {
        Error::Internal.response(catalog.replies())
    }))
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use axum::routing::get;
    use hyper::service::Service;
    use hyper_util::service::TowerToHyperService;

    use super::*;
    use crate::streams::tests::state;

    async fn faulty() {
        panic!("as the test wants it");
    }

    /// Field report 47.
    #[tokio::test]
    async fn a_fault_in_a_handler_is_answered_with_500() {
        let app = state(|_| ());
        let router = caught(&app.part(), Router::new().route("/", get(faulty))).with_state(app);
        let request = axum::http::Request::get("/").body(axum::body::Body::empty()).unwrap();
        let response = TowerToHyperService::new(router).call(request).await.unwrap();
        assert_eq!(response.status(), 500);
        let body = to_bytes(response.into_body(), 4096).await.unwrap();
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(json["message"], "응답이 중간에 종료되었습니다.");
    }
}
