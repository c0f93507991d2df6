//! Counting an answer once, however it ends.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use leafresh_chat::{Answer, DegradedReason, Event, Record};

use super::Streams;
use super::log::{Live, Part};
use super::watched::Watched;
use crate::config::LogText;
use crate::door::Permit;
use crate::life::Running;
use crate::log::line::{self, Answered, Closed};
use crate::metrics::{Ended, Outcome};
use crate::phase::Phase;

/// What comes sooner than this behind another text is of the same step of the model.
const SAME_STEP: Duration = Duration::from_millis(1);

/// What is known of an answer when it ends. It counts when it is dropped.
pub(super) struct Account {
    streams: Streams,
    live: Arc<Live>,
    started: Instant,
    /// What its source has noted of it.
    pub(super) record: Record,
    first_text: Option<Duration>,
    /// None before the first text, and while nobody reads.
    last_text: Option<Instant>,
    written: String,
    parked: u32,
    /// What a driver that panics leaves behind is an error.
    pub(super) outcome: Outcome,
    phase: Phase,
    answer: Option<Answer>,
    span: tracing::Span,
    /// None for whom nothing is limited.
    _permit: Option<Permit>,
    _running: Running,
}

impl Account {
    pub(super) fn new(streams: &Streams, live: Arc<Live>, permit: Option<Permit>) -> Self {
        streams.0.metrics.admitted();
        Self {
            streams: streams.clone(),
            live,
            started: Instant::now(),
            record: Record::default(),
            first_text: None,
            last_text: None,
            written: String::new(),
            parked: 0,
            outcome: Outcome::Error,
            phase: Phase::default(),
            answer: None,
            span: tracing::Span::current(),
            _permit: permit,
            _running: streams.0.life.begin(),
        }
    }

    pub(super) fn text(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        self.written.push_str(text);
        let metrics = &self.streams.0.metrics;
        if self.first_text.is_none() {
            let after = self.started.elapsed();
            metrics.first_token(after);
            self.first_text = Some(after);
        }
        let gap = self.last_text.replace(Instant::now()).map(|last| last.elapsed());
        if let Some(gap) = gap.filter(|gap| *gap >= SAME_STEP) {
            metrics.next_token(gap);
        }
    }

    /// Its last reader has left.
    pub(super) fn parked(&mut self) {
        self.parked += 1;
        self.last_text = None;
        self.streams.0.metrics.parked();
    }

    /// A reader is there again.
    pub(super) fn returned(&self) {
        self.streams.0.metrics.returned();
    }

    /// The terminal event is known, and how far the answer was before it.
    pub(super) fn end(&mut self, last: &Event, phase: Phase) {
        self.phase = phase;
        if let Event::Close(answer) = last {
            self.outcome = Outcome::Close;
            self.answer = Some(answer.clone());
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let total = self.started.elapsed();
        let model = self.streams.0.installed.get();
        let tokens = model.map_or(0, |model| model.backend().count_tokens(&self.written));
        let in_session = self.live.asked().command.session_id().is_some();
        self.streams.0.metrics.ended(&Ended {
            outcome: self.outcome,
            phase: self.phase,
            total,
            tokens,
            record: &self.record,
            closed: self.answer.as_ref().map(|answer| (answer, in_session)),
        });
        let attendance = *self.live.attendance().borrow();
        let closed = self.answer.as_ref().map(|answer| Closed {
            grounding: answer.grounding.name(),
            degraded: answer.degraded_reason.map(DegradedReason::name),
            remembered: answer.remembered,
        });
        self.live.set_answered(Answered {
            outcome: self.outcome.name(),
            phase: self.phase.name(),
            record: self.record,
            first_text: self.first_text,
            total,
            ended: SystemTime::now(),
            tokens,
            closed,
            parked: self.parked,
            readers: attendance.came,
        });
        // Otherwise the requests that read it tell of it. Looked at again, for who has left meanwhile has told nothing.
        if self.live.attendance().borrow().readers == 0 {
            let stream = Watched::new(self.live.clone(), Part::First).tell(LogText::Off);
            line::write(&self.span, None, Some(&stream));
        }
    }
}
