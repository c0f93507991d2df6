//! `leafresh models verify`.

use std::io::Write;
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use leafresh_hub::{Reference, State};

use super::place::{self, Place};
use crate::shell::word;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// hf:OWNER/REPO[:QUANT] or a short name; none: all GGUF files of the cache
    #[arg(value_name = "MODEL", value_parser = place::named)]
    model: Option<Reference>,
    #[command(flatten)]
    place: Place,
}

/// Reads the files and compares them with the SHA-256 that the Hub named.
pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let cache = options.place.cache()?;
    let list = cache.list()?;
    let files = match &options.model {
        Some(reference) => place::meant(&list, reference),
        None => list.iter().collect(),
    };
    if let (Some(reference), true) = (&options.model, files.is_empty()) {
        bail!(
            "{reference} isn't in the cache {}; `leafresh models pull {reference}` fetches it",
            cache.folder().display()
        );
    }
    let mut out = std::io::stdout();
    let mut damaged = false;
    for file in files {
        let name = format!("hf:{}:{}", file.repo, file.name);
        match file.verify()? {
            State::Whole => writeln!(out, "whole    {name}")?,
            State::Unknown => writeln!(out, "unknown  {name}: the cache names no SHA-256 for it")?,
            State::Differs(found) => {
                damaged = true;
                writeln!(
                    out,
                    "damaged  {name}: its SHA-256 is {found}\n         -> $ leafresh models remove {0} && leafresh models pull {0}",
                    word(&name)
                )?;
            }
        }
    }
    Ok(if damaged { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
