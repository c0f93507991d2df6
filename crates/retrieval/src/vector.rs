//! What is embedded of a text or document, and what that gives.

use leafresh_engine::{Embedder, Embedding};
use unicode_normalization::UnicodeNormalization;

use crate::{Document, Error};

/// What E5 models expect before a question and before a document (arXiv:2402.05672).
pub(crate) const QUERY: &str = "query: ";
pub(crate) const PASSAGE: &str = "passage: ";

/// Numbers added up side by side: processors do that at once.
const LANES: usize = 16;

/// What a text means.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryVector(pub(crate) Embedding);

impl QueryVector {
    /// Of length 1.
    pub fn as_slice(&self) -> &[f32] {
        &self.0.meaning
    }

    /// What to learn from, as [`Embedding::inner`]: of length 1, or empty.
    pub fn inner(&self) -> &[f32] {
        &self.0.inner
    }

    /// -1 to 1; for texts, in practice 0.7 to 1.
    pub fn cosine(&self, other: &Self) -> f32 {
        dot(&self.0.meaning, &other.0.meaning)
    }

    /// The cosine with a vector of length 1.
    pub(crate) fn near(&self, dense: &[f32]) -> f32 {
        dot(&self.0.meaning, dense)
    }

    #[cfg(test)]
    pub(crate) fn of(meaning: &[f32]) -> Self {
        Self(Embedding { meaning: meaning.to_vec(), inner: Vec::new() })
    }
}

/// Of as many numbers as the shorter one has.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let length = a.len().min(b.len());
    let (a, b) = (&a[..length], &b[..length]);
    let mut sums = [0.0f32; LANES];
    for (a, b) in a.chunks_exact(LANES).zip(b.chunks_exact(LANES)) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest = length / LANES * LANES;
    sums.iter().sum::<f32>() + a[rest..].iter().zip(&b[rest..]).map(|(a, b)| a * b).sum::<f32>()
}

/// The mean of vectors of one length; empty where there are none.
pub fn centre<'a>(vectors: impl ExactSizeIterator<Item = &'a [f32]> + Clone) -> Vec<f32> {
    let count = vectors.len() as f32;
    let mut centre = vec![0.0; vectors.clone().next().map_or(0, <[f32]>::len)];
    for vector in vectors {
        for (sum, value) in centre.iter_mut().zip(vector) {
            *sum += value / count;
        }
    }
    centre
}

/// A vector as it is seen from a centre, of length 1: what all have in common tells none of them apart.
pub fn centred(vector: &[f32], centre: &[f32]) -> Vec<f32> {
    let mut centred: Vec<f32> = vector.iter().zip(centre).map(|(a, b)| a - b).collect();
    let length = dot(&centred, &centred).sqrt().max(f32::MIN_POSITIVE);
    for value in &mut centred {
        *value /= length;
    }
    centred
}

/// A text as somebody embeds it who may know of the prefixes or not: as a question, unless it says what it is.
pub fn as_embedded(text: &str) -> String {
    let prefix = if [QUERY, PASSAGE].iter().any(|prefix| text.starts_with(prefix)) { "" } else { QUERY };
    prefix.chars().chain(text.nfc()).collect()
}

/// What the model makes of texts, each behind this prefix and in NFC, which is what models learned from.
pub(crate) fn embed_as<'a>(
    embedder: &dyn Embedder,
    prefix: &str,
    texts: impl Iterator<Item = &'a str>,
) -> Result<Vec<Embedding>, Error> {
    let texts: Vec<String> = texts.map(|text| prefix.chars().chain(text.nfc()).collect()).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    Ok(embedder.embed(&texts)?)
}

/// What of a document is searched by its words.
pub(crate) fn indexed_text(document: &Document) -> String {
    joined([&document.title, &document.text, &document.short])
}

/// What of a document is searched by its meaning. `short` says the same once more: embedding it as well takes a third longer
/// and finds nothing more.
pub(crate) fn meaning_text(document: &Document) -> String {
    joined([&document.title, &document.text, &String::new()])
}

fn joined(parts: [&String; 3]) -> String {
    let parts = parts.into_iter().filter(|text| !text.is_empty());
    parts.map(String::as_str).collect::<Vec<_>>().join("\n")
}
