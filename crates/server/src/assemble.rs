//! From the configuration to what answers are made with.

use std::sync::Arc;

use leafresh_chat::{Catalog, Recommender, Sessions};
use leafresh_engine::{Backend, Embedder, EmbeddingSettings, LlamaEmbedder};
use leafresh_retrieval::{Codes, Location, ServerSettings};
use leafresh_store::{Limits, Options, Sqlite};

use crate::config::Config;

/// Joins catalogue and engine as the configuration says; sessions and search are added by whoever has them.
///
/// # Errors
/// As [`Recommender::new`].
pub fn recommender(
    config: &Config,
    catalog: Arc<Catalog>,
    backend: Arc<dyn Backend>,
) -> Result<Recommender, leafresh_chat::Error> {
    let recommender = Recommender::new(catalog, backend, config.chat.clone())?;
    let recommender = recommender.with_kept(config.data.path().clone());
    Ok(recommender.with_deadlines((&config.deadlines).into()).with_fallback(config.fallback.clone()))
}

/// Opens the stored conversations.
///
/// # Errors
/// When the file can't be opened or made; the text names the file and the key.
pub fn sessions(config: &Config) -> Result<Sessions, leafresh_store::Error> {
    let limits = Limits { days: config.session.days, turns: config.session.turns };
    let path = config.data.path().join("sessions.db");
    Ok(Sessions::new(Arc::new(Sqlite::open(&path, Options { limits, ..Options::default() })?)))
}

/// Where the index lies.
pub fn location(config: &Config) -> Location {
    let settings = &config.retrieval;
    match &settings.url {
        Some(url) => Location::Server(ServerSettings {
            url: url.clone(),
            api_key: settings.api_key.clone(),
            collection: settings.collection.clone(),
            timeout: settings.call_seconds.0,
        }),
        None => Location::Folder(config.data.path().join("index")),
    }
}

/// Loads the embedding model, which takes a second. None when there is none.
///
/// # Errors
/// When there is one and it can't be used.
pub fn embedder(
    config: &Config,
    threads: usize,
) -> Result<Option<Arc<dyn Embedder>>, leafresh_engine::Error> {
    let Some(file) = config.retrieval.file().filter(|file| file.exists()) else {
        return Ok(None);
    };
    let settings = EmbeddingSettings { threads, ..EmbeddingSettings::default() };
    Ok(Some(Arc::new(LlamaEmbedder::load(&file, &settings)?)))
}

/// The codes that documents may name.
pub fn codes(catalog: &Catalog) -> Codes {
    let codes = |terms: &[leafresh_chat::Term]| terms.iter().map(|term| term.code.clone()).collect();
    Codes {
        categories: catalog.categories().iter().map(|category| category.code.clone()).collect(),
        places: codes(catalog.places()),
        work_types: codes(catalog.work_types()),
    }
}
