//! From the configuration to what commands begin with: the log, the catalogue, the model. Errors are sentences for a terminal.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use leafresh_chat::{Catalog, Recommender};
use leafresh_engine::{Backend, Launch, Local, Process, Source};
use leafresh_remote::Remote;
use tracing_subscriber::EnvFilter;

use crate::config::{Config, LogFormat};
pub use crate::log::Logging;
use crate::{assemble, log};

const ABOUT_MODELS: &str = "the model can't be used (`make model` fetches one, --model names another file)";

/// What to say of an embedding model that can't be used.
pub const ABOUT_EMBEDDING: &str =
    "the embedding model can't be used (`make model` fetches one, --embedding-model names another file)";

/// Writes the log to stderr as the configuration says, until what this returns is dropped. Once in a process.
///
/// # Errors
/// A filter that is none.
pub fn start_logging(config: &Config) -> anyhow::Result<Logging> {
    // Qdrant's own lines help only whoever asks for them.
    let filter = format!("qdrant_edge=error,{}", config.log.filter);
    let filter = EnvFilter::try_new(filter).with_context(|| {
        format!("log.filter: \"{}\" is no filter such as info or leafresh=debug,info", config.log.filter)
    })?;
    let (queue, logging) = log::to_stderr().context("the log can't be written")?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(queue)
        .with_ansi(std::io::stderr().is_terminal());
    match config.log.format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
    for note in &config.notes {
        tracing::warn!("{note}");
    }
    Ok(logging)
}

/// # Errors
/// What is wrong with it, with file, line and key.
pub fn load_catalog(config: &Config) -> anyhow::Result<Arc<Catalog>> {
    let catalog = Catalog::of(&config.catalog.files()).with_context(|| match &config.catalog.dir {
        Some(dir) => {
            let dir = dir.display();
            format!("the catalogue in {dir} can't be used (--catalog names another folder)")
        }
        None => "the program's own catalogue can't be used".to_owned(),
    })?;
    Ok(Arc::new(catalog))
}

/// Says what is wrong with a model file before anything is started.
///
/// # Errors
/// A file that is no whole model.
pub fn check_model(path: &Path) -> anyhow::Result<()> {
    leafresh_engine::gguf::check(path).context(ABOUT_MODELS)?;
    Ok(())
}

/// Says what is wrong with what is to write, as far as that can be seen before anything is started.
///
/// # Errors
/// As [`check_model`], where no upstreams write.
pub fn check_engine(config: &Config) -> anyhow::Result<()> {
    if config.upstream.is_empty() { check_model(&config.model.file()?) } else { Ok(()) }
}

/// Loads the model, or meets the upstreams. Blocks for seconds, and as long as no upstream answers.
///
/// # Errors
/// A model that can't be used or doesn't fit, upstreams that can never be asked, a catalogue that doesn't fit the model.
pub fn load_recommender(config: &Config, catalog: Arc<Catalog>) -> anyhow::Result<Recommender> {
    let backend = match load_backend(config)? {
        // Another file helps against a file that can't be used, not against a machine that is too small.
        Err(error @ leafresh_engine::Error::ModelFile { .. }) => Err(error).context(ABOUT_MODELS)?,
        loaded => loaded?,
    };
    Ok(assemble::recommender(config, catalog, backend)?)
}

fn load_backend(config: &Config) -> anyhow::Result<Result<Arc<dyn Backend>, leafresh_engine::Error>> {
    if !config.upstream.is_empty() {
        let remote = Remote::connect(assemble::upstreams(config));
        return Ok(remote.map(|remote| Arc::new(remote) as Arc<dyn Backend>));
    }
    Ok(if config.engine.process {
        Process::load(&launch(config)?).map(|process| Arc::new(process) as Arc<dyn Backend>)
    } else {
        Local::load(&config.model.file()?, &config.engine).map(|local| Arc::new(local) as Arc<dyn Backend>)
    })
}

/// How the engine's process is started: the program that runs now, which logs as this one does.
fn launch(config: &Config) -> anyhow::Result<Launch> {
    // On Linux the file that runs, whatever lies at its path by now.
    let program = if cfg!(target_os = "linux") {
        "/proc/self/exe".into()
    } else {
        std::env::current_exe().context("this program's own file can't be found")?
    };
    let mut arguments = ["engine", "--log-filter", &config.log.filter].map(Into::into).to_vec();
    if config.log.format == LogFormat::Json {
        arguments.push("--log-json".into());
    }
    Ok(Launch {
        program,
        arguments,
        source: Source::File(config.model.file()?),
        settings: config.engine.clone(),
    })
}
