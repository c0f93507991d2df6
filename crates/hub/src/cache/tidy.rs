//! Taking things out of the cache: files that were named, and what nobody finds any more.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::layout::{self, INCOMPLETE, Layout};
use super::{Cache, Cached};
use crate::Error;

/// Bytes that no name leads to may be on their way to one, of another tool, for so long.
const FRESH: Duration = Duration::from_hours(1);

/// Something that takes room and can't be found by a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    pub path: PathBuf,
    pub bytes: u64,
    /// In words.
    pub what: &'static str,
}

impl Cache {
    /// Removes files: their names at all commits, and their bytes where nothing else leads to them. How many bytes became
    /// free.
    ///
    /// # Errors
    /// [`Error::Io`] when one can't be removed; those before it are gone.
    pub fn remove(&self, files: &[Cached]) -> Result<u64, Error> {
        let mut freed = 0;
        for file in files {
            let layout = self.layout(&file.repo);
            for snapshot in layout.snapshots() {
                let link = snapshot.join(&file.name);
                if link.canonicalize().is_ok_and(|blob| blob == file.blob) {
                    fs::remove_file(&link).map_err(Error::io(&link))?;
                    layout::remove_empty(link.parent().unwrap_or(&snapshot), layout.folder());
                }
            }
            // Where links can't be made the name was the file itself.
            if file.blob.exists() && !used(&layout).contains(&file.blob) {
                fs::remove_file(&file.blob).map_err(Error::io(&file.blob))?;
                freed += file.bytes;
            } else if !file.blob.exists() {
                freed += file.bytes;
            }
            forget(&layout);
        }
        Ok(freed)
    }

    /// What can go: downloads that nobody works on, bytes that no name leads to, names that lead nowhere.
    ///
    /// # Errors
    /// [`Error::Io`] when the folder can't be read.
    pub fn leftovers(&self) -> Result<Vec<Leftover>, Error> {
        let mut found = Vec::new();
        for repo in self.repos()? {
            let layout = self.layout(&repo);
            let used = used(&layout);
            for entry in fs::read_dir(layout.blobs()).into_iter().flatten().flatten() {
                let path = entry.path();
                let name = entry.file_name().to_string_lossy().into_owned();
                let what = match name.strip_suffix(INCOMPLETE).and_then(|name| name.strip_suffix('.')) {
                    Some(etag) if !is_locked(&layout.lock(etag)) => "a download that wasn't finished",
                    None if !is_used(&path, &used) && !is_fresh(&path) => "bytes that no name leads to",
                    _ => continue,
                };
                let bytes = layout::size(&path).map_err(Error::io(&path))?;
                found.push(Leftover { path, bytes, what });
            }
            let names = layout.snapshots().into_iter().flat_map(|snapshot| links(&snapshot));
            let nowhere = names.filter(|link| !link.exists());
            found.extend(nowhere.map(|path| Leftover { path, bytes: 0, what: "a name that leads nowhere" }));
        }
        Ok(found)
    }

    /// Removes them, and the folders that are empty then.
    ///
    /// # Errors
    /// [`Error::Io`] when one can't be removed; those before it are gone.
    pub fn sweep(&self, leftovers: &[Leftover]) -> Result<(), Error> {
        for Leftover { path, .. } in leftovers {
            fs::remove_file(path).map_err(Error::io(path))?;
            layout::remove_empty(path.parent().unwrap_or(path), self.folder());
        }
        self.repos()?.iter().for_each(|repo| forget(&self.layout(repo)));
        Ok(())
    }
}

/// The bytes that a name leads to.
fn used(layout: &Layout) -> HashSet<PathBuf> {
    let links = layout.snapshots().into_iter().flat_map(|snapshot| {
        layout::files(&snapshot).into_iter().map(move |name| snapshot.join(name)).collect::<Vec<_>>()
    });
    links.filter_map(|link| link.canonicalize().ok()).collect()
}

fn is_used(path: &Path, used: &HashSet<PathBuf>) -> bool {
    path.canonicalize().is_ok_and(|path| used.contains(&path))
}

fn is_fresh(path: &Path) -> bool {
    let age =
        fs::metadata(path).and_then(|about| about.modified()).map(|at| SystemTime::now().duration_since(at));
    // A clock that was set back: nobody knows.
    age.is_ok_and(|age| age.map_or(true, |age| age < FRESH))
}

/// Whether somebody holds it now. A lock that isn't there is held by nobody.
fn is_locked(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| file.try_lock().is_err())
}

/// All links below a folder, whether they lead somewhere or not.
fn links(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(links(&entry.path())),
            Ok(kind) if kind.is_symlink() => found.push(entry.path()),
            _ => {}
        }
    }
    found
}

/// Removes what is left of a repository of which no file is left.
fn forget(layout: &Layout) {
    let has_blobs = fs::read_dir(layout.blobs()).is_ok_and(|mut entries| entries.next().is_some());
    let has_names = layout.snapshots().iter().any(|snapshot| !layout::files(snapshot).is_empty());
    if !has_blobs && !has_names {
        let _ = fs::remove_dir_all(layout.folder());
        let _ = fs::remove_dir_all(layout.locks());
    }
}
