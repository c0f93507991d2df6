//! Requests that want different adapters: a batch is computed with one, so they take turns.

use std::collections::BTreeSet;
use std::ops::Bound;

use crate::Error;
use crate::model::Adapter;
use crate::scheduler::{Company, Id};

use super::Worker;

/// Batches with one adapter before those of another one have theirs. Setting another one costs about as much as a batch of
/// one token: llama.cpp plans its graph anew.
const TURN: usize = 8;

/// The adapter of this name.
///
/// # Errors
/// [`Error::Unfit`] with those that there are.
pub(super) fn find(name: Option<&str>, adapters: &[String]) -> Result<Adapter, Error> {
    let Some(name) = name else { return Ok(None) };
    let found = adapters.iter().position(|known| known == name);
    found.map(Some).ok_or_else(|| {
        let known = if adapters.is_empty() { "none".to_owned() } else { adapters.join(", ") };
        Error::Unfit(format!("there is no adapter {name:?} in engine.adapters; there is {known}"))
    })
}

/// Whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Turns {
    adapter: Adapter,
    /// Batches that its turn still has when others wait for theirs.
    left: usize,
}

impl Turns {
    /// One of those for which there is something to compute. None: there is nothing.
    fn next(&mut self, wanted: &BTreeSet<Adapter>) -> Option<Adapter> {
        if self.left > 0 && wanted.contains(&self.adapter) {
            self.left -= 1;
            return Some(self.adapter);
        }
        let behind = wanted.range((Bound::Excluded(self.adapter), Bound::Unbounded)).next();
        self.adapter = *behind.or_else(|| wanted.first())?;
        self.left = TURN - 1;
        Some(self.adapter)
    }
}

impl Worker {
    /// The adapter of the next batch. None: nobody has anything to compute.
    pub(super) fn take_turn(&mut self) -> Option<Adapter> {
        let computing = self.scheduler.running().filter(|id| !self.held.contains(id));
        let active = computing.filter_map(|id| self.requests.get(&id));
        let wanted =
            active.filter(|active| !active.sequence.pending().is_empty()).map(|active| active.adapter);
        self.turns.next(&wanted.collect())
    }

    /// How a request that waits would get on with those that run.
    pub(super) fn company(&self, id: Id) -> Company {
        let Some(active) = self.requests.get(&id) else { return Company::Joins };
        let running = self.scheduler.running().filter_map(|id| self.requests.get(&id));
        let present: BTreeSet<Adapter> = running.map(|active| active.adapter).collect();
        let loaded = present.iter().flatten().count();
        if present.is_empty() || present.contains(&active.adapter) {
            Company::Joins
        } else if active.adapter.is_none() || loaded < self.adapters_in_memory {
            Company::Fits
        } else {
            Company::HasNoRoom
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whoever wants batches has one after each of the others has had a turn, and turns of one are whole while others wait.
        #[test]
        fn everybody_s_turn_comes(wishes in proptest::collection::vec(proptest::collection::btree_set(
            proptest::option::of(0usize..4), 0..5), 1..200)) {
            let mut turns = Turns::default();
            let mut waiting = std::collections::BTreeMap::new();
            for wanted in wishes {
                let next = turns.next(&wanted);
                prop_assert_eq!(next.is_none(), wanted.is_empty());
                let Some(next) = next else { continue };
                prop_assert!(wanted.contains(&next));
                waiting.retain(|adapter, _| wanted.contains(adapter) && *adapter != next);
                for other in wanted.into_iter().filter(|other| *other != next) {
                    let batches = waiting.entry(other).or_insert(0);
                    *batches += 1;
                    prop_assert!(*batches <= 4 * TURN, "{other:?} waits for {batches} batches");
                }
            }
        }
    }

    #[test]
    fn one_alone_goes_on_and_two_take_turns() {
        let mut turns = Turns::default();
        let both = BTreeSet::from([None, Some(2)]);
        let order: Vec<_> = (0..3 * TURN).filter_map(|_| turns.next(&both)).collect();
        let changes = order.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert_eq!(changes, 2, "{order:?}");
        let alone = BTreeSet::from([Some(2)]);
        assert!((0..3 * TURN).all(|_| turns.next(&alone) == Some(Some(2))));
    }

    #[test]
    fn who_asks_for_what_there_is_not_is_told_what_there_is() {
        let known = ["정중한".to_owned(), "짧은".to_owned()];
        assert_eq!(find(None, &known), Ok(None));
        assert_eq!(find(Some("짧은"), &known), Ok(Some(1)));
        let refused = find(Some("긴"), &known).unwrap_err().to_string();
        assert!(refused.contains("긴") && refused.contains("정중한, 짧은"), "{refused}");
    }
}
