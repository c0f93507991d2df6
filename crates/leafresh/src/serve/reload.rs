//! What SIGHUP does: the API keys are read again, and when the configuration names another model, or the model's file is
//! another one, that is loaded beside the one that answers and takes its place.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, anyhow};
use leafresh_chat::Catalog;
use leafresh_server::config::{Config, Sources};
use leafresh_server::{AppState, setup};
use tokio::signal::unix::Signal;

pub(super) struct Reload {
    sources: Sources,
    catalog: Arc<Catalog>,
    state: AppState,
    /// What the server runs with.
    config: Config,
    /// The model's file as it was when it was loaded.
    file: Option<Identity>,
}

/// Between two looks at whether the first model is there.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// Tells a file from the one that was there before.
type Identity = (SystemTime, u64);

impl Reload {
    pub(super) fn new(sources: Sources, config: &Config, catalog: Arc<Catalog>, state: AppState) -> Self {
        let path = config.upstream.is_empty().then(|| config.model.file());
        let file = path.and_then(Result::ok).and_then(|file| identity(&file));
        Self { sources, catalog, state, config: config.clone(), file }
    }

    pub(super) fn on(mut self, mut hangup: Signal) {
        tokio::spawn(async move {
            while hangup.recv().await.is_some() {
                self.keys();
                // While the first model loads, the next signals mean what this one means.
                while self.state.recommender().is_none() {
                    tokio::select! {
                        Some(()) = hangup.recv() => self.keys(),
                        () = tokio::time::sleep(BETWEEN_LOOKS) => {}
                    }
                }
                if let Err(error) = self.model().await {
                    tracing::error!("the model stays as it was: {error:#}");
                }
            }
        });
    }

    fn keys(&self) {
        if let Err(error) = self.state.load_keys() {
            tracing::error!(%error, "the API keys stay as they were");
        }
    }

    /// Loads the model again if it is another one. New requests go to it as soon as it can compute; answers that are being
    /// written go on where they began.
    async fn model(&mut self) -> anyhow::Result<()> {
        self.sources = self.sources.clone().again();
        let read = Config::load(&self.sources)?;
        for note in read.notes.iter().filter(|note| !self.config.notes.contains(note)) {
            tracing::warn!("{note}");
        }
        let next = Config {
            model: read.model.clone(),
            engine: read.engine.clone(),
            upstream: read.upstream.clone(),
            chat: read.chat.clone(),
            notes: read.notes.clone(),
            ..self.config.clone()
        };
        if read != next {
            tracing::warn!(
                "other settings than [model], [engine], [[upstream]] and [chat] take effect at the next start"
            );
        }
        let path = next.upstream.is_empty().then(|| next.model.file()).transpose()?;
        let file = path.as_deref().and_then(identity);
        if next == self.config && file == self.file {
            return Ok(());
        }
        let before =
            self.state.recommender().ok_or_else(|| anyhow!("the first one is still being loaded"))?;
        match path {
            Some(path) => {
                tracing::info!(file = %path.display(), "loading a model beside the one that answers");
            }
            None => tracing::info!("meeting upstreams beside what answers now"),
        }
        let (config, catalog) = (next.clone(), self.catalog.clone());
        let loaded = tokio::task::spawn_blocking(move || setup::load_recommender(&config, catalog)).await;
        let recommender = loaded.map_err(|_| anyhow!("loading it failed"))??.in_place_of(&before);
        recommender.warm().await.context("it was loaded, but can't compute")?;
        let model = recommender.backend().model().name.clone();
        self.state.install(Arc::new(recommender));
        let writing = before.backend().health().running;
        tracing::info!(
            model,
            writing,
            "new requests go to the new model; the old one finishes what it writes"
        );
        (self.config, self.file) = (next, file);
        Ok(())
    }
}

fn identity(file: &Path) -> Option<Identity> {
    let about = std::fs::metadata(file).ok()?;
    Some((about.modified().ok()?, about.len()))
}
