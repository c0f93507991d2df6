//! The two ends of a running generation: the reader's and the engine's.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::sync::{mpsc, watch};

use crate::{Delta, Presence, Program, Segment};

/// How often a generation may be written anew from what its reader has: each time its text may be cut into tokens in
/// another way, so that it takes a few more than its budget.
const MOST_ATTEMPTS: usize = 4;

/// A running generation. Dropping it cancels the work within one step and frees all it holds.
#[derive(Debug)]
pub struct Generation {
    deltas: mpsc::Receiver<Delta>,
    control: Arc<Control>,
}

/// The engine's end. Dropped without [`Delta::Done`] or [`Delta::Failed`], its reader hears that the engine died.
#[derive(Debug)]
pub struct Outlet {
    deltas: mpsc::Sender<Delta>,
    control: Arc<Control>,
}

#[derive(Debug)]
struct Control {
    presence: Presence,
    position: watch::Sender<Option<usize>>,
    /// Has the engine look at its readers.
    engine: Waker,
}

/// Both ends of a program's generation that waits at `position` for a reader who is there or not; the waker makes the
/// engine look at its readers. An engine that awaits [`Outlet::closed`] and [`Presence`] needs none ([`Waker::noop`]).
///
/// There is room for all that the program can say, so that an engine never waits for a reader.
pub fn channel(
    program: &Program,
    position: usize,
    presence: &Presence,
    engine: Waker,
) -> (Outlet, Generation) {
    let (sender, deltas) = mpsc::channel(most_deltas(program));
    let position = watch::Sender::new(Some(position));
    presence.wakes(engine.clone());
    let control = Arc::new(Control { presence: presence.clone(), position, engine });
    (Outlet { deltas: sender, control: control.clone() }, Generation { deltas, control })
}

/// A text for every token, an end for every slot, the detokenizer's last character, and the end.
fn most_deltas(program: &Program) -> usize {
    let tokens = program.segments().iter().map(|segment| match segment {
        Segment::Fixed(_) => 0,
        Segment::Slot(slot) => slot.max_tokens + 2,
    });
    MOST_ATTEMPTS * (tokens.sum::<usize>() + 2)
}

impl Generation {
    /// The next delta; `None` after `Done` or `Failed`, or when the engine died without a word.
    pub async fn next(&mut self) -> Option<Delta> {
        self.deltas.recv().await
    }

    /// As [`Generation::next`], for whoever is polled.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Delta>> {
        self.deltas.poll_recv(context)
    }

    /// Whether it has a reader: while it hasn't, nothing is computed for it from the next step on. What was written before
    /// can still be read.
    pub fn presence(&self) -> &Presence {
        &self.control.presence
    }

    /// Its place among those that wait, from 1; `None` once it runs, and while it is parked.
    pub fn position(&self) -> Option<usize> {
        *self.control.position.borrow()
    }

    /// [`Generation::position`] as it changes.
    pub fn positions(&self) -> watch::Receiver<Option<usize>> {
        self.control.position.subscribe()
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        self.deltas.close();
        self.control.engine.wake_by_ref();
    }
}

impl Outlet {
    /// `false` when the reader is gone.
    pub fn send(&self, delta: Delta) -> bool {
        match self.deltas.try_send(delta) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Closed(_)) => false,
            Err(mpsc::error::TrySendError::Full(delta)) => {
                tracing::error!(?delta, "a generation said more than its program can");
                false
            }
        }
    }

    /// The reader is gone: nobody wants the rest.
    pub(crate) fn is_closed(&self) -> bool {
        self.deltas.is_closed()
    }

    /// Returns when the reader is gone.
    pub async fn closed(&self) {
        self.deltas.closed().await;
    }

    pub(crate) fn is_parked(&self) -> bool {
        self.control.presence.is_parked()
    }

    /// Whether somebody reads.
    pub fn presence(&self) -> &Presence {
        &self.control.presence
    }

    /// Its place among those that wait, from 1; `None` once it runs, and while it is parked.
    pub fn set_position(&self, position: Option<usize>) {
        self.control.position.send_if_modified(|now| std::mem::replace(now, position) != position);
    }
}
