//! A model file that a command writes: beside its place, with progress, and put there once it is whole.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use leafresh_engine::gguf::{self, Header};
use leafresh_engine::memory::{self, bytes_as};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;

/// What a shell reports for a process that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

#[derive(Debug, Args)]
pub(super) struct Target {
    /// The file to write
    #[arg(value_name = "OUT")]
    path: PathBuf,
    /// Replace OUT if it exists
    #[arg(long)]
    force: bool,
}

/// A file that is being written; gone when dropped, unless it was moved to its place.
struct Unfinished(PathBuf);

impl Unfinished {
    /// Beside the target, so that moving it is one step; apart from any other run's.
    fn new(target: &Path, step: &str) -> Self {
        let mut name = target.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}{step}.unfinished", std::process::id()));
        Self(target.with_file_name(name))
    }

    fn bytes(&self) -> u64 {
        fs::metadata(&self.0).map_or(0, |metadata| metadata.len())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // After a success there is none.
        let _ = fs::remove_file(&self.0);
    }
}

/// Where the work writes to.
pub(super) struct Paths {
    pub(super) out: PathBuf,
    /// For what is needed in between; removed afterwards.
    pub(super) between: PathBuf,
}

/// What is to be written.
pub(super) struct Job {
    /// As progress calls it.
    pub(super) what: String,
    /// Bytes of the file, and of what is needed in between; about.
    pub(super) expected: u64,
    pub(super) between: u64,
}

impl Target {
    /// Whether the file can be written from these, before anything is done.
    ///
    /// # Errors
    /// What is in the way, and what to do.
    pub(super) fn check(&self, sources: &[&Path], job: &Job) -> anyhow::Result<()> {
        let target = self.path.display();
        let Some(name) = self.path.file_name() else { bail!("{target} is a folder; name the file to write") };
        let folder = self.folder();
        let folder = match folder.canonicalize() {
            Ok(folder) if folder.is_dir() => folder,
            _ => bail!("there is no folder {}; make it first", folder.display()),
        };
        match fs::metadata(&self.path) {
            Ok(metadata) if metadata.is_dir() => bail!("{target} is a folder; name the file to write"),
            Ok(_) => {
                let place = self.path.canonicalize()?;
                for source in sources {
                    if source.canonicalize()? == place {
                        bail!("{target} is the file that is read; name another one to write");
                    }
                }
                if !self.force {
                    bail!("{target} exists; --force replaces it");
                }
            }
            Err(error) if error.kind() != ErrorKind::NotFound => bail!("{target}: {error}"),
            Err(_) => {}
        }
        memory::require_disk(&folder, job.expected + job.between, &format!("writing {}", name.display()))?;
        Ok(())
    }

    fn folder(&self) -> &Path {
        match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        }
    }

    /// Has `work` write the file, says how far it is, and puts it in place with its checksum. Interrupted, it leaves nothing.
    ///
    /// # Errors
    /// Those of the work, and when what was written isn't whole or can't be put in place.
    pub(super) fn write(
        &self,
        source: (&Path, &Header),
        job: &Job,
        work: impl FnOnce(&Paths) -> Result<(), leafresh_engine::Error> + Send + 'static,
    ) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let (unfinished, between) =
            (Unfinished::new(&self.path, ""), Unfinished::new(&self.path, ".between"));
        let paths = Paths { out: unfinished.0.clone(), between: between.0.clone() };
        let whole = runtime.block_on(async {
            let work = tokio::task::spawn_blocking(move || work(&paths));
            watch(work, job, || between.bytes() + unfinished.bytes()).await
        });
        // Work that is still going on can't be interrupted; the process doesn't wait for it.
        runtime.shutdown_background();
        if !whole? {
            eprintln!("interrupted; nothing was left of {}", self.path.display());
            return Ok(ExitCode::from(INTERRUPTED));
        }
        let written = gguf::check(&unfinished.0).context("what was written isn't whole")?;
        self.put_in_place(&unfinished)?;
        let sum = gguf::note_checksum(&self.path)?;
        let (path, header) = source;
        eprintln!(
            "{}: {} as {}\n{}: {} as {} (sha256 {})",
            path.display(),
            bytes_as(header.file_bytes),
            header.file_type,
            self.path.display(),
            bytes_as(written.file_bytes),
            written.file_type,
            sum.sha256
        );
        Ok(ExitCode::SUCCESS)
    }

    /// The old file's checksum goes first: it would make the new file a damaged one.
    fn put_in_place(&self, unfinished: &Unfinished) -> anyhow::Result<()> {
        let note = gguf::note_path(&self.path);
        match fs::remove_file(&note) {
            Err(error) if error.kind() != ErrorKind::NotFound => bail!("{}: {error}", note.display()),
            _ => {}
        }
        fs::rename(&unfinished.0, &self.path)
            .with_context(|| format!("{} can't be written", self.path.display()))
    }
}

/// Until the work is done. `false`: it was interrupted.
async fn watch(
    mut work: JoinHandle<Result<(), leafresh_engine::Error>>,
    job: &Job,
    written: impl Fn() -> u64,
) -> anyhow::Result<bool> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            biased;
            done = &mut work => {
                done.context("writing failed")??;
                return Ok(true);
            }
            _ = interrupt.recv() => return Ok(false),
            _ = terminate.recv() => return Ok(false),
            _ = seconds.tick() => {
                let expected = bytes_as(job.expected + job.between);
                eprintln!("{}: {} of about {expected} written", job.what, bytes_as(written()));
            }
        }
    }
}
