//! `leafresh engine`: what the server starts to compute.

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use leafresh_engine::Child;
use leafresh_server::config::{Config, Log, LogFormat};
use leafresh_server::setup;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The server's log.filter
    #[arg(long, value_name = "FILTER", default_value = "info")]
    log_filter: String,
    /// Log one JSON object per line
    #[arg(long)]
    log_json: bool,
}

pub(super) fn run(options: Options) -> anyhow::Result<ExitCode> {
    if std::io::stdin().is_terminal() {
        bail!("the server starts this command itself; `leafresh serve` starts the server");
    }
    let other_side = "the engine's process and the server don't understand each other";
    // Before the log, which has a thread.
    let child = Child::begin().context(other_side)?;
    let format = if options.log_json { LogFormat::Json } else { LogFormat::Text };
    let log = Log { filter: options.log_filter, format, ..Log::default() };
    let _logging = setup::start_logging(&Config { log, ..Config::default() })?;
    child.serve().context(other_side)?;
    Ok(ExitCode::SUCCESS)
}
