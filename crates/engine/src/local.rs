//! The model on its own thread, behind a bounded queue.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc as blocking};
use std::task::{Wake, Waker};
use std::thread::{JoinHandle, Thread};

use crate::admission::Admission;
use crate::constraint::Automata;
use crate::generation;
use crate::memory::{Available, Plan};
use crate::model::Model;
use crate::sequence::{self, Language};
use crate::shared::{Command, Figures, Shared, fits};
use crate::worker::Worker;
use crate::{
    Arrival, Backend, Error, Generation, Health, LocalSettings, ModelInfo, Program, Prompt, Request,
    Reservation, gguf, llama, memory,
};

/// A model in this process.
#[derive(Debug)]
pub struct Local {
    commands: Option<blocking::Sender<Command>>,
    admission: Arc<Admission>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    waker: Waker,
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
        let plan = announce(&gguf::check(path)?, settings)?;
        // What the plan has no room for isn't begun.
        let possible = leafresh_kernels::matmul::is_possible();
        let none = settings.products_of_bytes && possible && plan.host.weights_as_bytes == 0;
        if none && plan.gpu_layers == 0 {
            tracing::info!(
                "our own matmul isn't used: the model has no quantised matrices, or as bytes they take more than {} MiB",
                memory::MOST_AS_BYTES >> 20
            );
        }
        let products_of_bytes = settings.products_of_bytes && !none;
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

/// The plan for this machine as it is now, in the log.
///
/// # Errors
/// Those of [`memory::plan`], and [`Error::Processor`].
fn announce(header: &gguf::Header, settings: &LocalSettings) -> Result<Plan, Error> {
    tracing::info!("instruction sets: {}", llama::instruction_sets()?);
    let plan = memory::plan(header, settings, &Available::here()?)?;
    tracing::info!("memory: {plan}");
    for note in &plan.notes {
        tracing::warn!("{note}");
    }
    Ok(plan)
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
    fn reserve(&self, arrival: &Arrival) -> Result<Reservation, Error> {
        if !self.is_alive() {
            return Err(Error::Stopped);
        }
        self.admission.reserve(arrival)
    }

    fn start(&self, mut reservation: Reservation, request: Request) -> Result<Generation, Error> {
        reservation.bring(request.prompt.bytes())?;
        let (outlet, generation) = generation::channel(
            &request.program,
            self.queued().max(1),
            &reservation.presence,
            self.waker.clone(),
        );
        let commands = self.commands.as_ref().ok_or(Error::Stopped)?;
        commands.send(Command { request, outlet, reservation }).map_err(|_| Error::Stopped)?;
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
            upstreams: Vec::new(),
        }
    }

    fn model(&self) -> &ModelInfo {
        &self.shared.info
    }
}
