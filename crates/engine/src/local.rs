//! The model on its own thread, behind a bounded queue.

use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc as blocking};
use std::thread::JoinHandle;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::constraint::Automata;
use crate::model::Model;
use crate::sequence::{self, Language};
use crate::worker::Worker;
use crate::{
    Backend, Delta, Error, Generation, Health, ModelInfo, Program, Prompt, Request, Segment, gguf, llama,
    memory,
};

/// How the local engine uses the machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LocalSettings {
    /// Threads that compute. None: one less than the cores where there are more than two, else all.
    pub threads: Option<usize>,
    /// Tokens that the KV cache holds for all requests together.
    pub context: usize,
    /// Tokens that are kept of requests that have ended, for others with the same beginning. Every one of them makes
    /// each step a little slower.
    pub cached_tokens: usize,
    /// Requests that write at the same time.
    pub running: usize,
    /// Requests that may wait; one more is refused.
    pub queue: usize,
    /// Tokens in one batch at most.
    pub step_tokens: usize,
    /// Tokens that prompts may add to a batch while others are writing.
    pub prefill_tokens: usize,
    /// Feed forced text as a run instead of token by token.
    pub jump_forward: bool,
    /// Compute the logits of the tokens that a slot allows instead of all. Off is only for comparing.
    pub head_for_candidates: bool,
    /// Layers on the GPU, the output layer counted. None: as many as fit into its free memory.
    pub gpu_layers: Option<usize>,
    /// How keys and values are stored.
    pub kv_type: KvType,
    /// Use the model file's pages where they are instead of copying them into memory of the process.
    pub mmap: bool,
    /// Keep the weights from being paged out.
    pub mlock: bool,
}

/// A number type of the KV cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KvType {
    /// Two bytes a number.
    F16,
    /// Blocks of 32 numbers in 34 bytes.
    #[serde(rename = "q8_0")]
    Q8_0,
}

impl Default for LocalSettings {
    fn default() -> Self {
        Self {
            threads: None,
            context: 16_384,
            cached_tokens: 2048,
            running: 16,
            queue: 64,
            step_tokens: 512,
            prefill_tokens: 64,
            jump_forward: true,
            head_for_candidates: true,
            gpu_layers: None,
            kv_type: KvType::F16,
            mmap: true,
            mlock: false,
        }
    }
}

impl LocalSettings {
    pub(crate) fn thread_count(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        self.threads.unwrap_or(if cores > 2 { cores - 1 } else { cores }).max(1)
    }

    /// # Errors
    /// [`Error::Unfit`] with the key whose value can't work.
    fn check(&self) -> Result<(), Error> {
        let least = [
            ("running", self.running, 1),
            ("context", self.context, 1),
            ("prefill_tokens", self.prefill_tokens, 1),
            // Every request that writes needs a token in each step.
            ("step_tokens", self.step_tokens, self.running),
        ];
        for (key, value, least) in least {
            if value < least {
                return Err(Error::Unfit(format!("engine.{key} is {value}; it must be at least {least}")));
            }
        }
        if self.running > llama::MAX_ROWS {
            let most = llama::MAX_ROWS;
            return Err(Error::Unfit(format!(
                "engine.running is {}; it can be at most {most}",
                self.running
            )));
        }
        Ok(())
    }

    /// Rows of the KV cache: one for each running request, and as many again that keep prefixes.
    pub(crate) fn rows(&self) -> usize {
        (self.running * 2).min(llama::MAX_ROWS)
    }
}

/// A model in this process.
#[derive(Debug)]
pub struct Local {
    commands: Option<blocking::Sender<Command>>,
    queue: usize,
    running: usize,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

pub(crate) struct Shared {
    info: ModelInfo,
    pub(crate) language: Language,
    /// Requests that were accepted and haven't ended: what bounds the channel.
    admitted: AtomicUsize,
    pub(crate) figures: Figures,
}

/// What the thread counts and others read.
#[derive(Default)]
pub(crate) struct Figures {
    pub(crate) running: AtomicUsize,
    pub(crate) kv_used: AtomicUsize,
    pub(crate) kv_total: AtomicUsize,
    pub(crate) steps: AtomicU64,
    pub(crate) nan_logits: AtomicU64,
    pub(crate) preemptions: AtomicU64,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("info", &self.info).finish_non_exhaustive()
    }
}

#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) request: Request,
    pub(crate) deltas: mpsc::Sender<Delta>,
    pub(crate) place: Place,
}

