//! The model on its own thread, behind a bounded queue.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc as blocking};
use std::thread::JoinHandle;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::constraint::Automata;
use crate::model::{Entry, Model, SeqId};
use crate::prefix_cache::{PrefixCache, common_prefix};
use crate::sampler::Scratch;
use crate::scheduler::{Id, Limits, Run, Scheduler};
use crate::sequence::{self, Language, Sequence, Status};
use crate::{Backend, Delta, Error, Generation, Health, ModelInfo, Program, Request, Segment, llama};

/// How the local engine uses the machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LocalSettings {
    /// Threads that compute. None: one less than the cores where there are more than two, else all.
    pub threads: Option<usize>,
    /// Tokens that the KV cache holds for all requests together.
    pub context: usize,
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
    /// Layers on the GPU. None: all that there is a GPU for.
    pub gpu_layers: Option<usize>,
}

impl Default for LocalSettings {
    fn default() -> Self {
        Self {
            threads: None,
            context: 16_384,
            running: 16,
            queue: 64,
            step_tokens: 512,
            prefill_tokens: 64,
            jump_forward: true,
            gpu_layers: None,
        }
    }
}

impl LocalSettings {
    pub(crate) fn thread_count(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        self.threads.unwrap_or(if cores > 2 { cores - 1 } else { cores }).max(1)
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

struct Shared {
    info: ModelInfo,
    language: Language,
    /// Requests that were accepted and haven't ended: what bounds the channel.
    admitted: AtomicUsize,
    figures: Figures,
}

#[derive(Default)]
struct Figures {
    running: AtomicUsize,
    kv_used: AtomicUsize,
    kv_total: AtomicUsize,
    steps: AtomicU64,
    nan_logits: AtomicU64,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("info", &self.info).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Command {
    request: Request,
    deltas: mpsc::Sender<Delta>,
    place: Place,
}

/// A request's place among the admitted: given back wherever the request ends.
#[derive(Debug)]
struct Place(Arc<Shared>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.admitted.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Local {
    /// Loads a GGUF file and starts its thread. Takes seconds: call it where blocking is allowed.
    ///
    /// # Errors
    /// [`Error::ModelFile`] when the file can't be used, [`Error::Native`] when llama.cpp refuses it.
    pub fn load(path: &Path, settings: &LocalSettings) -> Result<Self, Error> {
        Self::start(Box::new(llama::LlamaModel::load(path, settings)?), settings)
    }

    /// Starts the thread of a model that is loaded.
    ///
    /// # Errors
    /// [`Error::Native`] when the system gives no thread.
    pub fn start(model: Box<dyn Model>, settings: &LocalSettings) -> Result<Self, Error> {
        let vocab = model.vocab();
        let language = Language {
            tokenizer: model.tokenizer(),
            automata: Automata::new(vocab.clone()),
            vocab,
            jump_forward: settings.jump_forward,
        };
        let shared = Arc::new(Shared {
            info: model.info().clone(),
            language,
            admitted: AtomicUsize::new(0),
            figures: Figures::default(),
        });
        shared.figures.kv_total.store(settings.context, Ordering::Relaxed);
        let (sender, commands) = blocking::channel();
        let mut engine = Engine {
            model,
            commands,
            shared: shared.clone(),
            scheduler: Scheduler::new(Limits {
                running: settings.running,
                step_tokens: settings.step_tokens,
                prefill_tokens: settings.prefill_tokens,
            }),
            cache: PrefixCache::new(settings.rows(), settings.context),
            requests: BTreeMap::new(),
            next_id: 0,
            plan: Vec::new(),
            held: Vec::new(),
            batch: Vec::new(),
            scratch: Scratch::default(),
            deltas: Vec::new(),
        };
        let thread = std::thread::Builder::new()
            .name("engine".into())
            .spawn(move || engine.run())
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

    fn check(&self, program: &Program) -> Result<(), Error> {
        sequence::check(program, &self.shared.language)
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
        }
    }

    fn model(&self) -> &ModelInfo {
        &self.shared.info
    }
}

/// A text for every token, an end for every slot, the detokenizer's last character, and the end.
fn most_deltas(program: &Program) -> usize {
    let tokens = program.segments().iter().map(|segment| match segment {
        Segment::Fixed(_) => 0,
        Segment::Slot(slot) => slot.max_tokens + 2,
    });
    tokens.sum::<usize>() + 2
}

/// Tokens that must be saved for a prompt to wait until a neighbour has decoded them.
const WORTH_WAITING: usize = 16;

/// What the thread owns.
struct Engine {
    model: Box<dyn Model>,
    commands: blocking::Receiver<Command>,
    shared: Arc<Shared>,
    scheduler: Scheduler,
    cache: PrefixCache,
    requests: BTreeMap<Id, Active>,
    next_id: Id,
    // Kept between steps, so that a step allocates little.
    plan: Vec<Run>,
    held: Vec<Id>,
    batch: Vec<Entry>,
    scratch: Scratch,
    deltas: Vec<Delta>,
}

struct Active {
    sequence: Sequence,
    deltas: mpsc::Sender<Delta>,
    /// The most tokens it can come to hold: what admission reserves.
    most: usize,
    /// Its row in the KV cache while it runs.
    row: Option<SeqId>,
    _place: Place,
}

impl Engine {
    fn run(&mut self) {
        loop {
            if self.requests.is_empty() {
                self.publish();
                match self.commands.recv() {
                    Ok(command) => self.accept(command),
                    Err(_) => return,
                }
            }
            loop {
                match self.commands.try_recv() {
                    Ok(command) => self.accept(command),
                    Err(blocking::TryRecvError::Empty) => break,
                    Err(blocking::TryRecvError::Disconnected) => return,
                }
            }
            self.forget_the_left();
            self.admit();
            self.publish();
            self.step();
        }
    }

    /// A new request: tokenised, checked, put in line.
    fn accept(&mut self, command: Command) {
        let Command { request, deltas, place } = command;
        if deltas.is_closed() {
            return;
        }
        self.deltas.clear();
        match Sequence::new(request, &self.shared.language, &mut self.deltas) {
            Ok((sequence, status)) => {
                send(&deltas, &mut self.deltas);
                if status == Status::Finished {
                    return;
                }
                let most = sequence.most_tokens(&self.shared.language);
                if most > self.cache.total_cells() {
                    let text = format!(
                        "the request may need {most} tokens, but engine.context holds {}",
                        self.cache.total_cells()
                    );
                    let _ = deltas.try_send(Delta::Failed(Error::Unfit(text)));
                    return;
                }
                let id = self.next_id;
                self.next_id += 1;
                self.requests.insert(id, Active { sequence, deltas, most, row: None, _place: place });
                self.scheduler.enqueue(id);
            }
            Err(error) => {
                let _ = deltas.try_send(Delta::Failed(error));
            }
        }
    }

    /// Requests whose reader has dropped the generation end here, before anything is computed for them.
    fn forget_the_left(&mut self) {
        let left: Vec<Id> =
            self.requests.iter().filter(|(_, active)| active.deltas.is_closed()).map(|(&id, _)| id).collect();
        for id in left {
            self.end(id);
        }
    }

    fn end(&mut self, id: Id) {
        self.scheduler.remove(id);
        if let Some(active) = self.requests.remove(&id)
            && let Some(row) = active.row
        {
            self.cache.release(row);
        }
    }

    /// Starts waiting requests while rows and cells allow: all that the running ones may still write is reserved, so
    /// that the cache can't run full in the middle of an answer.
    fn admit(&mut self) {
        while let Some(id) = self.scheduler.next_waiting() {
            let Some(active) = self.requests.get(&id) else {
                self.scheduler.remove(id);
                continue;
            };
            let growth: usize = self
                .scheduler
                .running()
                .filter_map(|id| self.requests.get(&id))
                .map(|active| active.most - active.sequence.cached)
                .sum();
            // What it may share from an idle row counts in full: the row is then held by this request.
            if self.cache.running_cells() + growth + active.most > self.cache.total_cells() {
                return;
            }
            let Some(claim) = self.cache.claim(active.sequence.tokens()) else {
                return;
            };
            for &row in &claim.evicted {
                self.model.truncate(row, 0);
            }
            if let Some((from, len)) = claim.shared {
                if from == claim.row {
                    self.model.truncate(from, len);
                } else {
                    self.model.share(from, claim.row, len);
                }
            }
            if let Some(active) = self.requests.get_mut(&id) {
                active.row = Some(claim.row);
                active.sequence.found_cached(claim.shared.map_or(0, |(_, len)| len));
            }
            self.scheduler.admit();
        }
    }

    /// Plan, decode, sample.
    fn step(&mut self) {
        self.share_what_neighbours_have();
        let (requests, held) = (&self.requests, &self.held);
        let pending = |id| match requests.get(&id) {
            Some(active) if !held.contains(&id) => active.sequence.pending().len(),
            _ => 0,
        };
        self.scheduler.plan(pending, &mut self.plan);
        let plan = std::mem::take(&mut self.plan);
        self.fill_batch(&plan);
        if self.batch.is_empty() {
            self.plan = plan;
            return;
        }
        match self.cache.make_room(self.batch.len()) {
            Some(evicted) => evicted.into_iter().for_each(|row| self.model.truncate(row, 0)),
            None => return self.fail(&plan, &Error::Native("the KV cache is full".into())),
        }
        let decoded = self.model.decode(&self.batch);
        self.shared.figures.steps.fetch_add(1, Ordering::Relaxed);
        match decoded {
            Ok(()) => self.read_out(&plan),
            Err(error) => self.fail(&plan, &error),
        }
        self.plan = plan;
    }

    /// Takes over what other requests have meanwhile decoded of the same prompt, and holds back prompts whose beginning
    /// an earlier one is about to decode, so that it is computed once however many come at the same time.
    fn share_what_neighbours_have(&mut self) {
        self.held.clear();
        let prefilling: Vec<Id> = self.scheduler.prefilling().collect();
        for (index, &id) in prefilling.iter().enumerate() {
            let Some(active) = self.requests.get_mut(&id) else { continue };
            let Some(row) = active.row else { continue };
            if let Some((from, len)) = self.cache.improve(row, active.sequence.tokens()) {
                self.model.truncate(row, 0);
                self.model.share(from, row, len);
                active.sequence.found_cached(len);
            }
            let (cached, tokens) = (self.requests[&id].sequence.cached, self.requests[&id].sequence.tokens());
            let worth_waiting =
                prefilling[..index].iter().filter(|earlier| !self.held.contains(earlier)).any(|earlier| {
                    common_prefix(self.requests[earlier].sequence.tokens(), tokens) >= cached + WORTH_WAITING
                });
            if worth_waiting {
                self.held.push(id);
            }
        }
    }

    fn fill_batch(&mut self, plan: &[Run]) {
        self.batch.clear();
        for run in plan {
            let Some(active) = self.requests.get(&run.id) else {
                continue;
            };
            let Some(sequence) = active.row else { continue };
            let start = active.sequence.cached;
            for (offset, &token) in active.sequence.pending()[..run.tokens].iter().enumerate() {
                let logits = run.complete && offset + 1 == run.tokens;
                self.batch.push(Entry { token, position: start + offset, sequence, logits });
            }
        }
    }

    /// Notes what the cache holds now, samples where a run is complete, and sends what was written.
    fn read_out(&mut self, plan: &[Run]) {
        let mut last = 0;
        for run in plan {
            let Some(active) = self.requests.get_mut(&run.id) else {
                continue;
            };
            let Some(row) = active.row else { continue };
            self.cache.extend(row, &active.sequence.pending()[..run.tokens]);
            active.sequence.cached += run.tokens;
            last += run.tokens;
            if !run.complete {
                continue;
            }
            self.deltas.clear();
            let logits = self.model.logits(last - 1);
            let status =
                active.sequence.sample(logits, &self.shared.language, &mut self.scratch, &mut self.deltas);
            self.shared.figures.nan_logits.fetch_add(active.sequence.take_nan(), Ordering::Relaxed);
            let finished = match status {
                Ok(status) => status == Status::Finished,
                Err(error) => {
                    self.deltas.push(Delta::Failed(error));
                    true
                }
            };
            send(&active.deltas, &mut self.deltas);
            if finished {
                self.end(run.id);
            }
        }
    }

    /// The batch failed: its requests end, and their rows are emptied, since nobody knows what they hold.
    fn fail(&mut self, plan: &[Run], error: &Error) {
        tracing::error!(%error, requests = plan.len(), "a batch failed");
        for run in plan {
            if let Some(active) = self.requests.get(&run.id) {
                let _ = active.deltas.try_send(Delta::Failed(error.clone()));
                if let Some(row) = active.row {
                    self.cache.truncate(row, 0);
                    self.model.truncate(row, 0);
                }
            }
            self.end(run.id);
        }
    }

    fn publish(&self) {
        let figures = &self.shared.figures;
        figures.running.store(self.scheduler.running().count(), Ordering::Relaxed);
        figures.kv_used.store(self.cache.running_cells(), Ordering::Relaxed);
    }
}

/// The channel has room for all that a program can say, so this fails only when the reader is gone.
fn send(sender: &mpsc::Sender<Delta>, deltas: &mut Vec<Delta>) {
    for delta in deltas.drain(..) {
        let _ = sender.try_send(delta);
    }
}
