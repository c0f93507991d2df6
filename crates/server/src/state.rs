//! What every request shares: the parts that handlers take, each by itself. Cheap to clone.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axum::extract::FromRef;
use leafresh_chat::{Catalog, Recommender, Replies, Sessions};

use crate::config::{self, Config};
use crate::door::Door;
use crate::installed::Installed;
use crate::life::Life;
use crate::metrics::Metrics;
use crate::streams::Streams;

/// The server's state: catalogue and settings from the start, the model once it is loaded.
#[derive(Clone)]
pub struct AppState(Arc<Inner>);

struct Inner {
    server: config::Server,
    stream: config::Stream,
    origins: Vec<config::Origin>,
    catalog: Arc<Catalog>,
    installed: Arc<Installed>,
    sessions: OnceLock<Sessions>,
    metrics: Arc<Metrics>,
    index_prepares: AtomicBool,
    streams: Streams,
    door: Arc<Door>,
    life: Life,
    started: Instant,
}

impl AppState {
    /// A server without a model: it answers 503 until [`AppState::install`]. Where keys are configured nobody has one that
    /// fits until [`AppState::load_keys`].
    pub fn new(config: &Config, catalog: Arc<Catalog>) -> Self {
        let (life, metrics) = (Life::default(), Arc::new(Metrics::new()));
        let installed = Arc::<Installed>::default();
        Self(Arc::new(Inner {
            server: config.server.clone(),
            stream: config.stream.clone(),
            origins: config.cors.origins.clone(),
            catalog,
            sessions: OnceLock::new(),
            index_prepares: AtomicBool::new(false),
            streams: Streams::new(&config.stream, life.clone(), metrics.clone(), installed.clone()),
            door: Arc::new(Door::new(config)),
            installed,
            metrics,
            life,
            started: Instant::now(),
        }))
    }

    /// The model is loaded: requests are answered from now on. In place of an earlier one it answers new requests; what
    /// that has begun it finishes.
    pub fn install(&self, recommender: Arc<Recommender>) {
        self.0.installed.install(recommender);
    }

    /// Reads the API keys, if a file of them is configured; again when they were read before.
    ///
    /// # Errors
    /// A file that can't be used. Keys that were read before stay.
    pub fn load_keys(&self) -> Result<(), config::Error> {
        self.0.door.load_keys()
    }

    /// What is to be done every few seconds.
    pub(crate) fn upkeep(&self) {
        self.0.metrics.upkeep();
        self.0.installed.look();
        self.0.streams.sweep();
        self.0.door.refresh_keys();
    }

    pub(crate) fn streams(&self) -> &Streams {
        &self.0.streams
    }

    pub(crate) fn door(&self) -> &Door {
        &self.0.door
    }

    /// The stored conversations are open: they can be read and deleted. Only the first call counts.
    pub fn open_sessions(&self, sessions: Sessions) {
        if self.0.sessions.set(sessions).is_err() {
            tracing::warn!("the stored conversations are open already; they stay");
        }
    }

    /// The index is being opened or brought up to date: the server isn't ready until that is done.
    pub(crate) fn index_prepares(&self) {
        self.0.index_prepares.store(true, Ordering::Relaxed);
    }

    pub(crate) fn index_is_ready(&self) {
        self.0.index_prepares.store(false, Ordering::Relaxed);
    }

    pub(crate) fn waits_for_index(&self) -> bool {
        self.0.index_prepares.load(Ordering::Relaxed)
    }

    pub(crate) fn sessions(&self) -> Option<&Sessions> {
        self.0.sessions.get()
    }

    /// What answers new requests; none before the first [`AppState::install`].
    pub fn recommender(&self) -> Option<Arc<Recommender>> {
        self.0.installed.get()
    }

    pub(crate) fn catalog(&self) -> &Arc<Catalog> {
        &self.0.catalog
    }

    pub(crate) fn replies(&self) -> &Replies {
        self.0.catalog.replies()
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    pub(crate) fn server(&self) -> &config::Server {
        &self.0.server
    }

    pub(crate) fn stream(&self) -> &config::Stream {
        &self.0.stream
    }

    pub(crate) fn origins(&self) -> &[config::Origin] {
        &self.0.origins
    }

    pub(crate) fn uptime_seconds(&self) -> u64 {
        self.0.started.elapsed().as_secs()
    }

    pub(crate) fn life(&self) -> &Life {
        &self.0.life
    }

    pub(crate) fn draining(&self) -> bool {
        self.0.life.draining()
    }
}

/// What a handler may take: a part of the state, and no more than that.
macro_rules! part {
    ($part:ty, $field:ident) => {
        impl FromRef<AppState> for $part {
            fn from_ref(app: &AppState) -> Self {
                app.0.$field.clone()
            }
        }
    };
}

part!(Arc<Catalog>, catalog);
part!(Arc<Door>, door);
part!(Arc<Metrics>, metrics);
part!(Arc<Installed>, installed);
part!(Life, life);
part!(Streams, streams);
