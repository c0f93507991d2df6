//! `leafresh models merge`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use leafresh_engine::memory::bytes_as;
use leafresh_engine::{gguf, merge, merged_bytes, quantize, quantized_bytes};

use super::quantize::{Threads, known};
use super::target::{INTERRUPTED, Target, interruptible};

const HELP: &str = "\
An adapter is a LoRA that was trained for BASE, as GGUF (llama.cpp's convert_lora_to_gguf.py makes it). The
server can also use adapters without merging them (engine.adapters); merged, one costs nothing more, and what
changes a table of words that is the output head too can't be used otherwise.

Start from the file that the adapter was trained on (F16, BF16): matrices of few bits lose small changes. What
the adapter leaves alone and has TYPE already stays as it is. OUT appears only when it is whole; OUT.sha256 is
written beside it.

Example:
  leafresh models merge models/my-model-F16.gguf polite.gguf models/my-polite-model.gguf Q4_K_M";

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct Options {
    /// The model's GGUF file
    #[arg(value_name = "BASE")]
    base: PathBuf,
    /// The adapter's GGUF file
    #[arg(value_name = "ADAPTER")]
    adapter: PathBuf,
    /// The file to write
    #[arg(value_name = "OUT")]
    target: PathBuf,
    /// How to store the weights, as for `models quantize` [default: as BASE]
    #[arg(value_name = "TYPE", value_parser = known, ignore_case = true)]
    kind: Option<&'static str>,
    /// Replace OUT if it exists
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    threads: Threads,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let Options { base, adapter, .. } = options;
    let header = gguf::check(base)?;
    let changes = gguf::check_adapter(adapter, &header)?;
    let kind = match options.kind {
        Some(kind) => kind,
        None => known(&header.file_type).map_err(|known| {
            anyhow::anyhow!("{} is {}: name a TYPE; {known}", base.display(), header.file_type)
        })?,
    };
    let target = Target::new(base, &options.target, options.force)?;
    // Nor may it take the adapter's place.
    Target::new(adapter, &options.target, options.force)?;
    let expected = merged_bytes(&header, &changes) + quantized_bytes(&header, kind);
    target.require_room(expected)?;
    let (unfinished, between) = (target.unfinished("merged"), target.unfinished("between"));
    let (from, adapter, threads) = (base.clone(), adapter.clone(), options.threads.count());
    let [to, exact] = [&unfinished, &between].map(|file| file.path().to_owned());
    let say = || {
        let written = bytes_as(unfinished.bytes() + between.bytes());
        eprintln!("merged, as {kind}: {written} of about {} written", bytes_as(expected));
    };
    let work = move || merge(&from, &adapter, &exact).and_then(|()| quantize(&exact, &to, kind, threads));
    let Some(done) = interruptible(work, say)? else {
        target.say_interrupted();
        return Ok(ExitCode::from(INTERRUPTED));
    };
    done?;
    let written = gguf::check(unfinished.path()).context("what was written isn't whole")?;
    let sum = target.put_in_place(&unfinished)?;
    eprintln!(
        "{}: {} as {}\n{}: {} as {} (sha256 {})",
        base.display(),
        bytes_as(header.file_bytes),
        header.file_type,
        options.target.display(),
        bytes_as(written.file_bytes),
        written.file_type,
        sum.sha256
    );
    Ok(ExitCode::SUCCESS)
}
