//! Who runs in the next batch. Pure bookkeeping: no clock, no device, no text.

mod queue;

use std::collections::BTreeMap;

pub use queue::Queue;

/// A request, from its arrival to its end; a later one has a greater number.
pub(crate) type Id = u64;

/// Whose requests they are.
pub(crate) type Client = u64;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Sequences in a batch at most.
    pub(crate) running: usize,
    /// Tokens in a batch at most.
    pub(crate) step_tokens: usize,
    /// Tokens that prompts may add to a batch in which others are writing, so that these don't stall.
    pub(crate) prefill_tokens: usize,
}

/// How a request that waits would get on with those that run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Company {
    /// Its tokens can be in the same batches as some of theirs, or nobody runs.
    Joins,
    /// It needs batches of its own.
    Fits,
    /// What it needs can't be in memory together with what they need.
    HasNoRoom,
}

/// So many requests may start before one that was there first.
const MOST_OVERTAKES: usize = 16;

/// Among so many of those that wait somebody who joins is looked for.
const LOOKED_AT: usize = 64;

/// A part of a sequence's pending tokens for one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) id: Id,
    pub(crate) tokens: usize,
    /// It comes to the end of the pending tokens: the next one is to be sampled.
    pub(crate) complete: bool,
}

#[derive(Debug)]
pub(crate) struct Scheduler {
    limits: Limits,
    waiting: Queue,
    /// How often each of those that wait has been overtaken, if it has.
    overtaken: BTreeMap<Id, usize>,
    /// In the order of admission.
    running: Vec<Running>,
    /// Tokens that long prompts may add to the next batch in which others write.
    credit: usize,
    /// The last batch held short prompts only: those who write come next.
    prompts_went_first: bool,
}

#[derive(Debug)]
struct Running {
    id: Id,
    /// The prompt is decoded: it writes.
    writing: bool,
}

impl Scheduler {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            waiting: Queue::default(),
            overtaken: BTreeMap::new(),
            running: Vec::new(),
            credit: limits.prefill_tokens,
            prompts_went_first: false,
        }
    }

    /// A request that hasn't run yet waits for its client's turn.
    pub(crate) fn enqueue(&mut self, id: Id, client: Client) {
        self.waiting.push(id, client);
    }

    /// A request that has run waits again, before all that haven't.
    pub(crate) fn requeue(&mut self, id: Id) {
        self.remove(id);
        self.waiting.push_returning(id);
    }

    /// The request that may start next, if there is room for one: the first that waits and fits beside those that run, or
    /// one behind it that joins them. A batch is computed with one adapter, so those who join cost little and others much;
    /// but nobody is overtaken more than [`MOST_OVERTAKES`] times.
    pub(crate) fn next_waiting(&self, company: impl Fn(Id) -> Company) -> Option<Id> {
        if self.running.len() >= self.limits.running {
            return None;
        }
        let mut first = None;
        for id in self.waiting.order().take(LOOKED_AT) {
            match company(id) {
                Company::Joins => return Some(id),
                Company::Fits if first.is_none() => first = Some(id),
                Company::Fits | Company::HasNoRoom => {}
            }
            if self.overtaken.get(&id).is_some_and(|&times| times >= MOST_OVERTAKES) {
                break;
            }
        }
        first
    }

    /// Starts what [`Scheduler::next_waiting`] named.
    pub(crate) fn admit(&mut self, id: Id) {
        for passed in self.waiting.order().take_while(|&other| other != id) {
            *self.overtaken.entry(passed).or_default() += 1;
        }
        self.overtaken.remove(&id);
        if self.waiting.take(id) {
            self.running.push(Running { id, writing: false });
        }
    }

    /// It has ended, or is parked.
    pub(crate) fn remove(&mut self, id: Id) {
        self.waiting.remove(id);
        self.overtaken.remove(&id);
        self.running.retain(|running| running.id != id);
    }

    /// Nobody runs and nobody waits.
    pub(crate) fn is_idle(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty()
    }

    /// Those that wait, in the order in which they will be taken as things are.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = Id> {
        self.waiting.order()
    }

    pub(crate) fn running(&self) -> impl Iterator<Item = Id> {
        self.running.iter().map(|running| running.id)
    }

    /// Running requests whose prompt isn't decoded yet.
    pub(crate) fn prefilling(&self) -> impl Iterator<Item = Id> {
        self.running.iter().filter(|running| !running.writing).map(|running| running.id)
    }

    /// One batch: a run of every sequence that writes, then prompts in the order of arrival, as far as the limits go.
    /// `pending` says how many tokens of a sequence are to be decoded; one with none is left out.
    ///
    /// Short prompts have every other batch for themselves: decoded together with the others they would take as long in
    /// all, but their first words would come later by the time that the others' tokens take.
    pub(crate) fn plan(&mut self, pending: impl Fn(Id) -> usize, plan: &mut Vec<Run>) {
        plan.clear();
        let mut budget = self.limits.step_tokens;
        self.prompts_went_first = !self.prompts_went_first && self.plan_short_prompts(&pending, plan);
        if self.prompts_went_first {
            return;
        }
        for running in self.running.iter().filter(|running| running.writing) {
            push(plan, running.id, pending(running.id), &mut budget);
        }
        let writing = plan.len();
        let mut prefill = if writing == 0 { budget } else { budget.min(self.limits.prefill_tokens) };
        // A long prompt adds about as much to each batch as those who write, so that a batch takes at most twice its time;
        // a short one is over in a batch or two and comes at once.
        let earned = writing.max(self.limits.prefill_tokens.div_ceil(16));
        self.credit = (self.credit + earned).min(self.limits.prefill_tokens);
        for running in self.running.iter_mut().filter(|running| !running.writing) {
            let pending = pending(running.id);
            let long = writing > 0 && pending > self.limits.prefill_tokens;
            let granted = if long { prefill.min(self.credit) } else { prefill };
            let mut left = granted;
            running.writing = push(plan, running.id, pending, &mut left);
            prefill -= granted - left;
            if long {
                self.credit -= granted - left;
            }
        }
    }

    /// The prompts that fit whole into what prompts may add to a batch, when others write. Says whether there are any.
    fn plan_short_prompts(&mut self, pending: impl Fn(Id) -> usize, plan: &mut Vec<Run>) -> bool {
        if !self.running.iter().any(|running| running.writing && pending(running.id) > 0) {
            return false;
        }
        let mut budget = self.limits.prefill_tokens.min(self.limits.step_tokens);
        for running in self.running.iter_mut().filter(|running| !running.writing) {
            if pending(running.id) <= budget {
                running.writing = push(plan, running.id, pending(running.id), &mut budget);
            }
        }
        !plan.is_empty()
    }
}

