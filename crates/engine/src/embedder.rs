//! Texts as vectors: nearby vectors mean nearby meanings.

use crate::Error;

/// An embedding model. Calls compute and block; one at a time is computed, others wait.
pub trait Embedder: Send + Sync {
    /// One vector of [`EmbedderInfo::dimension`] numbers and length 1 for each text, in their order. What is longer than
    /// [`EmbedderInfo::longest`] tokens is cut there. A text counts as plain text, special tokens in it too.
    ///
    /// # Errors
    /// [`Error::Native`] when the model can't compute, [`Error::NonFinite`] when a vector has no direction.
    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, Error>;

    /// How many tokens the model makes of `text`.
    fn count_tokens(&self, text: &str) -> usize;

    fn info(&self) -> &EmbedderInfo;
}

/// What an embedding model says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbedderInfo {
    pub name: String,
    /// Two models with the same fingerprint make the same vectors: SHA-256 of the file, in hexadecimal.
    pub fingerprint: String,
    /// Numbers in a vector.
    pub dimension: usize,
    /// Tokens of a text that are looked at.
    pub longest: usize,
}
