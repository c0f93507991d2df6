//! Sessions in one SQLite file.

mod ratings;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Params, Transaction, TransactionBehavior, params};
use time::OffsetDateTime;

use crate::schema::{self, APPLICATION_ID, MIGRATIONS};
use crate::upkeep::Upkeep;
use crate::{
    Error, Faults, Rated, Rating, Role, Session, SessionKey, SessionLimits, SessionStore, Standing, Turn,
    Update,
};

/// How long a write waits for another process that has the file, a backup for instance. The next ones don't: see [`Upkeep`].
const PATIENCE: Duration = Duration::from_secs(2);

/// Documents remembered as offered, for one session: more than most catalogues hold.
const MAX_OFFERED: i64 = 2000;

/// What is left of the write-ahead log after a checkpoint, in bytes.
const LOG_KEPT: i64 = 1 << 20;

/// How a file is opened.
#[derive(Debug, Clone, Default)]
pub struct Options {
    pub limits: SessionLimits,
    /// For tests: writes that fail, and a disk of so many pages of 4 KiB. 0: no bound.
    pub faults: Arc<Faults>,
    pub max_pages: u32,
}

/// Sessions in a file, with a write-ahead log beside it. One connection: calls wait for each other.
#[derive(Debug)]
pub struct Sqlite {
    connection: Mutex<Connection>,
    limits: SessionLimits,
    faults: Arc<Faults>,
    upkeep: Arc<Upkeep>,
    /// Sessions made room for others since the log was emptied.
    made_room: AtomicBool,
}

