//! Keeps an engine's process running, and generations going on when it dies.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as Socket;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc as blocking};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, Command as Program};
use tokio::sync::mpsc;
use tokio_util::bytes::BytesMut;

use crate::{Delta, Error, Health, ModelInfo};

use super::ledger::Ledger;
use super::protocol::{FromEngine, Messages, Number, Source, ToEngine, encode, encode_greeting};
use super::stall::{self, StallClock};
use super::{Call, Launch, Shared};

/// What a process that has just died is given to be waited for, and one that is no longer wanted to end by itself.
const LAST_MOMENTS: Duration = Duration::from_secs(1);

/// Who lives for so long, or has finished an answer, is healthy: when it dies the next one is started at once.
const HEALTHY: Duration = Duration::from_secs(5);

/// The pause before the second start in vain; each one after it is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// After so many starts in vain requests are refused, and those that wait fail.
const STARTS_IN_VAIN: u32 = 4;

pub(super) struct Supervisor {
    launch: Launch,
    calls: mpsc::Receiver<Call>,
    /// Nobody can ask any more.
    closed: bool,
    shared: Arc<Shared>,
    ledger: Ledger,
    checks: BTreeMap<Number, blocking::SyncSender<Result<(), Error>>>,
    next_check: Number,
    /// What earlier processes counted.
    before: Health,
}

/// A process that has loaded its model.
struct Engine {
    child: Child,
    messages: Messages<OwnedReadHalf>,
    to: OwnedWriteHalf,
    info: ModelInfo,
    started: Instant,
    has_finished_one: bool,
    stall: StallClock,
}

enum End {
    /// Nobody wants anything any more.
    Done,
    Died,
}

impl Supervisor {
    pub(super) fn new(launch: Launch, calls: mpsc::Receiver<Call>, shared: Arc<Shared>) -> Self {
        Self {
            ledger: Ledger::new(launch.settings.running),
            launch,
            calls,
            closed: false,
            shared,
            checks: BTreeMap::new(),
            next_check: 0,
            before: Health::default(),
        }
    }

