//! Answers that are being written and those that have just ended: a numbered log of events each, driven by a task of
//! its own and read by whoever asked, however many they are and however often they come back.
//!
//! `log` is the log and its readers, `index` finds streams and bounds them, `driver` runs a source until its end, `account` and
//! `watched` tell figures and log of it.

mod account;
mod driver;
mod index;
mod log;
mod watched;

pub(crate) use log::{Numbered, Read, Reader};
pub(crate) use watched::Watched;

use std::fmt;
use std::future::Future;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use leafresh_chat::{Command, Event, Events, Failure, Record};
use leafresh_engine::Presence;
use tokio::time::Instant;
use tracing::Instrument;

use self::account::Account;
use self::index::{Index, Joined};
use self::log::{Live, Part, Share, Tally};
use crate::config;
use crate::door::Permit;
use crate::installed::Installed;
use crate::life::Life;
use crate::metrics::Metrics;
use crate::phase::Phase;

/// The name of one answer's stream: 128 random bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct StreamId(u128);

impl StreamId {
    pub(crate) fn random() -> Self {
        Self(rand::random())
    }

    /// 32 lower-case hexadecimal digits, as it is displayed.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        u128::from_str_radix(text, 16).ok().filter(|_| digits).map(Self)
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The last event that a reader had: `<stream>:<n>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) stream: StreamId,
    pub(crate) number: u64,
}

impl Position {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (stream, number) = text.split_once(':')?;
        let plain = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let number = number.parse().ok().filter(|_| plain && (number == "0" || !number.starts_with('0')))?;
        Some(Self { stream: StreamId::parse(stream)?, number })
    }
}

/// A question as it was sent once. Those with equal commands want the same answer; dialect and method aren't part of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Asked {
    pub(crate) command: Command,
    pub(crate) request_id: Option<String>,
}

/// Where events come from: a recommendation; in tests, a list.
pub(crate) trait Source: Send + 'static {
    /// The next event; `None` when there is none although none was terminal. A future that is dropped loses no event.
    fn next(&mut self) -> impl Future<Output = Option<Event>> + Send;

    /// Whether somebody reads: while nobody does it computes nothing, keeps its text and holds no place among running or
    /// waiting ones.
    fn presence(&self) -> &Presence;

    /// How far it is.
    fn phase(&self) -> Phase;

    /// What is known of it besides its events.
    fn record(&self) -> Record;
}

impl Source for Events {
    async fn next(&mut self) -> Option<Event> {
        Events::next(self).await
    }

    fn presence(&self) -> &Presence {
        Events::presence(self)
    }

    fn phase(&self) -> Phase {
        Events::stage(self).into()
    }

    fn record(&self) -> Record {
        Events::record(self)
    }
}

/// All streams of a server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Streams(Arc<Shared>);

struct Shared {
    index: Mutex<Index>,
    tally: Arc<Tally>,
    memory: usize,
    memory_per_key: usize,
    retention: Duration,
    life: Life,
    /// What they are counted in.
    metrics: Arc<Metrics>,
    /// The model, which knows how many tokens a text has.
    installed: Arc<Installed>,
}

/// What a request comes to.
pub(crate) enum Opened {
    /// An equal one is there already: the reader gets its events from the first one on.
    Joined(Reader),
    /// It is the first: [`Start::run`] makes it a stream.
    First(Start),
}

/// No more streams fit into the memory for them.
#[derive(Debug)]
pub(crate) struct Full;

impl Streams {
    pub(crate) fn new(
        config: &config::Stream,
        life: Life,
        metrics: Arc<Metrics>,
        installed: Arc<Installed>,
    ) -> Self {
        Self(Arc::new(Shared {
            index: Mutex::new(Index::default()),
            tally: Arc::default(),
            memory: config.memory_mib << 20,
            memory_per_key: config.memory_per_key_mib << 20,
            retention: config.retention_seconds.0,
            life,
            metrics,
            installed,
        }))
    }

    /// Joins the answer to an equal request or makes room for a new one. `grace` is how long the answer waits for this
    /// reader when it has left.
    ///
    /// # Errors
    /// [`Full`] when running answers alone take all the memory, or all of their key's.
    pub(crate) fn open(&self, asked: Asked, grace: Duration) -> Result<Opened, Full> {
        let mut index = self.index();
        if let Some(Joined(live)) = index.find(&asked) {
            self.0.metrics.joined();
            return Ok(Opened::Joined(self.reader(live, Part::Joined, 0, grace)));
        }
        let owner = asked.command.owner();
        self.make_room(&mut index, owner);
        if self.is_full() || self.is_full_for(&mut index, owner) {
            return Err(Full);
        }
        let share = Share { all: self.0.tally.clone(), own: index.bytes_of(owner) };
        let live = Arc::new(Live::new(asked, share));
        index.insert(live.clone());
        // Its first reader is there before anything runs, so that it doesn't begin as one that nobody reads.
        let reader = self.reader(live.clone(), Part::First, 0, grace);
        Ok(Opened::First(Start { reader, ending: Ending { live, streams: self.clone() } }))
    }

    /// The rest of a stream after `position`; `None` if it can't be had, whatever the reason.
    pub(crate) fn resume(&self, position: Position, command: &Command, grace: Duration) -> Option<Reader> {
        let live = self.index().get(position.stream)?;
        let same = live.asked().command == *command && position.number <= live.last_number();
        same.then(|| {
            self.0.metrics.resumed();
            self.reader(live, Part::Resumed, position.number, grace)
        })
    }

    fn reader(&self, live: Arc<Live>, part: Part, read: u64, grace: Duration) -> Reader {
        Reader::new(live, part, read, grace, &self.0.life)
    }

    /// Ends one's own stream now; one that has ended, or that somebody else asked for, stays as it is.
    pub(crate) fn stop(&self, owner: &str, stream: StreamId) {
        let live = self.index().get(stream).filter(|live| live.asked().command.owner() == owner);
        if let Some(live) = live {
            live.stop();
        }
    }

    /// Ends the running streams of a session, waits until they have, and forgets all of it that is kept.
    pub(crate) async fn forget_session(&self, owner: &str, session: &str) {
        let streams = self.index().take_session(owner, session);
        for live in &streams {
            live.stop();
        }
        for live in &streams {
            live.end().await;
        }
    }

    /// Answers whose readers have all left and may return.
    pub(crate) fn parked(&self) -> usize {
        self.0.tally.parked.load(Ordering::Relaxed)
    }

    /// Memory that events take, of answers that run and of those that are kept.
    pub(crate) fn bytes(&self) -> usize {
        self.0.tally.bytes.load(Ordering::Relaxed)
    }

    /// Forgets what has been kept long enough.
    pub(crate) fn sweep(&self) {
        drop(self.index());
    }

    /// The index, without what has expired.
    fn index(&self) -> MutexGuard<'_, Index> {
        // Nothing in there is left half done by a panic.
        let mut index = self.0.index.lock().unwrap_or_else(PoisonError::into_inner);
        index.expire(Instant::now());
        index
    }

    fn is_full(&self) -> bool {
        self.0.tally.bytes.load(Ordering::Relaxed) > self.0.memory
    }

    /// Who has no key is nobody in particular: for all of those together there is the limit of all.
    fn is_full_for(&self, index: &mut Index, owner: &str) -> bool {
        !owner.is_empty() && index.bytes_of(owner).load(Ordering::Relaxed) > self.0.memory_per_key
    }

    /// Below the limits again: what has ended goes first, oldest first, then what waits for its reader. What is too much of one
    /// owner's is taken from that one.
    fn make_room(&self, index: &mut Index, owner: &str) {
        while self.is_full_for(index, owner) && index.drop_oldest_ended(Some(owner)) {}
        if self.is_full_for(index, owner)
            && let Some(parked) = index.longest_parked(Some(owner))
        {
            parked.stop();
        }
        while self.is_full() && index.drop_oldest_ended(None) {}
        if self.is_full()
            && let Some(parked) = index.longest_parked(None)
        {
            parked.stop();
        }
    }

    fn appended(&self, live: &Live) {
        self.make_room(&mut self.index(), live.owner());
    }

    fn ended(&self, live: &Arc<Live>) {
        let mut index = self.index();
        index.ended(live, Instant::now() + self.0.retention);
        self.make_room(&mut index, live.owner());
    }

    /// Somebody reads `live`: what its session began before and nobody reads doesn't hold it up.
    fn clear_way(&self, live: &Live) {
        let index = self.index();
        let parked =
            index.running().filter(|other| other.comes_before(live) && other.parked_since().is_some());
        parked.for_each(|other| other.stop());
    }

    /// Whether somebody reads what has to wait for `live`.
    fn is_waited_for(&self, live: &Live) -> bool {
        self.index().running().any(|other| live.comes_before(other) && other.parked_since().is_none())
    }
}

/// A stream that waits for its source. Dropping it ends the stream for those who have joined it meanwhile.
pub(crate) struct Start {
    reader: Reader,
    ending: Ending,
}

impl Start {
    pub(crate) fn asked(&self) -> &Asked {
        self.reader.asked()
    }

    pub(crate) fn id(&self) -> StreamId {
        self.reader.stream()
    }

    /// Runs the source in a task of its own until its end.
    pub(crate) fn run<S: Source>(self, source: S, permit: Option<Permit>) -> Reader {
        let account = Account::new(&self.ending.streams, self.ending.live.clone(), permit);
        self.ending.live.set_phase(source.phase());
        tokio::spawn(driver::drive(source, self.ending, account).in_current_span());
        self.reader
    }

    /// There will be no source: it was refused. Whoever joined meanwhile is told so; then nothing is left of it.
    pub(crate) fn refuse(self) {
        let Ending { live, streams } = &self.ending;
        streams.index().remove(live.id());
        live.push(Event::Error(Failure::Unavailable));
    }
}

/// Sees to it that a stream ends exactly once, even when what drives it panics or never begins.
struct Ending {
    live: Arc<Live>,
    streams: Streams,
}

impl Ending {
    fn push(&self, event: Event) {
        if self.live.push(event) {
            self.streams.ended(&self.live);
        } else {
            self.streams.appended(&self.live);
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if !self.live.has_ended() {
            self.push(Event::Error(Failure::Internal));
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
