//! Writes that fail on purpose.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::Error;

/// Makes writes fail in tests. `Default` lets all of them through.
#[derive(Debug, Default)]
pub struct Faults {
    /// 0: none fails.
    every: usize,
    writes: AtomicUsize,
    failed: AtomicUsize,
}

impl Faults {
    /// Every `n`-th write fails; beginning and committing a transaction count as writes.
    pub fn every(n: usize) -> Self {
        Self { every: n, ..Self::default() }
    }

    /// How many have failed.
    pub fn failed(&self) -> usize {
        self.failed.load(Ordering::Relaxed)
    }

    /// Counts a write.
    pub(crate) fn pass(&self) -> Result<(), Error> {
        let count = self.writes.fetch_add(1, Ordering::Relaxed) + 1;
        if self.every > 0 && count.is_multiple_of(self.every) {
            self.failed.fetch_add(1, Ordering::Relaxed);
            return Err(Error::Injected);
        }
        Ok(())
    }
}
