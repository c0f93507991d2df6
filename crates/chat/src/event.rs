//! What a reader of a recommendation gets, before any encoding.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};

use leafresh_engine::Presence;
use serde::Serialize;
use tokio::sync::{mpsc, watch};

use crate::record::Record;

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
    /// Cosine similarity of its meaning to the request's, 0 to 1; none where nothing was searched by meaning.
    pub score: Option<f32>,
    /// What its challenge takes once, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minutes: Option<u16>,
    /// What a photo of it shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proof: Option<String>,
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

impl Grounding {
    pub const ALL: [Self; 3] = [Self::None, Self::Context, Self::Select];

    /// As in `grounding`.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Context => "context",
            Self::Select => "select",
        }
    }
}

/// Why the catalogue answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DegradedReason {
    /// The queue was full.
    Overloaded,
    /// It waited too long, or took too long as a whole.
    Timeout,
    /// The model is gone, failed or stopped writing.
    Engine,
}

impl DegradedReason {
    pub const ALL: [Self; 3] = [Self::Overloaded, Self::Timeout, Self::Engine];

    /// As in `degradedReason`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Overloaded => "overloaded",
            Self::Timeout => "timeout",
            Self::Engine => "engine",
        }
    }
}

/// Why a generation that had begun could not be finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// A fault of ours or of the engine's.
    Internal,
    /// The engine refused: full, loading or stopping; or the request waited too long.
    Unavailable,
    /// It stopped growing, or took too long.
    Stalled,
    /// Somebody stopped it.
    Cancelled,
}

/// How far an answer is before its first text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Stage {
    /// Waiting: for earlier requests of the session or, with a place from 1, for the model.
    Queued { position: Option<usize> },
    #[default]
    Retrieving,
    /// The model reads the prompt or writes.
    Writing,
}

/// A running recommendation. It computes while it is polled; dropping it cancels the generation.
pub struct Events {
    /// Gone once it has ended.
    work: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    receiver: mpsc::Receiver<Event>,
    control: Arc<Control>,
    ended: bool,
}

/// What the reader's end says to the work, and the other way round.
#[derive(Debug, Default)]
pub(crate) struct Control {
    presence: Presence,
    name: OnceLock<String>,
    progress: Mutex<Progress>,
    record: Mutex<Record>,
}

#[derive(Debug, Default)]
pub(crate) enum Progress {
    #[default]
    Waiting,
    Retrieving,
    /// The model's queue says how far it is.
    Generating(watch::Receiver<Option<usize>>),
    Writing,
}

impl Control {
    pub(crate) fn presence(&self) -> &Presence {
        &self.presence
    }

    /// Under which the answer can be rated.
    pub(crate) fn name(&self) -> Option<String> {
        self.name.get().cloned()
    }

    pub(crate) fn set_progress(&self, progress: Progress) {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = progress;
    }

    pub(crate) fn note(&self, what: impl FnOnce(&mut Record)) {
        what(&mut self.record.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Events on their way that nobody has taken: the work waits for its reader then.
const ON_THEIR_WAY: usize = 32;

impl Events {
    /// Runs `work` as far as its events are read.
    pub(crate) fn new<F>(
        presence: Presence,
        work: impl FnOnce(mpsc::Sender<Event>, Arc<Control>) -> F,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (sender, receiver) = mpsc::channel(ON_THEIR_WAY);
        let control = Arc::new(Control { presence, ..Control::default() });
        Self { work: Some(Box::pin(work(sender, control.clone()))), receiver, control, ended: false }
    }

    /// Has the answer remembered under this name, by which it can be rated. Before its events are read; the first name stays.
    #[must_use]
    pub fn named(self, name: String) -> Self {
        let _ = self.control.name.set(name);
        self
    }

    /// The next event; `None` after the terminal one. Can be dropped and called again without loss.
    pub async fn next(&mut self) -> Option<Event> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// As [`Events::next`], for a body that is polled.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        if self.ended {
            return Poll::Ready(None);
        }
        loop {
            if let Poll::Ready(event) = self.receiver.poll_recv(context) {
                // The work may have ended without a word: the reader still gets an end.
                return Poll::Ready(Some(self.taken(event.unwrap_or(Event::Error(Failure::Internal)))));
            }
            // Pending without work: the runtime wants a pause.
            let Some(work) = &mut self.work else {
                return Poll::Pending;
            };
            if work.as_mut().poll(context).is_pending() {
                return match self.receiver.poll_recv(context) {
                    Poll::Ready(Some(event)) => Poll::Ready(Some(self.taken(event))),
                    Poll::Ready(None) | Poll::Pending => Poll::Pending,
                };
            }
            // It has dropped its sender; what it sent last is still to be received.
            self.work = None;
        }
    }

    fn taken(&mut self, event: Event) -> Event {
        self.ended = matches!(event, Event::Close(_) | Event::Error(_));
        if self.ended {
            self.work = None;
        }
        event
    }

    /// Whether somebody reads: while nobody does it computes no more, and holds no place among running or waiting ones.
    pub fn presence(&self) -> &Presence {
        &self.control.presence
    }

    /// How far it is.
    pub fn stage(&self) -> Stage {
        match &*self.control.progress.lock().unwrap_or_else(PoisonError::into_inner) {
            Progress::Waiting => Stage::Queued { position: None },
            Progress::Retrieving => Stage::Retrieving,
            Progress::Generating(positions) => match *positions.borrow() {
                Some(position) => Stage::Queued { position: Some(position) },
                None => Stage::Writing,
            },
            Progress::Writing => Stage::Writing,
        }
    }

    /// What is known of it so far.
    pub fn record(&self) -> Record {
        *self.control.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("stage", &self.stage())
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}
