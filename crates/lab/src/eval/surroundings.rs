//! An index and conversations for one run, so that neither depends on what this machine has seen before.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use leafresh_chat::{Catalog, Sessions};
use leafresh_retrieval::{Corpus, Index, Location, Search};
use leafresh_store::Sqlite;

use super::progress::Progress;
use leafresh_server::config::Config;

/// In a folder that has to outlive it: an index writes while it closes.
pub(super) struct Surroundings {
    folder: PathBuf,
    stores: AtomicUsize,
    /// None: there is no embedding model.
    pub(super) search: Option<Search>,
}

impl Surroundings {
    /// Loads the embedding model and indexes the catalogue's documents, which takes seconds.
    pub(super) async fn make(folder: &Path, config: &Config, catalog: &Catalog) -> anyhow::Result<Self> {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let search = match leafresh_server::assemble::embedder(config, threads)? {
            None => None,
            Some(embedder) => {
                let index = Index::open(&Location::Folder(folder.join("index")), embedder).await?;
                let corpus = Corpus::catalog(catalog.documents());
                let progress = Progress::new("documents indexed", catalog.documents().len());
                let plan = index.plan(&corpus).await?;
                index.run(&corpus, plan, &Arc::default(), |done| progress.set(done.done, done.total)).await?;
                Some(index.search())
            }
        };
        Ok(Self { folder: folder.to_owned(), stores: AtomicUsize::new(0), search })
    }

    /// Conversations that nobody has begun.
    pub(super) fn new_sessions(&self) -> anyhow::Result<Sessions> {
        let number = self.stores.fetch_add(1, Ordering::Relaxed);
        let file = self.folder.join(format!("sessions-{number}.db"));
        Ok(Sessions::new(Arc::new(Sqlite::open(&file, leafresh_store::Options::default())?)))
    }
}
