//! The model file that a command writes: it appears at its place only when it is whole.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use leafresh_engine::gguf::{self, Verified};
use leafresh_engine::memory;
use tokio::signal::unix::{SignalKind, signal};

/// What a shell reports for a process that Ctrl-C ended.
pub(super) const INTERRUPTED: u8 = 130;

/// Where a new model file goes.
pub(super) struct Target<'a> {
    path: &'a Path,
    folder: PathBuf,
}

/// The file that is being written; gone when dropped, unless it was moved to its place.
pub(super) struct Unfinished(PathBuf);

impl<'a> Target<'a> {
    /// # Errors
    /// A place where `source`'s copy can't be written, or may not be.
    pub(super) fn new(source: &Path, path: &'a Path, force: bool) -> anyhow::Result<Self> {
        let name = path.display();
        if path.file_name().is_none() {
            bail!("{name} is a folder; name the file to write");
        }
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let folder = match folder.canonicalize() {
            Ok(folder) if folder.is_dir() => folder,
            _ => bail!("there is no folder {}; make it first", folder.display()),
        };
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => bail!("{name} is a folder; name the file to write"),
            Ok(_) if source.canonicalize()? == path.canonicalize()? => {
                bail!("{name} is the file that is read; name another one to write")
            }
            Ok(_) if !force => bail!("{name} exists; --force replaces it"),
            Err(error) if error.kind() != ErrorKind::NotFound => bail!("{name}: {error}"),
            _ => Ok(Self { path, folder }),
        }
    }

    /// # Errors
    /// A disk without room for so many bytes.
    pub(super) fn require_room(&self, bytes: u64) -> anyhow::Result<()> {
        let name = self.path.file_name().unwrap_or_default().display();
        memory::require_disk(&self.folder, bytes, &format!("writing {name}"))?;
        Ok(())
    }

    /// Beside the target, so that moving it is one step; apart from any other run's and from this one's other files.
    pub(super) fn unfinished(&self, what: &str) -> Unfinished {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.{what}.unfinished", std::process::id()));
        Unfinished(self.path.with_file_name(name))
    }

    /// Moves what is whole to its place and notes its checksum. The old file's checksum goes first: it would make the new file a
    /// damaged one.
    ///
    /// # Errors
    /// Why it can't be moved.
    pub(super) fn put_in_place(&self, unfinished: &Unfinished) -> anyhow::Result<Verified> {
        let note = gguf::note_path(self.path);
        match fs::remove_file(&note) {
            Err(error) if error.kind() != ErrorKind::NotFound => bail!("{}: {error}", note.display()),
            _ => {}
        }
        fs::rename(&unfinished.0, self.path)
            .with_context(|| format!("{} can't be written", self.path.display()))?;
        // So that the name outlives a power cut too; not every file system can.
        let _ = File::open(&self.folder).and_then(|folder| folder.sync_all());
        Ok(gguf::note_checksum(self.path)?)
    }

    pub(super) fn say_interrupted(&self) {
        eprintln!("interrupted; nothing was left of {}", self.path.display());
    }
}

impl Unfinished {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Written so far.
    pub(super) fn bytes(&self) -> u64 {
        fs::metadata(&self.0).map_or(0, |metadata| metadata.len())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // After a success there is none.
        let _ = fs::remove_file(&self.0);
    }
}

/// Has a thread of its own do the work, and calls `say` every second. None: somebody pressed Ctrl-C; the thread may still be at it,
/// and can't be stopped but by the end of the process.
///
/// # Errors
/// No signals, no thread, a fault in the work.
pub(super) fn interruptible<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
    say: impl Fn(),
) -> anyhow::Result<Option<T>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut work = tokio::task::spawn_blocking(work);
        let mut seconds = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Ok(Some(done.context("a fault in this program")?)),
                _ = interrupt.recv() => return Ok(None),
                _ = terminate.recv() => return Ok(None),
                _ = seconds.tick() => say(),
            }
        }
    });
    runtime.shutdown_background();
    done
}
