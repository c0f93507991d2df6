//! `leafresh models`.

mod inspect;
mod merge;
mod quantize;
mod target;

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
}

pub(super) fn run(command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Inspect(options) => inspect::run(options),
        Command::Merge(options) => merge::run(options),
        Command::Quantize(options) => quantize::run(options),
    }
}
