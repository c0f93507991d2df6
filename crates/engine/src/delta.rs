//! What comes out of a generation.

use serde::{Deserialize, Serialize};

use crate::Error;

/// One step of a generation. Text is whole characters; fixed text is the reader's business, the program has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Delta {
    /// Text written into the slot with this index among the program's slots.
    Text { slot: usize, text: String },
    /// The slot is finished; `text` is all of it, earlier progress included.
    SlotDone { slot: usize, text: String },
    /// The program is finished. Nothing follows.
    Done(Usage),
    /// The generation can't go on. Nothing follows.
    Failed(Error),
}

/// What a generation cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the prompt, and how many of them came from the prefix cache.
    pub prompt_tokens: usize,
    pub cached_tokens: usize,
    /// Tokens sampled one by one.
    pub sampled_tokens: usize,
    /// Tokens of fixed text and forced choices, fed as runs.
    pub forced_tokens: usize,
    /// Times that it went on from its text: after it had given its cells to others, after a fault, in a new process.
    pub continued: u32,
    /// The last slot was ended by its budget, where it might have gone on.
    pub out_of_budget: bool,
}
