//! One stream's log of events, and its readers.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use leafresh_chat::{Answer, Challenge, Event};
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Asked, StreamId};
use crate::life::{Life, Running};
use crate::log::line::Answered;
use crate::phase::Phase;

/// What a stream costs besides its events: its task, its channels, its entries in the index.
const BASE_BYTES: usize = 4096;

/// An event and its place in the stream, from 1.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Numbered {
    pub(crate) number: u64,
    pub(crate) event: Arc<Event>,
}

/// What all streams of a server have in common.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Memory that their events take.
    pub(super) bytes: AtomicUsize,
    pub(super) parked: AtomicUsize,
    /// Streams so far.
    begun: AtomicU64,
}

/// What one stream's memory counts towards: that of all, and that of those who belong to its owner.
#[derive(Debug, Clone)]
pub(super) struct Share {
    pub(super) all: Arc<Tally>,
    pub(super) own: Arc<AtomicUsize>,
}

impl Share {
    fn add(&self, bytes: usize) {
        self.all.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.own.fetch_add(bytes, Ordering::Relaxed);
    }

    fn give_back(&self, bytes: usize) {
        self.all.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.own.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// A stream: what was asked, what has happened, who reads it.
pub(super) struct Live {
    id: StreamId,
    asked: Asked,
    /// The how-many-th it is: of one session the earlier ones hold up the later ones.
    place: u64,
    log: watch::Sender<Log>,
    attendance: watch::Sender<Attendance>,
    phase: watch::Sender<Phase>,
    /// What became of it, once that is known.
    answered: OnceLock<Answered>,
    share: Share,
}

/// The events so far. The terminal one is the last.
#[derive(Debug, Default)]
struct Log {
    events: Vec<Arc<Event>>,
    bytes: usize,
    ended: bool,
    /// Memory was needed elsewhere: the events are gone.
    dropped: bool,
}

/// Who reads, as the stream's driver sees it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Attendance {
    pub(super) readers: usize,
    /// All that have come so far.
    pub(super) came: usize,
    /// Until when the last reader to leave may return; in the past, and before the first one, there is no waiting.
    pub(super) keep_until: Option<Instant>,
    /// Somebody stopped it.
    pub(super) stopped: bool,
    /// Since when its driver has it parked.
    pub(super) parked: Option<Instant>,
}

impl Live {
    pub(super) fn new(asked: Asked, share: Share) -> Self {
        share.add(BASE_BYTES);
        Self {
            id: StreamId::random(),
            asked,
            place: share.all.begun.fetch_add(1, Ordering::Relaxed),
            log: watch::Sender::new(Log { bytes: BASE_BYTES, ..Log::default() }),
            attendance: watch::Sender::default(),
            phase: watch::Sender::default(),
            answered: OnceLock::new(),
            share,
        }
    }

    pub(super) fn id(&self) -> StreamId {
        self.id
    }

    pub(super) fn asked(&self) -> &Asked {
        &self.asked
    }

    pub(super) fn owner(&self) -> &str {
        self.asked.command.owner()
    }

    /// Whether both belong to one session, and this one came first.
    pub(super) fn comes_before(&self, other: &Self) -> bool {
        let (own, others) = (&self.asked.command, &other.asked.command);
        let session = own.session_id();
        session.is_some()
            && session == others.session_id()
            && own.owner() == others.owner()
            && self.place < other.place
    }

    /// Appends an event, unless the stream has ended, and says whether this one is the end.
    pub(super) fn push(&self, event: Event) -> bool {
        let terminal = is_terminal(&event);
        let bytes = event_bytes(&event);
        self.log.send_if_modified(|log| {
            if log.ended {
                return false;
            }
            log.ended = terminal;
            log.bytes += bytes;
            log.events.push(Arc::new(event));
            self.share.add(bytes);
            true
        }) && terminal
    }

    pub(super) fn has_ended(&self) -> bool {
        self.log.borrow().ended
    }

