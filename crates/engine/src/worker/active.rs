//! A request that the model's thread has accepted.

use std::time::Instant;

use crate::generation::Outlet;
use crate::model::{Adapter, Candidates, SeqId};
use crate::sampler::Scratch;
use crate::sequence::{Language, Sequence, Status};
use crate::shared::{Command, Shared, fits};
use crate::{Delta, Error, Request, Reservation};

use super::adapters;
use super::faults::{guarded, known};

/// How often a request can lose its place to others.
const MOST_PREEMPTIONS: u32 = 3;

pub(super) struct Active {
    pub(super) sequence: Sequence,
    /// What it was made of; `progress` is the text that its reader has been sent.
    request: Request,
    pub(super) outlet: Outlet,
    /// What its tokens are computed with.
    pub(super) adapter: Adapter,
    /// The most tokens it can come to hold: what admission reserves.
    pub(super) most: usize,
    /// Its row in the KV cache while it runs.
    pub(super) row: Option<SeqId>,
    pub(super) preempted: u32,
    /// It has run, so that it comes before those that haven't when it waits again.
    pub(super) has_run: bool,
    pub(super) parked: Option<Instant>,
    /// It has met a fault, and was written anew from its text: the next fault ends it.
    pub(super) retried: bool,
    pub(super) reservation: Reservation,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Change {
    /// The reader is gone.
    Leave,
    Park,
    Return {
        since: Instant,
    },
    /// It has waited for longer than its caller wanted, and has never run.
    GiveUp,
}

fn write(
    request: Request,
    language: &Language,
    deltas: &mut Vec<Delta>,
) -> Result<(Sequence, Status), Error> {
    let (sequence, status) = Sequence::new(request, language, deltas)?;
    known(sequence.tokens(), &language.vocab)?;
    Ok((sequence, status))
}

impl Active {
    /// Tokenises a request, and runs it up to the first token that must be sampled. What it says without one is in
    /// `deltas` then, whether or not that is all; `None` when it has ended with that, or with an error.
    pub(super) fn new(
        command: Command,
        shared: &Shared,
        cells: usize,
        deltas: &mut Vec<Delta>,
    ) -> Option<Self> {
        let Command { request, outlet, reservation } = command;
        let language = &shared.language;
        let adapter = match adapters::find(request.adapter.as_deref(), &shared.info.adapters) {
            Ok(adapter) => adapter,
            Err(error) => {
                outlet.send(Delta::Failed(error));
                return None;
            }
        };
        let mut begin = || {
            deltas.clear();
            guarded(|| {
                let (sequence, status) = write(request.clone(), language, deltas)?;
                let most = sequence.most_tokens(language);
                fits(most, cells)?;
                Ok((sequence, status, most))
            })
        };
        let (begun, retried) = match begin() {
            Err(Error::Internal(_)) => (begin(), true),
            begun => (begun, false),
        };
        match begun {
            Ok((sequence, status, most)) => {
                let mut active = Self {
                    sequence,
                    request,
                    outlet,
                    adapter,
                    most,
                    row: None,
                    preempted: 0,
                    has_run: reservation.returning,
                    parked: None,
                    retried,
                    reservation,
                };
                active.send(deltas);
                (status == Status::Pending).then_some(active)
            }
            Err(error) => {
                outlet.send(Delta::Failed(error));
                None
            }
        }
    }

    /// Sends what was written, and remembers it: from there it can be written on by a new sequence.
    pub(super) fn send(&mut self, deltas: &mut Vec<Delta>) {
        for mut delta in deltas.drain(..) {
            if let Delta::Done(usage) = &mut delta {
                usage.continued = self.preempted + u32::from(self.retried);
            }
            self.request.progress.note(&delta);
            self.outlet.send(delta);
        }
    }

    /// A new sequence behind the text that was sent.
    ///
    /// # Errors
    /// [`Error::Program`] when the text doesn't fit the program, [`Error::Internal`] when the fault is met again.
    pub(super) fn rewrite(&mut self, language: &Language, deltas: &mut Vec<Delta>) -> Result<Status, Error> {
        let request = self.request.clone();
        let (sequence, status) = guarded(|| write(request, language, deltas))?;
        self.sequence = sequence;
        Ok(status)
    }

    /// Draws the next token, and goes on as far as nothing must be drawn.
    ///
    /// # Errors
    /// As [`Sequence::sample`]; [`Error::Internal`] for a fault, which is this request's alone.
    pub(super) fn sample(
        &mut self,
        candidates: &Candidates,
        language: &Language,
        scratch: &mut Scratch,
        deltas: &mut Vec<Delta>,
    ) -> Result<Status, Error> {
        guarded(|| {
            let status = self.sequence.sample(candidates, language, scratch, deltas)?;
            known(self.sequence.pending(), &language.vocab)?;
            Ok(status)
        })
    }

    /// It gets a row, which holds so many of its tokens already.
    pub(super) fn run(&mut self, row: SeqId, cached: usize) {
        self.row = Some(row);
        self.sequence.found_cached(cached);
        self.has_run = true;
        self.reservation.begin();
        self.outlet.set_position(None);
    }

    /// It was preempted as often as anyone may be.
    pub(super) fn is_protected(&self) -> bool {
        self.preempted >= MOST_PREEMPTIONS
    }

    /// What its reader has done, or the clock, that the worker has yet to follow.
    pub(super) fn change(&self, now: Instant) -> Option<Change> {
        let late = || !self.has_run && self.reservation.deadline.is_some_and(|deadline| deadline <= now);
        match (self.outlet.is_parked(), self.parked) {
            _ if self.outlet.is_closed() => Some(Change::Leave),
            (true, None) => Some(Change::Park),
            (false, Some(since)) => Some(Change::Return { since }),
            (false, None) if late() => Some(Change::GiveUp),
            _ => None,
        }
    }
}
