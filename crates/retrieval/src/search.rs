//! From a question to documents.

use std::fmt;
use std::sync::Arc;

use leafresh_engine::Embedder;
use unicode_normalization::UnicodeNormalization;

use crate::{Document, Error};

/// Finds documents. Cheap to clone: clones share the model and the index.
#[derive(Clone)]
pub struct Search {
    embedder: Option<Arc<dyn Embedder>>,
}

impl fmt::Debug for Search {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Search").finish_non_exhaustive()
    }
}

/// What a text means, as a vector of length 1.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryVector(Vec<f32>);

impl QueryVector {
    pub fn as_slice(&self) -> &[f32] {
        &self.0
    }

    /// -1 to 1; for texts, in practice 0.7 to 1.
    pub fn cosine(&self, other: &Self) -> f32 {
        self.0.iter().zip(&other.0).map(|(a, b)| a * b).sum()
    }
}

/// What is asked for. `Query { text, ..Query::default() }` asks for five documents, two of a category at most.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// What the person said, or category, place and work as a phrase.
    pub text: String,
    /// Of `text`, from [`Search::embed`]. None: it is embedded here, where there is a model.
    pub vector: Option<QueryVector>,
    /// A category's code: nothing else is found.
    pub category: Option<String>,
    /// A place's code: documents that name other places only aren't found.
    pub place: Option<String>,
    /// The code of a kind of work: documents that name other kinds only aren't found.
    pub work_type: Option<String>,
    /// Documents at most.
    pub limit: usize,
    /// Documents of one category at most, when none is asked for.
    pub per_category: usize,
    /// Ids and titles of documents that were offered before: they aren't found.
    pub leave_out: Vec<String>,
}

impl Default for Query {
    fn default() -> Self {
        Self {
            text: String::new(),
            vector: None,
            category: None,
            place: None,
            work_type: None,
            limit: 5,
            per_category: 2,
            leave_out: Vec::new(),
        }
    }
}

/// A document that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    pub document: Document,
    /// How near it is to the query: the cosine of their vectors, 0 to 1. Without an embedding model that of their words.
    pub score: f32,
    /// From 0: the best one. Ranks count words too, so scores needn't fall with them.
    pub rank: usize,
}

impl Search {
    /// Whether texts can be embedded. Without a model documents are found by their words.
    pub fn can_embed(&self) -> bool {
        self.embedder.is_some()
    }

    /// What a message means. One vector serves the gate and the search.
    ///
    /// # Errors
    /// [`Error::NoEmbedder`] without a model, [`Error::Engine`] when it fails.
    pub async fn embed(&self, text: &str) -> Result<QueryVector, Error> {
        let mut vectors = self.embed_all(vec![text.to_owned()]).await?;
        vectors.pop().ok_or(Error::NoEmbedder)
    }

    /// [`Search::embed`] for many messages at once: labelled examples, for instance.
    ///
    /// # Errors
    /// As [`Search::embed`].
    pub async fn embed_all(&self, texts: Vec<String>) -> Result<Vec<QueryVector>, Error> {
        let embedder = self.embedder.clone().ok_or(Error::NoEmbedder)?;
        let work = move || {
            let texts: Vec<String> =
                texts.iter().map(|text| format!("query: {}", text.nfc().collect::<String>())).collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            embedder.embed(&texts)
        };
        let vectors =
            tokio::task::spawn_blocking(work).await.map_err(|error| Error::Store(error.to_string()))??;
        Ok(vectors.into_iter().map(QueryVector).collect())
    }

    /// The documents that fit best, best first; fewer than [`Query::limit`] when no more fit.
    ///
    /// # Errors
    /// [`Error::Store`] when the store can't be reached, [`Error::Engine`] when the model fails.
    pub async fn search(&self, query: &Query) -> Result<Vec<Hit>, Error> {
        let _ = query;
        Err(Error::Store("there is no index".into()))
    }
}