/// Adds as much of a sequence as the budget allows and says whether that was all of it.
fn push(plan: &mut Vec<Run>, id: Id, pending: usize, budget: &mut usize) -> bool {
    let tokens = pending.min(*budget);
    *budget -= tokens;
    let complete = tokens > 0 && tokens == pending;
    if tokens > 0 {
        plan.push(Run { id, tokens, complete });
    }
    complete
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const LIMITS: Limits = Limits { running: 3, step_tokens: 16, prefill_tokens: 4 };

    impl Scheduler {
        /// Starts whoever is next, all of one adapter.
        fn start(&mut self) -> bool {
            let next = self.next_waiting(|_| Company::Joins);
            next.is_some_and(|id| {
                self.admit(id);
                true
            })
        }
    }

    fn plan(scheduler: &mut Scheduler, pending: &BTreeMap<Id, usize>) -> Vec<Run> {
        let mut plan = Vec::new();
        scheduler.plan(|id| pending[&id], &mut plan);
        plan
    }

    /// Two kinds in memory at most, of four. One that leaves makes room for whoever is next.
    fn company(kinds: &[usize], running: &[Id], id: Id) -> Company {
        let kind = |id: Id| kinds[id as usize];
        let mut present: Vec<usize> = running.iter().map(|&id| kind(id)).collect();
        present.sort_unstable();
        present.dedup();
        if present.is_empty() || present.contains(&kind(id)) {
            Company::Joins
        } else if present.len() < 2 {
            Company::Fits
        } else {
            Company::HasNoRoom
        }
    }

    proptest! {
        #[test]
        fn who_joins_goes_first_and_nobody_is_overtaken_too_often(
            kinds in proptest::collection::vec(0usize..4, 1..120),
            leaving in proptest::collection::vec(0usize..3, 400),
        ) {
            let mut scheduler = Scheduler::new(LIMITS);
            for id in 0..kinds.len() {
                scheduler.enqueue(id as Id, 0);
            }
            let (mut started, mut overtaken) = (0, vec![0; kinds.len()]);
            for leaver in leaving {
                loop {
                    let running: Vec<Id> = scheduler.running().collect();
                    let Some(next) = scheduler.next_waiting(|id| company(&kinds, &running, id)) else { break };
                    prop_assert_ne!(company(&kinds, &running, next), Company::HasNoRoom);
                    for passed in scheduler.waiting().take_while(|&id| id != next) {
                        overtaken[passed as usize] += 1;
                    }
                    scheduler.admit(next);
                    started += 1;
                }
                let running: Vec<Id> = scheduler.running().collect();
                prop_assert!(!running.is_empty() || scheduler.waiting().next().is_none(), "somebody runs");
                if let Some(&id) = running.get(leaver.min(running.len().saturating_sub(1))) {
                    scheduler.remove(id);
                }
            }
            prop_assert_eq!(started, kinds.len(), "everybody came to run");
            prop_assert!(overtaken.iter().all(|&times| times <= MOST_OVERTAKES), "{overtaken:?}");
        }
    }

    #[test]
    fn a_prompt_is_prefilled_in_chunks_while_others_write() {
        let mut scheduler = Scheduler::new(LIMITS);
        scheduler.enqueue(1, 0);
        scheduler.start();
        let whole = plan(&mut scheduler, &[(1, 10)].into());
        assert_eq!(whole, [Run { id: 1, tokens: 10, complete: true }], "alone it takes the whole batch");
        scheduler.enqueue(2, 0);
        scheduler.start();
        let mixed = plan(&mut scheduler, &[(1, 1), (2, 10)].into());
        assert_eq!(
            mixed,
            [Run { id: 1, tokens: 1, complete: true }, Run { id: 2, tokens: 4, complete: false }]
        );
    }

    #[test]
    fn a_short_prompt_has_a_batch_to_itself_and_those_who_write_have_the_next_one() {
        let mut scheduler = Scheduler::new(LIMITS);
        scheduler.enqueue(1, 0);
        scheduler.start();
        plan(&mut scheduler, &[(1, 4)].into());
        for id in [2, 3] {
            scheduler.enqueue(id, 0);
            scheduler.start();
        }
        let pending = [(1, 1), (2, 3), (3, 4)].into();
        assert_eq!(plan(&mut scheduler, &pending), [Run { id: 2, tokens: 3, complete: true }]);
        let next = plan(&mut scheduler, &[(1, 1), (2, 1), (3, 4)].into());
        assert_eq!(
            next[..2],
            [1, 2].map(|id| Run { id, tokens: 1, complete: true }),
            "however many prompts come"
        );
    }

    #[test]
    fn a_long_prompt_adds_about_as_many_tokens_to_a_batch_as_there_are_writers() {
        let limits = Limits { running: 9, step_tokens: 512, prefill_tokens: 64 };
        for (writers, share) in [(2, 4), (8, 8)] {
            let mut scheduler = Scheduler::new(limits);
            for id in 0..writers {
                scheduler.enqueue(id, 0);
                scheduler.start();
            }
            let mut pending: BTreeMap<Id, usize> = (0..writers).map(|id| (id, 1)).collect();
            plan(&mut scheduler, &pending);
            scheduler.enqueue(writers, 0);
            scheduler.start();
            pending.insert(writers, 1500);
            // What has been saved up comes first.
            plan(&mut scheduler, &pending);
            for _ in 0..20 {
                let batch = plan(&mut scheduler, &pending);
                assert_eq!(batch.last(), Some(&Run { id: writers, tokens: share, complete: false }));
                assert_eq!(batch.len(), writers as usize + 1);
            }
        }
    }

    proptest! {
        /// Random arrivals, departures and steps: limits hold, nobody starves, order of arrival is kept.
        #[test]
        fn every_sequence_is_served_within_the_limits(
            lengths in proptest::collection::vec((1usize..40, 1usize..6), 1..12),
            leaving in proptest::collection::vec(any::<bool>(), 12),
            preempted in proptest::collection::vec(0usize..40, 0..6),
        ) {
            let mut scheduler = Scheduler::new(LIMITS);
            let mut pending = BTreeMap::new();
            let mut turns = BTreeMap::new();
            for (id, &(prompt, runs)) in lengths.iter().enumerate() {
                scheduler.enqueue(id as Id, 0);
                pending.insert(id as Id, prompt);
                turns.insert(id as Id, runs);
            }
            let mut finished = 0;
            for step in 0..2000 {
                while scheduler.start() {}
                if preempted.contains(&step) && let Some(latest) = scheduler.running().max() {
                    scheduler.requeue(latest);
                }
                let order: Vec<Id> = scheduler.running().chain(scheduler.waiting()).collect();
                prop_assert!(order.is_sorted(), "order of arrival");
                prop_assert!(scheduler.running().count() <= LIMITS.running);
                let batch = plan(&mut scheduler, &pending);
                if batch.is_empty() && scheduler.next_waiting(|_| Company::Joins).is_none() { break; }
                prop_assert!(batch.iter().map(|run| run.tokens).sum::<usize>() <= LIMITS.step_tokens);
                for run in batch {
                    let left = pending.get_mut(&run.id).expect("known");
                    prop_assert!(run.tokens <= *left && run.complete == (run.tokens == *left));
                    *left -= run.tokens;
                    if run.complete {
                        let turns = turns.get_mut(&run.id).expect("known");
                        *turns -= 1;
                        if *turns == 0 || (leaving[run.id as usize] && step > 3) {
                            scheduler.remove(run.id);
                            finished += 1;
                        } else {
                            *left = 1 + *turns;
                        }
                    }
                }
            }
            prop_assert_eq!(finished, lengths.len(), "everybody came to an end");
        }
    }
}
