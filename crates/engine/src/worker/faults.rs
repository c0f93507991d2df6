//! What fails: one request, its batch, or the room in the cache.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;

use crate::model::{Candidates, Model};
use crate::sampler::Scratch;
use crate::scheduler::{Id, Run};
use crate::sequence::Status;
use crate::vocab::{Token, Vocab};
use crate::{Delta, Error};

use super::Worker;

/// Runs one request's part of the work. A panic there becomes an error of this request: what it may have left half done
/// is thrown away with its sequence.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(Error::Internal(reason(&*panic))))
}

/// Tokens that the model can be given: native code would read behind its tables for others.
///
/// # Errors
/// [`Error::Internal`] with the first one that isn't.
pub(super) fn known(tokens: &[Token], vocab: &Vocab) -> Result<(), Error> {
    match tokens.iter().find(|&&token| !vocab.holds(token)) {
        Some(token) => Err(Error::Internal(format!("token {token} is outside the vocabulary"))),
        None => Ok(()),
    }
}

/// Has the model fill in what is wanted. Where it panics, request by request, so that only that one gets nothing.
pub(super) fn score(model: &mut dyn Model, wanted: &mut [Candidates]) {
    let mut panics = |wanted: &mut [Candidates]| {
        guarded(|| {
            model.score(wanted);
            Ok(())
        })
        .is_err()
    };
    if panics(wanted) {
        for one in wanted {
            if panics(std::slice::from_mut(one)) {
                one.logits.clear();
            }
        }
    }
}

fn reason(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a word").to_owned()
}

impl Worker {
    /// Writes a request anew from the text that its reader has. The second time it ends.
    pub(super) fn retry(&mut self, id: Id, error: Error) {
        self.scratch = Scratch::default();
        self.deltas.clear();
        let Some(active) = self.requests.get_mut(&id) else { return };
        tracing::warn!(%error, again = !active.retried, "a request failed");
        // Nobody knows what the row holds.
        if let Some(row) = active.row {
            self.cache.truncate(row, 0);
            self.model.clear(row);
        }
        let retried = match error {
            error if std::mem::replace(&mut active.retried, true) => Err(error),
            // Its sequence is whole: what the row held is computed anew, and its text is the same.
            Error::CacheFull => Ok(Status::Pending),
            _ => active.rewrite(&self.shared.language, &mut self.deltas),
        };
        match retried {
            Ok(status) => {
                self.shared.figures.retries.fetch_add(1, Ordering::Relaxed);
                active.send(&mut self.deltas);
                self.withdraw(id);
                if status == Status::Finished {
                    self.requests.remove(&id);
                } else {
                    self.scheduler.requeue(id);
                }
            }
            Err(error) => {
                active.outlet.send(Delta::Failed(error));
                self.end(id);
            }
        }
    }

    /// The batch failed, and nobody knows for whom.
    pub(super) fn retry_all(&mut self, plan: &[Run], error: &Error) {
        for run in plan {
            self.retry(run.id, error.clone());
        }
    }

    /// No room for the batch: somebody's cells are given up, an idle row's first. The batch is planned anew then.
    pub(super) fn make_cells(&mut self, plan: &[Run]) {
        let Self { cache, model, .. } = self;
        if !cache.give_up_oldest(|row| model.clear(row)) && !self.preempt() {
            self.retry_all(plan, &Error::CacheFull);
        }
    }
}
