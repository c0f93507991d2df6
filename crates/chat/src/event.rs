//! What a reader of a recommendation gets, before any encoding.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use leafresh_engine::Generation;
use serde::Serialize;

use crate::answer::Writer;

/// One thing that happened. `Close` and `Error` are terminal: exactly one of them comes, and nothing after it.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Text for the reader. All texts joined are [`Answer::render`] of the answer that `Close` carries.
    Text(String),
    /// The `number`-th challenge (from 1) is complete; its last text came directly before.
    Challenge {
        number: usize,
        challenge: Challenge,
    },
    Close(Answer),
    Error(Failure),
}

/// The `data` of `close`, as the wire has it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    pub recommend: String,
    pub challenges: Vec<Challenge>,
    /// The documents behind the answer; empty exactly when `grounding` is `None`.
    pub sources: Vec<Source>,
    pub grounding: Grounding,
    /// All or part came from the catalogue instead of the model.
    pub degraded: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub degraded_reason: Option<DegradedReason>,
    /// Whether the turn was saved in a session.
    pub remembered: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Challenge {
    pub title: String,
    pub description: String,
    /// The category's code and its Korean label.
    pub category: String,
    pub label: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Source {
    pub id: String,
    pub title: String,
    pub category: String,
    /// Cosine similarity to the request, 0 to 1.
    pub score: f32,
}

/// How documents were used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grounding {
    None,
    /// As text in the prompt.
    Context,
    /// As the choices that the model selected from.
    Select,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DegradedReason {
    Overloaded,
    Timeout,
    Engine,
}

/// Why a generation that had begun could not be finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// A fault of ours or of the engine's.
    Internal,
    /// The engine refused: full, loading or stopping.
    Unavailable,
    /// Somebody stopped it.
    Cancelled,
}

/// A running recommendation. Dropping it cancels the generation.
#[derive(Debug)]
pub struct Events {
    pub(crate) generation: Generation,
    pub(crate) writer: Writer,
    /// Events that a delta brought and that nobody has taken yet.
    pub(crate) ready: VecDeque<Event>,
    pub(crate) ended: bool,
}

impl Events {
    /// The next event; `None` after the terminal one. Can be dropped and called again without loss.
    pub async fn next(&mut self) -> Option<Event> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// Nobody reads: computes no more from the next step on, until [`Events::resume`]. What was written before can still
    /// be read.
    pub fn park(&self) {
        self.generation.park();
    }

    /// Somebody reads again: goes on where it was.
    pub fn resume(&self) {
        self.generation.resume();
    }

    /// Its place among those that wait for the model, from 1; `None` once it runs, and while it is parked.
    pub fn position(&self) -> Option<usize> {
        self.generation.position()
    }

    /// As [`Events::next`], for a body that is polled.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.ended = matches!(event, Event::Close(_) | Event::Error(_));
                return Poll::Ready(Some(event));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            match ready!(self.generation.poll_next(context)) {
                Some(delta) => self.writer.push(delta, &mut self.ready),
                // The engine is gone without a word: the reader still gets an end.
                None => self.ready.push_back(Event::Error(Failure::Internal)),
            }
        }
    }
}
