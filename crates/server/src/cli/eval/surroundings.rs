//! An index and conversations for one run, so that neither depends on what this machine has seen before.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context;
use leafresh_chat::{Catalog, Sessions};
use leafresh_retrieval::Search;
use leafresh_store::Sqlite;

use crate::config::Config;

/// Gone when it is dropped.
pub(super) struct Surroundings {
    folder: tempfile::TempDir,
    stores: AtomicUsize,
    /// None: there is no embedding model.
    pub(super) search: Option<Search>,
}

impl Surroundings {
    pub(super) async fn make(_config: &Config, _catalog: &Catalog) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("leafresh-eval-").tempdir().context("no folder for the run")?;
        Ok(Self { folder, stores: AtomicUsize::new(0), search: None })
    }

    /// Conversations that nobody has begun.
    pub(super) fn new_sessions(&self) -> anyhow::Result<Sessions> {
        let number = self.stores.fetch_add(1, Ordering::Relaxed);
        let file = self.folder.path().join(format!("sessions-{number}.db"));
        Ok(Sessions::new(Arc::new(Sqlite::open(&file, leafresh_store::Options::default())?)))
    }
}
