//! Who is asked: the member with the least to do, and who waits for one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use leafresh_engine::{Outlet, Queue};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use crate::client::Fault;
use crate::member::Member;
use crate::server::Server;
use crate::settings::Upstream;

/// Without a member for so long new requests are refused at once.
const HOPELESS: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Pool {
    members: Vec<Arc<Member>>,
    turns: Mutex<Turns>,
    /// Rises whenever a member was met or lost.
    news: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Turns {
    queue: Queue,
    waiting: BTreeMap<u64, Waiter>,
}

#[derive(Debug)]
struct Waiter {
    wish: Wish,
    reply: oneshot::Sender<Place>,
}

/// What a generation wants.
#[derive(Debug)]
pub(crate) struct Wish {
    /// Its number: of those that have run the lowest comes first.
    pub(crate) id: u64,
    pub(crate) client: u64,
    pub(crate) has_run: bool,
    pub(crate) adapter: Option<String>,
    /// The member that it would rather not have again.
    pub(crate) avoid: Option<usize>,
    pub(crate) outlet: Arc<Outlet>,
}

impl Pool {
    pub(crate) fn new(upstreams: Vec<Upstream>) -> Arc<Self> {
        let members = upstreams.into_iter().map(|upstream| Arc::new(Member::new(upstream))).collect();
        Arc::new(Self { members, turns: Mutex::default(), news: watch::Sender::new(0) })
    }

    /// Keeps all members in sight, in tasks that end with the runtime.
    pub(crate) fn keep(self: &Arc<Self>) {
        for member in &self.members {
            let (member, pool) = (member.clone(), Arc::downgrade(self));
            tokio::spawn(async move {
                member
                    .keep(|| {
                        if let Some(pool) = Weak::upgrade(&pool) {
                            pool.news.send_modify(|news| *news += 1);
                            pool.hand_out();
                        }
                    })
                    .await;
            });
        }
    }

    pub(crate) fn members(&self) -> &[Arc<Member>] {
        &self.members
    }

    pub(crate) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// Nobody could be asked for a while.
    pub(crate) fn is_hopeless(&self) -> bool {
        self.members
            .iter()
            .map(|member| member.look())
            .all(|look| look.server.is_none() && look.since.elapsed() >= HOPELESS)
    }

    /// Waits for a place.
    pub(crate) fn wait(self: &Arc<Self>, wish: Wish) -> Ticket {
        let (reply, place) = oneshot::channel();
        let id = wish.id;
        let mut turns = self.turns();
        if wish.has_run {
            turns.queue.push_returning(id);
        } else {
            turns.queue.push(id, wish.client);
        }
        turns.waiting.insert(id, Waiter { wish, reply });
        drop(turns);
        self.hand_out();
        Ticket { pool: self.clone(), id, place }
    }

    /// Gives places to those whose turn it is, as far as there are any.
    fn hand_out(self: &Arc<Self>) {
        let mut turns = self.turns();
        let order: Vec<u64> = turns.queue.order().collect();
        // Dropped when nobody holds the lock.
        let mut unwanted = Vec::new();
        for id in order {
            if !self.members.iter().any(|member| member.look().has_room) {
                break;
            }
            let Some(place) = turns.waiting.get(&id).and_then(|waiter| self.place(&waiter.wish)) else {
                continue;
            };
            turns.queue.take(id);
            if let Some(waiter) = turns.waiting.remove(&id) {
                unwanted.extend(waiter.reply.send(place).err());
            }
        }
        for (position, id) in turns.queue.order().enumerate() {
            if let Some(waiter) = turns.waiting.get(&id) {
                waiter.wish.outlet.set_position(Some(position + 1));
            }
        }
        drop(turns);
        drop(unwanted);
    }

    /// A place at the member that fits best: not one that was just at fault, one that keeps to grammars, and the one with the
    /// least to do.
    fn place(self: &Arc<Self>, wish: &Wish) -> Option<Place> {
        let looks = self.members.iter().enumerate().map(|(index, member)| (index, member.look()));
        let fits = looks
            .filter_map(|(index, look)| Some((index, look.running, look.server.filter(|_| look.has_room)?)));
        let knows = |server: &Server| {
            wish.adapter
                .as_ref()
                .is_none_or(|name| server.adapters.iter().any(|adapter| adapter.name == *name))
        };
        let (index, _, server) =
            fits.filter(|(_, _, server)| knows(server)).min_by_key(|(index, running, server)| {
                (wish.avoid == Some(*index), server.form.is_none(), *running)
            })?;
        self.members[index].begin();
        Some(Place { pool: self.clone(), index, server })
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the queue. Dropping it leaves.
#[derive(Debug)]
pub(crate) struct Ticket {
    pool: Arc<Pool>,
    id: u64,
    place: oneshot::Receiver<Place>,
}

impl Ticket {
    pub(crate) async fn place(mut self) -> Option<Place> {
        (&mut self.place).await.ok()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut turns = self.pool.turns();
        if turns.waiting.remove(&self.id).is_some() {
            turns.queue.remove(self.id);
            drop(turns);
            // Those behind have moved up.
            self.pool.hand_out();
        }
    }
}

/// A place at a member. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Place {
    pool: Arc<Pool>,
    pub(crate) index: usize,
    /// As it was when the place was given.
    pub(crate) server: Arc<Server>,
}

impl Place {
    pub(crate) fn member(&self) -> &Member {
        &self.pool.members[self.index]
    }

    /// It wasn't well served.
    pub(crate) fn blame(&self, fault: &Fault) {
        let rest = self.member().blame(fault);
        // Whoever waits for this member looks again then.
        let until = Instant::now() + rest;
        let pool = self.pool.clone();
        tokio::spawn(async move {
            tokio::time::sleep_until(until).await;
            pool.hand_out();
        });
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.member().end();
        self.pool.hand_out();
    }
}
