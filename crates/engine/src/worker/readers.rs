//! What readers do meanwhile: leave, have their generation parked, return, or wait for too long.

use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::scheduler::Id;
use crate::{Delta, Error};

use super::Worker;
use super::active::{Active, Change};
use crate::shared::Command;

impl Worker {
    pub(super) fn begin(&mut self, command: Command) -> Option<Active> {
        self.deltas.clear();
        Active::new(command, &self.shared, self.cache.total_cells(), &mut self.deltas)
    }

    /// Before anything is computed: who has left ends, who is parked leaves the batch and the queue, who is back waits
    /// for a place, who has waited too long is told so.
    pub(super) fn follow_the_readers(&mut self) {
        let now = Instant::now();
        let changes: Vec<(Id, Change)> =
            self.requests.iter().filter_map(|(&id, active)| Some((id, active.change(now)?))).collect();
        for (id, change) in changes {
            let Some(active) = self.requests.get_mut(&id) else { continue };
            match change {
                Change::Leave => self.end(id),
                Change::Park => {
                    active.parked = Some(now);
                    active.outlet.set_position(None);
                    self.withdraw(id);
                }
                Change::Return { since } => {
                    active.parked = None;
                    active.reservation.deadline =
                        active.reservation.deadline.map(|deadline| deadline + (now - since));
                    if active.has_run {
                        self.scheduler.requeue(id);
                    } else {
                        self.scheduler.enqueue(id, active.reservation.client);
                    }
                    self.queue_moved = true;
                }
                Change::GiveUp => {
                    active.outlet.send(Delta::Failed(Error::WaitedTooLong));
                    self.end(id);
                }
            }
        }
        let parked = self.requests.values().filter(|active| active.parked.is_some()).count();
        self.shared.figures.parked.store(parked, Ordering::Relaxed);
    }

    pub(super) fn tell_positions(&self) {
        for (place, id) in self.scheduler.waiting().enumerate() {
            if let Some(active) = self.requests.get(&id) {
                active.outlet.set_position(Some(place + 1));
            }
        }
    }
}
