//! Who is let in. A place is taken before any work is done for a request, and given back wherever that ends.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::scheduler::Client;
use crate::{Error, Presence};

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
    /// Whether somebody reads. While nobody does its place is another's, also before it is generated.
    pub presence: Presence,
}

/// An engine's bounds, and what is taken of them.
#[derive(Debug)]
pub struct Admission {
    /// Requests that wait or run, at most; and those of them that find no place in the batch.
    requests: usize,
    queue: usize,
    /// Bytes of prompts that wait.
    bytes: usize,
    taken: Mutex<Taken>,
}

/// Places that were given, by number. What is taken is counted whenever it is asked for: readers come and leave
/// meanwhile.
#[derive(Debug, Default)]
struct Taken {
    places: BTreeMap<u64, Share>,
    next: u64,
}

#[derive(Debug)]
struct Share {
    presence: Presence,
    /// Of its prompt, while that waits.
    bytes: usize,
}

impl Taken {
    /// Those whose reader is there.
    fn present(&self) -> impl Iterator<Item = &Share> {
        self.places.values().filter(|share| !share.presence.is_parked())
    }

    fn requests(&self) -> usize {
        self.present().count()
    }

    fn bytes(&self) -> usize {
        self.present().map(|share| share.bytes).sum()
    }
}

impl Admission {
    /// So many requests may run, so many more wait, and the prompts of those that wait may have so many bytes together.
    pub fn new(running: usize, queue: usize, bytes: usize) -> Arc<Self> {
        Arc::new(Self { requests: running + queue, queue, bytes, taken: Mutex::default() })
    }

    /// # Errors
    /// [`Error::Overloaded`], at once.
    pub fn reserve(self: &Arc<Self>, arrival: &Arrival) -> Result<Reservation, Error> {
        let mut taken = self.taken();
        if taken.requests() >= self.requests || taken.bytes() + arrival.prompt_bytes > self.bytes {
            return Err(Error::Overloaded { queued: self.queue });
        }
        let number = taken.next;
        taken.next += 1;
        let share = Share { presence: arrival.presence.clone(), bytes: arrival.prompt_bytes };
        taken.places.insert(number, share);
        drop(taken);
        Ok(Reservation {
            admission: self.clone(),
            number,
            presence: arrival.presence.clone(),
            client: client(arrival.client.as_deref()),
            deadline: arrival.deadline,
            returning: false,
        })
    }

    /// Requests that wait or run.
    pub fn requests(&self) -> usize {
        self.taken().requests()
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

/// A request's place among those that wait or run. Dropping it gives it back. While the request is parked it is another's;
/// whoever was let in once isn't refused when it comes back, even where that makes one more than allowed.
#[derive(Debug)]
pub struct Reservation {
    admission: Arc<Admission>,
    number: u64,
    pub(crate) presence: Presence,
    pub(crate) client: Client,
    pub(crate) deadline: Option<Instant>,
    /// It has run before, in an engine that died: it waits before those that haven't.
    pub(crate) returning: bool,
}

impl Reservation {
    /// It waited for something else than the engine: that much is added to its time in the queue.
    pub fn wait_longer(&mut self, by: Duration) {
        self.deadline = self.deadline.map(|deadline| deadline + by);
    }

    /// Whether somebody reads.
    pub fn presence(&self) -> &Presence {
        &self.presence
    }

    /// Whose request it is, as a number: those that wait are taken in turn, one of each.
    pub fn client(&self) -> u64 {
        self.client
    }

    /// See [`Arrival::deadline`].
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The prompt has come.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when it is longer than expected and the queue has no room for that.
    pub fn bring(&mut self, bytes: usize) -> Result<(), Error> {
        let mut taken = self.admission.taken();
        let all = taken.bytes();
        let Some(share) = taken.places.get_mut(&self.number) else { return Ok(()) };
        let others = if share.presence.is_parked() { 0 } else { all.saturating_sub(share.bytes) };
        if bytes > share.bytes && others + bytes > self.admission.bytes {
            return Err(Error::Overloaded { queued: self.admission.queue });
        }
        share.bytes = bytes;
        Ok(())
    }

    /// It runs: its prompt no longer waits.
    pub fn begin(&mut self) {
        if let Some(share) = self.admission.taken().places.get_mut(&self.number) {
            share.bytes = 0;
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.admission.taken().places.remove(&self.number);
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
        /// Field report 39. Whatever happens to places and readers, what is taken is what those have who are there.
        #[test]
        fn nothing_is_lost_and_nothing_counted_twice(
            acts in proptest::collection::vec((0u8..6, 0usize..8, 0usize..40), 0..200),
        ) {
            let admission = Admission::new(2, 4, 100);
            let mut places: Vec<(Reservation, usize)> = Vec::new();
            for (act, which, bytes) in acts {
                let count = places.len();
                let room = admission.requests() < 6 && admission.taken().bytes() + bytes <= 100;
                match (act, places.get_mut(which % count.max(1))) {
                    (1, Some(_)) => drop(places.swap_remove(which % count)),
                    (2, Some((place, held))) => { place.begin(); *held = 0; },
                    (3, Some((place, _))) => place.presence.park(),
                    (4, Some((place, _))) => place.presence.resume(),
                    (5, Some((place, held))) => if place.bring(bytes).is_ok() { *held = bytes; },
                    _ => {
                        // A reader of its own for each.
                        let place = admission.reserve(&Arrival { presence: Presence::default(), ..arrival(bytes) });
                        prop_assert_eq!(place.is_ok(), room);
                        places.extend(place.ok().map(|place| (place, bytes)));
                    }
                }
                let present = || places.iter().filter(|(place, _)| !place.presence.is_parked());
                prop_assert_eq!(admission.requests(), present().count());
                prop_assert_eq!(admission.taken().bytes(), present().map(|(_, held)| held).sum::<usize>());
            }
            drop(places);
            prop_assert!(admission.taken().places.is_empty());
        }
    }
}
