//! The engine whose models are on other servers.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc as blocking};
use std::task::Waker;
use std::time::Duration;

use leafresh_engine::{
    Admission, Arrival, Backend, Delta, Error, Generation as Reader, Grammars, Health, ModelInfo, Outlet,
    Program, Prompt, Request, Reservation, Segment, UpstreamHealth, channel,
};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::dialect::Input;
use crate::estimate::Estimate;
use crate::generation::{Generation, Job};
use crate::pool::Pool;
use crate::prompt;
use crate::server::Server;
use crate::settings::Settings;
use crate::writing::{self, Writing};

/// Answering a check takes a call or two over the network.
const CHECK_TIME: Duration = Duration::from_mins(1);

/// Models on other servers, as one engine. Dropped, it takes no more requests; those that run go on to their ends.
pub struct Remote {
    pool: Arc<Pool>,
    admission: Arc<Admission>,
    grammars: Arc<Grammars>,
    estimate: Arc<Estimate>,
    handle: Handle,
    live: Arc<Live>,
    next: AtomicU64,
    total: Duration,
    info: ModelInfo,
}

/// The generations that run, wait or are parked, and whether more may come.
#[derive(Debug)]
struct Live {
    /// One more while the engine itself is there.
    count: watch::Sender<usize>,
    parked: AtomicUsize,
}

/// One of them.
struct Alive(Arc<Live>);

impl Alive {
    fn new(live: &Arc<Live>) -> Self {
        live.count.send_modify(|count| *count += 1);
        Self(live.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.count.send_modify(|count| *count -= 1);
    }
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remote").field("info", &self.info).finish_non_exhaustive()
    }
}

impl Remote {
    /// Meets the servers, and waits until one of them can be asked: call it where blocking is allowed. Servers that load their
    /// models take minutes; the log says who is waited for.
    ///
    /// # Errors
    /// [`Error::Upstream`] when none of them can ever be asked as things are configured; the text says why.
    pub fn connect(settings: Settings) -> Result<Self, Error> {
        let Settings { upstreams, queue, queue_bytes, total } = settings;
        if upstreams.is_empty() {
            return Err(Error::Unfit("there is no upstream".into()));
        }
        let running = upstreams.iter().map(|upstream| upstream.running).sum();
        let pool = Pool::new(upstreams);
        let live = Arc::new(Live { count: watch::Sender::new(1), parked: AtomicUsize::new(0) });
        let (begun, handle) = blocking::sync_channel(1);
        let mut alive = live.count.subscribe();
        std::thread::Builder::new()
            .name("remote".into())
            .spawn(move || {
                let runtime =
                    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
                let _ = begun.send(
                    runtime.as_ref().map(|runtime| runtime.handle().clone()).map_err(ToString::to_string),
                );
                if let Ok(runtime) = runtime {
                    runtime.block_on(async {
                        // Nobody can be gone who holds the other end: it is held by whom is waited for.
                        let _ = alive.wait_for(|count| *count == 0).await;
                    });
                    runtime.shutdown_background();
                }
            })
            .map_err(|error| Error::Native(format!("no thread for upstreams: {error}")))?;
        let handle = handle.recv().map_err(|_| Error::Stopped)?;
        let handle = handle.map_err(|error| Error::Native(format!("no runtime for upstreams: {error}")))?;
        let meeting = pool.clone();
        let (met, first) = blocking::sync_channel(1);
        handle.spawn(async move {
            meeting.keep();
            let _ = met.send(first_met(&meeting).await);
        });
        let mut remote = Self {
            pool,
            admission: Admission::new(running, queue, queue_bytes),
            grammars: Arc::default(),
            estimate: Arc::default(),
            handle,
            live,
            next: AtomicU64::new(0),
            total,
            info: ModelInfo::default(),
        };
        remote.info = first.recv().map_err(|_| Error::Stopped)??.info();
        Ok(remote)
    }

    /// A server that can be asked now.
    fn some_server(&self) -> Option<Arc<Server>> {
        self.pool.members().iter().find_map(|member| member.look().server)
    }

    /// How many tokens a prompt has: as its server tells, or about.
    fn prompt_tokens(&self, prompt: &Prompt) -> usize {
        let about = self.estimate.tokens(prompt.bytes());
        let Some(server) = self.some_server() else { return about };
        let (reply, answer) = blocking::sync_channel(1);
        let asked = prompt.clone();
        self.handle.spawn(async move {
            let input = prompt::input(&asked, server.tokenizer.as_ref(), &server.bos).await;
            let _ = reply.send(input);
        });
        match answer.recv_timeout(CHECK_TIME) {
            Ok(Ok(Input::Tokens(tokens))) => {
                self.estimate.learn(prompt.bytes(), tokens.len());
                tokens.len()
            }
            _ => about,
        }
    }

    fn known_adapter(&self, name: Option<&str>) -> Result<(), Error> {
        let known = &self.info.adapters;
        match name {
            Some(name) if !known.iter().any(|adapter| adapter == name) => {
                Err(Error::Unfit(format!("there is no adapter {name:?}; there are {}", known.join(", "))))
            }
            _ => Ok(()),
        }
    }
}