    /// Until nobody wants anything any more. What became of the first start goes to `loaded`.
    pub(super) fn run(mut self, loaded: &blocking::SyncSender<Result<ModelInfo, Error>>) {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                let _ =
                    loaded.send(Err(Error::Native(format!("no runtime for the engine's process: {error}"))));
                return;
            }
        };
        runtime.block_on(async {
            let mut engine = match start(&self.launch).await {
                Ok(engine) => engine,
                Err(error) => {
                    let _ = loaded.send(Err(error));
                    return;
                }
            };
            // Whoever waits for it finds it running.
            self.announce(&engine);
            let _ = loaded.send(Ok(engine.info.clone()));
            let mut in_vain = 0;
            while let End::Died = self.serve(&mut engine).await {
                let healthy = engine.has_finished_one || engine.started.elapsed() >= HEALTHY;
                in_vain = if healthy { 0 } else { in_vain + 1 };
                self.engine_died(engine).await;
                match self.start_again(&mut in_vain).await {
                    Some(next) => engine = next,
                    None => return,
                }
            }
            self.shared.pid.store(0, Ordering::Release);
            // It ends when its socket is closed; if not, it is killed when it is dropped.
            let Engine { mut child, messages, to, .. } = engine;
            drop((messages, to));
            let _ = tokio::time::timeout(LAST_MOMENTS, child.wait()).await;
        });
    }

    fn announce(&self, engine: &Engine) {
        self.shared.pid.store(engine.child.id().unwrap_or(0), Ordering::Release);
        self.shared.given_up.store(false, Ordering::Release);
        self.shared.ready.store(true, Ordering::Release);
    }

    async fn serve(&mut self, engine: &mut Engine) -> End {
        self.announce(engine);
        let mut out = BytesMut::new();
        let mut stalled = tokio::time::interval(stall::LOOK);
        loop {
            let due = self.ledger.submit(Instant::now());
            self.queue(due, &mut out);
            if self.closed && self.ledger.is_empty() {
                return End::Done;
            }
            let shared = self.shared.clone();
            tokio::select! {
                message = engine.messages.next() => match message {
                    Ok(Some(message)) => {
                        let answer = self.hear(message, engine);
                        self.queue(answer, &mut out);
                    }
                    Ok(None) => return End::Died,
                    Err(error) => {
                        tracing::error!(%error, "the engine's process says what can't be understood");
                        return End::Died;
                    }
                },
                call = self.calls.recv(), if !self.closed => {
                    let messages = self.answer(call);
                    self.queue(messages, &mut out);
                }
                () = shared.readers.0.notified() => {
                    let messages = self.follow_the_readers();
                    self.queue(messages, &mut out);
                }
                written = engine.to.write_buf(&mut out), if !out.is_empty() => if written.is_err() {
                    // What it has said before its end is still there to be read.
                    out.clear();
                },
                _ = stalled.tick() => if engine.stall.has_stalled(Instant::now()) {
                    tracing::error!("the engine's process computes nothing any more; it is ended");
                    return End::Died;
                },
            }
        }
    }

    /// What can't be sent fails where it came from.
    fn queue(&mut self, messages: impl IntoIterator<Item = ToEngine>, out: &mut BytesMut) {
        for message in messages {
            if let Err(error) = encode(&message, out) {
                tracing::error!(%error, "a request can't be sent to the engine's process");
                match message {
                    ToEngine::Start { id, .. } => self.ledger.fail(id, Error::Unfit(error.to_string())),
                    ToEngine::Check { call, .. } => self.checked(call, Err(Error::Unfit(error.to_string()))),
                    _ => {}
                }
            }
        }
    }

    fn hear(&mut self, message: FromEngine, engine: &mut Engine) -> Option<ToEngine> {
        match message {
            FromEngine::Delta { id, delta } => {
                engine.has_finished_one |= matches!(delta, Delta::Done(_));
                return self.ledger.write(id, delta);
            }
            FromEngine::Position { id, position } => self.ledger.position(id, position),
            FromEngine::Checked { call, result } => self.checked(call, result),
            FromEngine::Health(health) => {
                engine.stall.note(&health, Instant::now());
                let mut all = health;
                all.add_counts(&self.before);
                *self.shared.health() = all;
            }
            FromEngine::Loaded(_) | FromEngine::Refused(_) => {
                tracing::error!("the engine's process has loaded a model twice");
            }
        }
        None
    }

    fn checked(&mut self, call: Number, result: Result<(), Error>) {
        if let Some(reply) = self.checks.remove(&call) {
            let _ = reply.send(result);
        }
    }

    fn answer(&mut self, call: Option<Call>) -> Vec<ToEngine> {
        match call {
            Some(Call::Start(command)) => {
                self.ledger.add(command);
                // Its reader may have left before it came here.
                self.follow_the_readers()
            }
            Some(Call::Check { prompt, program, reply }) => {
                let call = self.next_check;
                self.next_check += 1;
                self.checks.insert(call, reply);
                vec![ToEngine::Check { call, prompt, program }]
            }
            None => {
                self.closed = true;
                Vec::new()
            }
        }
    }

    fn follow_the_readers(&mut self) -> Vec<ToEngine> {
        let messages = self.ledger.follow_the_readers(Instant::now());
        self.shared.parked.store(self.ledger.parked(), Ordering::Relaxed);
        messages
    }

    /// Notes what the dead one leaves behind.
    async fn engine_died(&mut self, mut engine: Engine) {
        self.shared.ready.store(false, Ordering::Release);
        self.shared.pid.store(0, Ordering::Release);
        self.shared.restarts.fetch_add(1, Ordering::Relaxed);
        let _ = engine.child.start_kill(); // If it is only its socket that is closed.
        let ended = tokio::time::timeout(LAST_MOMENTS, engine.child.wait()).await;
        let how = ended.ok().and_then(Result::ok).map_or_else(|| "it does not end".to_owned(), how);
        self.checks.clear();
        let going_on = self.ledger.engine_died();
        let mut health = self.shared.health();
        let taken_over = health.taken_over + going_on;
        self.before = Health { running: 0, kv_used: 0, taken_over, ..health.clone() };
        *health = self.before.clone();
        drop(health);
        tracing::error!(
            how,
            "the engine's process died; {} generations go on in a new one",
            self.ledger.len()
        );
    }

    /// `None`: nobody wants anything any more.
    async fn start_again(&mut self, in_vain: &mut u32) -> Option<Engine> {
        loop {
            let pause = pause(*in_vain);
            let launch = self.launch.clone();
            let starting = async {
                tokio::time::sleep(pause).await;
                start(&launch).await
            };
            match self.meanwhile(starting).await? {
                Ok(engine) => {
                    tracing::info!(pid = engine.child.id(), "the engine's process runs again");
                    return Some(engine);
                }
                Err(error) => {
                    *in_vain += 1;
                    tracing::error!(%error, "the engine's process could not be started");
                }
            }
            if *in_vain >= STARTS_IN_VAIN {
                self.shared.given_up.store(true, Ordering::Release);
                self.ledger.fail_all(&Error::Stopped);
            }
        }
    }

    /// Listens while there is no engine.
    async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(work);
        let mut clock = tokio::time::interval(FIRST_PAUSE);
        loop {
            if self.closed && self.ledger.is_empty() {
                return None;
            }
            let shared = self.shared.clone();
            tokio::select! {
                done = &mut work => return Some(done),
                call = self.calls.recv(), if !self.closed => for message in self.answer(call) {
                    if let ToEngine::Check { call, .. } = message {
                        self.checked(call, Err(Error::Stopped));
                    }
                },
                // There is nobody to tell what they have done.
                () = shared.readers.0.notified() => drop(self.follow_the_readers()),
                // Whoever waits for too long is told so.
                _ = clock.tick() => drop(self.follow_the_readers()),
            }
        }
    }
}

