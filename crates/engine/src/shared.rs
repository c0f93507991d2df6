//! What the model's thread and those who ask it have in common.

use std::sync::atomic::{AtomicU64, AtomicUsize};

use crate::generation::Outlet;
use crate::sequence::Language;
use crate::{Error, ModelInfo, Request, Reservation};

pub(crate) struct Shared {
    pub(crate) info: ModelInfo,
    pub(crate) language: Language,
    pub(crate) figures: Figures,
}

/// What the thread counts and others read.
#[derive(Default)]
pub(crate) struct Figures {
    pub(crate) running: AtomicUsize,
    pub(crate) parked: AtomicUsize,
    pub(crate) kv_used: AtomicUsize,
    pub(crate) kv_total: AtomicUsize,
    pub(crate) steps: AtomicU64,
    pub(crate) nan_logits: AtomicU64,
    pub(crate) preemptions: AtomicU64,
    pub(crate) prompt_tokens: AtomicU64,
    pub(crate) generation_tokens: AtomicU64,
    pub(crate) prefix_queries: AtomicU64,
    pub(crate) prefix_hits: AtomicU64,
    pub(crate) retries: AtomicU64,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("info", &self.info).finish_non_exhaustive()
    }
}

/// A request that was let in. Each holds its place, so that the channel it comes through is bounded.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) request: Request,
    pub(crate) outlet: Outlet,
    pub(crate) reservation: Reservation,
}

pub(crate) fn fits(most: usize, context: usize) -> Result<(), Error> {
    if most <= context {
        return Ok(());
    }
    Err(Error::Unfit(format!(
        "an answer may need {most} tokens with its prompt, but engine.context holds {context}; raise it, or lower \
         max_tokens in the catalogue's answer.toml"
    )))
}
