//! The index beside the server: opened, brought up to date with the catalogue, and waited for when it can't be reached.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use leafresh_chat::Catalog;
use leafresh_engine::Embedder;
use leafresh_retrieval::{Corpus, Document, Error, Index, Location, Opener, Search};

use crate::state::AppState;

/// Between two attempts to reach a Qdrant server.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the server finds documents with.
#[derive(Debug)]
pub struct Retrieval {
    /// For the recommender. None: there is neither an embedding model nor an index.
    pub search: Option<Search>,
    upkeep: Option<Upkeep>,
}

struct Upkeep {
    location: Location,
    embedder: Arc<dyn Embedder>,
    opener: Opener,
}

impl std::fmt::Debug for Upkeep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upkeep").field("location", &self.location).finish_non_exhaustive()
    }
}

impl Retrieval {
    /// With an embedding model the index is opened by [`Retrieval::keep`]. Without one only an index that is there already
    /// can be searched, by words.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::Store`] for an index without a model.
    pub async fn new(location: Location, embedder: Option<Arc<dyn Embedder>>) -> Result<Self, Error> {
        let Some(embedder) = embedder else {
            return Ok(Self { search: Search::by_words(&location).await?, upkeep: None });
        };
        let (search, opener) = Search::later(Some(embedder.clone()));
        Ok(Self { search: Some(search), upkeep: Some(Upkeep { location, embedder, opener }) })
    }

    /// Opens the index and indexes what has changed in the catalogue; the server isn't ready before that. Ends with an error
    /// or not at all.
    ///
    /// # Errors
    /// [`Error::Mismatch`] and [`Error::Locked`], which no waiting mends.
    pub async fn keep(self, catalog: Arc<Catalog>, state: AppState) -> Result<Infallible, Error> {
        if let Some(upkeep) = self.upkeep {
            state.index_prepares();
            let mut ready = Some(|| state.index_is_ready());
            loop {
                match upkeep.open(&catalog, &mut ready).await {
                    Ok(()) => break,
                    Err(error @ (Error::Mismatch(_) | Error::Locked(_))) => return Err(error),
                    Err(error) => {
                        tracing::warn!(%error, "the index can't be used yet; trying again");
                        tokio::time::sleep(PATIENCE).await;
                    }
                }
            }
        }
        std::future::pending().await
    }
}

impl Upkeep {
    /// `ready` is called, once, when all documents can be found.
    async fn open(&self, catalog: &Catalog, ready: &mut Option<impl FnOnce()>) -> Result<(), Error> {
        let index = Index::open(&self.location, self.embedder.clone()).await?;
        // What is there can be found while the rest is embedded.
        self.opener.open(&index);
        if index.search().count().await? == 0 {
            // Their questions are ten times as many texts: they come afterwards, and nobody waits for them.
            index.update(&Corpus::catalog(&without_questions(catalog.documents()))).await?;
            if let Some(ready) = ready.take() {
                ready();
            }
        }
        let corpus = &Corpus::catalog(catalog.documents());
        let plan = index.plan(corpus).await?;
        if !plan.is_empty() {
            tracing::info!(
                documents = plan.new_documents(),
                gone = plan.gone(),
                "indexing the catalogue's documents"
            );
            index.run(corpus, plan, &Arc::default(), |_| {}).await?;
        }
        let documents = index.search().count().await?;
        tracing::info!(documents, place = %self.location, "the index is ready");
        if let Some(ready) = ready.take() {
            ready();
        }
        Ok(())
    }
}

fn without_questions(documents: &[Document]) -> Vec<Document> {
    let plain = |document: &Document| Document { questions: Vec::new(), ..document.clone() };
    documents.iter().map(plain).collect()
}
