//! Server-sent events (WHATWG HTML, section 9.2), as strictly as the strictest reader wants them.
//!
//! Every block has an id, a name and data: some readers hand on a block without them as a null event. So a keep-alive
//! is a comment line *without* an empty line after it, which makes it a part of the next block.
//!
//! Hand-written because axum's encoder ends its keep-alive with an empty line (decision 8).

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::FromRef;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::Response;
use leafresh_chat::{Answer, Catalog, Event, Kind};
use serde::Serialize;
use serde_json::{Value, json};

use super::envelope::Envelope;
use super::error::Error;
use super::params::Dialect;
use super::pieces::{Pieces, Write};
use super::view::View;
use crate::config;
use crate::life::Life;
use crate::phase::Phase;
use crate::state::AppState;
use crate::streams::{Numbered, Read, Reader, StreamId};

const KEEP_ALIVE: &str = ":\n";

/// Events that lie ready are written together up to about this many bytes.
const WRITE_TOGETHER: usize = 16 * 1024;

/// Milliseconds after which `EventSource` asks again when a response ended before the page closed it.
const RETRY: &str = "retry: 1000\n";

/// What all streams are written with.
#[derive(Clone)]
pub(super) struct Encoding {
    pub(super) catalog: Arc<Catalog>,
    pub(super) settings: Arc<config::Stream>,
    /// Says why an engine may be unavailable.
    pub(super) life: Life,
}

impl FromRef<AppState> for Encoding {
    fn from_ref(app: &AppState) -> Self {
        Self { catalog: app.part(), settings: app.part(), life: app.part() }
    }
}

/// Turns the events of one stream into text, for one reader.
pub(super) struct Encoder {
    stream: StreamId,
    view: View,
    kind: Kind,
    encoding: Encoding,
    began: bool,
    /// The number of the last event sent, and of the last text.
    last: u64,
    last_text: u64,
}

enum Id {
    Number(u64),
    End,
}

impl Encoder {
    pub(super) fn new(stream: StreamId, view: View, kind: Kind, encoding: Encoding) -> Self {
        Self { stream, view, kind, encoding, began: false, last: 0, last_text: 0 }
    }

    /// For a reader that has had the events up to `last`, the last text among them `last_text`.
    #[must_use]
    pub(super) fn after(self, (last, last_text): (u64, u64)) -> Self {
        Self { last, last_text, ..self }
    }

    /// The blocks of an event; none if the dialect leaves it out.
    pub(super) fn encode(&mut self, numbered: &Numbered) -> String {
        let id = Id::Number(numbered.number);
        match &*numbered.event {
            Event::Text(text) => {
                self.last_text = numbered.number;
                self.text(&id, text)
            }
            Event::Challenge { .. } if self.view.dialect == Dialect::Token => String::new(),
            Event::Challenge { number, challenge } => {
                let message = self.encoding.catalog.replies().events.challenge(*number);
                let data = json!({ "challenges": challenge });
                self.block(&id, "challenge", &Envelope::ok(&message, data))
            }
            Event::Close(answer) => self.close(answer),
            Event::Error(failure) => {
                self.error(&Error::from_failure(*failure, self.encoding.life.draining()))
            }
        }
    }

    /// What a reader hears before the first event, without a number of its own.
    pub(super) fn progress(&mut self, phase: Phase) -> String {
        let events = &self.encoding.catalog.replies().events;
        let (message, data) = match phase {
            Phase::Queued { position } => {
                (&events.queued, json!({ "stage": "queued", "position": position }))
            }
            Phase::Retrieving => (&events.retrieving, json!({ "stage": "retrieving" })),
            Phase::Prefill | Phase::Writing => (&events.writing, json!({ "stage": "writing" })),
        };
        let envelope = Envelope::ok(message, data);
        self.block(&Id::Number(self.last), "progress", &envelope)
    }

    fn text(&mut self, id: &Id, text: &str) -> String {
        let (event, data) = match self.view.dialect {
            Dialect::Challenge => ("challenge", json!(text)),
            Dialect::Token => ("token", json!({ "token": text })),
        };
        let envelope = Envelope::ok(&self.encoding.catalog.replies().events.token, data);
        self.block(id, event, &envelope)
    }

    fn close(&mut self, answer: &Answer) -> String {
        let events = &self.encoding.catalog.replies().events;
        let answer = self.view.of(answer);
        match self.view.dialect {
            Dialect::Challenge => {
                let envelope = Envelope::ok(events.close(self.kind), answer);
                self.block(&Id::End, "close", &envelope)
            }
            Dialect::Token => {
                let envelope = Envelope::ok(&events.close_free_text, answer);
                // Only this reader gets `complete`, so it has no number of its own.
                self.block(&Id::Number(self.last_text), "complete", &envelope)
                    + &self.block(&Id::End, "close", &envelope)
            }
        }
    }

