//! Who may come in where: every request passes here first. And `POST /auth/cookie`.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use axum::routing::post;
use axum::{Extension, Router};

use super::error::Error;
use crate::door::{Identity, Peer};
use crate::state::AppState;

pub(super) fn router() -> Router<AppState> {
    Router::new().route("/auth/cookie", post(cookie))
}

/// Lets a request through with an [`Identity`], or answers in its place: 404 where what is administrative is closed,
/// 401 without a key that fits where keys are needed.
pub(super) async fn pass(State(app): State<AppState>, mut request: Request, next: Next) -> Response {
    let Some(&peer) = request.extensions().get::<Peer>() else {
        // Every connection says whose it is; without that nobody can be told apart.
        tracing::error!("a request came from nowhere");
        return Error::Internal.response(app.replies());
    };
    let path = request.uri().path();
    if is_administrative(path) && !peer.admin {
        return refuse(&Error::NotFound, &app);
    }
    let identity = if needs_key(path) && !(peer.apart && path == "/metrics") {
        match app.door().identify(peer, request.headers()) {
            Ok(identity) => identity,
            Err(_) => return refuse(&Error::Unauthorized, &app),
        }
    } else {
        app.door().stranger(peer, request.headers())
    };
    request.extensions_mut().insert(identity);
    next.run(request).await
}

fn refuse(error: &Error, app: &AppState) -> Response {
    tracing::info!(status = error.status(), reason = %error, "refused");
    app.metrics().refused(error.status());
    error.response(app.replies())
}

/// People's conversations, the engine for programs of any kind, and what the server says about itself.
fn is_administrative(path: &str) -> bool {
    let sessions = "/ai/chatbot/sessions";
    path == "/metrics" || is_below(path, "/v1") || is_below(path, sessions)
}

/// All that computes, or that tells of people. The page, health and the description of the API are for everybody.
fn needs_key(path: &str) -> bool {
    is_administrative(path) || is_below(path, "/ai") || is_below(path, "/auth")
}

fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Exchanges the key of this request for a cookie, for `EventSource`, which can't send headers.
async fn cookie(
    State(app): State<AppState>,
    Extension(identity): Extension<Identity>,
    request: Request,
) -> Response {
    // Without keys there is nothing to stand for, and nothing is needed.
    let Some(key) = identity.key() else { return no_content() };
    let secure =
        request.extensions().get::<Peer>().is_some_and(|peer| app.door().is_secure(*peer, request.headers()));
    let mut response = no_content();
    // Hexadecimal digits and words of ours.
    if let Ok(cookie) = HeaderValue::from_str(&app.door().cookie(key, secure)) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

pub(super) fn no_content() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What every response says to browsers, unless it says something of its own.
pub(super) async fn guarded(request: Request, next: Next) -> Response {
    const SAID: [(HeaderName, &str); 4] = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ];
    let mut response = next.run(request).await;
    for (name, value) in SAID {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_administrative_is_told_by_its_path() {
        for path in ["/metrics", "/v1", "/v1/models", "/ai/chatbot/sessions/a", "/ai/chatbot/sessions"] {
            assert!(is_administrative(path) && needs_key(path), "{path}");
        }
        for path in ["/", "/v10", "/metrics2", "/ai/chatbot/recommendation/base-info", "/health"] {
            assert!(!is_administrative(path), "{path}");
        }
        for path in ["/ai/chatbot/recommendation/base-info", "/ai/chatbot/streams/a", "/auth/cookie"] {
            assert!(needs_key(path), "{path}");
        }
        for path in ["/", "/chat.js", "/turn.js", "/health", "/health/ready", "/nothing", "/docs"] {
            assert!(!needs_key(path), "{path}");
        }
    }
}
