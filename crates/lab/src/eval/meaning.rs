//! What challenges mean, beside the catalogue's documents.

use std::collections::{BTreeSet, HashMap};

use leafresh_chat::Catalog;
use leafresh_retrieval::{QueryVector, Search};

use super::answers::{Challenge, Record};
use super::centroids::{Centroids, Labelled, held_out};
use super::measures::Measure;

/// Texts embedded with one call: progress shows after each.
const AT_ONCE: usize = 32;

/// The catalogue's documents as vectors, and what follows from them.
pub(super) struct Meaning {
    search: Search,
    centroids: Centroids,
    /// Each as a challenge would say it, in its longer and in its shorter words.
    documents: Vec<QueryVector>,
    categories: Vec<String>,
    /// The share of documents whose category is told right by the others'.
    held_out: Option<f64>,
    challenges: HashMap<String, Meant>,
}

/// What a challenge means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Meant {
    /// Index of the category whose centroid is nearest.
    category: usize,
    /// The best cosine to a document.
    pub(super) similarity: f64,
}

impl Meaning {
    /// Embeds the documents. `None` when a category has none.
    ///
    /// # Errors
    /// When there is no embedding model, or it fails.
    pub(super) async fn of_catalog(
        search: Search,
        catalog: &Catalog,
        progress: impl FnMut(usize, usize),
    ) -> anyhow::Result<Option<Self>> {
        let mut texts = Vec::new();
        let mut classes = Vec::new();
        let categories: Vec<String> =
            catalog.categories().iter().map(|category| category.code.clone()).collect();
        for document in catalog.documents() {
            let class = categories.iter().position(|code| *code == document.category);
            for said in [&document.text, &document.short].into_iter().filter(|said| !said.is_empty()) {
                texts.push(as_text(&document.title, said));
                classes.push((class, document.id.as_str()));
            }
        }
        let documents = embed(&search, texts, progress).await?;
        let mut groups: Vec<(&str, Vec<Labelled<'_>>)> = Vec::new();
        for (vector, (class, id)) in documents.iter().zip(&classes) {
            let Some(class) = *class else { continue };
            match groups.last_mut().filter(|(last, _)| last == id) {
                Some((_, group)) => group.push((vector.as_slice(), class)),
                None => groups.push((id, vec![(vector.as_slice(), class)])),
            }
        }
        let groups: Vec<Vec<Labelled<'_>>> = groups.into_iter().map(|(_, group)| group).collect();
        let held_out = held_out(&groups, categories.len());
        let learned = Centroids::learn(&groups.concat(), categories.len());
        let meaning = |centroids| Self {
            search,
            centroids,
            documents,
            categories,
            held_out,
            challenges: HashMap::new(),
        };
        Ok(learned.map(meaning))
    }

    /// Embeds the challenges of these answers that it doesn't know yet.
    ///
    /// # Errors
    /// When the embedding model fails.
    pub(super) async fn learn(
        &mut self,
        records: &[Record],
        progress: impl FnMut(usize, usize),
    ) -> anyhow::Result<()> {
        let challenges = records.iter().filter_map(|record| record.answer.as_ref());
        let challenges = challenges.flat_map(|answer| &answer.challenges);
        let texts: BTreeSet<String> = challenges
            .map(|challenge| as_text(&challenge.title, &challenge.description))
            .filter(|text| !self.challenges.contains_key(text))
            .collect();
        let texts: Vec<String> = texts.into_iter().collect();
        let vectors = embed(&self.search, texts.clone(), progress).await?;
        for (text, vector) in texts.into_iter().zip(vectors) {
            let similarity = self.documents.iter().map(|document| f64::from(document.cosine(&vector)));
            let similarity = similarity.max_by(f64::total_cmp).unwrap_or(0.0);
            if let Some(category) = self.centroids.nearest(vector.as_slice()) {
                self.challenges.insert(text, Meant { category, similarity });
            }
        }
        Ok(())
    }

    /// What the measure of categories can do.
    pub(super) fn measure(&self) -> Measure {
        Measure::plain(
            "category_held_out",
            "%",
            self.held_out.map(|share| share * 100.0),
            "the catalogue's own documents by the measure of category_accuracy, each told by the others: what texts that it doesn't know reach at best",
        )
    }

    pub(super) fn of(&self, challenge: &Challenge) -> Option<Meant> {
        self.challenges.get(&as_text(&challenge.title, &challenge.description)).copied()
    }

    /// The code of the category that a challenge is nearest to.
    pub(super) fn category(&self, meant: Meant) -> &str {
        &self.categories[meant.category]
    }
}

fn as_text(title: &str, description: &str) -> String {
    format!("{title}\n{description}")
}

pub(super) async fn embed(
    search: &Search,
    texts: Vec<String>,
    mut progress: impl FnMut(usize, usize),
) -> anyhow::Result<Vec<QueryVector>> {
    let all = texts.len();
    let mut vectors = Vec::with_capacity(all);
    for chunk in texts.chunks(AT_ONCE) {
        vectors.extend(search.embed_all(chunk.to_vec()).await?);
        progress(vectors.len(), all);
    }
    Ok(vectors)
}