/// Waits for the first server that can be asked.
async fn first_met(pool: &Pool) -> Result<Arc<Server>, Error> {
    let mut news = pool.news();
    loop {
        let looks: Vec<_> =
            pool.members().iter().map(|member| (&member.upstream.url, member.look())).collect();
        if let Some(server) = looks.iter().find_map(|(_, look)| look.server.clone()) {
            return Ok(server);
        }
        if looks.iter().all(|(_, look)| look.trouble.as_ref().is_some_and(|trouble| trouble.lasts)) {
            let reasons = looks
                .iter()
                .filter_map(|(url, look)| Some(format!("{url}: {}", look.trouble.as_ref()?.reason)));
            let reason = reasons.collect::<Vec<_>>().join("; ");
            return Err(Error::Upstream { reason, late: false });
        }
        if news.changed().await.is_err() {
            return Err(Error::Stopped);
        }
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.live.count.send_modify(|count| *count -= 1);
    }
}

impl Backend for Remote {
    fn reserve(&self, arrival: &Arrival) -> Result<Reservation, Error> {
        if self.pool.is_hopeless() {
            return Err(Error::Stopped);
        }
        self.admission.reserve(arrival)
    }

    fn start(&self, mut reservation: Reservation, request: Request) -> Result<Reader, Error> {
        reservation.bring(request.prompt.bytes())?;
        let queued = self.health().queued.max(1);
        let (outlet, reader) =
            channel(&request.program, queued, reservation.presence(), Waker::noop().clone());
        let Request { adapter, prompt, program, progress, sampling } = request;
        let known = self.known_adapter(adapter.as_deref());
        let outlet = Arc::new(outlet);
        let job = Job {
            id: self.next.fetch_add(1, Ordering::Relaxed),
            pool: self.pool.clone(),
            estimate: self.estimate.clone(),
            outlet: outlet.clone(),
            reservation,
            adapter,
            prompt,
            sampling,
            total: self.total,
        };
        let (grammars, estimate) = (self.grammars.clone(), self.estimate.clone());
        let alive = Alive::new(&self.live);
        self.handle.spawn(async move {
            // Compiling a grammar takes a while.
            let begun = tokio::task::spawn_blocking(move || {
                known?;
                Writing::new(program, progress, grammars, |text| estimate.tokens(text.len()))
            });
            match begun.await.unwrap_or_else(|panic| Err(Error::Internal(panic.to_string()))) {
                Ok(writing) => count_parked(&alive, &outlet, Generation::new(job, writing).run()).await,
                Err(error) => _ = outlet.send(Delta::Failed(error)),
            }
        });
        Ok(reader)
    }

    fn check(&self, prompt: &Prompt, program: &Program) -> Result<(), Error> {
        let mut most = self.prompt_tokens(prompt);
        for segment in program.segments() {
            match segment {
                Segment::Fixed(text) => most += self.estimate.tokens(text.len()),
                Segment::Slot(slot) => {
                    let needed = self.estimate.tokens(writing::least(slot, &self.grammars)?);
                    if needed > slot.max_tokens {
                        return Err(Error::Program(format!(
                            "slot {} may take {} tokens, but its grammar needs about {needed}; raise its max_tokens",
                            slot.name, slot.max_tokens
                        )));
                    }
                    most += slot.max_tokens;
                }
            }
        }
        let context = self.info.context;
        if context > 0 && most > context {
            return Err(Error::Unfit(format!(
                "an answer may need {most} tokens with its prompt, but the upstream's context holds {context}; start it \
                 with a longer one, or lower max_tokens in the catalogue's answer.toml"
            )));
        }
        Ok(())
    }

    /// About: nobody waits for the network.
    fn count_tokens(&self, text: &str) -> usize {
        self.estimate.tokens(text.len())
    }

    fn health(&self) -> Health {
        let looks: Vec<_> = self.pool.members().iter().map(|member| (member, member.look())).collect();
        let running = looks.iter().map(|(_, look)| look.running).sum();
        let upstreams: Vec<UpstreamHealth> = looks
            .iter()
            .map(|(member, look)| UpstreamHealth {
                url: member.upstream.url.clone(),
                ready: look.server.is_some(),
                running: look.running,
                requests: member.figures.requests.load(Ordering::Relaxed),
                faults: member.figures.faults.load(Ordering::Relaxed),
                misfits: member.figures.misfits.load(Ordering::Relaxed),
                reconnects: member.figures.reconnects.load(Ordering::Relaxed),
            })
            .collect();
        Health {
            ready: looks.iter().any(|(_, look)| look.server.is_some()),
            running,
            queued: self.admission.requests().saturating_sub(running),
            parked: self.live.parked.load(Ordering::Relaxed),
            restarts: upstreams.iter().map(|upstream| upstream.reconnects).sum(),
            upstreams,
            ..Health::default()
        }
    }

    fn model(&self) -> &ModelInfo {
        &self.info
    }
}

/// Counts a generation while its reader is away.
async fn count_parked(alive: &Alive, outlet: &Outlet, work: impl Future<Output = ()>) {
    struct Parked<'a>(&'a AtomicUsize);
    impl Drop for Parked<'_> {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
    let presence = outlet.presence();
    let counting = async {
        loop {
            presence.parked().await;
            alive.0.parked.fetch_add(1, Ordering::Relaxed);
            let _parked = Parked(&alive.0.parked);
            presence.resumed().await;
        }
    };
    tokio::select! {
        () = work => {}
        () = counting => {}
    }
}
