//! Where things lie in a repository's part of the cache.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::{Error, RepoId};

/// What our own temporary files begin with.
const TEMPORARY: &str = ".leafresh-";

/// Whose licence was accepted, beside the folders that others know.
const ACCEPTED: &str = ".leafresh-accepted";

/// What is on its way, beside its final name.
pub(super) const INCOMPLETE: &str = "incomplete";

/// One repository's folder.
#[derive(Debug)]
pub(crate) struct Layout {
    folder: PathBuf,
    locks: PathBuf,
}

impl Layout {
    pub(super) fn new(cache: &Path, repo: &RepoId) -> Self {
        let name = repo.folder();
        Self { folder: cache.join(&name), locks: cache.join(".locks").join(name) }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn locks(&self) -> &Path {
        &self.locks
    }

    pub(super) fn blobs(&self) -> PathBuf {
        self.folder.join("blobs")
    }

    /// Where a file's bytes lie.
    pub(crate) fn blob(&self, etag: &str) -> PathBuf {
        self.blobs().join(etag)
    }

    /// What has come of them; other tools of the Hub go on with it, too.
    pub(crate) fn incomplete(&self, etag: &str) -> PathBuf {
        self.blobs().join(format!("{etag}.{INCOMPLETE}"))
    }

    pub(super) fn lock(&self, etag: &str) -> PathBuf {
        self.locks.join(format!("{etag}.lock"))
    }

    pub(crate) fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    fn reference(&self, revision: &str) -> PathBuf {
        self.folder.join("refs").join(revision)
    }

    /// The commits' folders: that of `main` first, then those that were changed last.
    pub(super) fn snapshots(&self) -> Vec<PathBuf> {
        let main = fs::read_to_string(self.reference("main")).unwrap_or_default();
        let main = self.snapshot(main.trim());
        let entries = fs::read_dir(self.folder.join("snapshots")).into_iter().flatten().flatten();
        let mut found: Vec<(bool, SystemTime, PathBuf)> = entries
            .map(|entry| entry.path())
            .filter(|path| path.is_dir())
            .map(|path| {
                let changed = fs::metadata(&path).and_then(|about| about.modified());
                (path == main, changed.unwrap_or(SystemTime::UNIX_EPOCH), path)
            })
            .collect();
        found.sort();
        found.into_iter().rev().map(|(_, _, path)| path).collect()
    }

    /// Makes a file's bytes known by its name at a commit. In one step: whoever looks finds the old or the new one.
    pub(crate) fn link(&self, commit: &str, name: &str, etag: &str) -> Result<PathBuf, Error> {
        let link = self.snapshot(commit).join(name);
        let up = "../".repeat(1 + name.split('/').count());
        let temporary = prepare(&link)?;
        symlink(format!("{up}blobs/{etag}"), &temporary).map_err(Error::io(&temporary))?;
        fs::rename(&temporary, &link).map_err(Error::io(&link))?;
        Ok(link)
    }

    /// Notes which commit a branch or tag is.
    pub(crate) fn refer(&self, revision: &str, commit: &str) -> Result<(), Error> {
        // A commit is its own name.
        if revision == commit {
            return Ok(());
        }
        write_whole(&self.reference(revision), commit)
    }

    /// The licence that was accepted for it.
    pub(crate) fn accepted(&self) -> Option<String> {
        fs::read_to_string(self.folder.join(ACCEPTED)).ok()
    }

    pub(crate) fn accept(&self, licence: &str) -> Result<(), Error> {
        write_whole(&self.folder.join(ACCEPTED), licence)
    }
}

fn write_whole(path: &Path, text: &str) -> Result<(), Error> {
    let temporary = prepare(path)?;
    fs::write(&temporary, text).map_err(Error::io(&temporary))?;
    fs::rename(&temporary, path).map_err(Error::io(path))
}

/// A temporary name beside a path, in a folder that is made if need be; what a killed process left there goes.
fn prepare(path: &Path) -> Result<PathBuf, Error> {
    let folder = path.parent().unwrap_or(Path::new(""));
    fs::create_dir_all(folder).map_err(Error::io(folder))?;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if is_stale(&entry.file_name().to_string_lossy()) {
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(folder.join(format!("{TEMPORARY}{}", std::process::id())))
}

/// Whether a temporary file is of a process that is no more, or of this one, which makes it anew. Without a `/proc` nobody knows
/// of others.
fn is_stale(name: &str) -> bool {
    let number = name.strip_prefix(TEMPORARY).and_then(|number| number.parse::<u32>().ok());
    let ended = |number: u32| cfg!(target_os = "linux") && !Path::new(&format!("/proc/{number}")).exists();
    number.is_some_and(|number| number == std::process::id() || ended(number))
}

/// The files below a snapshot whose bytes are there, by their names in the repository.
pub(super) fn files(snapshot: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![snapshot.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(path);
            } else if path.is_file()
                && let Ok(name) = path.strip_prefix(snapshot)
                && let Some(name) = name.to_str().filter(|name| !name.starts_with(TEMPORARY))
            {
                found.push(name.to_owned());
            }
        }
    }
    found
}

/// Removes a folder and those above it, as far as they are empty, up to `top`.
pub(super) fn remove_empty(folder: &Path, top: &Path) {
    let folders = folder.ancestors().take_while(|folder| *folder != top && folder.starts_with(top));
    for folder in folders {
        if fs::remove_dir(folder).is_err() {
            return;
        }
    }
}

/// Bytes of a file, 0 when there is none.
pub(super) fn size(path: &Path) -> io::Result<u64> {
    match fs::metadata(path) {
        Ok(about) => Ok(about.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}
