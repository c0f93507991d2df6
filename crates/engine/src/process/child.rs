//! The engine's side: a model, and what the server wants of it.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as Socket;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, LocalSet};
use tokio_util::bytes::BytesMut;

use crate::worker::guarded;
use crate::{Arrival, Backend, Delta, Error, Generation, Local, LocalSettings, Presence, Request};

use super::confinement::{self, Note};
use super::protocol::{FromEngine, Messages, Number, Source, Terms, ToEngine, encode, encode_greeting};

/// Messages that wait to be written; whoever has one more waits. The model's thread doesn't: its readers do.
const OUTGOING: usize = 1024;

/// How often the server is told how the engine does, when that has changed.
const HEALTH_INTERVAL: Duration = Duration::from_millis(100);

/// An engine's process: what it was told to load, and what it may still do.
pub struct Child {
    runtime: Runtime,
    messages: Messages<OwnedReadHalf>,
    write: OwnedWriteHalf,
    source: Source,
    settings: LocalSettings,
    notes: Vec<Note>,
}

impl std::fmt::Debug for Child {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Child").field("source", &self.source).finish_non_exhaustive()
    }
}

impl Child {
    /// Meets the process that started this one, which holds the other end of standard input, and gives up whatever isn't
    /// needed for the model that it names. The caller has no threads yet, one that writes a log included: what is forbidden
    /// here is forbidden to threads that come later.
    ///
    /// # Errors
    /// When standard input is no such socket, or the other side speaks differently.
    pub fn begin() -> io::Result<Self> {
        let mut notes = Vec::from_iter(confinement::follow_the_parent());
        let socket = Socket::from(io::stdin().as_fd().try_clone_to_owned()?);
        socket.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (messages, write, source, settings) = runtime.block_on(async {
            // Signals that reach all processes of a terminal or a service are the server's to follow.
            for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()] {
                // Once asked for, it has its handler for good.
                drop(signal(kind)?);
            }
            let (read, mut write) = UnixStream::from_std(socket)?.into_split();
            let mut messages = Messages::new(read);
            let mut greeting = BytesMut::new();
            encode_greeting(&mut greeting)?;
            write.write_all_buf(&mut greeting).await?;
            messages.greeted().await?;
            let Some(ToEngine::Load { source, settings }) = messages.next().await? else {
                return Err(io::Error::other("the first message has to name the model"));
            };
            Ok((messages, write, source, settings))
        })?;
        notes.extend(confinement::enter(&source, settings.adapters.as_deref()));
        Ok(Self { runtime, messages, write, source, settings, notes })
    }

    /// Runs the engine. Returns when the other side closes its end.
    ///
    /// # Errors
    /// When the other side says what isn't a message.
    pub fn serve(self) -> io::Result<()> {
        let Self { runtime, messages, write, source, settings, notes } = self;
        confinement::tell(notes);
        let served = LocalSet::new().block_on(&runtime, serve(messages, write, &source, &settings));
        // A batch that is being computed isn't waited for.
        runtime.shutdown_background();
        served
    }
}

async fn serve(
    messages: Messages<OwnedReadHalf>,
    write: OwnedWriteHalf,
    source: &Source,
    settings: &LocalSettings,
) -> io::Result<()> {
    let (outgoing, queue) = mpsc::channel(OUTGOING);
    let writer = tokio::task::spawn_local(write_out(queue, write));
    match load(source, settings) {
        Ok(engine) => {
            let engine = Arc::new(engine);
            let _ = outgoing.send(FromEngine::Loaded(engine.model().clone())).await;
            tokio::task::spawn_local(report(engine.clone(), outgoing.clone()));
            Requests { engine, outgoing, live: BTreeMap::new() }.serve(messages).await
        }
        Err(error) => {
            let _ = outgoing.send(FromEngine::Refused(error)).await;
            drop(outgoing);
            let _ = writer.await;
            Ok(())
        }
    }
}

fn load(source: &Source, settings: &LocalSettings) -> Result<Local, Error> {
    // Who is let in was decided by the server.
    let settings =
        LocalSettings { queue: usize::MAX - settings.running, queue_bytes: usize::MAX, ..settings.clone() };
    match source {
        Source::File(path) => {
            confinement::limit_memory(path, &settings)?;
            Local::load(path, &settings)
        }
        Source::Fake(recipe) => Local::start(recipe.build(), &settings),
    }
}

