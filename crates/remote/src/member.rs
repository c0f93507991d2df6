//! One server of the pool: whether it can be asked now, and how much it is asked for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use crate::client::{Fault, scattered};
use crate::server::{Server, Trouble};
use crate::settings::Upstream;

/// So many faults in a row, and it isn't asked any more before it has been met anew.
const MOST_FAULTS: u32 = 3;

/// A member that can't be asked is looked at after the first, then after twice as long each time, up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How long a member rests after a fault, and at most after several in a row.
const FIRST_REST: Duration = Duration::from_millis(100);
const LONGEST_REST: Duration = Duration::from_secs(5);

/// How long it rests when it is full and doesn't say for how long, and at most when it does.
const FULL_REST: Duration = Duration::from_secs(1);
const LONGEST_FULL_REST: Duration = Duration::from_secs(30);

/// Between two looks at a member that can be asked; so many in a row without a good word mean that it can't be any more.
const BETWEEN_LOOKS: Duration = Duration::from_secs(2);
const LOOKS_IN_VAIN: u32 = 2;

#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) upstream: Upstream,
    state: Mutex<State>,
    /// It isn't to be asked any more before it has been met anew.
    broken: Notify,
    pub(crate) figures: Figures,
}

/// What a member did, since the start.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) requests: AtomicU64,
    pub(crate) faults: AtomicU64,
    pub(crate) misfits: AtomicU64,
    pub(crate) reconnects: AtomicU64,
}

#[derive(Debug)]
struct State {
    /// `None`: it can't be asked.
    server: Option<Arc<Server>>,
    /// Since when it is so, or isn't.
    since: Instant,
    trouble: Option<Trouble>,
    /// Generations that have a place there.
    running: usize,
    faults_in_a_row: u32,
    rests_until: Option<Instant>,
}

/// How a member does.
#[derive(Debug, Clone)]
pub(crate) struct Look {
    pub(crate) running: usize,
    /// `None`: it can't be asked.
    pub(crate) server: Option<Arc<Server>>,
    /// It takes one more now.
    pub(crate) has_room: bool,
    pub(crate) trouble: Option<Trouble>,
    pub(crate) since: Instant,
}

impl Member {
    pub(crate) fn new(upstream: Upstream) -> Self {
        let state = State {
            server: None,
            since: Instant::now(),
            trouble: None,
            running: 0,
            faults_in_a_row: 0,
            rests_until: None,
        };
        Self { upstream, state: Mutex::new(state), broken: Notify::new(), figures: Figures::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn look(&self) -> Look {
        let state = self.state();
        let rests = state.rests_until.is_some_and(|until| until > Instant::now());
        Look {
            running: state.running,
            has_room: state.server.is_some() && state.running < self.upstream.running && !rests,
            server: state.server.clone(),
            trouble: state.trouble.clone(),
            since: state.since,
        }
    }

    pub(crate) fn begin(&self) {
        self.state().running += 1;
    }

    pub(crate) fn end(&self) {
        let mut state = self.state();
        state.running = state.running.saturating_sub(1);
    }

    /// It did what it was asked for.
    pub(crate) fn praise(&self) {
        self.state().faults_in_a_row = 0;
    }

    /// It didn't. Says for how long it rests.
    pub(crate) fn blame(&self, fault: &Fault) -> Duration {
        let mut state = self.state();
        let rest = match fault {
            Fault::Full(after) => after.unwrap_or(FULL_REST).min(LONGEST_FULL_REST),
            // Another key, another model: what was found out doesn't hold any more.
            Fault::Refused { status: 401 | 403 | 404, .. } => {
                self.lose(&mut state, fault.clone().into());
                self.broken.notify_one();
                return Duration::ZERO;
            }
            Fault::Refused { .. } => return Duration::ZERO,
            Fault::Gone(_) | Fault::Silent(_) | Fault::Nonsense(_) => {
                self.figures.faults.fetch_add(1, Ordering::Relaxed);
                state.faults_in_a_row += 1;
                if state.faults_in_a_row >= MOST_FAULTS {
                    self.lose(&mut state, fault.clone().into());
                    self.broken.notify_one();
                    return Duration::ZERO;
                }
                LONGEST_REST.min(FIRST_REST * 2u32.saturating_pow(state.faults_in_a_row - 1))
            }
        };
        let rest = scattered(rest);
        state.rests_until = Some(Instant::now() + rest);
        rest
    }

    fn lose(&self, state: &mut State, trouble: Trouble) {
        if state.server.take().is_some() {
            let (url, reason) = (&self.upstream.url, &trouble.reason);
            tracing::warn!(url, reason, "an upstream isn't asked any more until it is well again");
            state.since = Instant::now();
            state.trouble = Some(trouble);
        }
    }

    /// Meets the server, again and again where that is in vain, and whenever it was lost. `changed` hears of it.
    pub(crate) async fn keep(&self, changed: impl Fn()) {
        let mut pause = FIRST_PAUSE;
        loop {
            match Server::meet(&self.upstream).await {
                Ok(server) => {
                    self.found(server);
                    changed();
                    self.lost().await;
                    changed();
                    pause = FIRST_PAUSE;
                    self.figures.reconnects.fetch_add(1, Ordering::Relaxed);
                }
                Err(trouble) => {
                    self.not_found(trouble);
                    changed();
                }
            }
            sleep(scattered(pause)).await;
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }

    fn found(&self, server: Server) {
        let url = &self.upstream.url;
        let (kind, model) = (server.kind.name(), &server.model);
        match server.form {
            Some(form) => tracing::info!(url, kind, model, grammar = form.name(), "an upstream answers"),
            None => tracing::warn!(
                url,
                kind,
                model,
                "an upstream answers, but keeps to no grammar: what doesn't fit is cut off and asked for anew"
            ),
        }
        let mut state = self.state();
        *state = State {
            server: Some(Arc::new(server)),
            since: Instant::now(),
            trouble: None,
            running: state.running,
            faults_in_a_row: 0,
            rests_until: None,
        };
    }

    fn not_found(&self, trouble: Trouble) {
        let mut state = self.state();
        if state.trouble.as_ref() != Some(&trouble) {
            let (url, reason) = (&self.upstream.url, &trouble.reason);
            tracing::warn!(url, reason, "an upstream can't be asked; it is tried again and again");
        }
        state.trouble = Some(trouble);
    }

    /// Until it was lost, or isn't healthy any more.
    async fn lost(&self) {
        let mut in_vain = 0;
        loop {
            tokio::select! {
                () = self.broken.notified() => {}
                () = sleep(BETWEEN_LOOKS) => {}
            }
            // A word of an earlier loss may come late.
            let Some(server) = self.state().server.clone() else { return };
            let health = timeout(self.upstream.first, server.is_healthy()).await;
            let fault = match health {
                Ok(Ok(())) => {
                    in_vain = 0;
                    continue;
                }
                Ok(Err(fault)) => fault,
                Err(_) => Fault::Silent("it doesn't say how it does".into()),
            };
            in_vain += 1;
            // Who is slow or loads something gets another chance; one whose port refuses has ended.
            if in_vain >= LOOKS_IN_VAIN || matches!(fault, Fault::Gone(_)) {
                self.lose(&mut self.state(), fault.into());
                return;
            }
        }
    }
}
