//! `leafresh models`.

mod gc;
mod inspect;
mod list;
mod merge;
mod place;
mod pull;
mod quantize;
mod remove;
mod target;
mod trim;
mod verify;

use std::process::ExitCode;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print what is in a model file, and whether it fits into this machine
    Inspect(inspect::Options),
    /// Write a model with an adapter's changes in it
    Merge(merge::Options),
    /// Write a model in fewer bits
    Quantize(quantize::Options),
    /// Write a model without the tokens that answers don't need
    Trim(trim::Options),
    /// Fetch a model from the Hugging Face Hub into the cache that its tools share
    Pull(pull::Options),
    /// Print which models were fetched, or which have a short name
    List(list::Options),
    /// Compare fetched files with the checksums that the Hub named
    Verify(verify::Options),
    /// Remove fetched files
    Remove(remove::Options),
    /// Remove downloads that weren't finished, and what no name leads to
    Gc(gc::Options),
}

pub(super) fn run(command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Inspect(options) => inspect::run(options),
        Command::Merge(options) => merge::run(options),
        Command::Quantize(options) => quantize::run(options),
        Command::Trim(options) => trim::run(options),
        Command::Pull(options) => pull::run(options),
        Command::List(options) => list::run(options),
        Command::Verify(options) => verify::run(options),
        Command::Remove(options) => remove::run(options),
        Command::Gc(options) => gc::run(options),
    }
}
