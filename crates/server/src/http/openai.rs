//! `/v1`: the same engine for clients of OpenAI's API. Its errors have that API's form, wherever on the way they arise.
//!
//! A request is read strictly: what would change an answer and can't be done is refused by name ([`fields`]). An answer is a
//! program of one slot, which holds any text, or the texts that a JSON schema allows ([`schema`]).

mod account;
mod admission;
mod chat;
mod completions;
mod embeddings;
mod error;
mod fields;
mod models;
mod options;
mod responses;
mod schema;
mod stream;
mod writing;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::{FromRef, Request, State};
use axum::http::{HeaderValue, header, request::Parts};
use axum::middleware::Next;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Router};
use serde_json::{Value, json};

use self::error::Refusal;
use self::fields::Fields;
use self::writing::Spent;
use super::access::is_below;
use super::body;
use super::error::Error;
use crate::config;
use crate::door::{Door, Identity};
use crate::installed::Installed;
use crate::life::Life;
use crate::metrics::Metrics;
use crate::socket::Exchange;
use crate::state::{AppState, Turns};

const ROOT: &str = "/v1";

/// What OpenAI's own client tells of itself in each request. A page of another origin has to be allowed to.
pub(super) const HEADERS: [&str; 9] = [
    "x-stainless-lang",
    "x-stainless-package-version",
    "x-stainless-os",
    "x-stainless-arch",
    "x-stainless-runtime",
    "x-stainless-runtime-version",
    "x-stainless-retry-count",
    "x-stainless-timeout",
    "x-stainless-helper-method",
];

pub(super) fn router(settings: &config::OpenAi) -> Router<AppState> {
    if !settings.enabled {
        return Router::new();
    }
    let answer = |endpoint| post(move |state, identity, request| answer(endpoint, state, identity, request));
    let router =
        Router::new().route("/v1/models", get(models::list)).route("/v1/models/{model}", get(models::one));
    Endpoint::ALL.into_iter().fold(router, |router, endpoint| router.route(endpoint.path(), answer(endpoint)))
}

/// What is answered by computing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Endpoint {
    Chat,
    Completions,
    Embeddings,
    Responses,
}

impl Endpoint {
    const ALL: [Self; 4] = [Self::Chat, Self::Completions, Self::Embeddings, Self::Responses];

    fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
            Self::Embeddings => "/v1/embeddings",
            Self::Responses => "/v1/responses",
        }
    }
}

/// What the way from a request to its answer needs.
#[derive(Clone)]
struct Api {
    server: Arc<config::Server>,
    settings: Arc<config::OpenAi>,
    door: Arc<Door>,
    installed: Arc<Installed>,
    turns: Arc<Turns>,
    life: Life,
    metrics: Arc<Metrics>,
}

impl FromRef<AppState> for Api {
    fn from_ref(app: &AppState) -> Self {
        Self {
            server: app.part(),
            settings: app.part(),
            door: app.part(),
            installed: app.part(),
            turns: app.part(),
            life: app.part(),
            metrics: app.part(),
        }
    }
}

impl Api {
    /// Reads a body.
    async fn fields(&self, head: &Parts, body: Body, asker: &Asker) -> Result<Fields, Refusal> {
        let most = self.settings.body_kib << 10;
        let body = body::read(&head.headers, body, most, self.server.request_seconds.0).await;
        if let Some(exchange) = &asker.exchange {
            exchange.has_body();
        }
        Fields::of_body(&body?)
    }

    /// An answer, or what there is instead of one. What a client sent isn't logged, and its words are in what it is told.
    fn told(&self, answered: Result<Response, Refusal>) -> Response {
        answered.unwrap_or_else(|refusal| {
            if !refusal.has_begun {
                tracing::info!(status = refusal.status, code = refusal.code, "refused");
                self.metrics.refused(refusal.status);
            }
            refusal.response()
        })
    }
}

/// Who asks.
struct Asker {
    identity: Identity,
    exchange: Option<Exchange>,
}

impl Asker {
    /// From here on a client that closes the half it sends on has left.
    fn takes_long(&self) {
        if let Some(exchange) = &self.exchange {
            exchange.takes_long();
        }
    }
}

async fn answer(
    endpoint: Endpoint,
    State(api): State<Api>,
    Extension(identity): Extension<Identity>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let asker = Asker { identity, exchange: head.extensions.get().cloned() };
    let answered = match api.fields(&head, body, &asker).await {
        Err(refusal) => Err(refusal),
        Ok(fields) => match endpoint {
            Endpoint::Chat => chat::answer(&api, &asker, fields).await,
            Endpoint::Completions => completions::answer(&api, &asker, fields).await,
            Endpoint::Embeddings => embeddings::answer(&api, &asker, fields).await,
            Endpoint::Responses => responses::answer(&api, &asker, fields).await,
        },
    };
    api.told(answered)
}

/// Counts what is asked below `/v1`, and tells there in OpenAI's form what others refuse: the door, the router, a handler that fails.
pub(super) async fn shaped(State(metrics): State<Arc<Metrics>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if !is_below(path, ROOT) {
        return next.run(request).await;
    }
    let endpoint = Endpoint::ALL.into_iter().find(|endpoint| endpoint.path() == path).map(Endpoint::path);
    let asked = format!("{} {path}", request.method());
    let response = next.run(request).await;
    if let Some(path) = endpoint {
        metrics.openai(path, response.status().as_u16());
    }
    let Some(error) = response.extensions().get::<Error>() else { return response };
    let mut told = Refusal::from_error(error, &asked).response();
    let said = [header::ALLOW, header::WWW_AUTHENTICATE, header::RETRY_AFTER];
    let said = said.map(|name| (response.headers().get(&name).cloned(), name));
    for (value, name) in said {
        if let Some(value) = value {
            told.headers_mut().insert(name, value);
        }
    }
    told
}

fn json_response(object: &Value) -> Response {
    let mut response = Response::new(Body::from(object.to_string()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn usage(spent: Spent) -> Value {
    let Spent { prompt, cached, completion } = spent;
    json!({
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": { "cached_tokens": cached },
    })
}

/// What an answer is called, in no two the same.
fn identifier(kind: &str) -> String {
    format!("{kind}-{:032x}", rand::random::<u128>())
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
