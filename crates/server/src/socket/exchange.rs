//! Where a connection is between a request and its answer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

/// Shared by a connection's socket and by whoever answers what comes on it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Exchange(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    point: Point,
    /// Who reads, and has to look again when the point changes.
    reader: Option<Waker>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Point {
    /// No request, or the one before has been answered.
    #[default]
    Idle,
    /// Its first bytes are here.
    Head,
    Body,
    /// It is here, and its answer comes at once: whoever has closed the half it sends on may still read.
    Short,
    /// The model writes. Whoever closes the half it sends on has left: nothing else tells so before bytes are lost.
    Long,
}

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiting {
    Request,
    Head,
}

impl Exchange {
    pub(super) fn arrived(&self) {
        let mut state = self.state();
        if state.point == Point::Idle {
            state.point = Point::Head;
        }
    }

    pub(super) fn waiting(&self) -> Option<Waiting> {
        match self.state().point {
            Point::Idle => Some(Waiting::Request),
            Point::Head => Some(Waiting::Head),
            Point::Body | Point::Short | Point::Long => None,
        }
    }

    /// Whether the end of what the peer sends has to wait for the answer.
    pub(super) fn hides_end(&self, context: &mut Context<'_>) -> bool {
        let mut state = self.state();
        let hides = state.point == Point::Short;
        if hides {
            state.reader = Some(context.waker().clone());
        }
        hides
    }

    /// The reader waits.
    pub(super) fn wakes(&self, context: &mut Context<'_>) {
        self.state().reader = Some(context.waker().clone());
    }

    /// A request is here, a body may follow. Dropping what this gives says that it is answered.
    pub(crate) fn begin(&self, body: bool) -> Answering {
        self.enter(if body { Point::Body } else { Point::Short });
        Answering(self.clone())
    }

    /// All of its body is here.
    pub(crate) fn has_body(&self) {
        self.enter(Point::Short);
    }

    /// Its answer will take the time that a model takes.
    pub(crate) fn takes_long(&self) {
        self.enter(Point::Long);
    }

    fn enter(&self, point: Point) {
        let reader = {
            let mut state = self.state();
            state.point = point;
            state.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in there is left half done by a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(crate) struct Answering(Exchange);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.enter(Point::Idle);
    }
}
