//! `leafresh feedback`: what people think of answers.

use std::io::Write;
use std::process::ExitCode;

use anyhow::ensure;
use clap::{Args, Subcommand};
use leafresh_chat::Rated;
use leafresh_server::assemble;
use leafresh_server::config::Common;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;

const ABOUT_EXPORT: &str = "\
One JSON object a line, oldest first:
  {\"rating\":\"down\",\"at\":\"2026-01-31T09:00:00Z\",\"key\":null,\"question\":\"…\",\"answer\":\"…\"}
`key` is the name of the API key, null without one; `question` is null where it was forgotten before its answer.

A rating is kept with its conversation and forgotten with it: when somebody deletes that, after session.days, and beyond
session.turns. The server may run meanwhile.

Examples:
  leafresh feedback export > feedback.jsonl
  leafresh feedback export --rating down | jq -r .question";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print the answers that people have rated, with their questions
    #[command(after_help = ABOUT_EXPORT, after_long_help = ABOUT_EXPORT)]
    Export(Export),
}

#[derive(Debug, Args)]
pub(super) struct Export {
    /// Only those with this rating
    #[arg(long, value_parser = ["up", "down"])]
    rating: Option<String>,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(command: &Command) -> anyhow::Result<ExitCode> {
    let Command::Export(Export { rating, common }) = command;
    let config = common.load(None)?;
    let file = config.data.path()?.join("sessions.db");
    // Opening would make an empty one.
    ensure!(
        file.exists(),
        "{}: no conversations are there; name the server's folder with --data or data.dir",
        file.display()
    );
    let sessions = assemble::sessions(&config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let rated = runtime.block_on(sessions.rated())?;
    let mut out = std::io::stdout().lock();
    let wanted = |rated: &&Rated| rating.as_deref().is_none_or(|rating| rating == rated.rating.as_str());
    for rated in rated.iter().filter(wanted) {
        writeln!(out, "{}", line(rated)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn line(rated: &Rated) -> anyhow::Result<Value> {
    let Rated { owner, rating, at, question, answer } = rated;
    let key = (!owner.is_empty()).then_some(owner);
    Ok(json!({
        "rating": rating.as_str(), "at": at.format(&Rfc3339)?, "key": key, "question": question, "answer": answer,
    }))
}
