//! Everything that answers are made with, and the requests that come in.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use leafresh_engine::{Backend, Sampling};
use leafresh_retrieval::Search;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::addressing::Addressing;
use crate::conversations::Sessions;
use crate::fallback::FallbackSettings;
use crate::figures::Figures;
use crate::guard::Classifier;
use crate::library::Library;
use crate::{Catalog, Category, DegradedReason, Error, Grounding};

/// How answers are made. `Default` fits the model's size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How documents are used. None: small models select among them; large ones, and those of unknown size, read them as context.
    pub grounding: Option<Grounding>,
    /// Use the model's own chat template instead of a layout of examples: for instruction models.
    pub chat_template: bool,
    /// Tokens of a prompt, at most: documents and what was said before are cut to it.
    pub prompt_tokens: usize,
    pub sampling: Sampling,
}

impl Default for Settings {
    fn default() -> Self {
        Self { grounding: None, chat_template: false, prompt_tokens: 4096, sampling: Sampling::default() }
    }
}

/// How long things may take. `Default` is the contract's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// In the queue, before anything is computed.
    pub queue: Duration,
    /// To embed a message and to find documents.
    pub retrieval: Duration,
    /// Between two tokens.
    pub stall: Duration,
    /// From the request to the end, time without a reader left out.
    pub answer: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            queue: Duration::from_secs(20),
            retrieval: Duration::from_millis(300),
            stall: Duration::from_secs(30),
            answer: Duration::from_mins(4),
        }
    }
}

/// Answers requests with one catalogue and one engine. Cheap to clone.
#[derive(Clone)]
pub struct Recommender {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) grounding: Grounding,
    pub(crate) deadlines: Deadlines,
    pub(crate) library: Library,
    pub(crate) sessions: Option<Sessions>,
    pub(crate) figures: Arc<Figures>,
    /// What is about the topic, and what alarms: learned from examples.
    pub(crate) topic: Arc<OnceLock<Arc<Classifier>>>,
    pub(crate) alarm: Arc<OnceLock<Arc<Classifier>>>,
    /// What is meant by messages about what was offered.
    pub(crate) intents: Arc<OnceLock<Arc<Classifier>>>,
    /// What openings mean.
    pub(crate) addressing: Arc<OnceLock<Addressing>>,
    /// The folder in which what is learned is kept.
    pub(crate) kept: Option<PathBuf>,
    fallback: Arc<FallbackSettings>,
    fallbacks: Arc<Semaphore>,
}

impl std::fmt::Debug for Recommender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recommender").field("grounding", &self.grounding).finish_non_exhaustive()
    }
}

impl Recommender {
    /// Joins a catalogue and an engine, and checks that every answer can end whole.
    ///
    /// # Errors
    /// [`Error::Engine`] when a slot's budget is below what its grammar needs, [`Error::Settings`] when the settings
    /// want what the model hasn't.
    pub fn new(
        catalog: Arc<Catalog>,
        backend: Arc<dyn Backend>,
        mut settings: Settings,
    ) -> Result<Self, Error> {
        let form = catalog.form();
        // Of a model that doesn't say how large it is nobody runs a small one on a server of its own.
        let parameters = backend.model().parameters;
        let by_size = if (1..form.grounding.select_below_parameters).contains(&parameters) {
            Grounding::Select
        } else {
            Grounding::Context
        };
        let grounding = settings.grounding.unwrap_or(by_size);
        settings.sampling.penalty_exempt.extend(form.sampling.exempt.iter().cloned());
        let fallback = FallbackSettings::default();
        let recommender = Self {
            library: Library::new(catalog.clone()),
            catalog,
            backend,
            settings: Arc::new(settings),
            grounding,
            deadlines: Deadlines::default(),
            sessions: None,
            figures: Arc::default(),
            topic: Arc::default(),
            alarm: Arc::default(),
            intents: Arc::default(),
            addressing: Arc::default(),
            kept: None,
            fallbacks: Arc::new(Semaphore::new(fallback.at_once)),
            fallback: Arc::new(fallback),
        };
        recommender.check()?;
        recommender.warn_of_unknown_adapters();
        Ok(recommender)
    }

