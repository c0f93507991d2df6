//! Fetching files into the cache: what has come already is kept, what comes is checked, and its name appears when it is whole.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};
use ureq::Body;
use ureq::http::Response;

use crate::cache::{self, Layout};
use crate::client::{Again, later};
use crate::{Cache, Error, Hub, Reference, Remote, Repository};

/// Bytes written at once.
const BLOCK: usize = 1 << 18;

/// What is to be fetched.
#[derive(Debug)]
pub struct Download<'a> {
    hub: &'a Hub,
    cache: &'a Cache,
    revision: String,
    pub repository: Repository,
    /// One file, or those of a split model.
    pub parts: Vec<Part>,
}

/// A file of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// In the repository.
    pub name: String,
    pub bytes: u64,
    /// How many of them are here.
    pub here: u64,
    remote: Remote,
}

/// What happens meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress<'a> {
    /// Another process fetches this file; it is waited for.
    Waits { name: &'a str },
    /// So many bytes of this file are here.
    Here { name: &'a str, bytes: u64 },
    /// The connection broke, and is tried again after this time.
    Again { reason: &'a str, after: Duration },
}

impl Hub {
    /// Asks what a reference means, and how much of it is here.
    ///
    /// # Errors
    /// As [`Hub::repository`]; [`Error::NoFile`] when nothing is meant, or several files are; [`Error::NoChecksum`].
    pub fn download<'a>(
        &'a self,
        cache: &'a Cache,
        reference: &Reference,
        revision: &str,
    ) -> Result<Download<'a>, Error> {
        let repository = self.repository(&reference.repo, revision)?;
        let names = reference.choose(repository.files.iter().map(String::as_str))?;
        let part = |name: &&str| {
            let remote = self.file(&reference.repo, &repository.commit, name)?;
            if !cache::is_sha256(&remote.etag) {
                let (endpoint, file) = (self.endpoint().to_owned(), (*name).to_owned());
                return Err(Error::NoChecksum { endpoint, file });
            }
            let layout = cache.layout(&reference.repo);
            let here =
                bytes_of(&layout.blob(&remote.etag)).filter(|&bytes| bytes == remote.bytes).or_else(|| {
                    bytes_of(&layout.incomplete(&remote.etag)).filter(|&bytes| bytes <= remote.bytes)
                });
            Ok(Part { name: (*name).to_owned(), bytes: remote.bytes, here: here.unwrap_or(0), remote })
        };
        let parts = names.iter().map(part).collect::<Result<_, _>>()?;
        Ok(Download { hub: self, cache, revision: revision.to_owned(), repository, parts })
    }
}

impl Download<'_> {
    /// Bytes that have to come.
    pub fn missing(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes - part.here).sum()
    }

    /// Whether these terms were accepted for this repository before.
    pub fn is_accepted(&self) -> bool {
        self.layout().accepted().is_some_and(|accepted| accepted == self.terms())
    }

    /// Notes that they were.
    ///
    /// # Errors
    /// [`Error::Io`] when the cache can't be written.
    pub fn accept(&self) -> Result<(), Error> {
        self.layout().accept(&self.terms())
    }

    fn terms(&self) -> String {
        let licence = &self.repository.licence;
        format!("{}\n{}\n", licence.name, licence.page)
    }

    fn layout(&self) -> Layout {
        self.cache.layout(&self.repository.id)
    }

    /// Fetches what is missing, and gives the names under which the files are found then, in the order of the parts.
    ///
    /// # Errors
    /// [`Error::Network`] when the connection breaks again and again: what has come is kept, and the next call goes on from
    /// there. [`Error::Damaged`] when something else comes than the Hub names; [`Error::Io`].
    pub fn fetch(&self, mut tell: impl FnMut(Progress)) -> Result<Vec<PathBuf>, Error> {
        let layout = self.layout();
        let mut paths = Vec::new();
        for part in &self.parts {
            let waits = || tell(Progress::Waits { name: &part.name });
            let lock = self.cache.lock(&self.repository.id, &part.remote.etag, waits)?;
            if bytes_of(&layout.blob(&part.remote.etag)) != Some(part.bytes) {
                let path = layout.incomplete(&part.remote.etag);
                let fetching = Fetching { download: self, part, path: &path };
                fetching.run(&mut tell)?;
                put_in_place(&path, &layout.blob(&part.remote.etag))?;
            }
            tell(Progress::Here { name: &part.name, bytes: part.bytes });
            paths.push(layout.link(&self.repository.commit, &part.name, &part.remote.etag)?);
            drop(lock);
        }
        layout.refer(&self.revision, &self.repository.commit)?;
        Ok(paths)
    }
}

