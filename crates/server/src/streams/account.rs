//! Counting an answer once, however it ends.

use std::time::{Duration, Instant};

use leafresh_chat::Event;

use super::Streams;
use crate::door::Permit;
use crate::life::Running;
use crate::metrics::Outcome;
use crate::phase::Phase;

/// What is known of an answer when it ends. It counts when it is dropped.
pub(super) struct Account {
    streams: Streams,
    started: Instant,
    /// What of it was spent on finding documents.
    pub(super) retrieval: Option<Duration>,
    first_text: Option<Duration>,
    written: String,
    /// What a driver that panics leaves behind is an error.
    pub(super) outcome: Outcome,
    phase: Phase,
    span: tracing::Span,
    /// None for whom nothing is limited.
    _permit: Option<Permit>,
    _running: Running,
}

impl Account {
    pub(super) fn new(streams: &Streams, permit: Option<Permit>) -> Self {
        streams.0.metrics.admitted();
        Self {
            streams: streams.clone(),
            started: Instant::now(),
            retrieval: None,
            first_text: None,
            written: String::new(),
            outcome: Outcome::Error,
            phase: Phase::default(),
            span: tracing::Span::current(),
            _permit: permit,
            _running: streams.0.life.begin(),
        }
    }

    pub(super) fn text(&mut self, text: &str) {
        self.written.push_str(text);
        if self.first_text.is_none() && !text.is_empty() {
            let after = self.started.elapsed();
            self.streams.0.metrics.first_token(after);
            self.first_text = Some(after);
        }
    }

    /// The terminal event is known, and how far the answer was before it.
    pub(super) fn end(&mut self, last: &Event, phase: Phase) {
        self.phase = phase;
        if matches!(last, Event::Close(_)) {
            self.outcome = Outcome::Close;
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let total = self.started.elapsed();
        if let Some(time) = self.retrieval {
            self.streams.0.metrics.retrieved(time);
        }
        let model = self.streams.0.installed.get();
        let tokens = model.map_or(0, |model| model.backend().count_tokens(&self.written));
        self.streams.0.metrics.ended(self.outcome, self.phase, total, tokens);
        tracing::info!(
            parent: &self.span,
            outcome = self.outcome.name(),
            phase = self.phase.name(),
            retrieval_ms = self.retrieval.map(|time| time.as_millis() as u64),
            first_text_ms = self.first_text.map(|time| time.as_millis() as u64),
            total_ms = total.as_millis() as u64,
            tokens,
            "answer ended"
        );
    }
}
