//! The model's thread: schedule, decode, sample, over and over.

mod active;
mod adapters;
mod faults;
mod readers;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc as blocking};

use active::Active;
use adapters::Turns;
pub(crate) use faults::guarded;

use crate::model::{Candidates, Entry, Model, SeqId};
use crate::prefix_cache::{Claim, PrefixCache, common_prefix};
use crate::sampler::Scratch;
use crate::scheduler::{Id, Limits, Run, Scheduler};
use crate::sequence::Status;
use crate::settings::LocalSettings;
use crate::shared::{Command, Shared};
use crate::{Delta, Error};

/// Tokens that must be saved for a prompt to wait until a neighbour has decoded them.
const WORTH_WAITING: usize = 16;

/// Cells that must be free beyond a request's pending tokens for it to start.
const ADMISSION_MARGIN: usize = 64;

/// What the thread owns.
pub(crate) struct Worker {
    model: Box<dyn Model>,
    commands: blocking::Receiver<Command>,
    shared: Arc<Shared>,
    scheduler: Scheduler,
    cache: PrefixCache,
    requests: BTreeMap<Id, Active>,
    next_id: Id,
    cached_tokens: usize,
    turns: Turns,
    adapters_in_memory: usize,
    // Kept between steps, so that a step allocates little.
    plan: Vec<Run>,
    held: Vec<Id>,
    batch: Vec<Entry>,
    candidates: Vec<Candidates>,
    scratch: Scratch,
    deltas: Vec<Delta>,
    /// Whether somebody's place in the queue may have changed.
    queue_moved: bool,
}

impl Worker {
    pub(crate) fn new(
        model: Box<dyn Model>,
        commands: blocking::Receiver<Command>,
        shared: Arc<Shared>,
        settings: &LocalSettings,
    ) -> Self {
        let limits = Limits {
            running: settings.running,
            step_tokens: settings.step_tokens,
            prefill_tokens: settings.prefill_tokens,
        };
        let shares = model.keeps_every_position();
        let cache = PrefixCache::new(settings.rows(), settings.context);
        Self {
            model,
            commands,
            shared,
            scheduler: Scheduler::new(limits),
            cache: if shares { cache } else { cache.without_sharing() },
            requests: BTreeMap::new(),
            next_id: 0,
            // What can't be shared isn't kept.
            cached_tokens: if shares { settings.cached_tokens } else { 0 },
            turns: Turns::default(),
            adapters_in_memory: settings.adapters_in_memory,
            plan: Vec::new(),
            held: Vec::new(),
            batch: Vec::new(),
            candidates: Vec::new(),
            scratch: Scratch::default(),
            deltas: Vec::new(),
            queue_moved: false,
        }
    }

    /// Until nobody can send a request any more.
    pub(crate) fn run(&mut self) {
        while self.listen() {
            self.follow_the_readers();
            self.admit();
            self.publish();
            if self.scheduler.is_idle() {
                // Whoever has something for this thread unparks it afterwards.
                std::thread::park();
            } else {
                self.step();
            }
        }
    }

    /// Takes what has come. `false`: the engine stops.
    fn listen(&mut self) -> bool {
        loop {
            match self.commands.try_recv() {
                Ok(command) => self.accept(command),
                Err(blocking::TryRecvError::Empty) => return true,
                Err(blocking::TryRecvError::Disconnected) => return false,
            }
        }
    }

    /// A new request: tokenised, checked, put in line.
    fn accept(&mut self, command: Command) {
        if command.outlet.is_closed() {
            return;
        }
        if let Some(active) = self.begin(command) {
            let id = self.next_id;
            self.next_id += 1;
            self.wait(id, &active);
            self.requests.insert(id, active);
        }
    }

    fn wait(&mut self, id: Id, active: &Active) {
        if active.has_run {
            self.scheduler.requeue(id);
        } else {
            self.scheduler.enqueue(id, active.reservation.client);
        }
        self.queue_moved = true;
    }

    fn end(&mut self, id: Id) {
        self.withdraw(id);
        self.requests.remove(&id);
    }

    /// Takes a request out of the batch or the queue. What its row holds stays until others want the cells.
    fn withdraw(&mut self, id: Id) {
        self.scheduler.remove(id);
        self.queue_moved = true;
        if let Some(active) = self.requests.get_mut(&id) {
            active.sequence.cached = 0;
            if let Some(row) = active.row.take() {
                self.release(row);
            }
        }
    }

