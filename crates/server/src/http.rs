//! Paths, and what every request and response has in common.

mod access;
mod body;
mod direct;
mod envelope;
mod error;
mod health;
mod metrics;
mod names;
mod params;
mod paths;
mod recommend;
mod request_id;
mod sessions;
mod sse;
mod streams;
mod view;
mod web;

pub use direct::{Refused, base_info, sentence};
pub(crate) use error::Error;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use leafresh_chat::Catalog;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};
use tower_http::request_id::RequestId;
use tower_http::set_header::SetResponseHeaderLayer;
use tracing::Instrument;

use crate::config::{self, Origin};
use crate::state::AppState;

/// Every path, with everything around it. Requests carry the [`Peer`](crate::door::Peer) that they come from.
pub(crate) fn app(state: &AppState) -> Router {
    let catalog = state.part::<Arc<Catalog>>();
    let router = Router::new()
        .merge(recommend::router())
        .merge(streams::router())
        .merge(access::router())
        .merge(sessions::router())
        .merge(health::router())
        .merge(metrics::router())
        .merge(web::router(&catalog))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(state.part::<access::Access>(), access::pass));
    let router = caught(&catalog, router);
    let router = match cors(&state.part::<Arc<[Origin]>>()) {
        Some(layer) => router.layer(layer),
        None => router,
    };
    let router = router.layer(from_fn(traced)).with_state(state.clone());
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

/// What is logged meanwhile is told apart by the request's id. The query isn't logged: it holds people's words.
async fn traced(request: Request, next: Next) -> Response {
    let id = request.extensions().get::<RequestId>().and_then(|id| id.header_value().to_str().ok());
    let id = id.map(tracing::field::display);
    let span = tracing::info_span!("request", id, method = %request.method(), path = request.uri().path());
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
    let layer = CorsLayer::new()
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .expose_headers([header::RETRY_AFTER, request_id::NAME])
        .max_age(Duration::from_mins(10));
    Some(if origins.iter().any(Origin::is_any) {
        let names =
            ["x-api-key", "last-event-id", "idempotency-key", "traceparent", "baggage", "x-request-id"];
        let ours = names.map(HeaderName::from_static);
        let theirs = [header::CONTENT_TYPE, header::AUTHORIZATION, header::CACHE_CONTROL];
        layer
            .allow_origin(AllowOrigin::any())
            .allow_headers(AllowHeaders::list(theirs.into_iter().chain(ours)))
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
    use crate::log::tests::Pipe;
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

    #[tokio::test]
    async fn what_is_logged_of_a_request_tells_its_id_and_not_its_query() {
        let said = || async { tracing::info!("in the handler") };
        let router = Router::new().route("/", get(said)).layer(from_fn(traced));
        let service = TowerToHyperService::new(request_id::identified(router));
        let (log, _guard) = Pipe::of_this_thread();
        for id in ["relay-7", "two words"] {
            let request = axum::http::Request::get("/?message=secret").header(request_id::NAME, id);
            service.call(request.body(axum::body::Body::empty()).unwrap()).await.unwrap();
        }
        let log = log.text();
        let lines: Vec<_> = log.lines().collect();
        assert!(lines.len() == 2 && lines.iter().all(|line| line.contains("in the handler")), "{log}");
        assert!(lines[0].contains("request{id=relay-7 "), "{log}");
        // A random one.
        let id = lines[1].split_once("id=").unwrap().1.split_once(' ').unwrap().0;
        assert_eq!(id.len(), 36, "{log}");
        assert!(!log.contains("words") && !log.contains("secret"), "{log}");
    }
}
