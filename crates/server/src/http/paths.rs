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

/// Paths as the log names them: `{…}` is one segment, whatever it is. (axum knows them too, but not without a feature with which
/// Qdrant would be built anew.)
const PATTERNS: [&str; 16] = [
    "/",
    "/docs",
    "/openapi.json",
    "/metrics",
    "/health",
    "/health/live",
    "/health/ready",
    "/auth/cookie",
    "/ai/chatbot/recommendation/base-info",
    "/ai/chatbot/recommendation/free-text",
    "/ai/chatbot/sessions/{id}",
    "/ai/chatbot/streams/{stream}",
    "/v1/models",
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
];

/// The pattern of a path; none for files of the page, and for what isn't there: anything may be in those.
pub(super) fn pattern(path: &str) -> Option<&'static str> {
    let path = path.strip_suffix('/').filter(|rest| !rest.is_empty()).unwrap_or(path);
    let fits = |pattern: &str| {
        let parts = pattern.split('/').zip(path.split('/'));
        pattern.split('/').count() == path.split('/').count()
            && parts.into_iter().all(|(wanted, found)| wanted.starts_with('{') || wanted == found)
    };
    PATTERNS.into_iter().find(|pattern| fits(pattern))
}

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

#[cfg(test)]
mod tests {
    use super::pattern;

    #[test]
    fn what_a_path_holds_of_others_is_not_in_its_pattern() {
        let cases = [
            ("/", Some("/")),
            ("/ai/chatbot/sessions/secret", Some("/ai/chatbot/sessions/{id}")),
            ("/ai/chatbot/streams/0a/", Some("/ai/chatbot/streams/{stream}")),
            ("/v1/embeddings", Some("/v1/embeddings")),
            ("/ai/chatbot/sessions", None),
            ("/ai/chatbot/sessions/a/b", None),
            ("/chat.js", None),
            ("", None),
        ];
        for (path, expected) in cases {
            assert_eq!(pattern(path), expected, "{path}");
        }
    }
}
