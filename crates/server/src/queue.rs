//! Work that is done one at a time, for a bounded number of those who wait.

use tokio::sync::{Semaphore, SemaphorePermit};

/// Whoever has a turn works; others wait, and one too many is told so at once.
#[derive(Debug)]
pub(crate) struct Queue {
    places: Semaphore,
    turn: Semaphore,
}

/// Dropping it is the next one's turn.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    _turn: SemaphorePermit<'a>,
    _place: SemaphorePermit<'a>,
}

impl Queue {
    /// Of one who works and so many who wait.
    pub(crate) fn new(waiting: usize) -> Self {
        Self { places: Semaphore::new(waiting + 1), turn: Semaphore::new(1) }
    }

    /// Waits for a turn, first come first served; `None` when too many wait.
    pub(crate) async fn turn(&self) -> Option<Turn<'_>> {
        let place = self.places.try_acquire().ok()?;
        // Fails only when it is closed, which nobody does.
        Some(Turn { _turn: self.turn.acquire().await.ok()?, _place: place })
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Future, poll_fn};
    use std::pin::pin;
    use std::task::Poll;

    use super::*;

    #[tokio::test]
    async fn one_works_some_wait_and_one_too_many_is_refused() {
        let queue = Queue::new(1);
        let first = queue.turn().await;
        assert!(first.is_some());
        let mut second = pin!(queue.turn());
        let waits = poll_fn(|context| Poll::Ready(second.as_mut().poll(context).is_pending())).await;
        assert!(waits && queue.turn().await.is_none());
        drop(first);
        drop(second.await.expect("its turn"));
        assert!(queue.turn().await.is_some(), "who has gone holds no place");
    }
}