    fn release(&mut self, row: SeqId) {
        let Self { cache, model, .. } = self;
        cache.release(row, self.cached_tokens, |row| model.clear(row));
    }

    /// Starts waiting requests while rows and cells allow. Most answers end long before their budgets do, so only what
    /// is pending, with a margin, must fit; when the cache runs full all the same, [`Worker::preempt`] makes room. A
    /// request that was preempted as often as allowed gets all that it may come to hold, and keeps it.
    fn admit(&mut self) {
        while let Some(id) = self.scheduler.next_waiting(|id| self.company(id)) {
            let Some(active) = self.requests.get(&id) else {
                self.scheduler.remove(id);
                continue;
            };
            let running = self.scheduler.running().filter_map(|id| self.requests.get(&id));
            let reserved: usize = running
                .filter(|active| active.is_protected())
                .map(|active| active.most - active.sequence.cached)
                .sum();
            let wanted = if active.is_protected() {
                active.most
            } else {
                active.most.min(active.sequence.tokens().len() + ADMISSION_MARGIN)
            };
            // What it may share from an idle row counts in full: the row is then held by this request.
            if self.cache.running_cells() + reserved + wanted > self.cache.total_cells() {
                return;
            }
            let Some(claim) = self.cache.claim(active.adapter, active.sequence.tokens()) else {
                return;
            };
            for &row in &claim.evicted {
                self.model.clear(row);
            }
            let cached = self.take_over(&claim);
            if let Some(active) = self.requests.get_mut(&id) {
                let figures = &self.shared.figures;
                let asked_for = active.sequence.tokens().len();
                figures.prefix_queries.fetch_add(asked_for as u64, Ordering::Relaxed);
                figures.prefix_hits.fetch_add(cached as u64, Ordering::Relaxed);
                active.run(claim.row, cached);
            }
            self.scheduler.admit(id);
            self.queue_moved = true;
        }
    }

    /// Has the model's row begin with what the claim shares; says how many tokens that are.
    fn take_over(&mut self, claim: &Claim) -> usize {
        match claim.shared {
            None => 0,
            Some((from, len)) if from != claim.row => {
                self.model.share(from, claim.row, len);
                len
            }
            Some((row, len)) if self.model.truncate(row, len) => len,
            // It is computed anew.
            Some((row, _)) => {
                tracing::warn!(row, "the model can't forget a part of a row; all of it is computed again");
                self.cache.truncate(row, 0);
                self.model.clear(row);
                0
            }
        }
    }

