//! What a reader of a recommendation gets, before any encoding.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use leafresh_engine::Presence;
use serde::Serialize;
use tokio::sync::{mpsc, watch};

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
    /// A server elsewhere, which was to write it, failed.
    Upstream,
    /// And here it took too long.
    UpstreamLate,
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
    progress: Mutex<Progress>,
    retrieval: Mutex<Option<Duration>>,
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

    pub(crate) fn set_progress(&self, progress: Progress) {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = progress;
    }

    /// So much longer was spent on finding documents.
    pub(crate) fn add_retrieval(&self, time: Duration) {
        *self.retrieval.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default() += time;
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

    /// How long embedding the request and searching took so far; `None` where neither was done.
    pub fn retrieval(&self) -> Option<Duration> {
        *self.control.retrieval.lock().unwrap_or_else(PoisonError::into_inner)
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
