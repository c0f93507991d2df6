//! Answers being written: the engine's words as they come, and what they cost.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use leafresh_chat::Deadlines;
use leafresh_engine::{Delta, Generation, Usage};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::super::error::Error;
use super::Api;
use super::account::Account;
use super::error::Refusal;
use crate::life::{Life, Lifecycle};
use crate::metrics::Outcome;
use crate::phase::Phase;

/// The engine's own deadline for those who wait comes first; this is for one that says nothing at all.
const AFTER_THE_QUEUE: Duration = Duration::from_secs(1);

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finish {
    /// By itself, or before a text that was to end it.
    Stop,
    /// It had no more tokens.
    Length,
}

impl Finish {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
        }
    }
}

/// What happens to one of several answers, counted from 0.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Written {
    Text { choice: usize, text: String },
    End { choice: usize, finish: Finish },
}

/// Tokens that all answers of a request took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Spent {
    pub(super) prompt: usize,
    /// Those of the prompt that the engine knew already.
    pub(super) cached: usize,
    pub(super) completion: usize,
}

/// A whole answer.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) text: String,
    pub(super) finish: Finish,
}

/// An answer that the engine has begun.
pub(super) struct Begun {
    pub(super) generation: Generation,
    /// About.
    pub(super) prompt_tokens: usize,
}

/// All answers to one request. Dropping it ends them.
pub(super) struct Writing {
    choices: Vec<Choice>,
    /// Answers to each prompt.
    n: usize,
    account: Account,
    life: Life,
    lifecycle: watch::Receiver<Lifecycle>,
    patience: Patience,
}

struct Choice {
    /// None: it has ended.
    generation: Option<Generation>,
    spent: Spent,
}

impl Choice {
    /// What it took, now that the engine says so. One that died meanwhile doesn't.
    fn note(&mut self, usage: Usage) {
        if usage.prompt_tokens > 0 {
            self.spent = Spent {
                prompt: usage.prompt_tokens,
                cached: usage.cached_tokens,
                completion: usage.sampled_tokens + usage.forced_tokens,
            };
        }
    }
}

/// How long the engine is waited for.
struct Patience {
    in_queue: Duration,
    between_tokens: Duration,
    silent_since: Instant,
    /// Some of the answers waited for a place when they were looked at last.
    waiting: bool,
    deadline: Instant,
}

impl Patience {
    fn due(&self) -> Instant {
        let allowed = if self.waiting { self.in_queue } else { self.between_tokens };
        (self.silent_since + allowed).min(self.deadline)
    }
}

impl Writing {
    pub(super) fn new(
        begun: Vec<Begun>,
        n: usize,
        account: Account,
        api: &Api,
        deadlines: Deadlines,
    ) -> Self {
        let choice = |begun: Begun| Choice {
            generation: Some(begun.generation),
            spent: Spent { prompt: begun.prompt_tokens, ..Spent::default() },
        };
        let now = Instant::now();
        let patience = Patience {
            in_queue: deadlines.queue + AFTER_THE_QUEUE,
            between_tokens: deadlines.stall,
            silent_since: now,
            waiting: true,
            deadline: now + deadlines.answer,
        };
        let choices = begun.into_iter().map(choice).collect();
        Self { choices, n, account, life: api.life.clone(), lifecycle: api.life.lifecycle(), patience }
    }

    pub(super) fn choices(&self) -> usize {
        self.choices.len()
    }

    /// What is written next; `None` when all answers have ended. One that fails ends all of them.
    ///
    /// # Errors
    /// What the client is to be told of it.
    pub(super) async fn next(&mut self) -> Result<Option<Written>, Refusal> {
        loop {
            if self.choices.iter().all(|choice| choice.generation.is_none()) {
                self.account.outcome = Outcome::Close;
                return Ok(None);
            }
            let Self { choices, lifecycle, patience, .. } = self;
            let step = tokio::select! {
                biased;
                // The sender lives as long as the server.
                _ = lifecycle.wait_for(|now| *now == Lifecycle::Stopping) => Err(Error::Draining),
                (choice, delta) = poll_fn(|context| poll(choices, context)) => Ok(Some((choice, delta))),
                () = sleep_until(patience.due()) => Ok(None),
            };
            let written = match step {
                Ok(Some((choice, delta))) => self.take(choice, delta),
                Ok(None) if self.is_late() => Err(Error::Stalled.into()),
                Ok(None) => Ok(None),
                Err(error) => Err(error.into()),
            };
            match written {
                Ok(None) => {}
                Ok(Some(written)) => return Ok(Some(written)),
                Err(refusal) => {
                    self.account.outcome = Outcome::Error;
                    self.choices.clear();
                    return Err(refusal.of_a_begun_answer());
                }
            }
        }
    }