    /// Takes the row of the latest request that may still be preempted, and lets it wait for its turn again. Its text
    /// stays; when it comes back what the cache has lost is computed anew.
    fn preempt(&mut self) -> bool {
        // The only one that runs has room: `most` fits the cache.
        if self.scheduler.running().count() < 2 {
            return false;
        }
        let unprotected = |id: &Id| self.requests.get(id).is_some_and(|active| !active.is_protected());
        let Some(latest) = self.scheduler.running().filter(unprotected).max() else {
            return false;
        };
        self.withdraw(latest);
        self.scheduler.requeue(latest);
        if let Some(active) = self.requests.get_mut(&latest) {
            active.preempted += 1;
        }
        self.shared.figures.preemptions.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Plan, decode, sample.
    fn step(&mut self) {
        self.share_what_neighbours_have();
        let Some(adapter) = self.take_turn() else { return };
        let (requests, held) = (&self.requests, &self.held);
        let pending = |id| match requests.get(&id) {
            Some(active) if active.adapter == adapter && !held.contains(&id) => {
                active.sequence.pending().len()
            }
            _ => 0,
        };
        self.scheduler.plan(pending, &mut self.plan);
        let plan = std::mem::take(&mut self.plan);
        self.fill_batch(&plan);
        if self.batch.is_empty() {
            self.plan = plan;
            return;
        }
        let Self { cache, model, batch, .. } = self;
        if !cache.make_room(batch.len(), |row| model.clear(row)) {
            self.make_cells(&plan);
            self.plan = plan;
            return; // And again, with what is left.
        }
        let decoded = self.model.adapt(adapter).and_then(|()| self.model.decode(&self.batch));
        self.shared.figures.steps.fetch_add(1, Ordering::Relaxed);
        match decoded {
            Ok(()) => self.read_out(&plan),
            Err(Error::CacheFull) => self.make_cells(&plan),
            Err(error) => self.retry_all(&plan, &error),
        }
        self.plan = plan;
    }

    /// Takes over what other requests have meanwhile decoded of the same prompt, and holds back prompts whose beginning
    /// an earlier one is about to decode, so that it is computed once however many come at the same time.
    fn share_what_neighbours_have(&mut self) {
        self.held.clear();
        if !self.model.keeps_every_position() {
            return;
        }
        let prefilling: Vec<Id> = self.scheduler.prefilling().collect();
        for (index, &id) in prefilling.iter().enumerate() {
            let Some(active) = self.requests.get_mut(&id) else { continue };
            let Some(row) = active.row else { continue };
            let adapter = active.adapter;
            if let Some((from, len)) = self.cache.improve(row, active.sequence.tokens()) {
                self.model.clear(row);
                self.model.share(from, row, len);
                let more = len.saturating_sub(active.sequence.cached);
                self.shared.figures.prefix_hits.fetch_add(more as u64, Ordering::Relaxed);
                active.sequence.found_cached(len);
            }
            let (cached, tokens) = (self.requests[&id].sequence.cached, self.requests[&id].sequence.tokens());
            let earlier = prefilling[..index].iter().filter(|earlier| !self.held.contains(earlier));
            let worth_waiting = earlier.map(|earlier| &self.requests[earlier]).any(|earlier| {
                earlier.adapter == adapter
                    && common_prefix(earlier.sequence.tokens(), tokens) >= cached + WORTH_WAITING
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

    /// Draws where a run is complete, and sends what was written.
    fn read_out(&mut self, plan: &[Run]) {
        let wanted = self.note_cached(plan);
        faults::score(&mut *self.model, &mut self.candidates[..wanted]);
        let mut scored = std::mem::take(&mut self.candidates);
        let mut candidates = scored.iter();
        for run in plan.iter().filter(|run| run.complete) {
            let Some(active) = self.requests.get_mut(&run.id) else {
                continue;
            };
            if active.row.is_none() {
                continue;
            }
            let Some(candidates) = candidates.next() else { break };
            self.deltas.clear();
            let Self { shared, scratch, deltas, .. } = self;
            let status = active.sample(candidates, &shared.language, scratch, deltas);
            shared.figures.nan_logits.fetch_add(active.sequence.take_nan(), Ordering::Relaxed);
            let (read, written) = active.sequence.take_tokens();
            shared.figures.prompt_tokens.fetch_add(read, Ordering::Relaxed);
            shared.figures.generation_tokens.fetch_add(written, Ordering::Relaxed);
            match status {
                Ok(status) => {
                    active.send(&mut self.deltas);
                    if status == Status::Finished {
                        self.end(run.id);
                    }
                }
                Err(error) => self.retry(run.id, error),
            }
        }
        self.candidates = std::mem::take(&mut scored);
    }

    /// Notes what the cache holds now, and gathers in `candidates` what is to be drawn from; says how many there are.
    fn note_cached(&mut self, plan: &[Run]) -> usize {
        let (mut last, mut wanted) = (0, 0);
        for run in plan {
            let Some(active) = self.requests.get_mut(&run.id) else {
                continue;
            };
            let Some(row) = active.row else { continue };
            self.cache.extend(row, &active.sequence.pending()[..run.tokens]);
            active.sequence.cached += run.tokens;
            last += run.tokens;
            if run.complete {
                if self.candidates.len() == wanted {
                    self.candidates.push(Candidates::default());
                }
                let candidates = &mut self.candidates[wanted];
                candidates.entry = last - 1;
                active.sequence.wanted(candidates);
                wanted += 1;
            }
        }
        wanted
    }

    fn publish(&mut self) {
        if std::mem::take(&mut self.queue_moved) {
            self.tell_positions();
        }
        let figures = &self.shared.figures;
        figures.running.store(self.scheduler.running().count(), Ordering::Relaxed);
        figures.kv_used.store(self.cache.running_cells(), Ordering::Relaxed);
    }
}