    /// Finds documents with this search, and messages off the topic with its embedding model.
    #[must_use]
    pub fn with_search(mut self, search: Search) -> Self {
        self.library.search = Some(search);
        self
    }

    /// Keeps what is learned in this folder.
    #[must_use]
    pub fn with_kept(mut self, folder: PathBuf) -> Self {
        self.kept = Some(folder);
        self
    }

    /// Remembers conversations there.
    #[must_use]
    pub fn with_sessions(mut self, sessions: Sessions) -> Self {
        self.sessions = Some(sessions);
        self
    }

    /// With all that isn't the model's from one that it takes the place of: conversations, search, what the gate has
    /// learnt, permits and figures.
    #[must_use]
    pub fn in_place_of(mut self, before: &Self) -> Self {
        self.library = before.library.clone();
        self.sessions.clone_from(&before.sessions);
        self.figures = before.figures.clone();
        self.topic = before.topic.clone();
        self.alarm = before.alarm.clone();
        self.intents = before.intents.clone();
        self.addressing = before.addressing.clone();
        self.fallback = before.fallback.clone();
        self.fallbacks = before.fallbacks.clone();
        self
    }

    #[must_use]
    pub fn with_deadlines(mut self, deadlines: Deadlines) -> Self {
        self.deadlines = deadlines;
        self
    }

    #[must_use]
    pub fn with_fallback(mut self, fallback: FallbackSettings) -> Self {
        self.fallbacks = Arc::new(Semaphore::new(fallback.at_once));
        self.fallback = Arc::new(fallback);
        self
    }

    /// The same with other random numbers; None: others every time.
    #[must_use]
    pub fn with_seed(mut self, seed: Option<u64>) -> Self {
        let sampling = Sampling { seed, ..self.settings.sampling.clone() };
        self.settings = Arc::new(Settings { sampling, ..(*self.settings).clone() });
        self
    }

    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    pub fn backend(&self) -> &dyn Backend {
        &*self.backend
    }

    /// The engine itself, for whoever has to know when the last answer has let go of it.
    pub fn shared_backend(&self) -> Arc<dyn Backend> {
        self.backend.clone()
    }

    /// How documents are used.
    pub fn grounding(&self) -> Grounding {
        self.grounding
    }

    /// Names of the adapters that requests may ask for.
    pub fn adapters(&self) -> &[String] {
        &self.backend.model().adapters
    }

    /// The adapter that writes an answer: the one that was asked for last, else the category's. One that the engine has no
    /// longer, or never had, is passed over.
    pub(crate) fn adapter(&self, asked: Option<&str>, category: &Category) -> Option<String> {
        let wanted = asked.into_iter().chain(category.adapter.as_deref());
        wanted.map(str::to_owned).find(|name| self.adapters().contains(name))
    }

    /// What the catalogue asks of the engine in vain, for the log.
    fn warn_of_unknown_adapters(&self) {
        for category in self.catalog.categories() {
            if let Some(name) = category.adapter.as_ref().filter(|name| !self.adapters().contains(name)) {
                tracing::warn!(
                    category = category.code,
                    adapter = name,
                    "categories.toml names an adapter that isn't in engine.adapters; the model answers without it"
                );
            }
        }
    }

    /// The stored conversations, where there are any.
    pub fn sessions(&self) -> Option<&Sessions> {
        self.sessions.as_ref()
    }

    /// What has happened so far.
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// The right to answer from the catalogue for this reason, while one is left.
    pub(crate) fn may_fall_back(&self, reason: DegradedReason) -> Option<tokio::sync::OwnedSemaphorePermit> {
        let allowed = self.fallback.on.contains(&reason);
        allowed.then(|| self.fallbacks.clone().try_acquire_owned().ok()).flatten()
    }
}
