//! Who is let in. A place is taken before any work is done for a request, and given back wherever that ends.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::Error;
use crate::scheduler::Client;

/// What is known of a request when it arrives.
#[derive(Debug, Clone, Default)]
pub struct Arrival {
    /// Whose request it is: those that wait are taken in turn, one of each client. `None` is one client too.
    pub client: Option<String>,
    /// Bytes that its prompt will have, as far as that is known; the prompt itself is measured when it comes.
    pub prompt_bytes: usize,
    /// Who still waits in the queue then, and has never run, fails with [`Error::WaitedTooLong`]. A time during which
    /// the generation is parked is added.
    pub deadline: Option<Instant>,
}

/// An engine's bounds, and what is taken of them.
#[derive(Debug)]
pub(crate) struct Admission {
    /// Requests that wait or run, at most; and those of them that find no place in the batch.
    requests: usize,
    queue: usize,
    /// Bytes of prompts that wait.
    bytes: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    requests: usize,
    bytes: usize,
}

impl Admission {
    pub(crate) fn new(running: usize, queue: usize, bytes: usize) -> Arc<Self> {
        Arc::new(Self { requests: running + queue, queue, bytes, taken: Mutex::default() })
    }

    /// # Errors
    /// [`Error::Overloaded`], at once.
    pub(crate) fn reserve(self: &Arc<Self>, arrival: &Arrival) -> Result<Place, Error> {
        let mut taken = self.taken();
        if taken.requests >= self.requests || taken.bytes + arrival.prompt_bytes > self.bytes {
            return Err(Error::Overloaded { queued: self.queue });
        }
        taken.requests += 1;
        taken.bytes += arrival.prompt_bytes;
        Ok(Place {
            admission: self.clone(),
            client: client(arrival.client.as_deref()),
            deadline: arrival.deadline,
            returning: false,
            bytes: arrival.prompt_bytes,
            counted: true,
        })
    }

    /// Requests that wait or run.
    pub(crate) fn requests(&self) -> usize {
        self.taken().requests
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn client(name: Option<&str>) -> Client {
    name.map_or(0, |name| {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        hasher.finish()
    })
}

/// A request's place among those that wait or run. Dropping it gives it back.
#[derive(Debug)]
pub struct Place {
    admission: Arc<Admission>,
    pub(crate) client: Client,
    pub(crate) deadline: Option<Instant>,
    /// It has run before, in an engine that died: it waits before those that haven't.
    pub(crate) returning: bool,
    bytes: usize,
    /// Parked requests hold no place.
    counted: bool,
}

impl Place {
    /// It waited for something else than the engine: that much is added to its time in the queue.
    pub fn wait_longer(&mut self, by: Duration) {
        self.deadline = self.deadline.map(|deadline| deadline + by);
    }

    /// The prompt has come.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when it is longer than expected and the queue has no room for that.
    pub(crate) fn bring(&mut self, bytes: usize) -> Result<(), Error> {
        let mut taken = self.admission.taken();
        let others = taken.bytes - self.bytes;
        if bytes > self.bytes && others + bytes > self.admission.bytes {
            return Err(Error::Overloaded { queued: self.admission.queue });
        }
        taken.bytes = others + bytes;
        self.bytes = bytes;
        Ok(())
    }

    /// It runs: its prompt no longer waits.
    pub(crate) fn begin(&mut self) {
        self.admission.taken().bytes -= std::mem::take(&mut self.bytes);
    }

    /// It is parked: others may have the place.
    pub(crate) fn leave(&mut self) {
        if std::mem::replace(&mut self.counted, false) {
            self.admission.taken().requests -= 1;
        }
        self.begin();
    }

    /// It is back. Whoever was let in once isn't refused, even where that makes one more than allowed.
    pub(crate) fn come_back(&mut self) {
        if !std::mem::replace(&mut self.counted, true) {
            self.admission.taken().requests += 1;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn arrival(prompt_bytes: usize) -> Arrival {
        Arrival { prompt_bytes, ..Arrival::default() }
    }

    #[test]
    fn requests_and_bytes_are_bounded_each() {
        let admission = Admission::new(1, 2, 100);
        let first = admission.reserve(&arrival(100)).unwrap();
        let full = Error::Overloaded { queued: 2 };
        assert_eq!(admission.reserve(&arrival(1)).unwrap_err(), full);
        let mut others = [0, 0].map(|bytes| admission.reserve(&arrival(bytes)).unwrap());
        assert_eq!(admission.reserve(&arrival(0)).unwrap_err(), full);
        assert_eq!(others[0].bring(1).unwrap_err(), full);
        drop(first);
        others[0].bring(60).unwrap();
        assert_eq!(admission.reserve(&arrival(41)).unwrap_err(), full);
        others[0].begin();
        drop(admission.reserve(&arrival(100)).unwrap());
    }

    #[test]
    fn clients_are_told_apart_by_their_names() {
        let named = |name: Option<&str>| client(name);
        assert_eq!(named(None), named(None));
        assert_eq!(named(Some("a")), named(Some("a")));
        assert!(named(Some("a")) != named(Some("b")) && named(Some("")) != named(None));
    }

    proptest! {
        /// Whatever happens to places, what is taken is what the living ones hold.
        #[test]
        fn nothing_is_lost_and_nothing_counted_twice(
            acts in proptest::collection::vec((0u8..6, 0usize..8, 0usize..40), 0..200),
        ) {
            let admission = Admission::new(2, 4, 100);
            let mut places: Vec<Place> = Vec::new();
            for (act, which, bytes) in acts {
                let count = places.len();
                match (act, places.get_mut(which % count.max(1))) {
                    (1, Some(_)) => drop(places.swap_remove(which % count)),
                    (2, Some(place)) => place.begin(),
                    (3, Some(place)) => place.leave(),
                    (4, Some(place)) => place.come_back(),
                    (5, Some(place)) => _ = place.bring(bytes),
                    _ => places.extend(admission.reserve(&arrival(bytes)).ok()),
                }
                let taken = admission.taken();
                prop_assert_eq!(taken.requests, places.iter().filter(|place| place.counted).count());
                prop_assert_eq!(taken.bytes, places.iter().map(|place| place.bytes).sum::<usize>());
                prop_assert!(taken.bytes <= 100);
            }
            drop(places);
            let taken = admission.taken();
            prop_assert_eq!((taken.requests, taken.bytes), (0, 0));
        }
    }
}
