//! Whether somebody reads a generation.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;

use tokio::sync::watch;

/// Whether a generation's reader is there: one level, of which everybody on the way from the reader to the model's thread
/// holds a clone. Who looks sees how it is now, however often it changed before; so nobody has to hand it on, and nobody
/// can miss it.
///
/// A parked generation takes no step and holds no place among those that run or wait. It keeps its text, and what the KV
/// cache has of it as long as nobody needs the cells. It goes on where it was, is never refused, but may have to wait.
#[derive(Debug, Clone, Default)]
pub struct Presence(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    parked: watch::Sender<bool>,
    /// Has an engine look at its readers, once the generation has come to one.
    engine: Mutex<Option<Waker>>,
}

impl Presence {
    /// Nobody reads.
    pub fn park(&self) {
        self.set(true);
    }

    /// Somebody reads again.
    pub fn resume(&self) {
        self.set(false);
    }

    pub fn is_parked(&self) -> bool {
        *self.0.parked.borrow()
    }

    /// Returns when nobody reads: at once, when that is so already.
    pub async fn parked(&self) {
        self.comes_to(true).await;
    }

    /// Returns when somebody reads: at once, when that is so already.
    pub async fn resumed(&self) {
        self.comes_to(false).await;
    }

    async fn comes_to(&self, level: bool) {
        // The sender is in `self`: it can't be gone.
        let _ = self.0.parked.subscribe().wait_for(|parked| *parked == level).await;
    }

    /// From now on every change wakes this engine, which looks at the level once by itself.
    pub(crate) fn wakes(&self, engine: Waker) {
        *self.0.engine.lock().unwrap_or_else(PoisonError::into_inner) = Some(engine);
    }

    fn set(&self, parked: bool) {
        if self.0.parked.send_if_modified(|now| std::mem::replace(now, parked) != parked)
            && let Some(engine) = &*self.0.engine.lock().unwrap_or_else(PoisonError::into_inner)
        {
            engine.wake_by_ref();
        }
    }
}
