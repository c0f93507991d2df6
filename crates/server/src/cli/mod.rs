//! The command line. Each command has its own file.

mod ask;
mod bench;
mod engine;
mod eval;
mod figure;
mod index;
mod interrupt;
mod json_lines;
mod keys;
mod models;
mod page;
mod serve;
mod table;
mod threads;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use leafresh_chat::{Catalog, Recommender};
use leafresh_engine::{Backend, Local, Process};
use tracing_subscriber::EnvFilter;

use crate::config::{Config, Flags, LogFormat, Sources};

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
  leafresh bench --clients 1,8
      How fast the server on this machine answers one client, and eight at once.
  leafresh eval --markdown report.md
      How good the answers are: validity, category, variety, grounding, refusals.
  leafresh models inspect models/my-model.gguf
      What is in a model file, and whether it fits into this machine.
  leafresh keys new front-end >> config/keys.toml
      A new API key: its entry into the file, the key itself on the screen.

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
    /// Measure this server or another one under load
    Bench(Box<bench::Options>),
    /// Measure how good answers, search and refusals are
    Eval(Box<eval::Options>),
    /// Look into model files, and make smaller ones
    #[command(subcommand)]
    Models(models::Command),
    /// Compute for the server that started this process
    #[command(hide = true)]
    Engine(engine::Options),
    /// Make API keys
    #[command(subcommand)]
    Keys(keys::Command),
}

/// What a shell reports for a process that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// Options that every command has.
#[derive(Debug, Args)]
struct Common {
    /// Read settings from FILE [default: config/leafresh.toml, if it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Load the model from this GGUF file [setting: model.path]
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Find documents with this GGUF embedding model; "" is none [setting: retrieval.model]
    #[arg(long, value_name = "FILE")]
    embedding_model: Option<PathBuf>,
    /// Read categories, sentences, prompts and documents from DIR [setting: catalog.dir]
    #[arg(long, value_name = "DIR")]
    catalog: Option<PathBuf>,
}

/// Runs the command that the process was started with. Errors go to stderr as one sentence.
pub fn main() -> ExitCode {
    threads::wait_briefly();
    let result = match Cli::parse().command {
        Command::Serve(options) => serve::run(options),
        Command::Ask(options) => ask::run(&options),
        Command::Index(options) => index::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Eval(options) => eval::run(&options),
        Command::Models(command) => models::run(&command),
        Command::Engine(options) => engine::run(options),
        Command::Keys(command) => keys::run(&command),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("leafresh: {error:#}");
            ExitCode::FAILURE
        }
    }
}

impl Common {
    /// The configuration under these flags and `more` of them.
    fn load(
        &self,
        more: impl IntoIterator<Item = (&'static str, &'static str, String)>,
    ) -> anyhow::Result<Config> {
        Ok(Config::load(&self.sources(more)?)?)
    }

    /// Where the configuration comes from: it can be read again.
    fn sources(
        &self,
        more: impl IntoIterator<Item = (&'static str, &'static str, String)>,
    ) -> anyhow::Result<Sources> {
        let path = |path: &PathBuf| path.to_string_lossy().into_owned();
        let mut flags: Vec<_> = more.into_iter().collect();
        flags.extend(self.model.as_ref().map(|file| ("--model", "model.path", path(file))));
        let embedding = self.embedding_model.as_ref();
        flags.extend(embedding.map(|file| ("--embedding-model", "retrieval.model", path(file))));
        flags.extend(self.catalog.as_ref().map(|dir| ("--catalog", "catalog.dir", path(dir))));
        Ok(Sources::read(self.config.clone(), Flags(flags))?)
    }
}

fn start_logging(config: &Config) -> anyhow::Result<()> {
    // Qdrant's own lines help only whoever asks for them.
    let filter = format!("qdrant_edge=error,{}", config.log.filter);
    let filter = EnvFilter::try_new(filter).with_context(|| {
        format!("log.filter: \"{}\" is no filter such as info or leafresh=debug,info", config.log.filter)
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match config.log.format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}

fn load_catalog(config: &Config) -> anyhow::Result<Arc<Catalog>> {
    let dir = &config.catalog.dir;
    let catalog = Catalog::load(dir).with_context(|| {
        format!("the catalogue in {} can't be used (--catalog names another folder)", dir.display())
    })?;
    Ok(Arc::new(catalog))
}

/// Says what is wrong with a model file before anything is started.
fn check_model(path: &Path) -> anyhow::Result<()> {
    leafresh_engine::gguf::check(path).context(ABOUT_MODELS)?;
    Ok(())
}

const ABOUT_MODELS: &str = "the model can't be used (`make model` fetches one, --model names another file)";

const ABOUT_EMBEDDING: &str =
    "the embedding model can't be used (`make model` fetches one, --embedding-model names another file)";

/// Loads the model. Blocks for seconds.
fn load_recommender(config: &Config, catalog: Arc<Catalog>) -> anyhow::Result<Recommender> {
    let backend = match load_backend(config)? {
        // Another file helps against a file that can't be used, not against a machine that is too small.
        Err(error @ leafresh_engine::Error::ModelFile { .. }) => Err(error).context(ABOUT_MODELS)?,
        loaded => loaded?,
    };
    Ok(crate::assemble::recommender(config, catalog, backend)?)
}

fn load_backend(config: &Config) -> anyhow::Result<Result<Arc<dyn Backend>, leafresh_engine::Error>> {
    Ok(if config.engine.process {
        Process::load(&engine::launch(config)?).map(|process| Arc::new(process) as Arc<dyn Backend>)
    } else {
        Local::load(&config.model.file(), &config.engine).map(|local| Arc::new(local) as Arc<dyn Backend>)
    })
}
