//! A look at a file of sessions that changes nothing: for whoever wants to know whether it is whole.

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::Error;
use crate::schema::{APPLICATION_ID, MIGRATIONS};

/// Faults that are named; a damaged file has thousands.
const FAULTS: usize = 3;

/// What a file of sessions is like.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Examined {
    /// Bytes of the file, and of the write-ahead log beside it.
    pub bytes: u64,
    pub log_bytes: u64,
    /// The version of its layout; an older one is brought up to date when the file is opened.
    pub layout: usize,
    pub sessions: u64,
    /// What is wrong with it. Empty: it is whole.
    pub damage: Vec<String>,
}

/// Reads all of the file, with SQLite's own check of it. None: there is no file.
///
/// # Errors
/// [`Error::Open`] when it can't be read or is another program's, [`Error::Newer`] when a newer version has written it.
pub fn examine(path: &Path) -> Result<Option<Examined>, Error> {
    let fail = |reason: String| Error::Open { path: path.to_owned(), reason };
    let Some(bytes) = size(path).map_err(|error| fail(error.to_string()))? else { return Ok(None) };
    let log_bytes = size(&beside(path, "-wal")).ok().flatten().unwrap_or(0);
    let mut examined = Examined { bytes, log_bytes, ..Examined::default() };
    // What is opened as unchanging may be opened by a server meanwhile: then it is looked at once more.
    for _ in 0..2 {
        let alone = is_alone(path);
        match read(path, alone, &mut examined) {
            Ok(()) => {}
            Err(Error::Sqlite(error)) if is_damage(&error) => examined.damage = vec![error.to_string()],
            Err(Error::Sqlite(error)) => return Err(fail(error.to_string())),
            Err(error) => return Err(error),
        }
        if examined.damage.is_empty() || alone == is_alone(path) {
            break;
        }
    }
    Ok(Some(examined))
}

fn read(path: &Path, alone: bool, examined: &mut Examined) -> Result<(), Error> {
    let connection = open(path, alone)?;
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    examined.layout = number("user_version")? as usize;
    if examined.layout > MIGRATIONS.len() {
        let (found, known) = (examined.layout, MIGRATIONS.len());
        return Err(Error::Newer { path: path.to_owned(), found, known });
    }
    let owner = number("application_id")?;
    if owner != 0 && owner != i64::from(APPLICATION_ID) {
        return Err(Error::Open { path: path.to_owned(), reason: "is another program's database".into() });
    }
    let mut check = connection.prepare(&format!("PRAGMA integrity_check({FAULTS})"))?;
    let said: Vec<String> = check.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    examined.damage = said.into_iter().filter(|line| line != "ok").collect();
    if examined.layout > 0 {
        let count = connection.query_row("SELECT count(*) FROM sessions", [], |row| row.get::<_, i64>(0))?;
        examined.sessions = count as u64;
    }
    Ok(())
}

/// Whether no process has it open, and all that was written is in the file itself.
fn is_alone(path: &Path) -> bool {
    !beside(path, "-shm").exists() && !matches!(size(&beside(path, "-wal")), Ok(Some(1..)))
}

/// SQLite would make the files beside it for a reader too, if it weren't told that nobody writes.
fn open(path: &Path, alone: bool) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if !alone {
        return Connection::open_with_flags(path, flags);
    }
    let mut name = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(byte) {
            name.push(char::from(*byte));
        } else {
            // Writing to a string can't fail.
            let _ = write!(name, "%{byte:02X}");
        }
    }
    name.push_str("?immutable=1");
    Connection::open_with_flags(name, flags | OpenFlags::SQLITE_OPEN_URI)
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt))
}

/// None: there is no such file.
fn size(path: &Path) -> std::io::Result<Option<u64>> {
    match std::fs::metadata(path) {
        Ok(about) => Ok(Some(about.len())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use time::OffsetDateTime;

    use super::*;
    use crate::{Options, SessionKey, SessionStore, Sqlite, Standing, Update};

    /// A folder with a name that a URI has to write otherwise.
    fn folder() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d?a#ta 50%").join("sessions.db");
        (dir, path)
    }

    fn remember(store: &Sqlite, id: &str) {
        let key = SessionKey { owner: String::new(), id: id.into() };
        let standing = Standing {
            base_category: "VEGAN".into(),
            category: "VEGAN".into(),
            location: None,
            work_type: None,
            adapter: None,
        };
        let update = Update { standing, turns: Vec::new(), answer: None, offered: Vec::new() };
        store.record(&key, &update, OffsetDateTime::now_utc()).unwrap();
    }

    /// Names and contents of what lies beside it.
    fn around(path: &Path) -> BTreeMap<std::ffi::OsString, Vec<u8>> {
        let entries = std::fs::read_dir(path.parent().unwrap()).unwrap();
        entries
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.file_name(), std::fs::read(entry.path()).unwrap()))
            .collect()
    }

    #[test]
    fn a_file_is_looked_at_open_or_closed_and_nothing_changes() {
        let (_dir, path) = folder();
        assert_eq!(examine(&path).unwrap(), None);
        let store = Sqlite::open(&path, Options::default()).unwrap();
        remember(&store, "a");
        remember(&store, "b");
        let open = examine(&path).unwrap().unwrap();
        assert_eq!((open.sessions, open.layout, open.damage.len()), (2, MIGRATIONS.len(), 0));
        assert!(open.log_bytes > 0);
        remember(&store, "c");
        drop(store);
        let before = around(&path);
        let closed = examine(&path).unwrap().unwrap();
        assert_eq!((closed.sessions, closed.log_bytes, closed.damage.len()), (3, 0, 0));
        assert_eq!(around(&path), before);
    }

    #[test]
    fn a_damaged_file_a_newer_one_and_another_program_s_are_told_apart() {
        let (_dir, path) = folder();
        let store = Sqlite::open(&path, Options::default()).unwrap();
        (0..200).for_each(|number| remember(&store, &number.to_string()));
        drop(store);
        let whole = std::fs::read(&path).unwrap();

        let mut holed = whole.clone();
        let middle = holed.len() / 2;
        holed[middle..].fill(0x5a);
        std::fs::write(&path, holed).unwrap();
        let examined = examine(&path).unwrap().unwrap();
        assert!(!examined.damage.is_empty(), "{examined:?}");
        std::fs::write(&path, "this is no database, whatever its name says").unwrap();
        assert!(!examine(&path).unwrap().unwrap().damage.is_empty());

        std::fs::write(&path, &whole).unwrap();
        let connection = Connection::open(&path).unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        drop(connection);
        assert!(matches!(examine(&path), Err(Error::Newer { found: 99, .. })));

        std::fs::write(&path, &whole).unwrap();
        let connection = Connection::open(&path).unwrap();
        connection.pragma_update(None, "application_id", 7).unwrap();
        drop(connection);
        let error = examine(&path).unwrap_err().to_string();
        assert!(error.contains("another program's"), "{error}");
    }
}
