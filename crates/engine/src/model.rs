//! What the scheduler needs of a model, and nothing of llama.cpp.

use std::sync::Arc;

use crate::vocab::{Token, Tokenizer, Vocab};
use crate::{Error, ModelInfo};

/// A row of the KV cache: cells of several rows may be shared.
pub type SeqId = u32;

/// One token of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    pub token: Token,
    /// Position in its sequence, from 0.
    pub position: usize,
    pub sequence: SeqId,
    /// Whether the next token's logits are wanted; fixed text goes without.
    pub logits: bool,
}

/// A language model with a KV cache of several sequences. It lives on the engine's thread.
pub trait Model: Send {
    fn info(&self) -> &ModelInfo;

    fn vocab(&self) -> Arc<Vocab>;

    fn tokenizer(&self) -> Arc<dyn Tokenizer>;

    /// Runs one batch. Entries of a sequence come in the order of their positions and continue what it holds.
    ///
    /// # Errors
    /// [`Error::CacheFull`] when the cache has no room for it: nothing has changed then. [`Error::Native`]; the batch's
    /// cells may then be partly filled.
    fn decode(&mut self, batch: &[Entry]) -> Result<(), Error>;

    /// The logits, `[n_vocab]`, for the `index`-th entry of the last batch, which must have asked for them.
    fn logits(&self, index: usize) -> &[f32];

    /// Forgets everything of a sequence from this position on.
    fn truncate(&mut self, sequence: SeqId, len: usize);

    /// Makes the empty sequence `to` begin with the first `len` tokens of `from`, without copying them.
    fn share(&mut self, from: SeqId, to: SeqId, len: usize);
}
