//! The model on its own thread, behind a bounded queue.

use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc as blocking};
use std::task::{Wake, Waker};
use std::thread::{JoinHandle, Thread};

use serde::{Deserialize, Serialize};

use crate::admission::Admission;
use crate::constraint::Automata;
use crate::generation::{self, Outlet};
use crate::model::Model;
use crate::sequence::{self, Language};
use crate::worker::Worker;
use crate::{
    Arrival, Backend, Error, Generation, Health, ModelInfo, Place, Program, Prompt, Request, gguf, llama,
    memory,
};

/// Bytes of a prompt that must find room in an empty queue: what some thousand tokens come to.
const LONG_PROMPT: usize = 64 << 10;

/// How the local engine uses the machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key that stands for itself")]
pub struct LocalSettings {
    /// Whether the server computes in a process of its own ([`crate::Process`]). [`Local`] itself never does.
    pub process: bool,
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
    /// Bytes of the prompts of those that wait; what would make it more is refused.
    pub queue_bytes: usize,
    /// Tokens in one batch at most.
    pub step_tokens: usize,
    /// Tokens that prompts may add to a batch while others are writing.
    pub prefill_tokens: usize,
    /// Feed forced text as a run instead of token by token.
    pub jump_forward: bool,
    /// Compute the logits of the tokens that a slot allows instead of all. Off is only for comparing.
    pub head_for_candidates: bool,
    /// Attention by our own kernel, over the cells that a row sees. On the processor, with keys and values in half precision.
    pub attention_over_own_cells: bool,
    /// Products by our own kernel, where the processor has AVX-512 VNNI. Weights are held once more for it, as bytes.
    pub products_of_bytes: bool,
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
            process: true,
            threads: None,
            context: 16_384,
            cached_tokens: 2048,
            running: 8,
            queue: 64,
            queue_bytes: 4 << 20,
            step_tokens: 512,
            prefill_tokens: 64,
            jump_forward: true,
            head_for_candidates: true,
            attention_over_own_cells: true,
            products_of_bytes: true,
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
    pub(crate) fn check(&self) -> Result<(), Error> {
        let least = [
            ("running", self.running, 1),
            ("context", self.context, 1),
            ("prefill_tokens", self.prefill_tokens, 1),
            ("queue_bytes", self.queue_bytes, LONG_PROMPT),
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
    admission: Arc<Admission>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    waker: Waker,
}

pub(crate) struct Shared {
    info: ModelInfo,
    pub(crate) language: Language,
    pub(crate) figures: Figures,
}

/// What the thread counts and others read.
#[derive(Default)]
pub(crate) struct Figures {
    pub(crate) running: AtomicUsize,
    pub(crate) parked: AtomicUsize,
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

/// A request that was let in. Each holds its place, so that the channel it comes through is bounded.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) request: Request,
    pub(crate) outlet: Outlet,
    pub(crate) place: Place,
}

/// Wakes the model's thread when it has nothing to do.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
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
        // What the plan has no room for isn't begun.
        let products_of_bytes = plan.host.weights_as_bytes > 0;
        let loading = LocalSettings { products_of_bytes, ..settings.clone() };
        Self::start(Box::new(llama::LlamaModel::load(path, &loading, plan.gpu_layers)?), settings)
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
            figures: Figures::default(),
        });
        shared.figures.kv_total.store(settings.context, Ordering::Relaxed);
        let (sender, commands) = blocking::channel();
        let mut worker = Worker::new(model, commands, shared.clone(), settings);
        let thread = std::thread::Builder::new()
            .name("engine".into())
            .spawn(move || worker.run())
            .map_err(|error| Error::Native(format!("no thread for the engine: {error}")))?;
        let waker = Waker::from(Arc::new(Unpark(thread.thread().clone())));
        let admission = Admission::new(settings.running, settings.queue, settings.queue_bytes);
        Ok(Self { commands: Some(sender), admission, shared, thread: Some(thread), waker })
    }

    fn queued(&self) -> usize {
        let running = self.shared.figures.running.load(Ordering::Relaxed);
        self.admission.requests().saturating_sub(running)
    }

    /// The thread ends when it is told to, or by a panic.
    fn is_alive(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
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
        self.waker.wake_by_ref();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Backend for Local {
    fn reserve(&self, arrival: &Arrival) -> Result<Place, Error> {
        if !self.is_alive() {
            return Err(Error::Stopped);
        }
        self.admission.reserve(arrival)
    }

    fn start(&self, mut place: Place, request: Request) -> Result<Generation, Error> {
        place.bring(request.prompt.bytes())?;
        let (outlet, generation) =
            generation::channel(&request.program, self.queued().max(1), &place.presence, self.waker.clone());
        let commands = self.commands.as_ref().ok_or(Error::Stopped)?;
        commands.send(Command { request, outlet, place }).map_err(|_| Error::Stopped)?;
        self.waker.wake_by_ref();
        Ok(generation)
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
        Health {
            ready: self.is_alive(),
            running: figures.running.load(Ordering::Relaxed),
            queued: self.queued(),
            parked: figures.parked.load(Ordering::Relaxed),
            kv_used: figures.kv_used.load(Ordering::Relaxed),
            kv_total: figures.kv_total.load(Ordering::Relaxed),
            steps: figures.steps.load(Ordering::Relaxed),
            nan_logits: figures.nan_logits.load(Ordering::Relaxed),
            preemptions: figures.preemptions.load(Ordering::Relaxed),
            restarts: 0,
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
