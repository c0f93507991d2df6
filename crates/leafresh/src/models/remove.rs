//! `leafresh models remove`.

use std::io::Write;
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use leafresh_engine::memory::bytes_as;
use leafresh_hub::{Cached, Reference};

use super::place::{self, Place};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// hf:OWNER/REPO[:QUANT] or a short name; without a quantisation all GGUF files of the repository
    #[arg(value_name = "MODEL", value_parser = place::named)]
    model: Reference,
    /// Say what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    place: Place,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let cache = options.place.cache()?;
    let list = cache.list()?;
    let files: Vec<Cached> = place::meant(&list, &options.model).into_iter().cloned().collect();
    if files.is_empty() {
        bail!("{} isn't in the cache {}", options.model, cache.folder().display());
    }
    let mut out = std::io::stdout();
    for file in &files {
        writeln!(out, "{}", file.path.display())?;
    }
    if options.dry_run {
        eprintln!("nothing was removed");
        return Ok(ExitCode::SUCCESS);
    }
    let freed = cache.remove(&files)?;
    eprintln!("{} freed; a server that has a file open keeps its bytes until it ends", bytes_as(freed));
    Ok(ExitCode::SUCCESS)
}
