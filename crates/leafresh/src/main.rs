//! `leafresh`: see `leafresh --help`. Each command has its own file; what it does is in the crates below.

#![forbid(unsafe_code)]

mod ask;
mod catalog;
mod doctor;
mod engine;
mod feedback;
mod index;
mod keys;
mod manual;
mod models;
mod serve;
mod shell;
mod threads;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use leafresh_lab::{INTERRUPTED, bench, eval};

const EXAMPLES: &str = "\
Examples:
  leafresh serve
      Answer on http://127.0.0.1:8000: the chat page at /, the API below /ai/chatbot.
  leafresh serve --listen 0.0.0.0:8000 --model models/my-model.gguf
      Listen on every network interface, with another model.
  leafresh ask --location city --work-type office --category ZERO_WASTE
      One recommendation in the terminal, without a server.
  leafresh index notes/ challenges.jsonl
      Let answers be made from your own texts too.
  leafresh catalog export my-catalogue
      Write the categories, sentences, prompts and documents out, to make them yours.
  leafresh doctor
      Whether all is there that the server needs, and what to do where it isn't.
  leafresh bench --clients 1,8
      How fast the server on this machine answers one client, and eight at once.
  leafresh eval --markdown report.md
      How good the answers are: validity, category, variety, grounding, refusals.
  leafresh models pull qwen3-0.6b
      Fetch a model; `leafresh serve --model qwen3-0.6b` answers with it.
  leafresh models inspect models/my-model.gguf
      What is in a model file, and whether it fits into this machine.
  leafresh models trim models/my-model.gguf models/my-model.trim.gguf
      The same model without the tokens that answers don't need.
  leafresh keys new front-end >> config/keys.toml
      A new API key: its entry into the file, the key itself on the screen.
  leafresh feedback export --rating down
      The answers that people didn't like, with their questions.

Settings come from config/leafresh.toml, which explains every one of them; variables LEAFRESH_SECTION__KEY of .env \
and of the environment override the file, flags override both.";

#[derive(Debug, Parser)]
#[command(name = "leafresh", version, about = "Recommends eco-friendly challenges in Korean, token by token")]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the server
    Serve(serve::Options),
    /// Print one recommendation, written by the model in this process
    Ask(ask::Options),
    /// Put documents into the index that answers are made from, or take them out
    Index(index::Options),
    /// Look for what may keep the server from serving here, and say what mends it
    Doctor(doctor::Options),
    /// Write out or check what can be chosen and said
    #[command(subcommand)]
    Catalog(catalog::Command),
    /// Measure this server or another one under load
    Bench(Box<bench::Options>),
    /// Measure how good answers, search and refusals are
    Eval(Box<eval::Options>),
    /// Fetch model files, look into them, and make smaller ones
    #[command(subcommand)]
    Models(models::Command),
    /// Compute for the server that started this process
    #[command(hide = true)]
    Engine(engine::Options),
    /// Make API keys
    #[command(subcommand)]
    Keys(keys::Command),
    /// Read what people think of answers
    #[command(subcommand)]
    Feedback(feedback::Command),
    /// Print the completions for a shell
    Completions(manual::Completions),
    /// Write the manual pages
    Man(manual::Man),
}

/// Runs the command that the process was started with. Errors go to stderr as one sentence.
fn main() -> ExitCode {
    threads::wait_briefly();
    let result = match Cli::parse().command {
        Command::Serve(options) => serve::run(options),
        Command::Ask(options) => ask::run(&options),
        Command::Index(options) => index::run(&options),
        Command::Doctor(options) => doctor::run(&options),
        Command::Catalog(command) => catalog::run(&command),
        Command::Bench(options) => bench::run(&options),
        Command::Eval(options) => eval::run(&options),
        Command::Models(command) => models::run(&command),
        Command::Engine(options) => engine::run(options),
        Command::Keys(command) => keys::run(&command),
        Command::Feedback(command) => feedback::run(&command),
        Command::Completions(options) => manual::completions(&options),
        Command::Man(options) => manual::man(&options),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("leafresh: {error:#}");
            ExitCode::FAILURE
        }
    }
}
