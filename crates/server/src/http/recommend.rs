//! `/ai/chatbot/recommendation/*`: one pipeline, answered as a stream or as one JSON object.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRef, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use leafresh_chat::{Catalog, Event, Kind, is_blank};

use super::body;
use super::envelope::Envelope;
use super::error::Error;
use super::names::Name;
use super::params::{self, Given, Known, Raw, Table};
use super::sse::{self, Encoding};
use super::view::View;
use crate::config;
use crate::door::{Door, Identity, met};
use crate::installed::Installed;
use crate::metrics::Metrics;
use crate::socket::Exchange;
use crate::state::AppState;
use crate::streams::{Asked, Full, Opened, Position, Read, Reader, Start, Streams, Watched};

pub(super) fn router() -> Router<AppState> {
    // `get` takes HEAD too: it would run a generation only to drop it.
    let methods = |kind: Kind| {
        let answer = move |state, identity, request| answer(kind, state, identity, request);
        get(answer).post(answer).head(not_allowed).fallback(not_allowed)
    };
    Router::new()
        .route("/ai/chatbot/recommendation/base-info", methods(Kind::BaseInfo))
        .route("/ai/chatbot/recommendation/free-text", methods(Kind::FreeText))
}

async fn not_allowed(State(catalog): State<Arc<Catalog>>) -> Response {
    let mut response = Error::MethodNotAllowed.response(catalog.replies());
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, POST"));
    response
}

/// What the way from a request to its answer needs.
#[derive(Clone)]
struct Pipeline {
    server: Arc<config::Server>,
    door: Arc<Door>,
    installed: Arc<Installed>,
    streams: Streams,
    metrics: Arc<Metrics>,
    encoding: Encoding,
}

impl FromRef<AppState> for Pipeline {
    fn from_ref(app: &AppState) -> Self {
        Self {
            server: app.part(),
            door: app.part(),
            installed: app.part(),
            streams: app.part(),
            metrics: app.part(),
            encoding: app.part(),
        }
    }
}

async fn answer(
    kind: Kind,
    State(pipeline): State<Pipeline>,
    Extension(identity): Extension<Identity>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let resume = last(&head.headers, "last-event-id");
    if resume.as_deref().is_some_and(is_end) {
        return StatusCode::NO_CONTENT.into_response();
    }
    let exchange = head.extensions.get::<Exchange>();
    let given = read(&head, body, pipeline.server.request_seconds.0).await;
    if let Some(exchange) = exchange {
        exchange.has_body();
    }
    let caller = Caller {
        get: head.method == Method::GET,
        accepts_stream: accepts_stream(&head.headers),
        errors_http: given.as_ref().is_ok_and(Given::wants_http_errors),
    };
    let resume = resume.as_deref().or_else(|| given.as_ref().ok()?.text(Name::LastEventId));
    if resume.is_some_and(is_end) {
        return StatusCode::NO_CONTENT.into_response();
    }
    let recommender = pipeline.installed.get();
    let known = Known {
        catalog: &pipeline.encoding.catalog,
        adapters: recommender.as_ref().map(|recommender| recommender.adapters()),
    };
    let wanted =
        given.as_ref().map_err(Clone::clone).and_then(|given| Wanted::read(kind, given, &identity, known));
    let opened = match resume {
        // Whatever else is wrong, there is nothing to go on with.
        Some(id) => {
            wanted.ok().and_then(|wanted| caller.resume(id, wanted, &pipeline)).ok_or(Error::StreamGone)
        }
        None => wanted.and_then(|wanted| caller.ask(wanted, &identity, &pipeline)),
    };
    if let (Some(exchange), Ok(_)) = (exchange, &opened) {
        exchange.takes_long();
    }
    match opened {
        Ok((reader, view)) => {
            let watched = Watched::of(&reader);
            let mut response = if caller.streams() {
                sse::response(reader, view, pipeline.encoding)
            } else {
                collect(reader, view, &pipeline.encoding).await
            };
            response.extensions_mut().insert(watched);
            response
        }
        Err(error) => caller.refuse(&error, pipeline),
    }
}

/// Reads the parameters, those in headers included.
async fn read(head: &Parts, body: Body, deadline: Duration) -> Result<Given, Error> {
    let mut given = if head.method == Method::POST {
        params::from_json(&body::read(&head.headers, body, body::SHORT, deadline).await?)?
    } else {
        params::from_query(head.uri.query().unwrap_or_default())
    };
    if let Some(key) = last(&head.headers, "idempotency-key") {
        given.set(Name::RequestId, Some(Raw::Text(key)));
    }
    Ok(given)
}

/// A valid request: what is asked, and how the answer is to be read.
struct Wanted {
    asked: Asked,
    view: View,
    progress: bool,
}

impl Wanted {
    fn read(kind: Kind, given: &Given, identity: &Identity, known: Known<'_>) -> Result<Self, Error> {
        let mut values = params::check(Table::of(kind), given, known)?;
        let view = View { dialect: values.dialect, details: values.details };
        let (progress, request_id) = (values.progress, values.request_id.take());
        let command = values.command(kind, identity.name());
        Ok(Self { asked: Asked { command, request_id }, view, progress })
    }

    fn reader(&self, reader: Reader) -> (Reader, View) {
        (if self.progress { reader.with_progress() } else { reader }, self.view)
    }
}