fn pause(in_vain: u32) -> Duration {
    match in_vain {
        0 => Duration::ZERO,
        more => LONGEST_PAUSE.min(FIRST_PAUSE * 2u32.saturating_pow(more - 1)),
    }
}

fn how(status: ExitStatus) -> String {
    status.to_string()
}

/// What an engine's process is told of its parent's environment: what the loader, OpenMP, GPUs' drivers and traces read.
/// The rest is the server's, keys among it.
const NEEDED: [&str; 3] = ["LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "NO_COLOR"];
const NEEDED_BEGINNINGS: [&str; 16] = [
    "OMP_", "GOMP_", "KMP_", "GGML_", "RUST_", "CUDA_", "NVIDIA_", "NV_", "HIP_", "ROCR_", "HSA_", "GPU_",
    "VK_", "MESA_", "MTL_", "METAL_",
];

fn environment(
    ours: impl Iterator<Item = (OsString, OsString)>,
) -> impl Iterator<Item = (OsString, OsString)> {
    ours.filter(|(name, _)| {
        let name = name.to_string_lossy();
        NEEDED.contains(&&*name) || NEEDED_BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
    })
}

/// Starts a process and has it load its model.
async fn start(launch: &Launch) -> Result<Engine, Error> {
    let native = |error: io::Error| {
        Error::Native(format!("the engine's process {} can't be started: {error}", launch.program.display()))
    };
    let (ours, theirs) = Socket::pair().map_err(native)?;
    ours.set_nonblocking(true).map_err(native)?;
    let mut child = {
        let mut program = Program::new(&launch.program);
        program
            .args(&launch.arguments)
            .env_clear()
            .envs(environment(std::env::vars_os()))
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            // Ctrl-C is the server's to follow.
            .process_group(0)
            .kill_on_drop(true);
        program.spawn().map_err(native)?
        // Here our copy of the child's end is closed, so that its death closes the last one.
    };
    let (read, mut to) = UnixStream::from_std(ours).map_err(native)?.into_split();
    let mut messages = Messages::new(read);
    let mut out = BytesMut::new();
    let load = ToEngine::Load { source: launch.source.clone(), settings: launch.settings.clone() };
    encode_greeting(&mut out).map_err(native)?;
    encode(&load, &mut out).map_err(native)?;
    // When it has ended already, it says why, or the status does.
    let _ = to.write_all_buf(&mut out).await;
    match messages.greeted().await {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {
            return Err(Error::Native(format!("the engine's process is another program: {error}")));
        }
        // If it is gone, that is found out below.
        _ => {}
    }
    loop {
        match messages.next().await {
            Ok(Some(FromEngine::Loaded(info))) => {
                return Ok(Engine {
                    child,
                    messages,
                    to,
                    info,
                    started: Instant::now(),
                    has_finished_one: false,
                    stall: StallClock::default(),
                });
            }
            Ok(Some(FromEngine::Refused(error))) => return Err(error),
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => {
                let _ = child.start_kill();
                let how = child.wait().await.map_or_else(|error| error.to_string(), how);
                let reason = format!("the engine's process died while it loaded the model ({how})");
                return Err(match &launch.source {
                    Source::File(path) => Error::ModelFile { path: path.clone(), reason },
                    Source::Fake(_) => Error::Native(reason),
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Field report 46.
    #[test]
    fn of_the_server_s_environment_the_engine_s_process_gets_what_it_needs_only() {
        let cases = [
            ("QDRANT__SERVICE__API_KEY", false),
            ("LEAFRESH_RETRIEVAL__API_KEY", false),
            ("PATH", false),
            ("HOME", false),
            ("LD_PRELOAD", false),
            ("AWS_SECRET_ACCESS_KEY", false),
            ("LD_LIBRARY_PATH", true),
            ("GOMP_SPINCOUNT", true),
            ("OMP_NUM_THREADS", true),
            ("RUST_BACKTRACE", true),
            ("CUDA_VISIBLE_DEVICES", true),
            ("HIP_VISIBLE_DEVICES", true),
        ];
        for (name, expected) in cases {
            let one = std::iter::once((name.into(), "1".into()));
            assert_eq!(environment(one).count() == 1, expected, "{name}");
        }
    }
}
