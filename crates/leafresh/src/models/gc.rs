//! `leafresh models gc`.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use leafresh_engine::memory::bytes_as;

use super::place::Place;

const HELP: &str = "\
Removed are, of models only: downloads that nobody works on any more, bytes of more than an hour ago that no name leads to, and
names that lead nowhere. What another process fetches meanwhile stays. Files that can be found by their names stay:
`leafresh models remove` removes those.";

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct Options {
    /// Say what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    place: Place,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let cache = options.place.cache()?;
    let leftovers = cache.leftovers()?;
    let mut out = std::io::stdout();
    for leftover in &leftovers {
        writeln!(out, "{}: {} ({})", leftover.path.display(), leftover.what, bytes_as(leftover.bytes))?;
    }
    let bytes = leftovers.iter().map(|leftover| leftover.bytes).sum();
    if options.dry_run {
        eprintln!("{} could be freed; nothing was removed", bytes_as(bytes));
    } else {
        cache.sweep(&leftovers)?;
        eprintln!("{} freed", bytes_as(bytes));
    }
    Ok(ExitCode::SUCCESS)
}
