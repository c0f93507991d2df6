//! The cache that the Hub's tools share.

mod layout;
mod tidy;

use std::fs::{self, File, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::{Error, Reference, RepoId, settings};

pub(crate) use layout::Layout;
pub use tidy::Leftover;

/// A folder with what was fetched from the Hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    folder: PathBuf,
}

/// A GGUF file in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cached {
    pub repo: RepoId,
    /// In the repository.
    pub name: String,
    /// Of the repository: 40 hexadecimal digits.
    pub commit: String,
    /// Where it is found by its name, and where its bytes lie.
    pub path: PathBuf,
    pub blob: PathBuf,
    pub bytes: u64,
}

/// Whether a file is what the Hub has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    Whole,
    /// With the SHA-256 that was found.
    Differs(String),
    /// It isn't named by a SHA-256.
    Unknown,
}

impl Cache {
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Where the environment says that the cache is (`HF_HUB_CACHE`, `HF_HOME`); `lookup` reads a variable.
    pub fn named(lookup: &dyn Fn(&str) -> Option<std::ffi::OsString>) -> Option<PathBuf> {
        settings::named_cache(lookup)
    }

    /// Where the Hub's tools have it if nothing is said. None: there is no home.
    pub fn usual(lookup: &dyn Fn(&str) -> Option<std::ffi::OsString>) -> Option<PathBuf> {
        settings::usual_cache(lookup)
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn layout(&self, repo: &RepoId) -> Layout {
        Layout::new(&self.folder, repo)
    }

    /// The file that is meant, the first one of a split model. None: it isn't here, or not whole. What `main` was when it was
    /// asked for last comes first, then what was fetched last.
    pub fn find(&self, reference: &Reference) -> Option<PathBuf> {
        let layout = self.layout(&reference.repo);
        layout.snapshots().into_iter().find_map(|snapshot| {
            let names = layout::files(&snapshot);
            let chosen = reference.choose(names.iter().map(String::as_str)).ok()?;
            Some(snapshot.join(chosen.first()?))
        })
    }

    /// All GGUF files, by repository and name.
    ///
    /// # Errors
    /// [`Error::Io`] when the folder can't be read; one that doesn't exist is empty.
    pub fn list(&self) -> Result<Vec<Cached>, Error> {
        let mut list: Vec<Cached> = Vec::new();
        for repo in self.repos()? {
            let layout = self.layout(&repo);
            for snapshot in layout.snapshots() {
                let commit = snapshot.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let names = layout::files(&snapshot);
                let models = names.into_iter().filter(|name| name.to_ascii_lowercase().ends_with(".gguf"));
                let found = models.filter_map(|name| {
                    let path = snapshot.join(&name);
                    let blob = path.canonicalize().ok()?;
                    let bytes = fs::metadata(&blob).ok()?.len();
                    Some(Cached { repo: repo.clone(), name, commit: commit.clone(), path, blob, bytes })
                });
                for cached in found {
                    let same = |other: &Cached| other.blob == cached.blob && other.name == cached.name;
                    if !list.iter().any(same) {
                        list.push(cached);
                    }
                }
            }
        }
        list.sort_by(|a, b| (&a.repo, &a.name).cmp(&(&b.repo, &b.name)));
        Ok(list)
    }

    fn repos(&self) -> Result<Vec<RepoId>, Error> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io(&self.folder)(error)),
        };
        let names = entries.flatten().map(|entry| entry.file_name());
        Ok(names.filter_map(|name| RepoId::of_folder(name.to_str()?)).collect())
    }

    /// Keeps others from fetching the same file. `waits` is called when somebody does already; then it is waited for.
    pub(crate) fn lock(&self, repo: &RepoId, etag: &str, waits: impl FnOnce()) -> Result<File, Error> {
        let path = self.layout(repo).lock(etag);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(Error::io(folder))?;
        }
        let file =
            File::options().create(true).truncate(false).write(true).open(&path).map_err(Error::io(&path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                waits();
                file.lock().map_err(Error::io(&path))?;
            }
            // A disk without locks: others are trusted not to fetch the same file meanwhile.
            Err(TryLockError::Error(error)) => tracing::debug!(%error, "the cache's lock can't be had"),
        }
        Ok(file)
    }
}

impl Cached {
    /// Reads all of it.
    ///
    /// # Errors
    /// [`Error::Io`] when it can't be read.
    pub fn verify(&self) -> Result<State, Error> {
        let name = self.blob.file_name().unwrap_or_default().to_string_lossy();
        if !is_sha256(&name) {
            return Ok(State::Unknown);
        }
        let found = digest(&self.blob, u64::MAX).map(hex).map_err(Error::io(&self.blob))?;
        Ok(if found == *name { State::Whole } else { State::Differs(found) })
    }
}

pub(crate) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Of a file's first bytes.
pub(crate) fn digest(path: &Path, bytes: u64) -> io::Result<Sha256> {
    let mut file = File::open(path)?.take(bytes);
    let mut hasher = Sha256::new();
    let mut block = vec![0; 1 << 20];
    loop {
        match file.read(&mut block) {
            Ok(0) => return Ok(hasher),
            Ok(count) => hasher.update(&block[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

pub(crate) fn hex(hasher: Sha256) -> String {
    format!("{:x}", hasher.finalize())
}

#[cfg(test)]
mod tests;
