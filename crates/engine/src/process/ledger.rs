//! The generations that live, and what is needed to go on with each of them in another engine.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::shared::Command;
use crate::{Delta, Error, Request, Reservation, Usage};

use super::protocol::{Number, Terms, ToEngine};
use crate::generation::Outlet;

/// A request that engines died of so often isn't tried again.
const MOST_DEATHS: u32 = 2;

/// Pure bookkeeping: what to tell the engine is returned, not sent.
#[derive(Debug)]
pub(super) struct Ledger {
    /// Generations that an engine computes at the same time.
    running: usize,
    entries: BTreeMap<Number, Entry>,
    next: Number,
}

#[derive(Debug)]
struct Entry {
    /// `progress` is the text that the reader has been sent.
    request: Request,
    outlet: Outlet,
    reservation: Reservation,
    phase: Phase,
    /// It has run, in this engine or in an earlier one.
    has_run: bool,
    /// Since when its reader is away.
    parked: Option<Instant>,
    /// Engines that died while they were computing it.
    deaths: u32,
    /// Times that it goes on in another engine than the one that it had run in.
    taken_over: u32,
}

/// Where a generation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The engine hasn't got it: there is none, or it came back parked from one that died.
    Here,
    /// The engine has it and hasn't said what it does with it.
    Sent,
    Waiting {
        position: usize,
    },
    Running,
}

impl Ledger {
    pub(super) fn new(running: usize) -> Self {
        Self { running, entries: BTreeMap::new(), next: 0 }
    }

    /// A new generation; submit it when there is an engine.
    pub(super) fn add(&mut self, command: Command) -> Number {
        let Command { request, outlet, reservation } = command;
        let id = self.next;
        self.next += 1;
        let entry = Entry {
            request,
            outlet,
            reservation,
            phase: Phase::Here,
            has_run: false,
            parked: None,
            deaths: 0,
            taken_over: 0,
        };
        self.entries.insert(id, entry);
        id
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn parked(&self) -> usize {
        self.entries.values().filter(|entry| entry.parked.is_some()).count()
    }

    /// Gives the engine what it is to compute and hasn't got: those that have run come first, each kind in the order of
    /// arrival.
    pub(super) fn submit(&mut self, now: Instant) -> Vec<ToEngine> {
        let mut due: Vec<(&Number, &mut Entry)> = self
            .entries
            .iter_mut()
            .filter(|(_, entry)| entry.phase == Phase::Here && entry.parked.is_none())
            .collect();
        due.sort_by_key(|(id, entry)| (!entry.has_run, **id));
        let start = |(&id, entry): (&Number, &mut Entry)| {
            entry.phase = Phase::Sent;
            let wait = entry.reservation.deadline.map(|deadline| deadline.saturating_duration_since(now));
            let terms = Terms { client: entry.reservation.client, wait, returning: entry.has_run };
            ToEngine::Start { id, request: entry.request.clone(), terms }
        };
        due.into_iter().map(start).collect()
    }

    /// What the engine wrote, for its reader; says what to tell the engine.
    pub(super) fn write(&mut self, id: Number, mut delta: Delta) -> Option<ToEngine> {
        let entry = self.entries.get_mut(&id)?;
        if let Delta::Done(usage) = &mut delta {
            usage.continued += entry.taken_over;
        }
        entry.request.progress.note(&delta);
        let ends = matches!(delta, Delta::Done(_) | Delta::Failed(_));
        let heard = entry.outlet.send(delta);
        if ends {
            self.entries.remove(&id);
            return None;
        }
        if heard { None } else { self.forget(id) }
    }

    fn forget(&mut self, id: Number) -> Option<ToEngine> {
        let entry = self.entries.remove(&id)?;
        (entry.phase != Phase::Here).then_some(ToEngine::Cancel(id))
    }

    pub(super) fn position(&mut self, id: Number, position: Option<usize>) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if entry.parked.is_some() {
            return;
        }
        if let Some(position) = position {
            entry.phase = Phase::Waiting { position };
        } else {
            entry.phase = Phase::Running;
            entry.has_run = true;
            entry.reservation.begin();
        }
        entry.outlet.set_position(position);
    }

    /// Readers that have left, had their generation parked, or are back. While there is no engine, who waits for longer
    /// than wanted is told so here.
    pub(super) fn follow_the_readers(&mut self, now: Instant) -> Vec<ToEngine> {
        let ids: Vec<Number> = self.entries.keys().copied().collect();
        let mut messages = Vec::new();
        for id in ids {
            let Some(entry) = self.entries.get_mut(&id) else { continue };
            let is_here = entry.phase == Phase::Here;
            match (entry.outlet.is_parked(), entry.parked) {
                _ if entry.outlet.is_closed() => messages.extend(self.forget(id)),
                (true, None) => {
                    entry.parked = Some(now);
                    entry.outlet.set_position(None);
                    messages.extend((!is_here).then_some(ToEngine::Park(id)));
                }
                (false, Some(since)) => {
                    entry.parked = None;
                    entry.reservation.deadline =
                        entry.reservation.deadline.map(|deadline| deadline + (now - since));
                    if !is_here {
                        entry.phase = Phase::Sent;
                        messages.push(ToEngine::Resume(id));
                    }
                }
                (false, None) if is_here && entry.is_late(now) => {
                    entry.outlet.send(Delta::Failed(Error::WaitedTooLong));
                    self.entries.remove(&id);
                }
                _ => {}
            }
        }
        messages
    }

    /// The engine has died. What it was computing goes on in the next one, unless that was tried before, or its reader has
    /// all of it already. Says how many of those that had begun go on.
    pub(super) fn engine_died(&mut self) -> u64 {
        let computed = |entry: &&Entry| entry.phase == Phase::Running && entry.parked.is_none();
        let mut going_on = 0;
        // Who was the next to be computed may have been, without a word of it.
        let free = self.running.saturating_sub(self.entries.values().filter(computed).count());
        self.entries.retain(|id, entry| {
            if entry.request.program.is_finished(&entry.request.progress) {
                // What it cost died with the engine.
                entry.outlet.send(Delta::Done(Usage { continued: entry.taken_over, ..Usage::default() }));
                return false;
            }
            let computed = match entry.phase {
                _ if entry.parked.is_some() => false,
                Phase::Sent | Phase::Running => true,
                Phase::Waiting { position } => position <= free,
                Phase::Here => false,
            };
            entry.deaths += u32::from(computed);
            entry.phase = Phase::Here;
            if entry.deaths < MOST_DEATHS {
                entry.taken_over += u32::from(entry.has_run);
                going_on += u64::from(entry.has_run);
                return true;
            }
            tracing::error!(
                id,
                "a request is set aside: engines died of it, or beside it, {MOST_DEATHS} times"
            );
            entry.outlet.send(Delta::Failed(Error::Died));
            false
        });
        going_on
    }

    pub(super) fn fail(&mut self, id: Number, error: Error) {
        if let Some(entry) = self.entries.remove(&id) {
            entry.outlet.send(Delta::Failed(error));
        }
    }

    /// Nothing can be computed any more.
    pub(super) fn fail_all(&mut self, error: &Error) {
        for entry in std::mem::take(&mut self.entries).into_values() {
            entry.outlet.send(Delta::Failed(error.clone()));
        }
    }
}

impl Entry {
    fn is_late(&self, now: Instant) -> bool {
        !self.has_run && self.reservation.deadline.is_some_and(|deadline| deadline <= now)
    }
}

#[cfg(test)]
mod tests;
