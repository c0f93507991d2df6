//! `leafresh models merge`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use leafresh_engine::{gguf, merge, merged_bytes, quantize, quantized_bytes};

use super::quantize::{Threads, known};
use super::target::{Job, Target};

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
    #[command(flatten)]
    target: Target,
    /// How to store the weights, as for `models quantize` [default: as BASE]
    #[arg(value_name = "TYPE", value_parser = known, ignore_case = true)]
    kind: Option<&'static str>,
    #[command(flatten)]
    threads: Threads,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let Options { base, adapter, target, kind, threads } = options;
    let header = gguf::check(base)?;
    let changes = gguf::check_adapter(adapter, &header)?;
    let kind = match kind {
        Some(kind) => kind,
        None => known(&header.file_type).map_err(|known| {
            anyhow::anyhow!("{} is {}: name a TYPE; {known}", base.display(), header.file_type)
        })?,
    };
    let job = Job {
        what: format!("merged, as {kind}"),
        expected: quantized_bytes(&header, kind),
        between: merged_bytes(&header, &changes),
    };
    target.check(&[base, adapter], &job)?;
    let (from, adapter, threads) = (base.clone(), adapter.clone(), threads.count());
    target.write((base, &header), &job, move |paths| {
        merge(&from, &adapter, &paths.between)?;
        quantize(&paths.between, &paths.out, kind, threads)
    })
}