    pub(super) fn has_closed(&self) -> bool {
        matches!(self.log.borrow().events.last().map(|event| &**event), Some(Event::Close(_)))
    }

    pub(super) fn bytes(&self) -> usize {
        self.log.borrow().bytes
    }

    /// The number of the last event that isn't terminal: the greatest that a reader can name.
    pub(super) fn last_number(&self) -> u64 {
        let log = self.log.borrow();
        (log.events.len() - usize::from(log.ended && !log.dropped)) as u64
    }

    /// Gives its memory back. Readers that are still there end without a terminal event, and may ask again.
    pub(super) fn drop_events(&self) {
        self.log.send_modify(|log| {
            log.events = Vec::new();
            log.dropped = true;
            self.share.give_back(std::mem::take(&mut log.bytes));
        });
    }

    pub(super) fn stop(&self) {
        self.attendance.send_modify(|attendance| attendance.stopped = true);
    }

    /// Returns when the stream has ended.
    pub(super) async fn end(&self) {
        // The sender is in here.
        let _ = self.log.subscribe().wait_for(|log| log.ended).await;
    }

    pub(super) fn attendance(&self) -> watch::Receiver<Attendance> {
        self.attendance.subscribe()
    }

    pub(super) fn parked_since(&self) -> Option<Instant> {
        self.attendance.borrow().parked
    }

    /// Notes for others that it is parked or no longer. The driver doesn't wake itself by that.
    pub(super) fn set_parked(&self, since: Option<Instant>) {
        self.attendance.send_if_modified(|attendance| {
            match (attendance.parked, since) {
                (None, Some(_)) => drop(self.share.all.parked.fetch_add(1, Ordering::Relaxed)),
                (Some(_), None) => drop(self.share.all.parked.fetch_sub(1, Ordering::Relaxed)),
                _ => {}
            }
            attendance.parked = since;
            false
        });
    }

    pub(super) fn set_phase(&self, phase: Phase) {
        self.phase.send_if_modified(|now| std::mem::replace(now, phase) != phase);
    }

    pub(super) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// For the log. Only the first call counts: an answer ends once.
    pub(super) fn set_answered(&self, answered: Answered) {
        let _ = self.answered.set(answered);
    }

    pub(super) fn answered(&self) -> Option<Answered> {
        self.answered.get().cloned()
    }
}

#[cfg(test)]
impl Live {
    /// The time to return is over.
    pub(super) fn forget_grace(&self) {
        self.attendance.send_modify(|attendance| attendance.keep_until = None);
    }

    pub(super) fn is_dropped(&self) -> bool {
        self.log.borrow().dropped
    }
}

#[cfg(test)]
impl Reader {
    pub(super) fn live_has_ended(&self) -> bool {
        self.live.has_ended()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.set_parked(None);
        self.share.give_back(self.bytes());
    }
}

/// What a reader gets next.
#[derive(Debug, PartialEq)]
pub(crate) enum Read {
    Event(Numbered),
    /// Before the first event, for readers that asked for it.
    Progress(Phase),
    /// The terminal event was the last.
    End,
    /// The events are gone; no terminal event was read.
    Gone,
}

/// How a request came to a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    First,
    Joined,
    Resumed,
}

impl Part {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Joined => "joined",
            Self::Resumed => "resumed",
        }
    }
}

/// One reader, anywhere in a stream. Dropping it is leaving.
pub(crate) struct Reader {
    pub(super) live: Arc<Live>,
    pub(super) part: Part,
    log: watch::Receiver<Log>,
    /// Events read or skipped so far: the number of the last one.
    read: u64,
    grace: Duration,
    /// The last phase it was told, where it wants to be told.
    progress: Option<(watch::Receiver<Phase>, Option<Phase>)>,
    _running: Running,
}

