//! Which streams there are, and which request each of them answers.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Weak};

use tokio::time::Instant;

use super::log::Live;
use super::{Asked, StreamId};

/// All streams that can be joined or resumed. The caller says what time it is.
#[derive(Default)]
pub(super) struct Index {
    streams: HashMap<StreamId, Arc<Live>>,
    by_request: HashMap<Asked, StreamId>,
    /// Those that have ended, and until when they are kept: in that order, for all are kept equally long.
    ended: VecDeque<(Instant, StreamId)>,
    /// Memory of each owner's streams.
    bytes: HashMap<String, Weak<AtomicUsize>>,
}

/// A stream whose events are those that an equal request wants.
pub(super) struct Joined(pub(super) Arc<Live>);

impl Index {
    pub(super) fn insert(&mut self, live: Arc<Live>) {
        let asked = live.asked();
        if can_be_joined(asked) {
            self.by_request.insert(asked.clone(), live.id());
        }
        self.streams.insert(live.id(), live);
    }

    pub(super) fn get(&self, id: StreamId) -> Option<Arc<Live>> {
        self.streams.get(&id).cloned()
    }

    /// The stream that an equal request joins: one that runs, with a request id also one that has been answered.
    pub(super) fn find(&self, asked: &Asked) -> Option<Joined> {
        let live = self.streams.get(self.by_request.get(asked)?)?;
        // What failed or was cancelled is asked for again in the hope of an answer.
        let joinable = !live.has_ended() || (asked.request_id.is_some() && live.has_closed());
        joinable.then(|| Joined(live.clone()))
    }

    /// A stream has ended and is kept until then.
    pub(super) fn ended(&mut self, live: &Live, until: Instant) {
        if self.streams.contains_key(&live.id()) {
            self.ended.push_back((until, live.id()));
        }
    }

    /// What has been kept long enough can't be found any more. Whoever is still reading it, slowly, reads it to its end.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some((_, id)) = self.ended.pop_front_if(|(until, _)| *until <= now) {
            self.remove(id);
        }
    }

    /// What the memory of an owner's streams is counted in.
    pub(super) fn bytes_of(&mut self, owner: &str) -> Arc<AtomicUsize> {
        if let Some(bytes) = self.bytes.get(owner).and_then(Weak::upgrade) {
            return bytes;
        }
        self.bytes.retain(|_, bytes| bytes.strong_count() > 0);
        let bytes = Arc::<AtomicUsize>::default();
        self.bytes.insert(owner.to_owned(), Arc::downgrade(&bytes));
        bytes
    }

    /// Of one owner's, or of all. False when none has ended.
    pub(super) fn drop_oldest_ended(&mut self, owner: Option<&str>) -> bool {
        let is_meant = |(_, id): &(Instant, StreamId)| {
            owner.is_none_or(|owner| self.streams.get(id).is_some_and(|live| live.owner() == owner))
        };
        let oldest = self.ended.iter().position(is_meant);
        let Some((_, id)) = oldest.and_then(|at| self.ended.remove(at)) else { return false };
        if let Some(live) = self.remove(id) {
            live.drop_events();
        }
        true
    }

    /// The stream that has waited for its reader for the longest time, of one owner's or of all.
    pub(super) fn longest_parked(&self, owner: Option<&str>) -> Option<&Arc<Live>> {
        let meant = self.streams.values().filter(|live| owner.is_none_or(|owner| live.owner() == owner));
        let parked = meant.filter_map(|live| Some((live.parked_since()?, live)));
        parked.min_by_key(|(since, _)| *since).map(|(_, live)| live)
    }

    /// Takes out all streams of a session.
    pub(super) fn take_session(&mut self, owner: &str, session: &str) -> Vec<Arc<Live>> {
        let of_session = |live: &&Arc<Live>| {
            let command = &live.asked().command;
            command.owner() == owner && command.session_id() == Some(session)
        };
        let ids: Vec<_> = self.streams.values().filter(of_session).map(|live| live.id()).collect();
        ids.into_iter().filter_map(|id| self.remove(id)).collect()
    }

    /// Those that have not ended.
    pub(super) fn running(&self) -> impl Iterator<Item = &Arc<Live>> {
        self.streams.values().filter(|live| !live.has_ended())
    }

    pub(super) fn remove(&mut self, id: StreamId) -> Option<Arc<Live>> {
        let live = self.streams.remove(&id)?;
        // The same request may have another stream by now.
        if self.by_request.get(live.asked()) == Some(&id) {
            self.by_request.remove(live.asked());
        }
        Some(live)
    }
}

/// Without a session and a request id, two equal requests are two people's.
fn can_be_joined(asked: &Asked) -> bool {
    asked.request_id.is_some() || asked.command.session_id().is_some()
}