/// All that is to be said at one time goes out in one piece.
async fn write_out(mut queue: mpsc::Receiver<FromEngine>, mut to: OwnedWriteHalf) {
    let (mut messages, mut bytes) = (Vec::new(), BytesMut::new());
    while queue.recv_many(&mut messages, OUTGOING).await > 0 {
        for message in messages.drain(..) {
            if let Err(error) = encode(&message, &mut bytes) {
                tracing::error!(%error, "a message can't be sent");
            }
        }
        if to.write_all_buf(&mut bytes).await.is_err() {
            return; // The server is gone, which the other half notices too.
        }
    }
}

async fn report(engine: Arc<Local>, outgoing: mpsc::Sender<FromEngine>) {
    let mut told = None;
    loop {
        let health = engine.health();
        if told.as_ref() != Some(&health) {
            if outgoing.send(FromEngine::Health(health.clone())).await.is_err() {
                return;
            }
            told = Some(health);
        }
        tokio::time::sleep(HEALTH_INTERVAL).await;
    }
}

/// Does what the server wants.
struct Requests {
    engine: Arc<Local>,
    outgoing: mpsc::Sender<FromEngine>,
    live: BTreeMap<Number, Live>,
}

/// A generation, and the task that hands on what it says.
struct Live {
    presence: Presence,
    task: AbortHandle,
}

impl Drop for Live {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Requests {
    async fn serve(mut self, mut messages: Messages<OwnedReadHalf>) -> io::Result<()> {
        while let Some(message) = messages.next().await? {
            match message {
                ToEngine::Load { .. } => return Err(io::Error::other("a model is loaded already")),
                ToEngine::Start { id, request, terms } => self.start(id, request, terms),
                ToEngine::Park(id) => _ = self.live.get(&id).map(|live| live.presence.park()),
                ToEngine::Resume(id) => _ = self.live.get(&id).map(|live| live.presence.resume()),
                ToEngine::Cancel(id) => _ = self.live.remove(&id),
                ToEngine::Check { call, prompt, program } => {
                    let (engine, outgoing) = (self.engine.clone(), self.outgoing.clone());
                    // Compiling grammars takes a while. Somebody waits for the answer, whatever happens.
                    tokio::task::spawn_blocking(move || {
                        let result = guarded(|| engine.check(&prompt, &program));
                        let _ = outgoing.blocking_send(FromEngine::Checked { call, result });
                    });
                }
            }
        }
        Ok(())
    }

    fn start(&mut self, id: Number, request: Request, terms: Terms) {
        // Those that have ended on their own.
        self.live.retain(|_, live| !live.task.is_finished());
        let presence = Presence::default();
        let generation = self.begin(request, terms, presence.clone());
        let task = tokio::task::spawn_local(forward(id, generation, self.outgoing.clone())).abort_handle();
        self.live.insert(id, Live { presence, task });
    }

    fn begin(&self, request: Request, terms: Terms, presence: Presence) -> Result<Generation, Error> {
        let deadline = terms.wait.map(|wait| Instant::now() + wait);
        let mut reservation = self.engine.reserve(&Arrival { deadline, presence, ..Arrival::default() })?;
        reservation.client = terms.client;
        reservation.returning = terms.returning;
        self.engine.start(reservation, request)
    }
}

/// Takes a generation to its end.
async fn forward(id: Number, generation: Result<Generation, Error>, outgoing: mpsc::Sender<FromEngine>) {
    let mut generation = match generation {
        Ok(generation) => generation,
        Err(error) => {
            let _ = outgoing.send(FromEngine::Delta { id, delta: Delta::Failed(error) }).await;
            return;
        }
    };
    let mut positions = generation.positions();
    positions.mark_changed();
    loop {
        let message = tokio::select! {
            biased;
            Ok(()) = positions.changed() => {
                FromEngine::Position { id, position: *positions.borrow_and_update() }
            }
            delta = generation.next() => match delta {
                Some(delta) => FromEngine::Delta { id, delta },
                // The model's thread has died: only a new process helps.
                None => std::process::abort(),
            }
        };
        let ended = matches!(message, FromEngine::Delta { delta: Delta::Done(_) | Delta::Failed(_), .. });
        if outgoing.send(message).await.is_err() || ended {
            return;
        }
    }
}
