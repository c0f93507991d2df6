//! Counting a request for text once, however it ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use leafresh_chat::Record;

use crate::door::Permit;
use crate::life::{Life, Running};
use crate::metrics::{Ended, Metrics, Outcome};
use crate::phase::Phase;

/// What is known of a request when it ends. It counts when it is dropped; then its client has left, unless somebody said
/// otherwise.
pub(super) struct Account {
    metrics: Arc<Metrics>,
    started: Instant,
    first_text: Option<Duration>,
    pub(super) outcome: Outcome,
    pub(super) phase: Phase,
    pub(super) tokens: usize,
    span: tracing::Span,
    _permits: Vec<Permit>,
    _running: Running,
}

impl Account {
    pub(super) fn new(metrics: &Arc<Metrics>, life: &Life, permits: Vec<Permit>) -> Self {
        metrics.admitted();
        Self {
            metrics: metrics.clone(),
            started: Instant::now(),
            first_text: None,
            outcome: Outcome::Left,
            phase: Phase::Queued { position: None },
            tokens: 0,
            span: tracing::Span::current(),
            _permits: permits,
            _running: life.begin(),
        }
    }

    /// A text has come.
    pub(super) fn text(&mut self) {
        self.phase = Phase::Writing;
        if self.first_text.is_none() {
            let after = self.started.elapsed();
            self.metrics.first_token(after);
            self.first_text = Some(after);
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let total = self.started.elapsed();
        self.metrics.ended(&Ended {
            outcome: self.outcome,
            phase: self.phase,
            total,
            tokens: self.tokens,
            record: &Record::default(),
            closed: None,
        });
        tracing::info!(
            parent: &self.span,
            outcome = self.outcome.name(),
            phase = self.phase.name(),
            first_text_ms = self.first_text.map(|time| time.as_millis() as u64),
            total_ms = total.as_millis() as u64,
            tokens = self.tokens,
            "answer ended"
        );
    }
}