impl Sqlite {
    /// Opens the file, or makes it and its folder, readable for this user only.
    ///
    /// # Errors
    /// [`Error::Open`] when that isn't possible, [`Error::NoLocks`] when its file system can't lock files, [`Error::Newer`] when
    /// a newer version has written it.
    pub fn open(path: &Path, options: Options) -> Result<Self, Error> {
        let fail = |reason: String| Error::Open { path: path.to_owned(), reason };
        private(path).map_err(|error| fail(error.to_string()))?;
        let mut connection = Connection::open(path).map_err(|error| fail(error.to_string()))?;
        prepare(&mut connection, path).map_err(|error| match error {
            Error::Newer { .. } => error,
            Error::Busy if !locks(path) => Error::NoLocks(path.to_owned()),
            Error::Sqlite(error) if is_about_locks(&error) => Error::NoLocks(path.to_owned()),
            other => fail(other.to_string()),
        })?;
        if options.max_pages > 0 {
            connection.pragma_update_and_check(None, "max_page_count", options.max_pages, |_| Ok(()))?;
        }
        Ok(Self {
            connection: Mutex::new(connection),
            limits: options.limits,
            faults: options.faults,
            upkeep: Upkeep::new(path),
            made_room: AtomicBool::new(false),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A thread that panicked has rolled its transaction back.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` in a transaction that is committed whole or not at all.
    fn write<T>(&self, work: impl FnOnce(&Writer) -> Result<T, Error>) -> Result<T, Error> {
        self.noticing(|connection| self.commit(connection, work))
    }

    /// Calls the database. Whoever finds it busy waits once for all: those behind it, and those who come later, are told at
    /// once until it can be had again.
    fn noticing<T>(&self, call: impl FnOnce(&mut Connection) -> Result<T, Error>) -> Result<T, Error> {
        if self.upkeep.is_blocked() {
            return Err(Error::Busy);
        }
        let mut connection = self.lock();
        if self.upkeep.is_blocked() {
            return Err(Error::Busy);
        }
        let result = call(&mut connection);
        if matches!(result, Err(Error::Busy)) {
            self.upkeep.block();
        }
        result
    }

    fn commit<T>(
        &self,
        connection: &mut Connection,
        work: impl FnOnce(&Writer) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.faults.pass()?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let writer = Writer { transaction, faults: &self.faults };
        let result = work(&writer)?;
        self.faults.pass()?;
        writer.transaction.commit()?;
        Ok(result)
    }

    fn scrub(&self) {
        let connection = self.lock();
        // Whoever deletes doesn't wait for others to have read.
        let _ = connection.busy_timeout(Duration::ZERO);
        self.upkeep.scrub(&connection);
        let _ = connection.busy_timeout(PATIENCE);
    }

    fn read(
        connection: &mut Connection,
        key: &SessionKey,
        now: OffsetDateTime,
    ) -> Result<Option<Session>, Error> {
        // One transaction, so that the three tables fit together.
        let transaction = connection.transaction()?;
        let found = transaction
            .prepare_cached(
                "SELECT number, base_category, category, location, work_type, expires_at, adapter FROM sessions
                 WHERE owner = ?1 AND id = ?2 AND expires_at > ?3",
            )?
            .query_row(params![key.owner, key.id, millis(now)], |row| {
                let standing = Standing {
                    base_category: row.get(1)?,
                    category: row.get(2)?,
                    location: row.get(3)?,
                    work_type: row.get(4)?,
                    adapter: row.get(6)?,
                };
                Ok((row.get::<_, i64>(0)?, standing, instant(row.get(5)?)))
            })
            .optional()?;
        let Some((number, standing, expires_at)) = found else {
            return Ok(None);
        };
        let turns = transaction
            .prepare_cached("SELECT role, text, at FROM turns WHERE session = ?1 ORDER BY number")?
            .query_map([number], |row| {
                let role = Role::parse(&row.get::<_, String>(0)?);
                Ok(Turn { role, text: row.get(1)?, at: instant(row.get(2)?) })
            })?
            .collect::<Result<_, _>>()?;
        let offered = transaction
            .prepare_cached("SELECT document FROM offered WHERE session = ?1 ORDER BY number")?
            .query_map([number], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        Ok(Some(Session { standing, turns, offered, expires_at }))
    }
}

/// A file that only its owner may read, in a folder that is made if need be.
fn private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    if let Some(parent) = path.parent().filter(|parent| *parent != PathBuf::new()) {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path).map(drop)
}

fn prepare(connection: &mut Connection, path: &Path) -> Result<(), Error> {
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    // A commit is on the disk before it returns, whatever happens to the machine.
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // Deleted rows are overwritten with zeros.
    connection.pragma_update_and_check(None, "secure_delete", true, |_| Ok(()))?;
    connection.pragma_update_and_check(None, "journal_size_limit", LOG_KEPT, |_| Ok(()))?;
    schema::migrate(connection, path, MIGRATIONS)?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    Ok(())
}

/// Whether files beside this one can be locked. SQLite says "busy" where a network disk has no lock service, too; a file that
/// nobody else knows isn't.
fn locks(path: &Path) -> bool {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!("-locks-{}", std::process::id()));
    let probe = path.with_file_name(name);
    let tried = Connection::open(&probe).and_then(|connection| {
        connection.busy_timeout(Duration::ZERO)?;
        connection.execute_batch("BEGIN EXCLUSIVE; ROLLBACK")
    });
    let _ = std::fs::remove_file(&probe);
    !tried.is_err_and(|error| {
        error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy) || is_about_locks(&error)
    })
}

/// What SQLite says where locking fails otherwise than by waiting for others.
fn is_about_locks(error: &rusqlite::Error) -> bool {
    use rusqlite::ffi::{
        SQLITE_IOERR_CHECKRESERVEDLOCK, SQLITE_IOERR_LOCK, SQLITE_IOERR_RDLOCK, SQLITE_IOERR_SHMLOCK,
        SQLITE_IOERR_UNLOCK, SQLITE_NOLFS, SQLITE_PROTOCOL,
    };

    error.sqlite_error().is_some_and(|error| {
        matches!(
            error.extended_code,
            SQLITE_IOERR_LOCK
                | SQLITE_IOERR_RDLOCK
                | SQLITE_IOERR_SHMLOCK
                | SQLITE_IOERR_UNLOCK
                | SQLITE_IOERR_CHECKRESERVEDLOCK
                | SQLITE_NOLFS
                | SQLITE_PROTOCOL
        )
    })
}

/// A transaction whose writes can be made to fail.
struct Writer<'a> {
    transaction: Transaction<'a>,
    faults: &'a Faults,
}

impl Writer<'_> {
    fn execute(&self, sql: &str, params: impl Params) -> Result<usize, Error> {
        self.faults.pass()?;
        Ok(self.transaction.prepare_cached(sql)?.execute(params)?)
    }

    /// The session's row, new or with what it now says.
    fn session(&self, key: &SessionKey, standing: &Standing, expires_at: i64) -> Result<i64, Error> {
        self.execute(
            "INSERT INTO sessions (owner, id, base_category, category, location, work_type, expires_at, adapter)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (owner, id) DO UPDATE SET base_category = ?3, category = ?4, location = ?5, work_type = ?6,
                 expires_at = ?7, adapter = ?8",
            params![
                key.owner,
                key.id,
                standing.base_category,
                standing.category,
                standing.location,
                standing.work_type,
                expires_at,
                standing.adapter
            ],
        )?;
        let mut find =
            self.transaction.prepare_cached("SELECT number FROM sessions WHERE owner = ?1 AND id = ?2")?;
        Ok(find.query_row(params![key.owner, key.id], |row| row.get(0))?)
    }

    /// The number after the last one that `table` has for the session.
    fn next(&self, table: &str, session: i64) -> Result<i64, Error> {
        let sql = format!("SELECT coalesce(max(number), 0) + 1 FROM {table} WHERE session = ?1");
        Ok(self.transaction.prepare_cached(&sql)?.query_row([session], |row| row.get(0))?)
    }

    /// Leaves the newest `kept` rows that `table` has for the session.
    fn trim(&self, table: &str, session: i64, kept: i64) -> Result<(), Error> {
        let newest = self.next(table, session)? - 1;
        self.execute(
            &format!("DELETE FROM {table} WHERE session = ?1 AND number <= ?2"),
            params![session, newest - kept],
        )?;
        Ok(())
    }

    /// Leaves the sessions that were used last, `kept` of them and this one always: an owner's, or all. 0: any number. How
    /// many were forgotten.
    fn make_room(&self, session: i64, owner: Option<&str>, kept: u32) -> Result<usize, Error> {
        if kept == 0 {
            return Ok(0);
        }
        let of = if owner.is_some() { "owner = ?3" } else { "?3 IS NULL" };
        let sql = format!(
            "DELETE FROM sessions WHERE number != ?1 AND number IN (
                 SELECT number FROM sessions WHERE {of} ORDER BY expires_at DESC, number = ?1 DESC, number DESC LIMIT -1 OFFSET ?2)"
        );
        self.execute(&sql, params![session, kept, owner])
    }
}

impl SessionStore for Sqlite {
    fn load(&self, key: &SessionKey, now: OffsetDateTime) -> Result<Option<Session>, Error> {
        self.noticing(|connection| Self::read(connection, key, now))
    }

    fn record(&self, key: &SessionKey, update: &Update, now: OffsetDateTime) -> Result<(), Error> {
        let expires_at = now + time::Duration::days(i64::from(self.limits.days));
        self.write(|writer| {
            // An expired session that nobody has purged yet is none.
            writer.execute(
                "DELETE FROM sessions WHERE owner = ?1 AND id = ?2 AND expires_at <= ?3",
                params![key.owner, key.id, millis(now)],
            )?;
            let session = writer.session(key, &update.standing, millis(expires_at))?;
            let next = writer.next("turns", session)?;
            for (number, turn) in (next..).zip(&update.turns) {
                let answer = update.answer.as_ref().filter(|_| turn.role == Role::Assistant);
                writer.execute(
                    "INSERT INTO turns (session, number, role, text, at, answer) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    params![session, number, turn.role.as_str(), turn.text, millis(turn.at), answer],
                )?;
            }
            let next = writer.next("offered", session)?;
            for (number, document) in (next..).zip(&update.offered) {
                writer.execute(
                    "INSERT INTO offered (session, document, number) VALUES (?1, ?2, ?3)
                     ON CONFLICT (session, document) DO UPDATE SET number = ?3",
                    params![session, document, number],
                )?;
            }
            writer.trim("turns", session, i64::from(self.limits.turns))?;
            writer.trim("offered", session, MAX_OFFERED)?;
            let SessionLimits { per_owner, most, .. } = self.limits;
            let forgotten = writer.make_room(session, Some(&key.owner), per_owner)?
                + writer.make_room(session, None, most)?;
            if forgotten > 0 {
                self.made_room.store(true, Ordering::Relaxed);
            }
            Ok(())
        })
    }

    fn rate(
        &self,
        key: &SessionKey,
        answer: &str,
        rating: Option<Rating>,
        now: OffsetDateTime,
    ) -> Result<bool, Error> {
        let sql = "UPDATE turns SET rating = ?1 WHERE answer = ?2 AND session =
                       (SELECT number FROM sessions WHERE owner = ?3 AND id = ?4 AND expires_at > ?5)";
        let rating = rating.map(Rating::as_str);
        let rated = self
            .write(|writer| writer.execute(sql, params![rating, answer, key.owner, key.id, millis(now)]))?;
        Ok(rated > 0)
    }

    fn rated(&self, now: OffsetDateTime) -> Result<Vec<Rated>, Error> {
        self.noticing(|connection| ratings::read(connection, millis(now)))
    }

    fn delete(&self, key: &SessionKey) -> Result<(), Error> {
        let sql = "DELETE FROM sessions WHERE owner = ?1 AND id = ?2";
        let deleted = self.write(|writer| writer.execute(sql, params![key.owner, key.id]))?;
        if deleted > 0 {
            self.scrub();
        }
        Ok(())
    }

    fn delayed_scrubs(&self) -> u64 {
        self.upkeep.delays()
    }

    fn purge(&self, now: OffsetDateTime) -> Result<usize, Error> {
        let sql = "DELETE FROM sessions WHERE expires_at <= ?1";
        let purged = self.write(|writer| writer.execute(sql, [millis(now)]))?;
        if purged > 0 || self.made_room.swap(false, Ordering::Relaxed) {
            self.scrub();
        }
        Ok(purged)
    }
}

fn millis(at: OffsetDateTime) -> i64 {
    (at.unix_timestamp_nanos() / 1_000_000) as i64
}

fn instant(millis: i64) -> OffsetDateTime {
    // Out of range only in a file that somebody else has written.
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests;
