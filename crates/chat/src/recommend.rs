//! Everything that answers are made with, and the requests that come in.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use leafresh_engine::{
    Arrival, Backend, Delta, Grammar, Program, Progress, Prompt, Request, Sampling, Segment, Slot,
};
use leafresh_retrieval::{QueryVector, Search};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::answer::Shape;
use crate::answering::{Answering, Begun};
use crate::conversations::Sessions;
use crate::documents::{Library, Wanted};
use crate::fallback::FallbackSettings;
use crate::figures::Figures;
use crate::guard::{self, Classifier, Judge, Refusal};
use crate::prompt::{self, Exchange, Layout};
use crate::session::Reading;
use crate::{
    BaseInfo, Catalog, Category, Command, DegradedReason, Document, Error, Events, FreeText, Grounding, Kind,
};

/// How answers are made. `Default` fits the model's size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How documents are used. None: small models select among them, large ones read them as context.
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

/// Everything that the engine would be given for a request.
#[derive(Debug, Serialize)]
pub struct Preview {
    pub prompt: Prompt,
    pub program: Program,
    /// The program as a JSON schema.
    pub schema: serde_json::Value,
    pub sampling: Sampling,
    pub grounding: Grounding,
}

/// Characters of a place or kind of work that the catalogue doesn't know: the contract's bound.
const LONGEST_VALUE: usize = 50;

/// Bytes that a prompt has beside the message, about: a place is reserved before anything is rendered.
const PROMPT_BYTES: usize = 4096;

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
    classifier: Arc<OnceLock<Arc<Classifier>>>,
    /// Where what the gate has learned is kept.
    kept: Option<PathBuf>,
    fallback: Arc<FallbackSettings>,
    fallbacks: Arc<Semaphore>,
}

impl std::fmt::Debug for Recommender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recommender").field("grounding", &self.grounding).finish_non_exhaustive()
    }
}

/// Where the operator can change what the engine can't run.
fn in_answer_form(error: leafresh_engine::Error) -> Error {
    match error {
        leafresh_engine::Error::Program(reason) => {
            Error::Settings(format!("the catalogue's answer.toml: {reason}"))
        }
        other => other.into(),
    }
}

