//! Where paths begin and end: below a prefix or not, with a slash at their end or without.

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRef, FromRequestParts, Path, Request, State};
use axum::http::uri::{PathAndQuery, Uri};
use axum::http::{HeaderValue, StatusCode, header, request::Parts};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use leafresh_chat::Catalog;
use tower_http::normalize_path::NormalizePath;

use super::error::Error;
use crate::config::Prefix;

/// All of `router` below the prefix.
pub(super) fn below(prefix: &Prefix, catalog: &Arc<Catalog>, router: Router) -> Router {
    let begin = (Arc::<str>::from(prefix.as_str()), catalog.clone());
    let any_end = NormalizePath::trim_trailing_slash(router);
    Router::new().fallback_service(any_end).layer(from_fn_with_state(begin, cut))
}

/// Not axum's `nest`: its page would be there without a slash too, and there its own links lead elsewhere.
async fn cut(
    State((prefix, catalog)): State<(Arc<str>, Arc<Catalog>)>,
    mut request: Request,
    next: Next,
) -> Response {
    let uri = request.uri();
    let target = uri.path_and_query().map_or("", PathAndQuery::as_str);
    match target.strip_prefix(&*prefix) {
        Some(rest) if rest.starts_with('/') && !prefix.is_empty() => match rest.parse::<Uri>() {
            Ok(rest) => *request.uri_mut() = rest,
            Err(_) => return Error::NotFound.response(catalog.replies()),
        },
        Some(rest) if !prefix.is_empty() && (rest.is_empty() || rest.starts_with('?')) => {
            return to_the_page(&format!("{prefix}/{rest}"));
        }
        Some(_) if prefix.is_empty() => {}
        _ => return Error::NotFound.response(catalog.replies()),
    }
    next.run(request).await
}

fn to_the_page(address: &str) -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    // A part of what was asked, which the HTTP library let through.
    if let Ok(address) = HeaderValue::from_str(address) {
        response.headers_mut().insert(header::LOCATION, address);
    }
    response
}

/// The part of a path that names something.
pub(super) struct Segment(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Segment
where
    Arc<Catalog>: FromRef<S>,
{
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        // What else may go wrong there is a fault of the route's.
        let refuse = |_| Error::InvalidEncoding.response(Arc::<Catalog>::from_ref(state).replies());
        path.map(|Path(segment)| Self(segment)).map_err(refuse)
    }
}