impl Reader {
    pub(super) fn new(live: Arc<Live>, part: Part, read: u64, grace: Duration, life: &Life) -> Self {
        live.attendance.send_modify(|attendance| {
            attendance.readers += 1;
            attendance.came += 1;
        });
        Self { log: live.log.subscribe(), live, part, read, grace, progress: None, _running: life.begin() }
    }

    /// Tells it of progress too, until its first event.
    #[must_use]
    pub(crate) fn with_progress(mut self) -> Self {
        self.progress = (self.read == 0).then(|| (self.live.phase.subscribe(), None));
        self
    }

    pub(crate) fn stream(&self) -> StreamId {
        self.live.id
    }

    pub(crate) fn asked(&self) -> &Asked {
        &self.live.asked
    }

    /// The number of the last event it has read, and of the last text among those.
    pub(crate) fn position(&self) -> (u64, u64) {
        let log = self.log.borrow();
        let read = &log.events[..log.events.len().min(self.read as usize)];
        let text = read.iter().rposition(|event| matches!(**event, Event::Text(_)));
        (self.read, text.map_or(0, |index| index as u64 + 1))
    }

    /// The next event, as soon as there is one. May be dropped while it waits without losing any.
    pub(crate) async fn next(&mut self) -> Read {
        loop {
            if let Some(read) = self.poll() {
                return read;
            }
            // The senders are in `live`, of which this reader has a share: neither wait can fail.
            match &mut self.progress {
                None => drop(self.log.changed().await),
                Some((phases, _)) => tokio::select! {
                    _ = self.log.changed() => {}
                    _ = phases.changed() => {}
                },
            }
        }
    }

    /// What there is to read without waiting.
    pub(crate) fn poll(&mut self) -> Option<Read> {
        let found = {
            let log = self.log.borrow_and_update();
            match log.events.get(self.read as usize) {
                Some(event) => Some(Read::Event(Numbered { number: self.read + 1, event: event.clone() })),
                None if log.dropped => Some(Read::Gone),
                None if log.ended => Some(Read::End),
                None => None,
            }
        };
        if let Some((phases, told)) = &mut self.progress {
            // Whatever it missed: before the first text it hears that the model writes.
            let text = matches!(&found, Some(Read::Event(next)) if matches!(*next.event, Event::Text(_)));
            let now = if text { Some(Phase::Writing) } else { phases.borrow_and_update().for_readers() };
            if let Some(now) = now
                && (found.is_none() || text)
                && told.replace(now) != Some(now)
            {
                return Some(Read::Progress(now));
            }
        }
        if matches!(found, Some(Read::Event(_))) {
            self.read += 1;
            self.progress = None;
        }
        found
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let until = (!self.grace.is_zero()).then(|| Instant::now() + self.grace);
        self.live.attendance.send_modify(|attendance| {
            attendance.readers -= 1;
            attendance.keep_until = attendance.keep_until.max(until);
        });
    }
}

fn is_terminal(event: &Event) -> bool {
    matches!(event, Event::Close(_) | Event::Error(_))
}

/// About what an event takes in memory.
pub(super) fn event_bytes(event: &Event) -> usize {
    let challenge = |challenge: &Challenge| {
        let Challenge { title, description, category, label } = challenge;
        title.len() + description.len() + category.len() + label.len()
    };
    let answer = |answer: &Answer| {
        let sources = answer.sources.iter().map(|source| {
            source.id.len() + source.title.len() + source.proof.as_ref().map_or(0, String::len)
        });
        answer.recommend.len()
            + answer.challenges.iter().map(challenge).sum::<usize>()
            + sources.sum::<usize>()
            + answer.sources.len() * size_of::<leafresh_chat::Source>()
    };
    // The event, its counters, and the pointer to it in the log.
    let fixed = size_of::<Event>() + 3 * size_of::<usize>();
    fixed
        + match event {
            Event::Text(text) => text.len(),
            Event::Challenge { challenge: done, .. } => challenge(done),
            Event::Close(closed) => answer(closed),
            Event::Error(_) => 0,
        }
}
