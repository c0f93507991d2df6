//! One generation: its program written slot by slot on a server, on others where that fails, and not at all while nobody
//! reads.

mod asking;

use std::sync::Arc;
use std::time::Duration;

use leafresh_engine::{Delta, Error, Outlet, Piece, Prompt, Reservation, Sampling, Usage};
use tokio::time::{Instant, timeout_at};

use crate::client::Fault;
use crate::dialect::Input;
use crate::estimate::Estimate;
use crate::pool::{Place, Pool, Wish};
use crate::server::Server;
use crate::writing::Writing;

/// So many attempts in a row that didn't add a character, and it is given up: what servers die of isn't tried for ever.
const MOST_ATTEMPTS: u32 = 4;

/// What a generation is made of, beside its program.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) id: u64,
    pub(crate) pool: Arc<Pool>,
    pub(crate) estimate: Arc<Estimate>,
    pub(crate) outlet: Arc<Outlet>,
    pub(crate) reservation: Reservation,
    pub(crate) adapter: Option<String>,
    pub(crate) prompt: Prompt,
    pub(crate) sampling: Sampling,
    /// How long it may take from its first place on.
    pub(crate) total: Duration,
}

pub(crate) struct Generation {
    job: Job,
    writing: Writing,
    usage: Usage,
    /// The prompt as one server takes it: it isn't asked for its tokens again for each slot.
    input: Option<(Arc<Server>, Input)>,
    /// At the prompt's end: they belong to what is written.
    prompt_spaces: usize,
    /// Requests for a piece of text so far.
    pieces: u64,
    attempts: u32,
    avoid: Option<usize>,
    /// A server has said something.
    has_run: bool,
    /// Until when it waits for that without a place.
    waits_until: Option<Instant>,
    /// When it has taken too long, from its first place on.
    due: Option<Instant>,
    /// The server refused to be bound to this slot's grammar.
    unbound: bool,
}

/// How an attempt ended.
enum Attempt {
    Finished,
    Fault(Fault),
    /// What the server writes doesn't fit.
    Misfit,
    Failed(Error),
}

impl From<Fault> for Attempt {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Error> for Attempt {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Generation {
    pub(crate) fn new(job: Job, writing: Writing) -> Self {
        let waits_until = job.reservation.deadline().map(Instant::from_std);
        let last = job.prompt.pieces.last().map_or("", |(Piece::Template(text) | Piece::Text(text))| text);
        let prompt_spaces = last.len() - last.trim_end_matches(' ').len();
        Self {
            job,
            writing,
            usage: Usage::default(),
            input: None,
            prompt_spaces,
            pieces: 0,
            attempts: 0,
            avoid: None,
            has_run: false,
            waits_until,
            due: None,
            unbound: false,
        }
    }

    /// Until its end, or until its reader is gone.
    pub(crate) async fn run(mut self) {
        let outlet = self.job.outlet.clone();
        tokio::select! {
            biased;
            () = outlet.closed() => {}
            end = self.write() => {
                outlet.send(end);
            }
        }
    }

    async fn write(&mut self) -> Delta {
        loop {
            self.wait_for_the_reader().await;
            let presence = self.job.outlet.presence().clone();
            tokio::select! {
                biased;
                // What was written stays, the connection is closed, and the place is another's.
                () = presence.parked() => {}
                end = self.attempt() => if let Some(end) = end {
                    return end;
                },
            }
        }
    }

    async fn wait_for_the_reader(&mut self) {
        let presence = self.job.outlet.presence().clone();
        if !presence.is_parked() {
            return;
        }
        self.job.outlet.set_position(None);
        let since = Instant::now();
        presence.resumed().await;
        for until in [&mut self.due, &mut self.waits_until].into_iter().flatten() {
            *until += since.elapsed();
        }
    }

    async fn place(&self) -> Result<Place, Error> {
        let wish = Wish {
            id: self.job.id,
            client: self.job.reservation.client(),
            has_run: self.has_run,
            adapter: self.job.adapter.clone(),
            avoid: self.avoid,
            outlet: self.job.outlet.clone(),
        };
        let place = self.job.pool.wait(wish).place();
        let until = if self.has_run { self.due } else { self.waits_until };
        let place = match until {
            Some(until) => timeout_at(until, place).await,
            None => Ok(place.await),
        };
        match place {
            Ok(place) => place.ok_or(Error::Stopped),
            Err(_) if self.has_run => Err(too_late()),
            Err(_) => Err(Error::WaitedTooLong),
        }
    }

    /// Waits for a place and writes there. `None`: another attempt is worth it.
    async fn attempt(&mut self) -> Option<Delta> {
        let place = match self.place().await {
            Ok(place) => place,
            Err(error) => return Some(Delta::Failed(error)),
        };
        self.job.outlet.set_position(None);
        self.job.reservation.begin();
        let due = *self.due.get_or_insert_with(|| Instant::now() + self.job.total);
        self.unbound = false;
        let before = self.writing.progress().clone();
        let attempt = match timeout_at(due, self.write_at(&place)).await {
            Ok(written) => written.err().unwrap_or(Attempt::Finished),
            Err(_) => Attempt::Failed(too_late()),
        };
        self.attempts = if *self.writing.progress() == before { self.attempts + 1 } else { 1 };
        let upstream = &place.member().upstream.url;
        let fault = match attempt {
            Attempt::Finished => return Some(Delta::Done(self.usage)),
            Attempt::Failed(error) => return Some(Delta::Failed(error)),
            Attempt::Misfit => {
                self.writing.forgive();
                Fault::Nonsense("again and again it wrote what doesn't fit".into())
            }
            Attempt::Fault(fault) => {
                place.blame(&fault);
                fault
            }
        };
        self.avoid = Some(place.index);
        // Who is full is asked again as long as there is time.
        let counts = !matches!(fault, Fault::Full(_));
        self.attempts -= u32::from(!counts);
        tracing::warn!(upstream, %fault, "a generation goes on elsewhere, or again");
        (self.attempts >= MOST_ATTEMPTS).then(|| {
            let late = matches!(fault, Fault::Silent(_));
            Delta::Failed(Error::Upstream { reason: format!("{upstream}: {fault}"), late })
        })
    }
}

fn too_late() -> Error {
    Error::Upstream { reason: "the upstreams took too long for an answer".into(), late: true }
}
