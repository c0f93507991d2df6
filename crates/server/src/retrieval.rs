//! The index beside the server: opened, brought up to date with the catalogue, and waited for when it can't be reached.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use leafresh_chat::Catalog;
use leafresh_engine::Embedder;
use leafresh_retrieval::{Corpus, Document, Error, Index, Location, Opener, Search};

use crate::state::{AppState, IndexState};

/// Between two attempts to reach a Qdrant server.
const PATIENCE: Duration = Duration::from_secs(5);

/// Between two attempts to have a folder that another process has: the server before this one, which is draining.
const BETWEEN_LOCKS: Duration = Duration::from_millis(250);

/// What the server finds documents with.
#[derive(Debug)]
pub struct Retrieval {
    /// For the recommender. None: there is neither an embedding model nor an index.
    pub search: Option<Search>,
    upkeep: Option<Upkeep>,
}

struct Upkeep {
    location: Location,
    /// None: what is indexed already is searched by words.
    embedder: Option<Arc<dyn Embedder>>,
    opener: Opener,
}

impl std::fmt::Debug for Upkeep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upkeep").field("location", &self.location).finish_non_exhaustive()
    }
}

impl Retrieval {
    /// With an embedding model the index is opened by [`Retrieval::keep`]. Without one only an index that is there already
    /// can be searched, by words; another server may still have it.
    ///
    /// # Errors
    /// [`Error::Store`] for an index without a model.
    pub async fn new(location: Location, embedder: Option<Arc<dyn Embedder>>) -> Result<Self, Error> {
        let Some(embedder) = embedder else {
            return match Search::by_words(&location).await {
                Err(Error::Locked(_)) => Ok(Self::later(location, None)),
                Err(error @ Error::NoLocks(_)) => {
                    tracing::error!(%error, "documents come from the catalogue");
                    Ok(Self { search: None, upkeep: None })
                }
                found => Ok(Self { search: found?, upkeep: None }),
            };
        };
        Ok(Self::later(location, Some(embedder)))
    }

    fn later(location: Location, embedder: Option<Arc<dyn Embedder>>) -> Self {
        let (search, opener) = Search::later(embedder.clone());
        Self { search: Some(search), upkeep: Some(Upkeep { location, embedder, opener }) }
    }

    /// Opens the index, which another server may have until it ends, and indexes what has changed in the catalogue; the
    /// server isn't ready before that, and the catalogue answers. Ends with an error or not at all.
    ///
    /// # Errors
    /// [`Error::Mismatch`], which no waiting mends.
    pub async fn keep(self, catalog: Arc<Catalog>, state: AppState) -> Result<Infallible, Error> {
        let index = state.part::<IndexState>();
        if let Some(upkeep) = self.upkeep {
            index.set_prepares(true);
            let mut ready = Some(|| index.set_prepares(false));
            let mut told = false;
            loop {
                match upkeep.open(&catalog, &mut ready).await {
                    Ok(()) => break,
                    Err(error @ Error::Mismatch(_)) => return Err(error),
                    Err(error @ Error::NoLocks(_)) => {
                        tracing::error!(%error, "documents come from the catalogue");
                        index.set_prepares(false);
                        break;
                    }
                    Err(Error::Locked(folder)) => {
                        if !std::mem::replace(&mut told, true) {
                            tracing::warn!(
                                folder = %folder.display(),
                                "another process uses the index; the catalogue answers until it lets go"
                            );
                        }
                        tokio::time::sleep(BETWEEN_LOCKS).await;
                    }
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
        let Some(embedder) = &self.embedder else {
            if let Some(found) = Search::by_words(&self.location).await? {
                self.opener.open_found(&found);
            }
            if let Some(ready) = ready.take() {
                ready();
            }
            return Ok(());
        };
        let index = Index::open(&self.location, embedder.clone()).await?;
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
