//! The stored conversations. Nothing of what people wrote is read but by SQLite's own check.

use std::path::{Path, PathBuf};
use std::time::Duration;

use leafresh_engine::memory::bytes_as;
use leafresh_server::assemble;
use leafresh_server::config::Config;
use leafresh_store::{Error, Examined, examine};

use super::finding::Finding;
use super::proc::{self, Lock, Process};
use crate::shell::quoted;

const CHECK: &str = "sessions";

/// Where SQLite locks in `sessions.db-shm`: writing, and having the file open (`sqlite3.c`, "UNIX_SHM_BASE" and
/// "UNIX_SHM_DMS").
const WRITING: u64 = 120;
const OPEN: u64 = 128;

/// A turn is written in milliseconds: who still writes after so many looks holds others up.
const LOOKS: u32 = 5;
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

/// A write-ahead log of more than this, in bytes, isn't emptied any more: the server keeps it below one mebibyte.
const LARGE_LOG: u64 = 64 << 20;

pub(super) fn finding(config: &Config) -> Finding {
    let path = match assemble::sessions_file(config) {
        Ok(path) => path,
        Err(error) => {
            return Finding::failure(CHECK, error.to_string(), "name a folder with --data or data.dir");
        }
    };
    let shared = with_ending(&path, "-shm");
    let holders = |start: u64| -> Vec<Process> {
        let locks = proc::locks(&shared).into_iter().filter(|lock| lock.start == start);
        locks.map(Lock::process).collect()
    };
    let mut writer = None;
    for look in 0..LOOKS {
        if look > 0 {
            std::thread::sleep(BETWEEN_LOOKS);
        }
        writer = holders(WRITING).pop();
        if writer.is_none() {
            break;
        }
    }
    judge(&path, &examine(&path), writer.as_ref(), &holders(OPEN))
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// `writer`: who holds the write lock for longer than a turn takes; `users`: who has the file open.
fn judge(
    path: &Path,
    examined: &Result<Option<Examined>, Error>,
    writer: Option<&Process>,
    users: &[Process],
) -> Finding {
    let place = path.display();
    let examined = match examined {
        Ok(Some(examined)) => examined,
        Ok(None) => return Finding::ok(CHECK, format!("{place}: none yet; the server makes it")),
        Err(error) => {
            let advice = "let this user read and write it, use the version that wrote it, or move it away to begin anew";
            return Finding::failure(CHECK, error.to_string(), advice);
        }
    };
    let Examined { bytes, log_bytes, layout, sessions, damage } = examined;
    if !damage.is_empty() {
        let says = format!("{place} is damaged: {}", damage.join("; ").replace('\n', " "));
        let advice = if users.is_empty() {
            "put a backup in its place, try SQLite's `.recover`, or move it away: the server begins with none"
                .to_owned()
        } else {
            format!("stop {} first; then put a backup in its place, or move it away", proc::list(users))
        };
        let moved = quoted(&with_ending(path, ".damaged"));
        return Finding::failure(CHECK, says, advice).run(format!("mv {} {moved}", quoted(path)));
    }
    let used = if users.is_empty() { String::new() } else { format!("; open in {}", proc::list(users)) };
    let says = format!(
        "{place}: {}, layout {layout}, {}, write-ahead log {}{used}",
        super::finding::plural(*sessions as usize, "conversation"),
        bytes_as(*bytes),
        bytes_as(*log_bytes)
    );
    if let Some(writer) = writer {
        let advice =
            "nothing is remembered until it lets go: end it, or wait for it (a backup, `sqlite3` left open)";
        return Finding::warning(CHECK, format!("{says}; {writer} holds the write lock"), advice);
    }
    if *log_bytes > LARGE_LOG {
        let advice = "somebody reads for a long time and keeps it from being emptied: end that program";
        return Finding::warning(CHECK, says, advice);
    }
    Finding::ok(CHECK, says)
}

#[cfg(test)]
mod tests {
    use super::super::finding::Status;
    use super::*;

    #[test]
    fn conversations_are_judged_by_their_file_and_by_who_has_it() {
        let path = Path::new("data/sessions.db");
        let whole = || Examined { bytes: 4096, log_bytes: 0, layout: 2, sessions: 1, damage: Vec::new() };
        let damaged = Examined { damage: vec!["row 3 is\nmissing".into()], ..whole() };
        let newer = Error::Newer { path: path.into(), found: 9, known: 2 };
        let other = Process { pid: 7, name: "sqlite3".into() };
        let cases = [
            (Ok(None), None, Status::Ok, "none yet"),
            (Ok(Some(whole())), None, Status::Ok, "1 conversation, layout 2, 4.0 KiB"),
            (Ok(Some(whole())), Some(&other), Status::Warning, "sqlite3 (process 7) holds the write lock"),
            (Ok(Some(Examined { log_bytes: 1 << 30, ..whole() })), None, Status::Warning, "log 1.0 GiB"),
            (Ok(Some(damaged)), None, Status::Failure, "damaged: row 3 is missing"),
            (Err(newer), None, Status::Failure, "layout 9"),
        ];
        for (examined, writer, status, part) in cases {
            let finding = judge(path, &examined, writer, &[]);
            assert!(finding.status == status && finding.says.contains(part), "{finding:?}");
        }
        let used = judge(path, &Ok(Some(whole())), None, &[other]);
        assert!(used.says.ends_with("; open in sqlite3 (process 7)"), "{used:?}");
    }
}
