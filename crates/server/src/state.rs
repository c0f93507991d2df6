//! What the server is put together from. A handler takes the parts that it needs, each by itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::extract::FromRef;
use leafresh_chat::{Catalog, Recommender, Sessions};

use crate::config::{self, Config, LogText};
use crate::door::Door;
use crate::installed::Installed;
use crate::life::Life;
use crate::metrics::Metrics;
use crate::otlp::Otlp;
use crate::queue::Queue;
use crate::streams::Streams;

/// The server's state: catalogue and settings from the start, the model once it is loaded. Cheap to clone.
#[derive(Clone)]
pub struct AppState(Arc<Parts>);

struct Parts {
    server: Arc<config::Server>,
    stream: Arc<config::Stream>,
    origins: Arc<[config::Origin]>,
    openai: Arc<config::OpenAi>,
    turns: Arc<Turns>,
    page: Arc<config::Page>,
    catalog: Arc<Catalog>,
    log_text: LogText,
    otlp: Otlp,
    installed: Arc<Installed>,
    /// Empty until they are open.
    sessions: Arc<OnceLock<Sessions>>,
    metrics: Arc<Metrics>,
    index: IndexState,
    streams: Streams,
    door: Arc<Door>,
    life: Life,
    started: Started,
}

impl AppState {
    /// A server without a model: it answers 503 until [`AppState::install`]. Where keys are configured nobody has one that
    /// fits until [`AppState::load_keys`].
    pub fn new(config: &Config, catalog: Arc<Catalog>) -> Self {
        let (life, metrics) = (Life::default(), Arc::new(Metrics::new()));
        let installed = Arc::<Installed>::default();
        Self(Arc::new(Parts {
            server: Arc::new(config.server.clone()),
            stream: Arc::new(config.stream.clone()),
            origins: config.cors.origins.as_slice().into(),
            openai: Arc::new(config.openai.clone()),
            turns: Arc::default(),
            page: Arc::new(config.page.clone()),
            catalog,
            log_text: config.log.text,
            otlp: Otlp::new(&config.otlp),
            sessions: Arc::default(),
            index: IndexState::default(),
            streams: Streams::new(&config.stream, life.clone(), metrics.clone(), installed.clone()),
            door: Arc::new(Door::new(config)),
            installed,
            metrics,
            life,
            started: Started(Instant::now()),
        }))
    }

    /// The model is loaded: requests are answered from now on. In place of an earlier one it answers new requests; what
    /// that has begun it finishes.
    pub fn install(&self, recommender: Arc<Recommender>) {
        self.0.installed.install(recommender);
    }

    /// What answers new requests; none before the first [`AppState::install`].
    pub fn recommender(&self) -> Option<Arc<Recommender>> {
        self.0.installed.get()
    }

    /// The stored conversations are open: they can be read and deleted. Only the first call counts.
    pub fn open_sessions(&self, sessions: Sessions) {
        if self.0.sessions.set(sessions).is_err() {
            tracing::warn!("the stored conversations are open already; they stay");
        }
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

    /// One of its parts, or several that belong together.
    pub(crate) fn part<T: FromRef<Self>>(&self) -> T {
        T::from_ref(self)
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

part!(Arc<config::Server>, server);
part!(Arc<config::Stream>, stream);
part!(Arc<[config::Origin]>, origins);
part!(Arc<config::OpenAi>, openai);
part!(Arc<Turns>, turns);
part!(Arc<config::Page>, page);
part!(Arc<Catalog>, catalog);
part!(LogText, log_text);
part!(Otlp, otlp);
part!(Arc<Installed>, installed);
part!(Arc<OnceLock<Sessions>>, sessions);
part!(Arc<Metrics>, metrics);
part!(IndexState, index);
part!(Streams, streams);
part!(Arc<Door>, door);
part!(Life, life);
part!(Started, started);

/// Whether the index is being opened or brought up to date. The server isn't ready until that is done.
#[derive(Clone, Default)]
pub(crate) struct IndexState {
    prepares: Arc<AtomicBool>,
}

impl IndexState {
    pub(crate) fn prepares(&self) -> bool {
        self.prepares.load(Ordering::Relaxed)
    }

    pub(crate) fn set_prepares(&self, prepares: bool) {
        self.prepares.store(prepares, Ordering::Relaxed);
    }
}

/// What is done one at a time for all who ask for it.
pub(crate) struct Turns {
    /// Texts that are embedded for clients: a person's question gets in between.
    pub(crate) embedding: Queue,
    /// Schemas that are compiled: each may take a second and a hundred megabytes.
    pub(crate) schemas: Queue,
}

impl Default for Turns {
    fn default() -> Self {
        Self { embedding: Queue::new(64), schemas: Queue::new(64) }
    }
}

/// When the server was made.
#[derive(Clone, Copy)]
pub(crate) struct Started(Instant);

impl Started {
    pub(crate) fn uptime(self) -> Duration {
        self.0.elapsed()
    }
}
