//! Texts as vectors: nearby vectors mean nearby meanings.

use crate::Error;

/// An embedding model. Calls compute and block; one at a time is computed, others wait.
pub trait Embedder: Send + Sync {
    /// What it makes of each text, in their order. What is longer than [`EmbedderInfo::longest`] tokens is cut there. A text
    /// counts as plain text, special tokens in it too.
    ///
    /// # Errors
    /// [`Error::Native`] when the model can't compute, [`Error::NonFinite`] when a vector has no direction.
    fn embed(&self, texts: &[&str]) -> Result<Vec<Embedding>, Error>;

    /// How many tokens the model makes of `text`.
    fn count_tokens(&self, text: &str) -> usize;

    fn info(&self) -> &EmbedderInfo;
}

/// What a model makes of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding {
    /// For comparing: the nearer two texts' vectors, the nearer what they mean. [`EmbedderInfo::dimension`] numbers of length 1.
    pub meaning: Vec<f32>,
    /// For learning from examples: what the model knows of the text in the middle of its layers, of which the last ones let
    /// go what comparing doesn't need. As long, and of length 1; empty where the model doesn't show it.
    pub inner: Vec<f32>,
}

/// What an embedding model says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbedderInfo {
    pub name: String,
    /// What clients choose it by: its file's name without the ending.
    pub id: String,
    /// Two models with the same fingerprint make the same vectors: SHA-256 of the file, in hexadecimal.
    pub fingerprint: String,
    /// Numbers in a vector.
    pub dimension: usize,
    /// Tokens of a text that are looked at.
    pub longest: usize,
}
