//! Who may come in where: every request passes here first. And `POST /auth/cookie`.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRef, Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::Response;
use axum::routing::post;
use axum::{Extension, Router};
use leafresh_chat::Catalog;

use super::error::Error;
use crate::config;
use crate::door::{Door, Identity, Peer};
use crate::metrics::Metrics;
use crate::state::AppState;

const COOKIE: &str = "/auth/cookie";
const SESSIONS: &str = "/ai/chatbot/sessions";

pub(super) fn router() -> Router<AppState> {
    Router::new().route(COOKIE, post(cookie).delete(end_cookie))
}

/// What is looked at, and what a refusal is told and counted with.
#[derive(Clone)]
pub(super) struct Access {
    door: Arc<Door>,
    server: Arc<config::Server>,
    origins: Arc<[config::Origin]>,
    catalog: Arc<Catalog>,
    metrics: Arc<Metrics>,
}

impl FromRef<AppState> for Access {
    fn from_ref(app: &AppState) -> Self {
        Self {
            door: app.part(),
            server: app.part(),
            origins: app.part(),
            catalog: app.part(),
            metrics: app.part(),
        }
    }
}

/// Lets a request through with an [`Identity`], or answers in its place: 421 under a name that isn't ours, 403 to a page that
/// may not ask, 404 where what is administrative is closed, 401 without a key that fits where keys are needed.
pub(super) async fn pass(State(access): State<Access>, mut request: Request, next: Next) -> Response {
    let Some(&peer) = request.extensions().get::<Peer>() else {
        // Every connection says whose it is; without that nobody can be told apart.
        tracing::error!("a request came from nowhere");
        return Error::Internal.response(access.catalog.replies());
    };
    let (path, headers) = (request.uri().path(), request.headers());
    // Nothing but the name tells a page that has this machine's address behind its own from the server's own page.
    let door = &access.door;
    let any_name = !peer.local || door.has_keys() || door.has_proxies();
    if !any_name && !access.is_our_host(request.uri(), headers) {
        return access.refuse(&Error::ForeignHost);
    }
    if needs_key(path) && access.is_foreign_page(headers) {
        return access.refuse(&Error::ForeignPage);
    }
    if is_administrative(request.method(), path) && !peer.admin {
        return access.refuse(&Error::NotFound);
    }
    let identified = if !needs_key(path) || (peer.apart && path == "/metrics") {
        Ok(door.stranger(peer, headers))
    } else if path != COOKIE {
        door.identify(peer, headers)
    } else if request.method() == Method::DELETE {
        // One that has ended already can be ended.
        Ok(door.stranger(peer, headers))
    } else {
        door.identify_by_key(peer, headers)
    };
    match identified {
        Ok(identity) => request.extensions_mut().insert(identity),
        Err(_) => return access.refuse(&Error::Unauthorized),
    };
    next.run(request).await
}

impl Access {
    fn refuse(&self, error: &Error) -> Response {
        self.metrics.refused(error.status());
        error.response(self.catalog.replies())
    }

    /// Whether a request names this machine: `localhost`, an address or a name of the configuration. Old clients name nothing,
    /// and no browser is among them.
    fn is_our_host(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let known = |host: &str| {
            let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
            let hosts = &self.server.hosts;
            address.is_ok()
                || host.eq_ignore_ascii_case("localhost")
                || hosts.iter().any(|name| name.is(host))
        };
        uri.host().is_none_or(known)
            && headers.get_all(header::HOST).iter().all(|value| {
                let authority = value.to_str().ok().and_then(|value| value.parse::<Authority>().ok());
                authority.is_some_and(|authority| known(authority.host()))
            })
    }

    /// Whether a browser says that a page of another site asks, and that page isn't listed. An `<img>` names no page.
    fn is_foreign_page(&self, headers: &HeaderMap) -> bool {
        let foreign = headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site");
        let origin = headers.get(header::ORIGIN);
        let listed = || {
            self.origins
                .iter()
                .any(|listed| listed.is_any() || origin.is_some_and(|origin| origin == listed.header()))
        };
        foreign && !listed()
    }
}

/// People's conversations, the engine for programs of any kind, and what the server says about itself. Forgetting is for
/// whoever may ask: who knows a conversation's id may go on with it.
fn is_administrative(method: &Method, path: &str) -> bool {
    path == "/metrics"
        || is_below(path, "/v1")
        || (is_below(path, SESSIONS) && !(method == Method::DELETE && path.len() > SESSIONS.len()))
}

/// All that computes, or that tells of people. The page, health and the description of the API are for everybody.
pub(super) fn needs_key(path: &str) -> bool {
    path == "/metrics" || ["/v1", "/ai", "/auth"].into_iter().any(|folder| is_below(path, folder))
}

pub(super) fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Exchanges the key of this request for a cookie, for `EventSource`, which can't send headers.
async fn cookie(
    State(access): State<Access>,
    Extension(identity): Extension<Identity>,
    request: Request,
) -> Response {
    // Without keys there is nothing to stand for, and nothing is needed.
    let Some(key) = identity.key() else { return no_content() };
    if let Err(too_much) = access.door.ask(&identity) {
        return access.refuse(&too_much.into());
    }
    with_cookie(&access.door.cookie(key, is_secure(&request, &access.door)))
}

/// Logging out.
async fn end_cookie(State(door): State<Arc<Door>>, request: Request) -> Response {
    with_cookie(&door.end_cookie(request.headers(), is_secure(&request, &door)))
}

fn is_secure(request: &Request, door: &Door) -> bool {
    request.extensions().get::<Peer>().is_some_and(|peer| door.is_secure(*peer, request.headers()))
}

fn with_cookie(cookie: &str) -> Response {
    let mut response = no_content();
    // Hexadecimal digits, words of ours and a name that was checked.
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_administrative_is_told_by_its_path() {
        for path in ["/metrics", "/v1", "/v1/models", "/ai/chatbot/sessions/a", "/ai/chatbot/sessions"] {
            assert!(is_administrative(&Method::GET, path) && needs_key(path), "{path}");
        }
        for path in ["/", "/v10", "/metrics2", "/ai/chatbot/recommendation/base-info", "/health"] {
            assert!(!is_administrative(&Method::GET, path), "{path}");
        }
        for path in ["/ai/chatbot/recommendation/base-info", "/ai/chatbot/streams/a", "/auth/cookie"] {
            assert!(needs_key(path), "{path}");
        }
        for path in ["/", "/chat.js", "/turn.js", "/health", "/health/ready", "/nothing", "/docs"] {
            assert!(!needs_key(path), "{path}");
        }
        // Field report 45.
        assert!(!is_administrative(&Method::DELETE, "/ai/chatbot/sessions/a"));
        assert!(is_administrative(&Method::DELETE, "/ai/chatbot/sessions"));
        assert!(is_administrative(&Method::DELETE, "/v1/models"));
    }
}
