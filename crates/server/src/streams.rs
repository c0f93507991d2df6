//! Running answers: their ids, the numbers of their events, and how each of them ends.

use std::fmt;
use std::future::Future;
use std::time::{Duration, Instant};

use leafresh_chat::{Event, Events, Failure};
use tokio::sync::watch;

use crate::metrics::{Outcome, Phase};
use crate::state::{AppState, Running, Stage};

/// Longer texts are sent as several events. Six bytes of JSON are the most that one byte becomes, so an event stays
/// below 32 KiB.
const MAX_TEXT: usize = 4096;

/// The name of one answer's stream: 128 random bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StreamId(u128);

impl StreamId {
    pub(crate) fn random() -> Self {
        Self(rand::random())
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// An event and its place in the stream, from 1.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Numbered {
    pub(crate) number: u64,
    pub(crate) event: Event,
}

/// Where events come from: a recommendation; in tests, a list. A future that is dropped loses no event.
pub(crate) trait Source: Send + 'static {
    fn next(&mut self) -> impl Future<Output = Option<Event>> + Send;
}

impl Source for Events {
    async fn next(&mut self) -> Option<Event> {
        Events::next(self).await
    }
}

/// A running answer. Exactly one `Close` or `Error` comes, whatever the source does, and nothing after it.
///
/// Dropping it drops the source, which cancels the generation.
pub(crate) struct Stream<S = Events> {
    id: StreamId,
    /// Gone once the end has been reached.
    source: Option<S>,
    /// The rest of a text that was too long for one event.
    rest: String,
    number: u64,
    stages: watch::Receiver<Stage>,
    account: Account,
}

impl<S: Source> Stream<S> {
    pub(crate) fn new(source: S, app: &AppState) -> Self {
        Self {
            id: StreamId::random(),
            source: Some(source),
            rest: String::new(),
            number: 0,
            stages: app.stages(),
            account: Account::new(app),
        }
    }

    pub(crate) fn id(&self) -> StreamId {
        self.id
    }

    /// The next event; `None` after the terminal one. May be dropped while it waits without losing an event.
    pub(crate) async fn next(&mut self) -> Option<Numbered> {
        let event = if self.rest.is_empty() { self.receive().await? } else { Event::Text(String::new()) };
        let event = match event {
            Event::Text(text) => {
                self.rest.push_str(&text);
                Event::Text(take_front(&mut self.rest))
            }
            other => other,
        };
        if matches!(event, Event::Close(_) | Event::Error(_)) {
            self.source = None;
        }
        self.account.note(&event);
        self.number += 1;
        Some(Numbered { number: self.number, event })
    }

    async fn receive(&mut self) -> Option<Event> {
        let source = self.source.as_mut()?;
        loop {
            let event = tokio::select! {
                biased;
                // The sender lives as long as the server's state, of which `account` has a share.
                _ = self.stages.wait_for(|stage| *stage == Stage::Stopping) => Event::Error(Failure::Unavailable),
                event = source.next() => event.unwrap_or(Event::Error(Failure::Internal)),
            };
            if event != Event::Text(String::new()) {
                return Some(event);
            }
        }
    }
}

/// Takes at most [`MAX_TEXT`] bytes off the front, whole characters only.
fn take_front(text: &mut String) -> String {
    let rest = text.split_off(text.floor_char_boundary(MAX_TEXT));
    std::mem::replace(text, rest)
}

/// Counts an answer once: when it ends or, if it doesn't come to that, when its reader leaves.
struct Account {
    app: AppState,
    started: Instant,
    first_text: Option<Duration>,
    text: String,
    outcome: Outcome,
    span: tracing::Span,
    _running: Running,
}

impl Account {
    fn new(app: &AppState) -> Self {
        Self {
            app: app.clone(),
            started: Instant::now(),
            first_text: None,
            text: String::new(),
            outcome: Outcome::Left,
            span: tracing::Span::current(),
            _running: app.begin(),
        }
    }

    fn note(&mut self, event: &Event) {
        match event {
            Event::Text(text) => {
                self.text.push_str(text);
                if self.first_text.is_none() {
                    let after = self.started.elapsed();
                    self.app.metrics().first_token(after);
                    self.first_text = Some(after);
                }
            }
            Event::Challenge { .. } => {}
            Event::Close(_) => self.outcome = Outcome::Close,
            Event::Error(_) => self.outcome = Outcome::Error,
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let phase = if self.first_text.is_some() { Phase::Writing } else { Phase::Waiting };
        let total = self.started.elapsed();
        let tokens = self.app.recommender().map_or(0, |model| model.backend().count_tokens(&self.text));
        self.app.metrics().ended(self.outcome, phase, total, tokens);
        tracing::info!(
            parent: &self.span,
            outcome = self.outcome.name(),
            phase = phase.name(),
            first_text_ms = self.first_text.map(|time| time.as_millis() as u64),
            total_ms = total.as_millis() as u64,
            tokens,
            "answer ended"
        );
    }
}

#[cfg(test)]
pub(crate) mod tests;
