//! From the configuration to what answers are made with.

use std::sync::Arc;

use leafresh_chat::{Catalog, Recommender, Sessions};
use leafresh_engine::Backend;
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
