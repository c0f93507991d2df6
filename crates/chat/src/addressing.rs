//! Which of the catalogue's openings answers a message: the one whose meaning is nearest to it.

use std::collections::HashMap;

use leafresh_retrieval::{QueryVector, Search, dot};
use serde::{Deserialize, Serialize};

use crate::{Catalog, Document, Error};

/// What a document loses against the one before it, when its opening is nearer to the message.
const RANK: f32 = 0.06;

/// Openings that are nearly as near as the nearest, of which the model chooses.
const NEARLY: f32 = 0.05;

/// Openings embedded at once: people's questions get in between.
const AT_ONCE: usize = 16;

/// What the openings of documents mean.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Addressing {
    /// Of all openings: what they have in common tells none of them apart.
    centre: Vec<f32>,
    /// By a document's id: a centred vector of length 1 for each of its openings, in their order.
    openings: HashMap<String, Vec<Vec<f32>>>,
}

impl Addressing {
    /// Everything that is learned from.
    pub(crate) fn learned_from(catalog: &Catalog) -> impl Iterator<Item = &str> {
        catalog.documents().iter().flat_map(|document| {
            let openings = catalog.tellings().openings(document).iter().map(String::as_str);
            std::iter::once(document.id.as_str()).chain(openings)
        })
    }

    /// None: no document has openings.
    ///
    /// # Errors
    /// [`Error::Retrieval`] when the embedding model can't compute.
    pub(crate) async fn learn(catalog: &Catalog, search: &Search) -> Result<Option<Self>, Error> {
        let texts = |document| catalog.tellings().openings(document).iter().cloned();
        let all: Vec<String> = catalog.documents().iter().flat_map(texts).collect();
        let mut vectors = Vec::with_capacity(all.len());
        for some in all.chunks(AT_ONCE) {
            let embedded = search.embed_all(some.to_vec()).await?;
            vectors.extend(embedded.iter().map(|vector| vector.as_slice().to_vec()));
        }
        let Some(first) = vectors.first() else { return Ok(None) };
        let mut centre = vec![0.0; first.len()];
        for vector in &vectors {
            for (sum, value) in centre.iter_mut().zip(vector) {
                *sum += value / vectors.len() as f32;
            }
        }
        let mut vectors = vectors.iter().map(|vector| centred(vector, &centre));
        let of = |document: &Document| {
            let count = catalog.tellings().openings(document).len();
            (document.id.clone(), vectors.by_ref().take(count).collect())
        };
        let openings = catalog.documents().iter().map(of).collect();
        Ok(Some(Self { centre, openings }))
    }

    pub(crate) fn fits(&self, dimension: usize) -> bool {
        self.centre.len() == dimension && self.openings.values().flatten().all(|row| row.len() == dimension)
    }

    /// Of these documents, best first, and of the openings that each may have: the document whose opening is nearest to a
    /// message, and those of its openings that are nearly as near. `None` where there are none.
    pub(crate) fn first(
        &self,
        message: &QueryVector,
        documents: &[&Document],
        allowed: &[Vec<usize>],
    ) -> Option<(usize, Vec<usize>)> {
        let mut near: Vec<(f32, usize, usize)> = Vec::new();
        for (index, (document, allowed)) in documents.iter().zip(allowed).enumerate() {
            let scores = self.near(message, document);
            let scored = allowed.iter().filter_map(|&opening| Some((scores.get(opening)?, opening)));
            near.extend(scored.map(|(score, opening)| (score - RANK * index as f32, index, opening)));
        }
        let &(best, first, _) = near.iter().max_by(|(a, ..), (b, ..)| a.total_cmp(b))?;
        let nearly = near.iter().filter(|(score, index, _)| *index == first && *score >= best - NEARLY);
        Some((first, nearly.map(|(.., opening)| *opening).collect()))
    }

    /// How near each of a document's openings is to a message, in their order: -1 to 1.
    fn near(&self, message: &QueryVector, document: &Document) -> Vec<f32> {
        let message = centred(message.as_slice(), &self.centre);
        let rows = self.openings.get(&document.id).map_or(&[][..], Vec::as_slice);
        rows.iter().map(|row| dot(row, &message)).collect()
    }
}

/// Of length 1, seen from the centre.
fn centred(vector: &[f32], centre: &[f32]) -> Vec<f32> {
    let mut centred: Vec<f32> = vector.iter().zip(centre).map(|(a, b)| a - b).collect();
    let length = dot(&centred, &centred).sqrt().max(f32::MIN_POSITIVE);
    for value in &mut centred {
        *value /= length;
    }
    centred
}
