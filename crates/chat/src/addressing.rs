//! Which of the catalogue's openings answers a message: the one whose meaning is nearest to it.

use std::collections::HashMap;

use leafresh_retrieval::{QueryVector, Search, centre, centred, dot};
use serde::{Deserialize, Serialize};

use crate::guard::embed;
use crate::{Catalog, Document, Error};

/// What a document loses against the one before it, when its opening is nearer to the message.
const RANK: f32 = 0.06;

/// Openings that are nearly as near as the nearest, of which the model chooses.
const NEARLY: f32 = 0.05;

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
        if all.is_empty() {
            return Ok(None);
        }
        let vectors = embed(&all, search).await?;
        let centre = centre(vectors.iter().map(QueryVector::as_slice));
        let mut vectors = vectors.iter().map(|vector| centred(vector.as_slice(), &centre));
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
        message: &[f32],
        documents: &[&Document],
        allowed: &[Vec<usize>],
    ) -> Option<(usize, Vec<usize>)> {
        let message = centred(message, &self.centre);
        let mut near: Vec<(f32, usize, usize)> = Vec::new();
        for (index, (document, allowed)) in documents.iter().zip(allowed).enumerate() {
            let scores = self.near(&message, document);
            let scored = allowed.iter().filter_map(|&opening| Some((scores.get(opening)?, opening)));
            near.extend(scored.map(|(score, opening)| (score - RANK * index as f32, index, opening)));
        }
        let &(best, first, _) = near.iter().max_by(|(a, ..), (b, ..)| a.total_cmp(b))?;
        let nearly = near.iter().filter(|(score, index, _)| *index == first && *score >= best - NEARLY);
        Some((first, nearly.map(|(.., opening)| *opening).collect()))
    }

    /// How near each of a document's openings is to a centred message, in their order: -1 to 1.
    fn near(&self, message: &[f32], document: &Document) -> Vec<f32> {
        let rows = self.openings.get(&document.id).map_or(&[][..], Vec::as_slice);
        rows.iter().map(|row| dot(row, message)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addressing(openings: &[(&str, &[[f32; 2]])]) -> Addressing {
        let rows = |rows: &[[f32; 2]]| rows.iter().map(|row| centred(row, &[0.0; 2])).collect();
        let openings = openings.iter().map(|(id, of)| ((*id).to_owned(), rows(of))).collect();
        Addressing { centre: vec![0.0; 2], openings }
    }

    #[test]
    fn the_nearest_opening_decides_unless_its_document_lies_far_behind() {
        let documents = ["a", "b", "c"].map(|id| Document { id: id.into(), ..Document::default() });
        let documents: Vec<&Document> = documents.iter().collect();
        let message = [1.0, 0.0];
        let first = |openings: &[(&str, &[[f32; 2]])], allowed: &[Vec<usize>]| {
            addressing(openings).first(&message, &documents, allowed)
        };
        let all = vec![vec![0, 1]; 3];
        let near: &[[f32; 2]] = &[[1.0, 0.0], [1.0, 0.2]];
        let less: &[[f32; 2]] = &[[1.0, 0.4], [0.0, 1.0]];
        let far: &[[f32; 2]] = &[[0.0, 1.0], [-1.0, 0.0]];
        assert_eq!(first(&[("a", far), ("b", near)], &all), Some((1, vec![0, 1])), "both are nearly as near");
        assert_eq!(first(&[("a", less), ("b", near)], &all), Some((1, vec![0, 1])));
        assert_eq!(first(&[("a", less), ("c", near)], &all), Some((0, vec![0])), "two places behind");
        let said = [vec![], vec![1], vec![]];
        assert_eq!(
            first(&[("a", near), ("b", near)], &said),
            Some((1, vec![1])),
            "what was said is left out"
        );
        assert_eq!(first(&[], &all), None);
    }
}
