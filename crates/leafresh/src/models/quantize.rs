//! `leafresh models quantize`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use leafresh_engine::gguf;
use leafresh_engine::memory::bytes_as;
use leafresh_engine::{QUANTIZATIONS, quantize, quantized_bytes};

use super::target::{INTERRUPTED, Target, interruptible};

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
    #[command(flatten)]
    threads: Threads,
}

#[derive(Debug, Args)]
pub(super) struct Threads {
    /// Threads that compute [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=512))]
    threads: Option<u16>,
}

impl Threads {
    pub(super) fn count(&self) -> usize {
        self.threads.map_or_else(
            || std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            usize::from,
        )
    }
}

/// The type of this name.
pub(super) fn known(text: &str) -> Result<&'static str, String> {
    let names = QUANTIZATIONS.map(|(name, _)| name);
    let found = names.into_iter().find(|name| name.eq_ignore_ascii_case(text));
    found.ok_or_else(|| format!("known are {}", names.join(", ")))
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let header = gguf::check(&options.source)?;
    let expected = quantized_bytes(&header, options.kind);
    let target = Target::new(&options.source, &options.target, options.force)?;
    target.require_room(expected)?;
    if !["F32", "F16", "BF16", "Q8_0"].contains(&header.file_type.as_str()) {
        eprintln!(
            "{} is {} already: from its F16 or Q8_0 file the result would be better",
            options.source.display(),
            header.file_type
        );
    }
    let unfinished = target.unfinished("quantized");
    let threads = options.threads.count();
    let (from, to, kind) = (options.source.clone(), unfinished.path().to_owned(), options.kind);
    let say =
        || eprintln!("{kind}: {} of about {} written", bytes_as(unfinished.bytes()), bytes_as(expected));
    let Some(done) = interruptible(move || quantize(&from, &to, kind, threads), say)? else {
        target.say_interrupted();
        return Ok(ExitCode::from(INTERRUPTED));
    };
    done?;
    let written = gguf::check(unfinished.path()).context("what was written isn't whole")?;
    let sum = target.put_in_place(&unfinished)?;
    eprintln!(
        "{}: {} as {}\n{}: {} as {} (sha256 {})",
        options.source.display(),
        bytes_as(header.file_bytes),
        header.file_type,
        options.target.display(),
        bytes_as(written.file_bytes),
        written.file_type,
        sum.sha256
    );
    Ok(ExitCode::SUCCESS)
}