/// Starts the generation of the first who asks.
fn begin(start: Start, identity: &Identity, pipeline: &Pipeline) -> Result<Reader, Error> {
    let command = start.asked().command.clone();
    let life = &pipeline.encoding.life;
    let source = (|| {
        if life.draining() {
            return Err(Error::Draining);
        }
        let recommender = pipeline.installed.get().ok_or(Error::Loading)?;
        let permit = pipeline.door.permit(identity)?;
        let events = recommender.start(&command, Some(identity.client().to_string()));
        Ok((events.map_err(|error| Error::from_admission(&error, life.draining()))?, permit))
    })();
    match source {
        Ok((events, permit)) => {
            let events = events.named(start.id().to_string());
            Ok(start.run(events, permit))
        }
        Err(error) => {
            start.refuse();
            Err(error)
        }
    }
}

/// Waits for the end of an answer: one JSON object with what the terminal event says.
async fn collect(mut reader: Reader, view: View, encoding: &Encoding) -> Response {
    let replies = encoding.catalog.replies();
    while let Read::Event(numbered) = reader.next().await {
        match &*numbered.event {
            Event::Text(_) | Event::Challenge { .. } => {}
            Event::Close(answer) => {
                let kind = reader.asked().command.kind();
                return Envelope::ok(replies.events.close(kind), view.of(answer)).response();
            }
            Event::Error(failure) => {
                return Error::from_failure(*failure, encoding.life.draining()).response(replies);
            }
        }
    }
    Error::Internal.response(replies)
}

/// Who asks, as far as the form of the answer depends on it.
struct Caller {
    get: bool,
    /// `Accept` names `text/event-stream`.
    accepts_stream: bool,
    errors_http: bool,
}

impl Caller {
    fn streams(&self) -> bool {
        self.get || self.accepts_stream
    }

    /// Joins an equal request or starts an answer.
    fn ask(&self, wanted: Wanted, identity: &Identity, pipeline: &Pipeline) -> Result<(Reader, View), Error> {
        pipeline.door.ask(identity)?;
        let asked = wanted.asked.clone();
        let reader = match pipeline.streams.open(asked, self.grace(&wanted, pipeline)) {
            Ok(Opened::Joined(reader)) => reader,
            Ok(Opened::First(start)) => begin(start, identity, pipeline)?,
            Err(Full) => {
                met("stream.memory_mib or stream.memory_per_key_mib");
                return Err(Error::Overloaded);
            }
        };
        // One object tells of nothing before it.
        let progress = wanted.progress && self.streams();
        Ok(Wanted { progress, ..wanted }.reader(reader))
    }

    fn resume(&self, id: &str, wanted: Wanted, pipeline: &Pipeline) -> Option<(Reader, View)> {
        let grace = self.grace(&wanted, pipeline);
        let reader = pipeline.streams.resume(Position::parse(id)?, &wanted.asked.command, grace)?;
        let progress = wanted.progress && self.streams();
        Some(Wanted { progress, ..wanted }.reader(reader))
    }

    /// How long an answer waits for this reader to return. Who gets one object and named no request can't.
    fn grace(&self, wanted: &Wanted, pipeline: &Pipeline) -> Duration {
        if self.streams() || wanted.asked.request_id.is_some() {
            pipeline.encoding.settings.grace_seconds.0
        } else {
            Duration::ZERO
        }
    }

    fn refuse(&self, error: &Error, pipeline: Pipeline) -> Response {
        pipeline.metrics.refused(error.status());
        let readable = match error {
            // `EventSource` can't read the body of an error.
            Error::StreamGone => self.streams(),
            _ => self.get && self.accepts_stream && error.is_input(),
        };
        if readable && !self.errors_http {
            return sse::refusal(error, pipeline.encoding);
        }
        error.response(pipeline.encoding.catalog.replies())
    }
}

/// A stream that has ended is never asked for again: its last id says so by itself.
fn is_end(id: &str) -> bool {
    id.ends_with(":end")
}

/// The last value of a header, unless it is blank. Bytes that are no UTF-8 become U+FFFD, which no check lets through.
fn last(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get_all(name).iter().next_back()?;
    let text = String::from_utf8_lossy(value.as_bytes()).trim().to_owned();
    (!is_blank(&text)).then_some(text)
}

/// Whether `Accept` names `text/event-stream` itself, and not with `q=0`.
fn accepts_stream(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let named = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("text/event-stream"));
        let refused = parts.any(|part| {
            let quality = part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="));
            quality.and_then(|quality| quality.trim().parse::<f32>().ok()) == Some(0.0)
        });
        named && !refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_named_event_stream_is_accepted() {
        let cases = [
            ("text/event-stream", true),
            ("application/json, Text/Event-Stream;q=0.5", true),
            ("text/event-stream;charset=utf-8", true),
            ("*/*", false),
            ("text/*", false),
            ("application/json", false),
            ("text/event-stream;q=0", false),
            ("text/event-stream; q=0.000", false),
            ("text/event-streams", false),
            ("", false),
        ];
        for (accept, expected) in cases {
            let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(accepts_stream(&headers), expected, "{accept}");
        }
        assert!(!accepts_stream(&HeaderMap::new()));
    }

    #[test]
    fn of_a_repeated_header_the_last_counts() {
        let name = || header::HeaderName::from_static("idempotency-key");
        let mut headers = HeaderMap::new();
        assert_eq!(last(&headers, "idempotency-key"), None);
        headers.append(name(), HeaderValue::from_static("a"));
        headers.append(name(), HeaderValue::from_static(" b "));
        assert_eq!(last(&headers, "idempotency-key").as_deref(), Some("b"));
        for blank in ["", " ", "\u{200b}"] {
            headers.append(name(), HeaderValue::from_bytes(blank.as_bytes()).unwrap());
            assert_eq!(last(&headers, "idempotency-key"), None);
        }
    }
}
