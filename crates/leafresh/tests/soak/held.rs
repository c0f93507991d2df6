//! Conversations whose answers wait: no other way is there to have many readers wait for as long as a test wants.

use std::sync::{Condvar, Mutex};

use leafresh_store::{Error, Rated, Rating, Session, SessionKey, SessionStore, Sqlite, Update};
use time::OffsetDateTime;

/// What conversations have to begin with so that reading them waits.
pub(crate) const HELD: &str = "held-";

/// The conversation that has to be deleted so that they go on.
pub(crate) const RELEASE: &str = "release";

/// A store that takes its time.
pub(crate) struct Holding {
    store: Sqlite,
    released: Mutex<bool>,
    changed: Condvar,
}

impl Holding {
    pub(crate) fn new(store: Sqlite) -> Self {
        Self { store, released: Mutex::new(false), changed: Condvar::new() }
    }
}

impl SessionStore for Holding {
    fn load(&self, key: &SessionKey, now: OffsetDateTime) -> Result<Option<Session>, Error> {
        if key.id.starts_with(HELD) {
            let released = self.released.lock().unwrap();
            drop(self.changed.wait_while(released, |released| !*released).unwrap());
        }
        self.store.load(key, now)
    }

    fn record(&self, key: &SessionKey, update: &Update, now: OffsetDateTime) -> Result<(), Error> {
        self.store.record(key, update, now)
    }

    fn rate(
        &self,
        key: &SessionKey,
        answer: &str,
        rating: Option<Rating>,
        now: OffsetDateTime,
    ) -> Result<bool, Error> {
        self.store.rate(key, answer, rating, now)
    }

    fn rated(&self, now: OffsetDateTime) -> Result<Vec<Rated>, Error> {
        self.store.rated(now)
    }

    fn delete(&self, key: &SessionKey) -> Result<(), Error> {
        if key.id == RELEASE {
            *self.released.lock().unwrap() = true;
            self.changed.notify_all();
        }
        self.store.delete(key)
    }

    fn purge(&self, now: OffsetDateTime) -> Result<usize, Error> {
        self.store.purge(now)
    }

    fn delayed_scrubs(&self) -> u64 {
        self.store.delayed_scrubs()
    }
}
