//! How far the server is from its end, and what still runs.

use std::sync::Arc;

use tokio::sync::watch;

/// How far the server is from its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lifecycle {
    #[default]
    Serving,
    /// Running answers go on, new ones are refused.
    Draining,
    /// Running answers end now.
    Stopping,
}

/// One server's life. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Life(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    lifecycle: watch::Sender<Lifecycle>,
    running: watch::Sender<usize>,
}

impl Life {
    pub(crate) fn draining(&self) -> bool {
        *self.0.lifecycle.borrow() > Lifecycle::Serving
    }

    /// Moves on; never back.
    pub(crate) fn advance(&self, to: Lifecycle) {
        self.0.lifecycle.send_if_modified(|now| std::mem::replace(now, to.max(*now)) < to);
    }

    pub(crate) fn lifecycle(&self) -> watch::Receiver<Lifecycle> {
        self.0.lifecycle.subscribe()
    }

    /// Counts an answer as running until the guard is dropped.
    pub(crate) fn begin(&self) -> Running {
        self.0.running.send_modify(|count| *count += 1);
        Running(self.clone())
    }

    /// Returns when no answer is running.
    pub(crate) async fn idle(&self) {
        // An error would mean that the sender is gone, and `self` has it.
        let _ = self.0.running.subscribe().wait_for(|count| *count == 0).await;
    }
}

#[derive(Debug)]
pub(crate) struct Running(Life);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.0.running.send_modify(|count| *count -= 1);
    }
}
