//! From a task to answers that are being written: places in the engine, and whether all of it fits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use leafresh_chat::Recommender;
use leafresh_engine::{
    Arrival, Backend, Grammar, Piece, Presence, Program, Progress, Prompt, Request, Reservation, Sampling,
    Segment, Slot,
};
use tokio::time::timeout;

use super::super::error::Error;
use super::Api;
use super::account::Account;
use super::error::Refusal;
use super::options::{Format, Options};
use super::writing::{Begun, Writing, failure};
use crate::door::{Identity, Permit};

/// What is to be written.
pub(super) struct Task {
    /// Each gets [`Options::n`] answers.
    pub(super) prompts: Vec<Prompt>,
    /// The parameter that they come from.
    pub(super) param: &'static str,
    pub(super) options: Options,
    /// Tokens of an answer where nobody says so, as far as the context has room.
    pub(super) default_tokens: usize,
}

/// A prompt, and what may be written behind it.
struct Fitting {
    prompt: Prompt,
    /// About.
    tokens: usize,
    program: Program,
}

impl Task {
    /// Takes a place for each answer, looks at whether it fits, and begins.
    ///
    /// # Errors
    /// What the client is told instead; nothing is written then.
    pub(super) async fn begin(
        self,
        api: &Api,
        recommender: &Recommender,
        adapter: Option<String>,
        identity: &Identity,
    ) -> Result<Writing, Refusal> {
        if api.life.draining() {
            return Err(Error::Draining.into());
        }
        let queue = recommender.deadlines().queue;
        let backend = recommender.shared_backend();
        let (permits, reservations) = self.places(api, &*backend, identity, queue)?;
        let account = Account::new(&api.metrics, &api.life, permits);
        let (n, sampling) = (self.options.n, self.options.sampling.clone());
        let fitting = timeout(queue, self.fitting(api, backend.clone())).await;
        let fitting = fitting.map_err(|_| Error::Overloaded)??;
        let mut begun = Vec::new();
        for (number, reservation) in reservations.into_iter().enumerate() {
            let Fitting { prompt, tokens, program } = &fitting[number / n];
            let request = Request {
                adapter: adapter.clone(),
                prompt: prompt.clone(),
                program: program.clone(),
                progress: Progress::default(),
                sampling: of_choice(&sampling, number),
            };
            let generation = backend.start(reservation, request);
            let generation = generation.map_err(|error| failure(&error, &api.life))?;
            begun.push(Begun { generation, prompt_tokens: *tokens });
        }
        Ok(Writing::new(begun, n, account, api, recommender.deadlines()))
    }

    /// A permit of the client's and a place in the engine for each answer, or none at all.
    fn places(
        &self,
        api: &Api,
        backend: &dyn Backend,
        identity: &Identity,
        queue: Duration,
    ) -> Result<(Vec<Permit>, Vec<Reservation>), Refusal> {
        let (mut permits, mut reservations) = (Vec::new(), Vec::new());
        for prompt in &self.prompts {
            for _ in 0..self.options.n {
                permits.extend(api.door.permit(identity)?);
                let arrival = Arrival {
                    client: Some(identity.client().to_string()),
                    prompt_bytes: prompt.bytes(),
                    deadline: Some(Instant::now() + queue),
                    presence: Presence::default(),
                };
                reservations.push(backend.reserve(&arrival).map_err(|error| failure(&error, &api.life))?);
            }
        }
        Ok((permits, reservations))
    }

    /// Counts tokens and compiles what has to be followed, away from those who serve others.
    async fn fitting(self, api: &Api, backend: Arc<dyn Backend>) -> Result<Vec<Fitting>, Refusal> {
        let turn = match self.options.format {
            Format::Json(_) => Some(api.turns.schemas.turn().await.ok_or(Error::Overloaded)?),
            Format::Text => None,
        };
        let fitting = tokio::task::spawn_blocking(move || self.fit(&*backend)).await;
        drop(turn);
        // A fault in there is in the log.
        fitting.map_err(|_| Error::Internal)?
    }

    fn fit(self, backend: &dyn Backend) -> Result<Vec<Fitting>, Refusal> {
        let Self { prompts, param, options, default_tokens } = self;
        let fit = |prompt: Prompt| {
            let tokens = count(backend, &prompt);
            let room = backend.model().context.saturating_sub(tokens);
            let max_tokens = options.max_tokens.unwrap_or(default_tokens.min(room).max(1));
            let program = program(&options, max_tokens).map_err(|error| {
                tracing::error!(%error, "a request could not be put to the engine");
                Refusal::from(Error::Internal)
            })?;
            match backend.check(&prompt, &program) {
                Ok(()) => Ok(Fitting { prompt, tokens, program }),
                Err(error) => Err(misfit(&error, param, (tokens, max_tokens, backend.model().context))),
            }
        };
        prompts.into_iter().map(fit).collect()
    }
}

/// Tokens of a prompt, about: where its pieces meet and at its beginning there may be one more or less.
fn count(backend: &dyn Backend, prompt: &Prompt) -> usize {
    let text = |piece: &Piece| {
        let (Piece::Template(text) | Piece::Text(text)) = piece;
        backend.count_tokens(text)
    };
    prompt.pieces.iter().map(text).sum::<usize>() + 1
}

/// One slot, which the model ends.
fn program(options: &Options, max_tokens: usize) -> Result<Program, leafresh_engine::Error> {
    let slot = Slot {
        name: "answer".into(),
        grammar: Grammar::Regex(options.format.regex().to_owned()),
        max_tokens,
        distinct_from: Vec::new(),
        stop: options.stop.clone(),
    };
    Program::new(vec![Segment::Slot(slot)])
}

/// With a seed every answer has one of its own: the same request gets the same answers, and not one of them twice.
fn of_choice(sampling: &Sampling, number: usize) -> Sampling {
    let seed = sampling.seed.map(|seed| seed.wrapping_add(number as u64));
    Sampling { seed, ..sampling.clone() }
}

/// Why the engine can't write this, whatever the load.
fn misfit(error: &leafresh_engine::Error, param: &str, figures: (usize, usize, usize)) -> Refusal {
    use leafresh_engine::Error as Engine;
    let (tokens, max_tokens, context) = figures;
    match error {
        Engine::Unfit(_) => {
            let message = format!(
                "This model's context holds {context} tokens here (`engine.context`); the prompt has about {tokens}, and \
                 the answer may take {max_tokens}. Shorten the prompt or lower max_tokens."
            );
            Refusal::context_length(param, message)
        }
        Engine::Program(reason) if reason.starts_with("slot ") => {
            let message = format!("{max_tokens} is too few for the shortest text that the schema allows");
            Refusal::invalid("max_tokens", message)
        }
        Engine::Program(_) => {
            let message = "the schema allows too much to be followed; shorten its lists, bounds and patterns";
            Refusal::invalid("response_format", message)
        }
        Engine::Overloaded { .. } | Engine::Stopped => Error::Overloaded.into(),
        other => {
            tracing::error!(error = %other, "a valid request could not be checked");
            Error::Internal.into()
        }
    }
}
