//! Whose turn it is.

use std::collections::{BTreeSet, VecDeque};

use super::{Client, Id};

/// Requests that wait. Those that have run before come first, in the order of their arrival; of the others one of each
/// client in turn, so that nobody waits longer because somebody else has asked often.
#[derive(Debug, Default)]
pub struct Queue {
    returning: BTreeSet<Id>,
    /// The client whose turn is next comes first; one without requests has no turn.
    turns: VecDeque<(Client, VecDeque<Id>)>,
}

impl Queue {
    /// A request that hasn't run yet, behind its client's earlier ones.
    pub fn push(&mut self, id: Id, client: Client) {
        match self.turns.iter_mut().find(|(other, _)| *other == client) {
            Some((_, ids)) => {
                let place = ids.partition_point(|&other| other < id);
                ids.insert(place, id);
            }
            None => self.turns.push_back((client, VecDeque::from([id]))),
        }
    }

    /// A request that has run.
    pub fn push_returning(&mut self, id: Id) {
        self.returning.insert(id);
    }

    /// Takes a request that waits, usually the first in [`Queue::order`]; its client's turn is over. `false`: it doesn't wait.
    pub fn take(&mut self, id: Id) -> bool {
        if self.returning.remove(&id) {
            return true;
        }
        let Some(turn) = self.turns.iter().position(|(_, ids)| ids.contains(&id)) else {
            return false;
        };
        if let Some((client, mut ids)) = self.turns.remove(turn) {
            ids.retain(|&other| other != id);
            if !ids.is_empty() {
                self.turns.push_back((client, ids));
            }
        }
        true
    }

    /// A request that doesn't wait any longer, if it did.
    pub fn remove(&mut self, id: Id) {
        self.returning.remove(&id);
        for (_, ids) in &mut self.turns {
            ids.retain(|&other| other != id);
        }
        self.turns.retain(|(_, ids)| !ids.is_empty());
    }

    /// Nobody waits.
    pub fn is_empty(&self) -> bool {
        self.returning.is_empty() && self.turns.is_empty()
    }

    /// All of them in the order in which they are taken when nobody comes or leaves.
    pub fn order(&self) -> impl Iterator<Item = Id> {
        let rounds = self.turns.iter().map(|(_, ids)| ids.len()).max().unwrap_or(0);
        let round = |round: usize| self.turns.iter().filter_map(move |(_, ids)| ids.get(round));
        self.returning.iter().chain((0..rounds).flat_map(round)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    impl Queue {
        fn pop(&mut self) -> Option<Id> {
            let first = self.order().next()?;
            self.take(first).then_some(first)
        }
    }

    #[test]
    fn one_of_each_client_is_taken_in_turn_and_who_has_run_before_comes_first() {
        let mut queue = Queue::default();
        for (id, client) in [(1, 7), (2, 7), (3, 7), (4, 8), (6, 9), (7, 8)] {
            queue.push(id, client);
        }
        queue.push_returning(5);
        queue.push_returning(0);
        let taken: Vec<Id> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(taken, [0, 5, 1, 4, 6, 2, 7, 3]);
    }

    proptest! {
        /// Random arrivals, departures and turns: the order that was told is kept, every client's own order is that of
        /// arrival, and between two turns of a client that waits nobody else has two.
        #[test]
        fn nobody_waits_because_another_asks_often(
            acts in proptest::collection::vec((0u8..5, 0u64..4), 1..120),
        ) {
            let mut queue = Queue::default();
            let mut clients = BTreeMap::new();
            // For each waiting client, who has had a turn since its last one or since it came.
            let mut since: BTreeMap<Client, Vec<Client>> = BTreeMap::new();
            for (id, (act, client)) in acts.into_iter().enumerate() {
                let id = id as Id;
                let waiting: Vec<Id> = queue.order().collect();
                match act {
                    0..=2 => {
                        queue.push(id, client);
                        clients.insert(id, client);
                        since.entry(client).or_default();
                    }
                    3 => {
                        let Some(&leaving) = waiting.get(client as usize) else { continue };
                        queue.remove(leaving);
                    }
                    _ => {
                        let taken = queue.pop();
                        prop_assert_eq!(taken, waiting.first().copied(), "the order that was told");
                        let Some(taken) = taken else { continue };
                        let owner = clients[&taken];
                        let earlier = waiting.iter().filter(|id| clients[id] == owner).min();
                        prop_assert_eq!(earlier, Some(&taken), "a client's own order");
                        since.insert(owner, Vec::new());
                        for (_, others) in since.iter_mut().filter(|(client, _)| **client != owner) {
                            prop_assert!(!others.contains(&owner), "two turns of {owner} while another waits");
                            others.push(owner);
                        }
                    }
                }
                let left: Vec<Client> = queue.order().map(|id| clients[&id]).collect();
                since.retain(|client, _| left.contains(client));
                prop_assert_eq!(queue.is_empty(), queue.order().count() == 0);
            }
        }
    }
}
