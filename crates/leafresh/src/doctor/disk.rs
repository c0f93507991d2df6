//! Folders that are written: whether that is possible, and for how long.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use leafresh_engine::memory::bytes_as;
use leafresh_server::config::Config;
use rustix::fs::{Access, StatVfsMountFlags};
use rustix::io::Errno;

use super::finding::{Finding, Status};
use crate::shell::quoted;

const CHECK: &str = "disk";

/// A folder that the server writes into.
struct Folder {
    what: &'static str,
    path: PathBuf,
    /// How another one is named.
    setting: &'static str,
    /// Bytes below which it doesn't work, and below which it won't for long.
    least: u64,
    enough: u64,
    /// How bad it is when nothing can be written.
    without: Status,
}

/// What the system says of it, or of the nearest folder above that exists.
struct Found {
    /// The folder that was asked about.
    nearest: PathBuf,
    is_folder: bool,
    writable: Result<(), Refusal>,
    /// Bytes and files that may still be written. None: it doesn't say.
    free: Option<(u64, u64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    ReadOnly,
    /// By a user of this number; whether the folder is that user's own.
    Denied {
        user: u32,
        own: bool,
    },
}

pub(super) fn findings(config: &Config) -> Vec<Finding> {
    let mut findings = at_start(config);
    // Without a place for it nothing is fetched, and the server needs none.
    let cache = config.hub.cache().ok().map(|cache| Folder {
        what: "models that are fetched",
        path: cache.folder().to_owned(),
        setting: "hub.cache or HF_HUB_CACHE",
        least: 0,
        enough: 1 << 30,
        without: Status::Warning,
    });
    findings.extend(cache.map(|folder| judge(&folder, &look(&folder.path))));
    findings
}

/// What the server writes.
pub(super) fn at_start(config: &Config) -> Vec<Finding> {
    match folders(config) {
        Ok(folders) => folders.iter().map(|folder| judge(folder, &look(&folder.path))).collect(),
        Err(error) => {
            vec![Finding::failure(CHECK, error.to_string(), "name a folder that this user may write into")]
        }
    }
}

fn folders(config: &Config) -> Result<[Folder; 2], leafresh_server::config::Error> {
    Ok([
        Folder {
            what: "conversations, the index and what was learned",
            path: config.data.path()?,
            setting: "--data or data.dir",
            least: 32 << 20,
            enough: 1 << 30,
            without: Status::Failure,
        },
        Folder {
            what: "temporary files",
            path: std::env::temp_dir(),
            setting: "TMPDIR in the environment",
            least: 0,
            enough: 128 << 20,
            without: Status::Warning,
        },
    ])
}

fn look(path: &Path) -> Found {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let nearest = whole.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/")).to_owned();
    let stat = rustix::fs::statvfs(&nearest).ok();
    let user = rustix::process::getuid().as_raw();
    let read_only = stat.as_ref().is_some_and(|stat| stat.f_flag.contains(StatVfsMountFlags::RDONLY));
    let writable = match rustix::fs::access(&nearest, Access::WRITE_OK | Access::EXEC_OK) {
        Err(Errno::ROFS) => Err(Refusal::ReadOnly),
        Err(_) if read_only => Err(Refusal::ReadOnly),
        Err(_) => {
            let own = std::fs::metadata(&nearest).is_ok_and(|about| about.uid() == user);
            Err(Refusal::Denied { user, own })
        }
        Ok(()) => Ok(()),
    };
    Found {
        is_folder: nearest.is_dir(),
        nearest,
        writable,
        free: stat.map(|stat| {
            // File systems that make inodes as they need them say 0 of 0.
            let files = if stat.f_files == 0 { u64::MAX } else { stat.f_favail };
            (stat.f_bavail.saturating_mul(stat.f_frsize), files)
        }),
    }
}

fn judge(folder: &Folder, found: &Found) -> Finding {
    let Folder { what, path, setting, least, enough, without } = folder;
    let (place, nearest) = (path.display(), found.nearest.display());
    let bad =
        |says: String, advice: String| Finding { status: *without, ..Finding::failure(CHECK, says, advice) };
    let elsewhere = format!("name another folder with {setting}");
    if !found.is_folder {
        let says = format!("{place} ({what}): {nearest} is no folder");
        return bad(says, format!("move it away, or {elsewhere}"));
    }
    match found.writable {
        Err(Refusal::ReadOnly) => {
            let says = format!("{place} ({what}): the file system of {nearest} is read-only");
            let advice = format!("mount it writable (a container needs a volume there), or {elsewhere}");
            return bad(says, advice);
        }
        Err(Refusal::Denied { user, own }) => {
            let says = format!("{place} ({what}): user {user} may not write in {nearest}");
            let command = if own { "chmod u+rwx".to_owned() } else { format!("sudo chown {user}") };
            return bad(says, format!("let that user write there, or {elsewhere}"))
                .run(format!("{command} {}", quoted(&found.nearest)));
        }
        Ok(()) => {}
    }
    let Some((bytes, files)) = found.free else {
        return Finding::ok(CHECK, format!("{place} ({what}): writable; how much is free isn't known"));
    };
    let says = format!("{place} ({what}): {} free", bytes_as(bytes));
    let advice = format!("delete what isn't needed on that disk, or {elsewhere}");
    if files == 0 {
        let says = format!("{place} ({what}): no more files can be made on that disk, it has no inodes left");
        return bad(says, advice);
    }
    if bytes < *least {
        return bad(format!("{says}, at least {} are needed", bytes_as(*least)), advice);
    }
    if bytes < *enough {
        return Finding::warning(CHECK, format!("{says}, less than {}", bytes_as(*enough)), advice);
    }
    Finding::ok(CHECK, says)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> Folder {
        Folder {
            what: "data",
            path: "/srv/a b".into(),
            setting: "--data",
            least: 1 << 20,
            enough: 1 << 30,
            without: Status::Failure,
        }
    }

    fn free(bytes: u64, files: u64) -> Found {
        Found { nearest: "/srv".into(), is_folder: true, writable: Ok(()), free: Some((bytes, files)) }
    }

    #[test]
    fn a_folder_is_judged_by_what_can_be_written_there() {
        let refused = |refusal| Found { writable: Err(refusal), ..free(1 << 40, 9) };
        let cases = [
            (free(1 << 40, 9), Status::Ok, "1.0 TiB free", ""),
            (Found { free: None, ..free(0, 0) }, Status::Ok, "isn't known", ""),
            (free(1 << 29, 9), Status::Warning, "512.0 MiB free, less than 1.0 GiB", ""),
            (free(1 << 19, 9), Status::Failure, "at least 1.0 MiB", ""),
            (free(1 << 40, 0), Status::Failure, "no inodes", ""),
            (Found { is_folder: false, ..free(1 << 40, 9) }, Status::Failure, "/srv is no folder", ""),
            (refused(Refusal::ReadOnly), Status::Failure, "/srv is read-only", ""),
            (
                refused(Refusal::Denied { user: 7, own: false }),
                Status::Failure,
                "user 7 may not write in /srv",
                "sudo chown 7 /srv",
            ),
            (
                refused(Refusal::Denied { user: 7, own: true }),
                Status::Failure,
                "user 7 may not",
                "chmod u+rwx /srv",
            ),
        ];
        for (found, status, part, command) in cases {
            let finding = judge(&folder(), &found);
            assert!(finding.status == status && finding.says.contains(part), "{finding:?}");
            assert_eq!(finding.command.unwrap_or_default(), command);
            assert_eq!(finding.advice.is_some(), status != Status::Ok);
        }
        let temporary = Folder { without: Status::Warning, ..folder() };
        assert_eq!(judge(&temporary, &refused(Refusal::ReadOnly)).status, Status::Warning);
    }

    #[test]
    fn a_folder_that_is_yet_to_be_made_is_looked_at_where_it_will_be() {
        let dir = tempfile::tempdir().unwrap();
        let found = look(&dir.path().join("to/be/made"));
        assert!(found.is_folder && found.writable.is_ok() && found.free.is_some());
        assert_eq!(found.nearest, std::path::absolute(dir.path()).unwrap());
        std::fs::write(dir.path().join("file"), "").unwrap();
        assert!(!look(&dir.path().join("file/below")).is_folder);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing was made");
    }
}
