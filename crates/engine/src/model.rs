//! What the scheduler needs of a model, and nothing of llama.cpp.

use std::sync::Arc;

use crate::vocab::{Token, Tokenizer, Vocab};
use crate::{Error, ModelInfo};

/// A row of the KV cache: cells of several rows may be shared.
pub type SeqId = u32;

/// What a batch is computed with: the model as it is, or one of [`ModelInfo::adapters`], by its place there.
pub type Adapter = Option<usize>;

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

/// What may come next behind an entry of a batch: the logits of these tokens alone are wanted.
#[derive(Debug, Clone)]
pub struct Candidates {
    /// Index in the batch of an entry that asked for logits.
    pub entry: usize,
    /// Slots in the same state share their list.
    pub tokens: Arc<[Token]>,
    /// More tokens: those that end the slot.
    pub ends: Vec<Token>,
    /// One for each of `tokens`, then for each of `ends`; −∞ for an id outside the vocabulary.
    pub logits: Vec<f32>,
}

impl Default for Candidates {
    fn default() -> Self {
        Self { entry: 0, tokens: [].into(), ends: Vec::new(), logits: Vec::new() }
    }
}

impl Candidates {
    /// Takes the logits out of a whole row, `[n_vocab]`.
    pub fn pick(&mut self, row: &[f32]) {
        let tokens = self.tokens.iter().chain(&self.ends);
        self.logits.clear();
        self.logits
            .extend(tokens.map(|&token| row.get(token as usize).copied().unwrap_or(f32::NEG_INFINITY)));
    }
}

/// A language model with a KV cache of several sequences. It lives on the engine's thread.
pub trait Model: Send {
    fn info(&self) -> &ModelInfo;

    fn vocab(&self) -> Arc<Vocab>;

    fn tokenizer(&self) -> Arc<dyn Tokenizer>;

    /// Has batches from now on computed with an adapter, which may have to be loaded first. Rows were written with one and
    /// are only continued with the same.
    ///
    /// # Errors
    /// [`Error::ModelFile`] when its file can't be used any more; nothing has changed then.
    fn adapt(&mut self, adapter: Adapter) -> Result<(), Error>;

    /// Runs one batch. Entries of a sequence come in the order of their positions and continue what it holds.
    ///
    /// # Errors
    /// [`Error::CacheFull`] when the cache has no room for it: nothing has changed then. [`Error::Native`]; the batch's
    /// cells may then be partly filled.
    fn decode(&mut self, batch: &[Entry]) -> Result<(), Error>;

    /// Fills in the logits that are wanted behind entries of the last batch.
    fn score(&mut self, wanted: &mut [Candidates]);

    /// Whether it can forget the end of a row, and share a row's beginning. Recurrent and hybrid models can't: what they
    /// keep of a row is one state behind its last token.
    fn keeps_every_position(&self) -> bool;

    /// Forgets a sequence.
    fn clear(&mut self, sequence: SeqId);

    /// Forgets everything of a sequence from this position on. `false`: it can't, and the sequence has to be cleared.
    #[must_use]
    fn truncate(&mut self, sequence: SeqId, len: usize) -> bool;

    /// Makes the empty sequence `to` begin with the first `len` tokens of `from`, without copying them. Only where every
    /// position is kept.
    fn share(&mut self, from: SeqId, to: SeqId, len: usize);
}