    /// The blocks that end a stream with an error.
    pub(super) fn error(&mut self, error: &Error) -> String {
        let envelope = error.envelope(self.encoding.catalog.replies());
        if !self.encoding.settings.error_then_close {
            return self.block(&Id::End, "error", &envelope);
        }
        let close = Envelope { data: Value::Null, ..envelope.clone() };
        self.block(&Id::Number(self.last), "error", &envelope) + &self.block(&Id::End, "close", &close)
    }

    fn block<T: Serialize>(&mut self, id: &Id, event: &str, envelope: &Envelope<T>) -> String {
        let retry = if self.began { "" } else { RETRY };
        self.began = true;
        let id = match id {
            Id::Number(number) => {
                self.last = *number;
                number.to_string()
            }
            Id::End => "end".to_owned(),
        };
        // JSON escapes line breaks, so whatever a model writes can't forge a line.
        format!("{retry}id: {}:{id}\nevent: {event}\ndata: {}\n\n", self.stream, envelope.json())
    }
}

/// A stream from where its reader stands, as a response. Its headers go out at once, its next event when there is one.
pub(super) fn response(reader: Reader, view: View, encoding: Encoding) -> Response {
    let kind = reader.asked().command.kind();
    let config::Stream { first_keep_alive_seconds: first, keep_alive_seconds: next, .. } = *encoding.settings;
    let pulse = Pulse { first: first.0, next: next.0, silent: false };
    let encoder = Encoder::new(reader.stream(), view, kind, encoding).after(reader.position());
    let writer = Writer { reader, encoder, pulse };
    with_headers(Body::new(Pieces::of(writer)))
}

/// A stream of one `error` event, for readers that can't see an HTTP status.
pub(super) fn refusal(error: &Error, encoding: Encoding) -> Response {
    let text = Encoder::new(StreamId::random(), View::default(), Kind::default(), encoding).error(error);
    let mut response = with_headers(Body::from(text));
    response.extensions_mut().insert(error.reason());
    response
}

/// A response that is a stream of events.
pub(super) fn with_headers(body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    let set = [
        (header::CONTENT_TYPE, "text/event-stream; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache, no-transform"),
        // nginx would collect the events until its buffer is full.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    for (name, value) in set {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// What is needed to write the next piece. It moves through the futures that write.
struct Writer {
    reader: Reader,
    encoder: Encoder,
    pulse: Pulse,
}

/// What was still to be read is no longer there. The connection breaks off, so that the reader asks again and hears it.
#[derive(Debug, thiserror::Error)]
#[error("the stream's events are no longer kept")]
struct Gone;

impl Write for Writer {
    type Error = Gone;

    /// The next blocks, or a keep-alive; `None` after the terminal event.
    async fn write(mut self) -> Result<Option<(String, Self)>, Gone> {
        let silence = self.pulse.wait();
        tokio::pin!(silence);
        loop {
            let read = tokio::select! {
                biased;
                read = self.reader.next() => read,
                () = &mut silence => {
                    self.pulse.silent = true;
                    return Ok(Some((KEEP_ALIVE.to_owned(), self)));
                }
            };
            let mut text = String::new();
            let mut next = Some(read);
            while let Some(read) = next {
                match read {
                    Read::Event(numbered) => text += &self.encoder.encode(&numbered),
                    Read::Progress(phase) => text += &self.encoder.progress(phase),
                    // Asked again, the reader says so again.
                    Read::End | Read::Gone if !text.is_empty() => break,
                    Read::End => return Ok(None),
                    Read::Gone => return Err(Gone),
                }
                next = if text.len() < WRITE_TOGETHER { self.reader.poll() } else { None };
            }
            if !text.is_empty() {
                self.pulse.silent = false;
                return Ok(Some((text, self)));
            }
        }
    }
}

/// When a silent stream says that it is alive.
#[derive(Debug, Clone, Copy)]
struct Pulse {
    /// After so much silence the first time; zero: as the others.
    first: Duration,
    /// And then each time after so much; zero: not at all.
    next: Duration,
    /// The last that was sent was a keep-alive.
    silent: bool,
}

impl Pulse {
    fn due(self) -> Option<Duration> {
        let first = if self.silent || self.first.is_zero() { self.next } else { self.first };
        (!self.next.is_zero()).then_some(first)
    }

    /// Waits for as long as the stream may be silent.
    async fn wait(self) {
        match self.due() {
            Some(silence) => tokio::time::sleep(silence).await,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests;