/// A request's place among the admitted: given back wherever the request ends.
#[derive(Debug)]
pub(crate) struct Place(Arc<Shared>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.admitted.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Local {
    /// Loads a GGUF file and starts its thread. Takes seconds: call it where blocking is allowed.
    ///
    /// # Errors
    /// [`Error::ModelFile`] when the file can't be used, [`Error::NoRoom`] when it doesn't fit into what is free,
    /// [`Error::Processor`] when llama.cpp was built for another processor, [`Error::Native`] when it refuses the file.
    pub fn load(path: &Path, settings: &LocalSettings) -> Result<Self, Error> {
        settings.check()?;
        let plan = memory::announce(&gguf::check(path)?, settings)?;
        Self::start(Box::new(llama::LlamaModel::load(path, settings, plan.gpu_layers)?), settings)
    }

    /// Starts the thread of a model that is loaded.
    ///
    /// # Errors
    /// [`Error::Unfit`] when a setting can't work, [`Error::Native`] when the system gives no thread.
    pub fn start(model: Box<dyn Model>, settings: &LocalSettings) -> Result<Self, Error> {
        settings.check()?;
        let vocab = model.vocab();
        let language = Language {
            tokenizer: model.tokenizer(),
            automata: Automata::new(vocab.clone()),
            vocab,
            jump_forward: settings.jump_forward,
        };
        let shared = Arc::new(Shared {
            info: ModelInfo { context: settings.context, ..model.info().clone() },
            language,
            admitted: AtomicUsize::new(0),
            figures: Figures::default(),
        });
        shared.figures.kv_total.store(settings.context, Ordering::Relaxed);
        let (sender, commands) = blocking::channel();
        let mut worker = Worker::new(model, commands, shared.clone(), settings);
        let thread = std::thread::Builder::new()
            .name("engine".into())
            .spawn(move || worker.run())
            .map_err(|error| Error::Native(format!("no thread for the engine: {error}")))?;
        Ok(Self {
            commands: Some(sender),
            queue: settings.queue,
            running: settings.running,
            shared,
            thread: Some(thread),
        })
    }
}

impl Local {
    /// The smallest budget with which each slot of a program always ends whole, in tokens.
    ///
    /// # Errors
    /// [`Error::Program`] when a grammar is malformed or a budget is below it.
    pub fn least_budgets(&self, prompt: &Prompt, program: &Program) -> Result<Vec<usize>, Error> {
        sequence::check(prompt, program, &self.shared.language).map(|needs| needs.least)
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.commands = None; // The thread ends when nobody can send any more.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Backend for Local {
    fn generate(&self, request: Request) -> Result<Generation, Error> {
        let admitted = self.shared.admitted.fetch_add(1, Ordering::AcqRel);
        let place = Place(self.shared.clone());
        if admitted >= self.running + self.queue {
            return Err(Error::Overloaded { queued: self.queue });
        }
        // Room for all that the program can say: the model's thread never waits for a reader.
        let (deltas, receiver) = mpsc::channel(most_deltas(&request.program));
        let command = Command { request, deltas, place };
        let commands = self.commands.as_ref().ok_or(Error::Stopped)?;
        commands.send(command).map_err(|_| Error::Stopped)?;
        Ok(Generation { deltas: receiver })
    }

    fn check(&self, prompt: &Prompt, program: &Program) -> Result<(), Error> {
        let needs = sequence::check(prompt, program, &self.shared.language)?;
        fits(needs.most, self.shared.info.context)
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.shared.language.tokenizer.tokenize(text, false).len()
    }

    fn health(&self) -> Health {
        let figures = &self.shared.figures;
        let running = figures.running.load(Ordering::Relaxed);
        Health {
            running,
            queued: self.shared.admitted.load(Ordering::Acquire).saturating_sub(running),
            kv_used: figures.kv_used.load(Ordering::Relaxed),
            kv_total: figures.kv_total.load(Ordering::Relaxed),
            steps: figures.steps.load(Ordering::Relaxed),
            nan_logits: figures.nan_logits.load(Ordering::Relaxed),
            preemptions: figures.preemptions.load(Ordering::Relaxed),
        }
    }

    fn model(&self) -> &ModelInfo {
        &self.shared.info
    }
}

pub(crate) fn fits(most: usize, context: usize) -> Result<(), Error> {
    if most <= context {
        return Ok(());
    }
    Err(Error::Unfit(format!(
        "an answer may need {most} tokens with its prompt, but engine.context holds {context}; raise it, or lower \
         max_tokens in the catalogue's answer.toml"
    )))
}

/// A text for every token, an end for every slot, the detokenizer's last character, and the end.
fn most_deltas(program: &Program) -> usize {
    let tokens = program.segments().iter().map(|segment| match segment {
        Segment::Fixed(_) => 0,
        Segment::Slot(slot) => slot.max_tokens + 2,
    });
    tokens.sum::<usize>() + 2
}