/// What an answer is to be about, before the engine sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Brief<'a> {
    /// None: three choices.
    pub(crate) message: Option<&'a str>,
    pub(crate) location: Option<&'a str>,
    pub(crate) work_type: Option<&'a str>,
    pub(crate) category: &'a Category,
    /// Best first.
    pub(crate) documents: &'a [&'a Document],
    pub(crate) history: &'a [Exchange],
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
        let by_size = if backend.model().parameters < form.grounding.select_below_parameters {
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
            classifier: Arc::default(),
            kept: None,
            fallbacks: Arc::new(Semaphore::new(fallback.at_once)),
            fallback: Arc::new(fallback),
        };
        recommender.check()?;
        Ok(recommender)
    }

    /// Finds documents with this search, and messages off the topic with its embedding model.
    #[must_use]
    pub fn with_search(mut self, search: Search) -> Self {
        self.library.search = Some(search);
        self
    }

    /// Keeps there what the gate has learned.
    #[must_use]
    pub fn with_kept_gate(mut self, file: PathBuf) -> Self {
        self.kept = Some(file);
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
        self.classifier = before.classifier.clone();
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

    /// Whatever is asked for and drawn, the answer fits.
    fn check(&self) -> Result<(), Error> {
        // Text that the catalogue doesn't know is longer than any label of it.
        let unknown = "\u{AC00}".repeat(LONGEST_VALUE);
        for category in self.catalog.categories() {
            let documents = self.catalog.fitting(&category.code, None, None);
            for message in [None, Some(unknown.as_str())] {
                let brief = Brief {
                    message,
                    location: Some(&unknown),
                    work_type: Some(&unknown),
                    category,
                    documents: &documents[..documents.len().min(self.catalog.form().grounding.documents)],
                    history: &[],
                };
                let prompt = self.prompt(&brief)?;
                let program = self.catalog.form().program(self.shape(&brief), category, &documents)?;
                self.backend.check(&prompt, &program).map_err(in_answer_form)?;
            }
        }
        Ok(())
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

    /// The stored conversations, where there are any.
    pub fn sessions(&self) -> Option<&Sessions> {
        self.sessions.as_ref()
    }

    /// What has happened so far.
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// Admits a request of either kind. Nothing is computed before its events are read. Requests that wait are taken in turn,
    /// one of each client; `None` is one client too.
    ///
    /// # Errors
    /// [`Error::Engine`] with `Overloaded` when the queue is full and the catalogue may not answer instead.
    pub fn start(&self, command: &Command, client: Option<String>) -> Result<Events, Error> {
        let bytes = match command {
            Command::BaseInfo(_) => 0,
            Command::FreeText(request) => request.message.len(),
        };
        let arrival = Arrival {
            client,
            prompt_bytes: PROMPT_BYTES + bytes,
            deadline: Some(Instant::now() + self.deadlines.queue),
        };
        let begun = match self.backend.reserve(&arrival) {
            Ok(place) => Begun::Place(place),
            Err(error) => {
                let reason = match error {
                    leafresh_engine::Error::Overloaded { .. } => DegradedReason::Overloaded,
                    _ => DegradedReason::Engine,
                };
                match self.may_fall_back(reason) {
                    Some(permit) => Begun::Degraded(reason, permit),
                    None => return Err(error.into()),
                }
            }
        };
        let (recommender, command) = (self.clone(), command.clone());
        Ok(Events::new(|events, control| Answering::new(recommender, events, control).answer(command, begun)))
    }

    /// Admits three choices.
    ///
    /// # Errors
    /// As [`Recommender::start`].
    pub fn base_info(&self, request: &BaseInfo) -> Result<Events, Error> {
        self.start(&Command::BaseInfo(request.clone()), None)
    }

    /// Admits a message.
    ///
    /// # Errors
    /// As [`Recommender::start`].
    pub fn free_text(&self, request: &FreeText) -> Result<Events, Error> {
        self.start(&Command::FreeText(request.clone()), None)
    }

    /// The right to answer from the catalogue for this reason, while one is left.
    pub(crate) fn may_fall_back(&self, reason: DegradedReason) -> Option<tokio::sync::OwnedSemaphorePermit> {
        let allowed = self.fallback.on.contains(&reason);
        allowed.then(|| self.fallbacks.clone().try_acquire_owned().ok()).flatten()
    }

    /// What is wrong with a message that begins a conversation; None: it is answered. Nothing is generated.
    ///
    /// # Errors
    /// [`Error::Retrieval`] when the message can't be embedded.
    pub async fn refusal(&self, message: &str) -> Result<Option<Refusal>, Error> {
        self.learn().await?;
        if let Some(refusal) = self.catalog.guard().refuses_at_sight(message) {
            return Ok(Some(refusal));
        }
        let vector = match self.library.search.as_ref().filter(|search| search.can_embed()) {
            Some(search) => Some(search.embed(message).await?),
            None => None,
        };
        let reading = Reading::of(message, &self.catalog);
        let vector = vector.as_ref().map(QueryVector::as_slice);
        let off_topic = self.judge().is_off_topic(message, &reading, vector, false);
        Ok(off_topic.then_some(Refusal::OffTopic))
    }

    /// Tells what is about the topic, as well as it can at the moment.
    pub(crate) fn judge(&self) -> Judge {
        Judge { catalog: self.catalog.clone(), classifier: self.classifier.get().cloned() }
    }

    /// Has the engine read what all prompts begin with, so that the first person doesn't wait for it. Takes seconds.
    ///
    /// # Errors
    /// [`Error::Engine`] when the model can't compute.
    pub async fn warm(&self) -> Result<(), Error> {
        let Some(category) = self.catalog.categories().first() else {
            return Ok(());
        };
        for message in [None, Some("")] {
            let brief =
                Brief { message, location: None, work_type: None, category, documents: &[], history: &[] };
            self.read(self.prompt(&brief)?).await?;
        }
        Ok(())
    }

    /// Reads a prompt into the cache.
    async fn read(&self, prompt: Prompt) -> Result<(), Error> {
        // One token has to be chosen, so the whole prompt has to be read.
        let slot = Slot {
            name: "warm".into(),
            grammar: Grammar::Choices(vec!["0".into(), "1".into()]),
            max_tokens: 4,
            distinct_from: Vec::new(),
        };
        let mut generation = self.backend.generate(Request {
            prompt,
            program: Program::new(vec![Segment::Slot(slot)])?,
            progress: Progress::default(),
            sampling: self.settings.sampling.clone(),
        })?;
        while let Some(delta) = generation.next().await {
            if let Delta::Failed(error) = delta {
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// Has the gate learn from the catalogue's examples what is about the topic, or read what it learned before. Until then,
    /// and without an embedding model, keywords tell. The first time takes up to half a minute.
    ///
    /// # Errors
    /// [`Error::Retrieval`] when the embedding model can't compute.
    pub async fn learn(&self) -> Result<(), Error> {
        let Some(search) = self.library.search.as_ref() else { return Ok(()) };
        let Some(model) = search.model() else { return Ok(()) };
        if self.classifier.get().is_none() {
            let key = guard::key_of_kept(&model.fingerprint, self.catalog.examples());
            let kept = self.kept.as_ref().and_then(|file| guard::read_kept(file, &key, model.dimension));
            let classifier = match kept {
                Some(classifier) => classifier,
                None => self.learn_anew(search, &key).await?,
            };
            // Of two that learn at once one is enough.
            let _ = self.classifier.set(Arc::new(classifier));
        }
        Ok(())
    }

    async fn learn_anew(&self, search: &Search, key: &[u8; 32]) -> Result<Classifier, Error> {
        tracing::info!("the gate learns from the catalogue's examples");
        let classifier = Classifier::train(self.catalog.examples(), search).await?;
        if let Some(file) = &self.kept
            && let Err(error) = guard::write_kept(file, key, &classifier)
        {
            tracing::warn!(%error, file = %file.display(), "what the gate learned can't be kept; the next start learns again");
        }
        Ok(classifier)
    }

    /// What the engine would be given for these choices.
    ///
    /// # Errors
    /// [`Error::Settings`] when the catalogue has no such category.
    pub fn preview(&self, request: &BaseInfo) -> Result<Preview, Error> {
        let Some(category) = self.catalog.category(&request.category) else {
            return Err(Error::Settings(format!("there is no category {:?}", request.category)));
        };
        let (location, work_type) = (Some(&*request.location), Some(&*request.work_type));
        let wanted = self.wanted(None, location, work_type, category);
        let found =
            if self.grounding == Grounding::None { Vec::new() } else { self.library.ranked(&wanted, &[]) };
        let documents: Vec<&Document> = found.iter().map(|found| &found.document).collect();
        let brief =
            Brief { message: None, location, work_type, category, documents: &documents, history: &[] };
        let shape = self.shape(&brief);
        Ok(Preview {
            schema: self.catalog.form().schema(shape, category, &documents),
            prompt: self.prompt(&brief)?,
            program: self.catalog.form().program(shape, category, &documents)?,
            sampling: self.settings.sampling.clone(),
            grounding: self.grounding,
        })
    }

    /// The documents to look for; whoever knows more changes it.
    pub(crate) fn wanted<'a>(
        &'a self,
        message: Option<&'a str>,
        location: Option<&str>,
        work_type: Option<&str>,
        category: &'a Category,
    ) -> Wanted<'a> {
        let form = &self.catalog.form().grounding;
        let (count, pool) =
            if message.is_some() { (form.for_message, 0) } else { (form.documents, form.pool) };
        Wanted {
            text: message.unwrap_or(&category.description),
            vector: None,
            category: &category.code,
            place: location.and_then(|text| self.catalog.place(text)).map(|place| &*place.code),
            work_type: work_type.and_then(|text| self.catalog.work_type(text)).map(|work| &*work.code),
            offered: &[],
            count,
            pool,
            challenges: self.grounding == Grounding::Select,
            seed: self.settings.sampling.seed,
        }
    }

    pub(crate) fn shape(&self, brief: &Brief) -> Shape {
        let kind = if brief.message.is_some() { Kind::FreeText } else { Kind::BaseInfo };
        Shape { kind, grounding: self.grounding }
    }

    pub(crate) fn prompt(&self, brief: &Brief) -> Result<Prompt, Error> {
        let shown = if self.grounding == Grounding::Context { brief.documents } else { &[] };
        let place = brief.location.and_then(|text| self.catalog.place(text));
        let work_type = brief.work_type.and_then(|text| self.catalog.work_type(text));
        let request = prompt::Request {
            message: brief.message,
            location: place.map_or(brief.location.unwrap_or_default(), |place| &place.label),
            place_phrase: place.map(|place| &*place.phrase),
            work_type: work_type.map_or(brief.work_type.unwrap_or_default(), |work_type| &work_type.label),
            work_phrase: work_type.map(|work_type| &*work_type.phrase),
            category: brief.category,
            documents: shown,
            history: brief.history,
        };
        let layout = Layout {
            chat: self.settings.chat_template,
            model: self.backend.model(),
            tokens: self.settings.prompt_tokens,
            count: &|text| self.backend.count_tokens(text),
        };
        self.catalog.prompts().prompt(&request, &layout)
    }
}
