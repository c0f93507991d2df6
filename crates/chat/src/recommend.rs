//! From a valid request to a stream of events.

use std::collections::VecDeque;
use std::sync::Arc;

use leafresh_engine::{Backend, Delta, Grammar, Program, Progress, Prompt, Request, Sampling, Segment, Slot};
use rand::rngs::StdRng;
use rand::{SeedableRng, seq::IndexedRandom};
use serde::{Deserialize, Serialize};

use crate::answer::Writer;
use crate::prompt;
use crate::{BaseInfo, Catalog, Command, Document, Error, Events, FreeText, Grounding};

/// How answers are made. `Default` fits the model's size.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How documents are used. None: small models select among them, large ones read them as context.
    pub grounding: Option<Grounding>,
    /// Use the model's own chat template instead of a layout of examples: for instruction models.
    pub chat_template: bool,
    pub sampling: Sampling,
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

/// Answers requests with one catalogue and one engine.
pub struct Recommender {
    catalog: Arc<Catalog>,
    backend: Arc<dyn Backend>,
    settings: Settings,
    grounding: Grounding,
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

/// What a request comes to, before the engine sees it.
struct Job<'a> {
    prompt: Prompt,
    program: Program,
    category: &'a crate::Category,
    documents: Vec<&'a Document>,
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
        let recommender = Self { catalog, backend, settings, grounding };
        recommender.check()?;
        Ok(recommender)
    }

    /// Whatever is asked for and drawn, the answer fits.
    fn check(&self) -> Result<(), Error> {
        for category in self.catalog.categories() {
            let code = category.code.clone();
            // Text that the catalogue doesn't know is longer than any label of it.
            let unknown = "\u{AC00}".repeat(LONGEST_VALUE);
            let request = BaseInfo {
                location: unknown.clone(),
                work_type: unknown,
                category: code,
                ..BaseInfo::default()
            };
            let prompt = self.job(&request)?.prompt;
            let documents = self.catalog.fitting(&category.code, None, None);
            let program = self.catalog.form().program(self.grounding, category, &documents)?;
            self.backend.check(&prompt, &program).map_err(in_answer_form)?;
        }
        Ok(())
    }

    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    pub fn backend(&self) -> &dyn Backend {
        &*self.backend
    }

    /// Admits a request of either kind.
    ///
    /// # Errors
    /// As [`Recommender::base_info`].
    pub fn start(&self, command: &Command) -> Result<Events, Error> {
        match command {
            Command::BaseInfo(request) => self.base_info(request),
            Command::FreeText(request) => self.free_text(request),
        }
    }

    /// Admits a message: the category that it names decides, or the catalogue's first one.
    ///
    /// # Errors
    /// As [`Recommender::base_info`].
    pub fn free_text(&self, request: &FreeText) -> Result<Events, Error> {
        let named = request.message.split_whitespace().find_map(|word| self.catalog.category(word));
        let category = named.or_else(|| self.catalog.categories().first());
        self.base_info(&BaseInfo {
            owner: request.owner.clone(),
            session_id: request.session_id.clone(),
            location: request.location.clone().unwrap_or_default(),
            work_type: request.work_type.clone().unwrap_or_default(),
            category: category.map(|category| category.code.clone()).unwrap_or_default(),
        })
    }

    /// Admits a request and starts its generation.
    ///
    /// # Errors
    /// [`Error::Engine`] with `Overloaded` when the queue is full: nothing was computed.
    pub fn base_info(&self, request: &BaseInfo) -> Result<Events, Error> {
        let Job { prompt, program, category, documents } = self.job(request)?;
        let generation = self.backend.generate(Request {
            prompt,
            program: program.clone(),
            progress: Progress::default(),
            sampling: self.settings.sampling.clone(),
        })?;
        let documents = documents.into_iter().cloned().collect();
        let writer = Writer::new(program, category.clone(), self.grounding, documents);
        Ok(Events { generation, writer, ready: VecDeque::new(), ended: false })
    }

    /// Has the engine read what all prompts begin with, so that the first person doesn't wait for it. Takes seconds.
    ///
    /// # Errors
    /// [`Error::Engine`] when the model can't compute.
    pub async fn warm(&self) -> Result<(), Error> {
        let Some(category) = self.catalog.categories().first() else {
            return Ok(());
        };
        let unknown = BaseInfo { category: category.code.clone(), ..BaseInfo::default() };
        // One token has to be chosen, so the whole prompt has to be read.
        let slot = Slot {
            name: "warm".into(),
            grammar: Grammar::Choices(vec!["0".into(), "1".into()]),
            max_tokens: 4,
            distinct_from: Vec::new(),
        };
        let mut generation = self.backend.generate(Request {
            prompt: self.job(&unknown)?.prompt,
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

    /// What [`Recommender::base_info`] would give the engine.
    ///
    /// # Errors
    /// As [`Recommender::base_info`].
    pub fn preview(&self, request: &BaseInfo) -> Result<Preview, Error> {
        let job = self.job(request)?;
        Ok(Preview {
            schema: self.catalog.form().schema(self.grounding, job.category, &job.documents),
            prompt: job.prompt,
            program: job.program,
            sampling: self.settings.sampling.clone(),
            grounding: self.grounding,
        })
    }

    fn job(&self, request: &BaseInfo) -> Result<Job<'_>, Error> {
        let catalog = &*self.catalog;
        let Some(category) = catalog.category(&request.category) else {
            return Err(Error::Settings(format!("there is no category {:?}", request.category)));
        };
        let documents = self.draw(request);
        let shown = if self.grounding == Grounding::Context { &documents[..] } else { &[] };
        let place = catalog.place(&request.location);
        let work_type = catalog.work_type(&request.work_type);
        let prompt = catalog.prompts().base_info(
            &prompt::Request {
                location: place.map_or(&request.location, |place| &place.label),
                place_phrase: place.map(|place| &*place.phrase),
                work_type: work_type.map_or(&request.work_type, |work_type| &work_type.label),
                work_phrase: work_type.map(|work_type| &*work_type.phrase),
                category,
                documents: shown,
            },
            self.settings.chat_template,
            self.backend.model(),
        )?;
        let program = catalog.form().program(self.grounding, category, &documents)?;
        Ok(Job { prompt, program, category, documents })
    }

    /// Some of the documents that fit: others every time, unless there is a seed.
    fn draw(&self, request: &BaseInfo) -> Vec<&Document> {
        if self.grounding == Grounding::None {
            return Vec::new();
        }
        let fitting =
            self.catalog.fitting(&request.category, Some(&request.location), Some(&request.work_type));
        let count = self.catalog.form().grounding.documents;
        let drawn = match self.settings.sampling.seed {
            Some(seed) => fitting.choose_multiple(&mut StdRng::seed_from_u64(seed), count),
            None => fitting.choose_multiple(&mut rand::rng(), count),
        };
        drawn.copied().collect()
    }
}
