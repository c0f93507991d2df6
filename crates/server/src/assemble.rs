//! From the configuration to what answers are made with.

use std::sync::Arc;

use leafresh_chat::{Catalog, Recommender, Sessions};
use leafresh_engine::{Backend, Embedder, EmbeddingSettings, LlamaEmbedder};
use leafresh_remote::Settings as RemoteSettings;
use leafresh_retrieval::{Codes, Location, ServerSettings};
use leafresh_store::{Options, SessionLimits, Sqlite};

use crate::config::{self, Config};

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
    let recommender = match config.data.path() {
        Ok(folder) => recommender.with_kept(folder),
        // It learns again at each start.
        Err(_) => recommender,
    };
    Ok(recommender.with_deadlines((&config.deadlines).into()).with_fallback(config.fallback.clone()))
}

/// How the servers are asked that write elsewhere. What may wait for them is what may wait for a model here.
pub fn upstreams(config: &Config) -> RemoteSettings {
    RemoteSettings {
        upstreams: config.upstream.iter().map(Into::into).collect(),
        queue: config.engine.queue,
        queue_bytes: config.engine.queue_bytes,
        total: config.deadlines.answer_seconds.0,
    }
}

/// Opens the stored conversations.
///
/// # Errors
/// When there is no place for the file, or it can't be opened or made; the text names the key.
pub fn sessions(config: &Config) -> anyhow::Result<Sessions> {
    let config::Session { days, turns, per_owner, most } = config.session;
    let limits = SessionLimits { days, turns, per_owner, most };
    let path = config.data.path()?.join("sessions.db");
    Ok(Sessions::new(Arc::new(Sqlite::open(&path, Options { limits, ..Options::default() })?)))
}

/// Where the index lies.
///
/// # Errors
/// When there is no place for it.
pub fn location(config: &Config) -> Result<Location, config::Error> {
    let settings = &config.retrieval;
    Ok(match &settings.url {
        Some(url) => Location::Server(ServerSettings {
            url: url.clone(),
            api_key: settings.api_key.clone(),
            collection: settings.collection.clone(),
            timeout: settings.call_seconds.0,
        }),
        None => Location::Folder(config.data.path()?.join("index")),
    })
}

/// Loads the embedding model, which takes a second. None when there is none.
///
/// # Errors
/// When there is one and it can't be used.
pub fn embedder(config: &Config, threads: usize) -> anyhow::Result<Option<Arc<dyn Embedder>>> {
    let Some(file) = config.retrieval.file()?.filter(|file| file.exists()) else {
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
