//! `X-Request-Id`: what a request is called in the logs, here and at whoever passed it on. Not the `requestId` that finds an
//! answer again.

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::map_request;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};

pub(super) const NAME: HeaderName = HeaderName::from_static("x-request-id");

/// Longest one that is taken over, in bytes.
const LONGEST: usize = 128;

/// Gives each request an id, in place of none and of one that can't be used, and says it in the response.
pub(super) fn identified(router: Router) -> Router {
    router
        .layer(PropagateRequestIdLayer::new(NAME))
        .layer(SetRequestIdLayer::new(NAME, MakeRequestUuid))
        .layer(map_request(without_unusable))
}

async fn without_unusable(mut request: Request) -> Request {
    let mut ids = request.headers().get_all(NAME).iter();
    let usable = ids.next().is_some_and(is_usable) && ids.next().is_none();
    if !usable {
        request.headers_mut().remove(NAME);
    }
    request
}

/// It goes into the log as it is, so it can't be just anything.
fn is_usable(id: &HeaderValue) -> bool {
    let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"._:-".contains(byte);
    (1..=LONGEST).contains(&id.len()) && id.as_bytes().iter().all(is_allowed)
}