/// The name appears when all bytes are on the disk.
fn put_in_place(path: &Path, target: &Path) -> Result<(), Error> {
    File::open(path).and_then(|file| file.sync_all()).map_err(Error::io(path))?;
    fs::rename(path, target).map_err(Error::io(target))?;
    let folder = target.parent().unwrap_or(target);
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::io(folder))
}

fn bytes_of(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|about| about.len())
}

/// One file on its way.
struct Fetching<'a> {
    download: &'a Download<'a>,
    part: &'a Part,
    path: &'a Path,
}

/// What has come of it.
struct Come {
    file: File,
    hasher: Sha256,
    bytes: u64,
}

impl Fetching<'_> {
    fn run(&self, tell: &mut impl FnMut(Progress)) -> Result<(), Error> {
        let hub = self.download.hub;
        let mut come = self.open().map_err(Error::io(self.path))?;
        let (mut pause, mut tries) = (hub.patience().pause, 1);
        while come.bytes < self.part.bytes {
            let before = come.bytes;
            let (reason, after) = match self.go_on(&mut come, tell)? {
                Ok(()) => break,
                Err(Again::Never(error)) => return Err(error),
                Err(Again::Later { reason, after }) => (reason, after),
            };
            if come.bytes > before {
                (pause, tries) = (hub.patience().pause, 1);
            }
            if tries >= hub.patience().tries {
                return Err(hub.network(reason));
            }
            let after = after.unwrap_or(pause);
            tell(Progress::Again { reason: &reason, after });
            std::thread::sleep(after);
            pause *= 2;
            tries += 1;
        }
        let found = cache::hex(come.hasher);
        if found == self.part.remote.etag {
            return Ok(());
        }
        fs::remove_file(self.path).map_err(Error::io(self.path))?;
        let (file, expected) = (self.part.name.clone(), self.part.remote.etag.clone());
        Err(Error::Damaged { file, found, expected })
    }

    /// What came before is read once more for the checksum.
    fn open(&self) -> io::Result<Come> {
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file = File::options().create(true).truncate(false).read(true).write(true).open(self.path)?;
        let mut bytes = file.metadata()?.len();
        if bytes > self.part.bytes {
            file.set_len(0)?;
            bytes = 0;
        }
        let hasher = cache::digest(self.path, bytes)?;
        file.seek(SeekFrom::Start(bytes))?;
        Ok(Come { file, hasher, bytes })
    }

    /// One connection. The outer error is the disk's.
    fn go_on(&self, come: &mut Come, tell: &mut impl FnMut(Progress)) -> Result<Result<(), Again>, Error> {
        let Download { hub, repository, .. } = self.download;
        let Part { name, remote, .. } = self.part;
        let response = match hub.bytes(&repository.id, name, remote, come.bytes) {
            Ok(response) => response,
            Err(again) => return Ok(Err(again)),
        };
        if begins(&response) != Some(come.bytes) {
            // Not every server goes on in the middle.
            come.start_over().map_err(Error::io(self.path))?;
            if begins(&response) != Some(0) {
                let reason = "it sends another part of the file than was asked for".to_owned();
                return Ok(Err(Again::Later { reason, after: None }));
            }
        }
        // One byte more than there should be is enough to know.
        let mut body = response.into_body().into_reader().take(self.part.bytes - come.bytes + 1);
        let mut block = vec![0; BLOCK];
        loop {
            let count = match body.read(&mut block) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Ok(Err(broken(error))),
            };
            come.take(&block[..count]).map_err(Error::io(self.path))?;
            tell(Progress::Here { name: &self.part.name, bytes: come.bytes });
        }
        Ok(if come.bytes < self.part.bytes {
            let reason = format!("the connection ended after {} of {} bytes", come.bytes, self.part.bytes);
            Err(Again::Later { reason, after: None })
        } else {
            Ok(())
        })
    }
}

impl Come {
    fn take(&mut self, block: &[u8]) -> io::Result<()> {
        self.file.write_all(block)?;
        self.hasher.update(block);
        self.bytes += block.len() as u64;
        Ok(())
    }

    fn start_over(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        (self.hasher, self.bytes) = (Sha256::new(), 0);
        Ok(())
    }
}

/// The place of the first byte of an answer: `Content-Range: bytes 100-999/1000`, or all of the file.
fn begins(response: &Response<Body>) -> Option<u64> {
    if response.status() != 206 {
        return Some(0);
    }
    let range = response.headers().get("content-range")?.to_str().ok()?;
    range.trim().strip_prefix("bytes")?.trim().split('-').next()?.parse().ok()
}

fn broken(error: io::Error) -> Again {
    let text = error.to_string();
    match error.downcast::<ureq::Error>() {
        Ok(error) => later(&error),
        Err(_) => Again::Later { reason: text, after: None },
    }
}
