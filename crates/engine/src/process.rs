//! The engine in a process of its own, so that a crash of native code, a damaged model file or a lack of memory there
//! ends no server and no answer.
//!
//! [`Process`] starts a program that is its [`Child`], over one end of a pair of Unix sockets. What it needs to
//! go on without its engine it keeps on this side: every generation's request and the text that its reader has. When the
//! process dies another one is started, and each generation goes on there.

mod child;
mod confinement;
mod ledger;
mod protocol;
mod stall;
mod supervisor;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc as blocking};
use std::task::{Wake, Waker};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};

pub use child::Child;
pub use confinement::confinement;
pub use protocol::Source;

use crate::admission::Admission;
use crate::shared::Command;
use crate::vocab::Tokenizer;
use crate::{
    Arrival, Backend, Error, Generation, Health, LocalSettings, ModelInfo, Program, Prompt, Request,
    Reservation, generation, llama,
};
use supervisor::Supervisor;

/// Compiling a grammar takes tens of milliseconds, and an engine that is being started again answers late.
const CHECK_TIME: Duration = Duration::from_mins(1);

/// Calls that may be under way besides requests.
const CHECKS: usize = 64;

/// How an engine's process is started.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The program, which has to be a [`Child`], and its arguments.
    pub program: PathBuf,
    pub arguments: Vec<OsString>,
    pub source: Source,
    pub settings: LocalSettings,
}

/// An engine's process and its supervisor. Dropped, it takes no more requests; the process goes on until the last
/// generation has ended.
pub struct Process {
    calls: mpsc::Sender<Call>,
    admission: Arc<Admission>,
    shared: Arc<Shared>,
    waker: Waker,
    info: ModelInfo,
    tokenizer: Arc<dyn Tokenizer>,
}

/// What is asked of the supervisor.
enum Call {
    Start(Command),
    Check { prompt: Prompt, program: Program, reply: blocking::SyncSender<Result<(), Error>> },
}

/// What the supervisor shows.
#[derive(Debug, Default)]
struct Shared {
    /// Readers have done something.
    readers: Arc<Readers>,
    /// The process has loaded its model and answers.
    ready: AtomicBool,
    /// It was started in vain again and again: requests are refused.
    given_up: AtomicBool,
    pid: AtomicU32,
    parked: AtomicUsize,
    restarts: AtomicU64,
    health: Mutex<Health>,
}

#[derive(Debug, Default)]
struct Readers(Notify);

impl Wake for Readers {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.notify_one();
    }
}

impl Shared {
    fn health(&self) -> std::sync::MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Process").field("pid", &self.pid()).field("info", &self.info).finish_non_exhaustive()
    }
}

impl Process {
    /// Starts the process and waits until it has loaded its model. Takes seconds: call it where blocking is allowed.
    ///
    /// # Errors
    /// As [`crate::Local::load`]; [`Error::ModelFile`] also when the process dies of the file, [`Error::Native`] when it
    /// can't be started.
    pub fn load(launch: &Launch) -> Result<Self, Error> {
        let settings = &launch.settings;
        settings.check()?;
        let admission = Admission::new(settings.running, settings.queue, settings.queue_bytes);
        let (calls, receiver) = mpsc::channel(settings.running + settings.queue + CHECKS);
        let shared = Arc::new(Shared::default());
        shared.health().kv_total = settings.context;
        let waker = Waker::from(shared.readers.clone());
        let (loaded, report) = blocking::sync_channel(1);
        let supervisor = Supervisor::new(launch.clone(), receiver, shared.clone());
        // A thread that lives as long as the process: on Linux its end would end the process too.
        std::thread::Builder::new()
            .name("engine-process".into())
            .spawn(move || supervisor.run(&loaded))
            .map_err(|error| Error::Native(format!("no thread for the engine's process: {error}")))?;
        let info = report.recv().map_err(|_| Error::Stopped)??;
        // Only now: the file has been loaded once, over there.
        let tokenizer = match &launch.source {
            Source::File(path) => llama::load_tokenizer(path)?,
            Source::Fake(recipe) => recipe.tokenizer(),
        };
        Ok(Self { calls, admission, shared, waker, info, tokenizer })
    }

    /// The process that runs now; `None` while there is none.
    pub fn pid(&self) -> Option<u32> {
        Some(self.shared.pid.load(Ordering::Acquire)).filter(|&pid| pid > 0)
    }

    fn call(&self, call: Call) -> Result<(), Error> {
        self.calls.try_send(call).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => Error::Overloaded { queued: self.calls.max_capacity() },
            mpsc::error::TrySendError::Closed(_) => Error::Stopped,
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.waker.wake_by_ref();
    }
}

impl Backend for Process {
    fn reserve(&self, arrival: &Arrival) -> Result<Reservation, Error> {
        if self.shared.given_up.load(Ordering::Acquire) {
            return Err(Error::Stopped);
        }
        self.admission.reserve(arrival)
    }

    fn start(&self, mut reservation: Reservation, request: Request) -> Result<Generation, Error> {
        reservation.bring(request.prompt.bytes())?;
        let queued = self.health().queued;
        let (outlet, generation) =
            generation::channel(&request.program, queued.max(1), &reservation.presence, self.waker.clone());
        self.call(Call::Start(Command { request, outlet, reservation }))?;
        Ok(generation)
    }

    /// Asks the process, and blocks for as long as that takes.
    fn check(&self, prompt: &Prompt, program: &Program) -> Result<(), Error> {
        let (reply, answer) = blocking::sync_channel(1);
        self.call(Call::Check { prompt: prompt.clone(), program: program.clone(), reply })?;
        answer.recv_timeout(CHECK_TIME).map_err(|_| Error::Stopped)?
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.tokenizer.tokenize(text, false).len()
    }

    fn health(&self) -> Health {
        let health = self.shared.health().clone();
        Health {
            ready: self.shared.ready.load(Ordering::Acquire),
            queued: self.admission.requests().saturating_sub(health.running),
            parked: self.shared.parked.load(Ordering::Relaxed),
            restarts: self.shared.restarts.load(Ordering::Relaxed),
            pid: self.pid(),
            ..health
        }
    }

    fn model(&self) -> &ModelInfo {
        &self.info
    }
}
