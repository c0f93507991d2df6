//! What others make impossible for a while, and is done later: writing while somebody holds the write lock, and emptying the
//! write-ahead log while somebody reads. Nobody waits for it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(250);

/// Shared with a thread that lives while there is something to be done.
#[derive(Debug)]
pub(crate) struct Upkeep {
    path: PathBuf,
    /// Writing is given up at once.
    blocked: AtomicBool,
    /// The log may hold words that were deleted.
    unscrubbed: AtomicBool,
    delays: AtomicU64,
    /// Whether the thread is there. Held while that is decided.
    working: Mutex<bool>,
}

impl Upkeep {
    pub(crate) fn new(path: &Path) -> Arc<Self> {
        Arc::new(Self {
            path: path.to_owned(),
            blocked: AtomicBool::new(false),
            unscrubbed: AtomicBool::new(false),
            delays: AtomicU64::new(0),
            working: Mutex::new(false),
        })
    }

    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Acquire)
    }

    /// How often deleted words stayed in the log at first.
    pub(crate) fn delays(&self) -> u64 {
        self.delays.load(Ordering::Relaxed)
    }

    /// Somebody held the write lock for too long: until it can be had again, nobody tries.
    pub(crate) fn block(self: &Arc<Self>) {
        if !self.blocked.swap(true, Ordering::AcqRel) {
            tracing::warn!(
                "another process holds the write lock of sessions.db: nothing is remembered until it lets go"
            );
        }
        self.work();
    }

    /// Empties the log, now if nobody reads it, else as soon as that is so.
    pub(crate) fn scrub(self: &Arc<Self>, connection: &Connection) {
        match scrub(connection) {
            Ok(true) => return,
            Ok(false) => tracing::warn!(
                "deleted conversations are still in sessions.db-wal, which another process reads; it is emptied as soon as \
                 that is possible"
            ),
            Err(error) => {
                tracing::warn!(%error, "deleted conversations are still in sessions.db-wal; it is tried again");
            }
        }
        self.delays.fetch_add(1, Ordering::Relaxed);
        self.unscrubbed.store(true, Ordering::Release);
        self.work();
    }

    fn is_needed(&self) -> bool {
        self.is_blocked() || self.unscrubbed.load(Ordering::Acquire)
    }

    fn work(self: &Arc<Self>) {
        let mut working = self.working.lock().unwrap_or_else(PoisonError::into_inner);
        if *working {
            return;
        }
        let shared = Arc::downgrade(self);
        let work = move || {
            loop {
                std::thread::sleep(PAUSE);
                // The store was closed: closing it empties the log.
                let Some(shared) = shared.upgrade() else { return };
                if let Err(error) = shared.attempt() {
                    tracing::debug!(%error, "sessions.db is still busy");
                }
                let mut working = shared.working.lock().unwrap_or_else(PoisonError::into_inner);
                if !shared.is_needed() {
                    *working = false;
                    return;
                }
            }
        };
        match std::thread::Builder::new().name("sessions".into()).spawn(work) {
            Ok(_) => *working = true,
            Err(error) => {
                // Whoever comes next waits once more, and tries again.
                self.blocked.store(false, Ordering::Release);
                tracing::warn!(%error, "there is no thread to wait for sessions.db");
            }
        }
    }

    /// On a connection of its own: the store's is not held for it.
    fn attempt(&self) -> rusqlite::Result<()> {
        let mut connection = Connection::open(&self.path)?;
        connection.busy_timeout(Duration::ZERO)?;
        if self.is_blocked() {
            connection.transaction_with_behavior(TransactionBehavior::Immediate)?.rollback()?;
            self.blocked.store(false, Ordering::Release);
            tracing::info!("sessions.db can be written again");
        }
        if self.unscrubbed.load(Ordering::Acquire) && scrub(&connection)? {
            self.unscrubbed.store(false, Ordering::Release);
            tracing::info!("deleted conversations are out of sessions.db-wal");
        }
        Ok(())
    }
}

/// Writes what was overwritten into the file itself, and empties the log, which would keep words that were deleted. False: a
/// reader is in the way. SQLite says so in a row, not with an error.
fn scrub(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| Ok(row.get::<_, i64>(0)? == 0))
}
