//! `leafresh engine`: what the server starts to compute.

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use leafresh_engine::{Launch, Source, serve_parent};

use crate::config::{Config, Log, LogFormat};

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
    let format = if options.log_json { LogFormat::Json } else { LogFormat::Text };
    let log = Log { filter: options.log_filter, format };
    super::start_logging(&Config { log, ..Config::default() })?;
    serve_parent().context("the engine's process and the server don't understand each other")?;
    Ok(ExitCode::SUCCESS)
}

/// How the server starts it: the program that runs now, which logs as this one does.
pub(super) fn launch(config: &Config) -> anyhow::Result<Launch> {
    let program = std::env::current_exe().context("this program's own file can't be found")?;
    let mut arguments = ["engine", "--log-filter", &config.log.filter].map(Into::into).to_vec();
    if config.log.format == LogFormat::Json {
        arguments.push("--log-json".into());
    }
    Ok(Launch {
        program,
        arguments,
        source: Source::File(config.model.file()),
        settings: config.engine.clone(),
    })
}
