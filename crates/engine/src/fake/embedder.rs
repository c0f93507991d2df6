//! Vectors for tests: texts that share characters are near each other.

use super::mix;
use crate::{Embedder, EmbedderInfo, Embedding, Error};

/// Counts of hashed pairs of characters, as a vector of length 1. Deterministic.
#[derive(Debug)]
pub struct FakeEmbedder {
    info: EmbedderInfo,
}

impl FakeEmbedder {
    pub fn new(dimension: usize) -> Self {
        let fingerprint = format!("fake-{dimension}");
        let info = EmbedderInfo {
            name: "fake".into(),
            id: "fake-embeddings".into(),
            fingerprint,
            dimension,
            longest: 512,
        };
        Self { info }
    }

    fn vector(&self, text: &str) -> Vec<f32> {
        // Prefixes such as `query: ` aren't what a text is about.
        let text = text.split_once(": ").map_or(text, |(_, text)| text);
        let characters: Vec<char> = text.chars().filter(|character| character.is_alphanumeric()).collect();
        let mut vector = vec![0.0f32; self.info.dimension];
        // What all texts have in common, so that no two are opposites, and none has no direction.
        vector[0] = 1.0;
        for pair in characters.windows(2) {
            let hash = mix(u64::from(u32::from(pair[0])) << 32 | u64::from(u32::from(pair[1])));
            vector[hash as usize % self.info.dimension] += 1.0;
        }
        let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        vector.iter().map(|x| x / length).collect()
    }
}

impl Embedder for FakeEmbedder {
    fn embed(&self, texts: &[&str]) -> Result<Vec<Embedding>, Error> {
        let embedding = |text: &&str| Embedding { meaning: self.vector(text), inner: Vec::new() };
        Ok(texts.iter().map(embedding).collect())
    }

    /// A token is two characters.
    fn count_tokens(&self, text: &str) -> usize {
        text.chars().count().div_ceil(2)
    }

    fn info(&self) -> &EmbedderInfo {
        &self.info
    }
}