    fn take(&mut self, index: usize, delta: Option<Delta>) -> Result<Option<Written>, Refusal> {
        self.patience.silent_since = Instant::now();
        let choice = &mut self.choices[index];
        match delta {
            Some(Delta::Text { text, .. }) => {
                self.account.text();
                choice.spent.completion += 1;
                self.account.tokens += 1;
                Ok(Some(Written::Text { choice: index, text }))
            }
            Some(Delta::SlotDone { .. }) => Ok(None),
            Some(Delta::Done(usage)) => {
                self.account.tokens -= choice.spent.completion;
                choice.note(usage);
                self.account.tokens += choice.spent.completion;
                choice.generation = None;
                let finish = if usage.out_of_budget { Finish::Length } else { Finish::Stop };
                Ok(Some(Written::End { choice: index, finish }))
            }
            Some(Delta::Failed(error)) => Err(failure(&error, &self.life)),
            None => Err(Error::Internal.into()),
        }
    }

    /// The time is over that the engine had. That an answer has left the queue meanwhile is seen here, and counts as a word
    /// from it.
    fn is_late(&mut self) -> bool {
        let now = Instant::now();
        let waits = |choice: &Choice| choice.generation.as_ref().is_some_and(|one| one.position().is_some());
        let waiting = self.choices.iter().any(waits);
        if now < self.patience.deadline && self.patience.waiting && !waiting {
            self.account.phase = Phase::Prefill;
            self.patience.waiting = false;
            self.patience.silent_since = now;
            return false;
        }
        tracing::warn!(waiting, "the model took too long");
        true
    }

    /// What all of it took. A prompt counts once, however many answers it gets.
    pub(super) fn spent(&self) -> Spent {
        let mut all = Spent::default();
        for (index, Choice { spent, .. }) in self.choices.iter().enumerate() {
            if index % self.n == 0 {
                all.prompt += spent.prompt;
                all.cached += spent.cached;
            }
            all.completion += spent.completion;
        }
        all
    }

    /// Waits for the end of all answers.
    ///
    /// # Errors
    /// As [`Writing::next`].
    pub(super) async fn whole(mut self) -> Result<(Vec<Whole>, Spent), Refusal> {
        let mut answers: Vec<Whole> =
            (0..self.choices()).map(|_| Whole { text: String::new(), finish: Finish::Stop }).collect();
        while let Some(written) = self.next().await? {
            match written {
                Written::Text { choice, text } => answers[choice].text.push_str(&text),
                Written::End { choice, finish } => answers[choice].finish = finish,
            }
        }
        Ok((answers, self.spent()))
    }
}

/// The next word of any of them.
fn poll(choices: &mut [Choice], context: &mut Context<'_>) -> Poll<(usize, Option<Delta>)> {
    for (index, choice) in choices.iter_mut().enumerate() {
        if let Some(generation) = &mut choice.generation
            && let Poll::Ready(delta) = generation.poll_next(context)
        {
            return Poll::Ready((index, delta));
        }
    }
    Poll::Pending
}

/// Why the engine doesn't write, as a client is told it.
pub(super) fn failure(error: &leafresh_engine::Error, life: &Life) -> Refusal {
    use leafresh_engine::Error as Engine;
    match error {
        Engine::Overloaded { .. } | Engine::WaitedTooLong | Engine::Stopped if life.draining() => {
            Error::Draining
        }
        Engine::Overloaded { .. } | Engine::WaitedTooLong | Engine::Stopped => Error::Overloaded,
        other => {
            tracing::error!(error = %other, "an answer failed");
            Error::Internal
        }
    }
    .into()
}
