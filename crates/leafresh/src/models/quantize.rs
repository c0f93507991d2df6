//! `leafresh models quantize`.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use leafresh_engine::gguf::{self, Header};
use leafresh_engine::memory::{self, bytes_as};
use leafresh_engine::{QUANTIZATIONS, quantize, quantized_bytes};
use tokio::signal::unix::{SignalKind, signal};

/// What a shell reports for a process that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

const HELP: &str = "\
Types, from small to large, with the bits that a weight takes:
  Q4_0 Q4_K_S Q4_K_M   about 4.5 to 5: a quarter of F16, the usual choice is Q4_K_M
  Q5_0 Q5_K_M          about 5.5
  Q6_K                 about 6.6: hard to tell from F16
  Q8_0                 8.5: half of F16, practically without loss
  F16 BF16             16

Start from the largest file there is (F16, BF16, Q8_0): what an earlier quantisation lost doesn't
come back. OUT appears only when it is whole; OUT.sha256 is written beside it, and the server checks
it before loading.

Example:
  leafresh models quantize models/my-model-F16.gguf models/my-model-Q4_K_M.gguf Q4_K_M";

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct Options {
    /// The GGUF file to read
    #[arg(value_name = "IN")]
    source: PathBuf,
    /// The file to write
    #[arg(value_name = "OUT")]
    target: PathBuf,
    /// How to store the weights
    #[arg(value_name = "TYPE", value_parser = known, ignore_case = true)]
    kind: &'static str,
    /// Replace OUT if it exists
    #[arg(long)]
    force: bool,
    /// Threads that compute [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=512))]
    threads: Option<u16>,
}

fn known(text: &str) -> Result<&'static str, String> {
    let names = QUANTIZATIONS.map(|(name, _)| name);
    let found = names.into_iter().find(|name| name.eq_ignore_ascii_case(text));
    found.ok_or_else(|| format!("known are {}", names.join(", ")))
}

/// The file that is being written; gone when dropped, unless it was moved to its place.
struct Unfinished(PathBuf);

impl Unfinished {
    /// Beside the target, so that moving it is one step; apart from any other run's.
    fn new(target: &Path) -> Self {
        let mut name = target.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.unfinished", std::process::id()));
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

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let header = gguf::check(&options.source)?;
    let expected = quantized_bytes(&header, options.kind);
    options.check(&header, expected)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(options.write(&header, expected));
    // A quantiser that is still at work can't be interrupted; the process doesn't wait for it.
    runtime.shutdown_background();
    done
}

impl Options {
    fn check(&self, header: &Header, expected: u64) -> anyhow::Result<()> {
        let target = self.target.display();
        let Some(name) = self.target.file_name() else {
            bail!("{target} is a folder; name the file to write")
        };
        let folder = self.folder();
        let folder = match folder.canonicalize() {
            Ok(folder) if folder.is_dir() => folder,
            _ => bail!("there is no folder {}; make it first", folder.display()),
        };
        match fs::metadata(&self.target) {
            Ok(metadata) if metadata.is_dir() => bail!("{target} is a folder; name the file to write"),
            Ok(_) if self.source.canonicalize()? == self.target.canonicalize()? => {
                bail!("{target} is the file that is read; name another one to write")
            }
            Ok(_) if !self.force => bail!("{target} exists; --force replaces it"),
            Err(error) if error.kind() != ErrorKind::NotFound => bail!("{target}: {error}"),
            _ => {}
        }
        memory::require_disk(&folder, expected, &format!("writing {}", name.display()))?;
        if !["F32", "F16", "BF16", "Q8_0"].contains(&header.file_type.as_str()) {
            eprintln!(
                "{} is {} already: from its F16 or Q8_0 file the result would be better",
                self.source.display(),
                header.file_type
            );
        }
        Ok(())
    }

    fn folder(&self) -> &Path {
        match self.target.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        }
    }

    async fn write(&self, header: &Header, expected: u64) -> anyhow::Result<ExitCode> {
        let unfinished = Unfinished::new(&self.target);
        let threads = self.threads.map_or_else(
            || std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            usize::from,
        );
        let (from, to, kind) = (self.source.clone(), unfinished.0.clone(), self.kind);
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut work = tokio::task::spawn_blocking(move || quantize(&from, &to, kind, threads));
        let mut seconds = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                biased;
                done = &mut work => {
                    done.context("the quantiser failed")??;
                    break;
                }
                _ = interrupt.recv() => return Ok(self.interrupted()),
                _ = terminate.recv() => return Ok(self.interrupted()),
                _ = seconds.tick() => {
                    eprintln!("{kind}: {} of about {} written", bytes_as(unfinished.bytes()), bytes_as(expected));
                }
            }
        }
        let written = gguf::check(&unfinished.0).context("what was written isn't whole")?;
        self.put_in_place(&unfinished)?;
        let sum = gguf::note_checksum(&self.target)?;
        eprintln!(
            "{}: {} as {}\n{}: {} as {} (sha256 {})",
            self.source.display(),
            bytes_as(header.file_bytes),
            header.file_type,
            self.target.display(),
            bytes_as(written.file_bytes),
            written.file_type,
            sum.sha256
        );
        Ok(ExitCode::SUCCESS)
    }

    /// The old file's checksum goes first: it would make the new file a damaged one.
    fn put_in_place(&self, unfinished: &Unfinished) -> anyhow::Result<()> {
        let note = gguf::note_path(&self.target);
        match fs::remove_file(&note) {
            Err(error) if error.kind() != ErrorKind::NotFound => bail!("{}: {error}", note.display()),
            _ => {}
        }
        fs::rename(&unfinished.0, &self.target)
            .with_context(|| format!("{} can't be written", self.target.display()))
    }

    fn interrupted(&self) -> ExitCode {
        eprintln!("interrupted; nothing was left of {}", self.target.display());
        ExitCode::from(INTERRUPTED)
    }
}
