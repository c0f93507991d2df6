//! What has happened, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::DegradedReason;
use crate::guard::Refusal;

/// Counts since the start.
#[derive(Debug, Default)]
pub struct Figures {
    messages: AtomicU64,
    refused: [AtomicU64; Refusal::ALL.len()],
    degraded: [AtomicU64; DegradedReason::ALL.len()],
    unread: AtomicU64,
}

impl Figures {
    /// Messages that the gate has looked at.
    pub fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    /// Those that got a fixed reply.
    pub fn refused(&self, refusal: Refusal) -> u64 {
        self.refused[refusal as usize].load(Ordering::Relaxed)
    }

    /// Answers that came from the catalogue, as a whole or in part.
    pub fn degraded(&self, reason: DegradedReason) -> u64 {
        self.degraded[reason as usize].load(Ordering::Relaxed)
    }

    /// Messages for whose meaning there was no time: keywords had to do for the gate.
    pub fn unread(&self) -> u64 {
        self.unread.load(Ordering::Relaxed)
    }

    pub(crate) fn count_message(&self) {
        self.messages.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_unread(&self) {
        self.unread.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_refused(&self, refusal: Refusal) {
        self.refused[refusal as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_degraded(&self, reason: DegradedReason) {
        self.degraded[reason as usize].fetch_add(1, Ordering::Relaxed);
    }
}
