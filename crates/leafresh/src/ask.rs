//! `leafresh ask`.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};
use clap::Args;
use leafresh_chat::{BaseInfo, Catalog, Event, Recommender};
use leafresh_retrieval::Search;
use leafresh_server::assemble;
use leafresh_server::config::{Common, Config};
use leafresh_server::setup::{self, ABOUT_EMBEDDING};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Where you live: one of the catalogue's places (by default city, beach, mountain, rural; Korean names
    /// work too) or a place of your own
    #[arg(long, value_name = "TEXT")]
    location: String,
    /// How you work: one of the catalogue's kinds of work (by default office, field, sales, remote) or your own
    #[arg(long, value_name = "TEXT")]
    work_type: String,
    /// What you like: one of the catalogue's categories, by name or by code such as ZERO_WASTE
    #[arg(long, value_name = "TEXT")]
    category: String,
    /// Print the prompt, the program and the sampling as JSON instead of running them
    #[arg(long)]
    show_prompt: bool,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let mut config = options.common.load(None)?;
    // One answer: there is nothing to go on with when the engine dies.
    config.engine.process = false;
    let _logging = setup::start_logging(&config)?;
    let catalog = setup::load_catalog(&config)?;
    let request = options.request(&catalog)?;
    setup::check_engine(&config)?;
    let mut recommender = setup::load_recommender(&config, catalog)?;
    if options.show_prompt {
        let preview = serde_json::to_string_pretty(&recommender.preview(&request)?)?;
        writeln!(std::io::stdout(), "{preview}")?;
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        if let Some(search) = search(&config).await? {
            recommender = recommender.with_search(search);
        }
        print(&recommender, &request).await
    })
}

impl Options {
    /// The same checks, with the same sentences, as over HTTP.
    fn request(&self, catalog: &Catalog) -> anyhow::Result<BaseInfo> {
        leafresh_server::base_info(&self.location, &self.work_type, &self.category, catalog).map_err(
            |refused| {
                let known: Vec<_> = catalog.categories().iter().map(|known| known.code.as_str()).collect();
                anyhow!("{refused} (categories: {})", known.join(", "))
            },
        )
    }
}

/// The index, as it is. Without one, or where it can't be had now, the catalogue's documents do.
async fn search(config: &Config) -> anyhow::Result<Option<Search>> {
    let location = assemble::location(config)?;
    let found = match assemble::embedder(config, config.retrieval.threads).context(ABOUT_EMBEDDING)? {
        Some(embedder) => Search::with_model(&location, embedder).await,
        None => Search::by_words(&location).await,
    };
    match found {
        Err(error @ leafresh_retrieval::Error::Mismatch(_)) => Err(error.into()),
        Err(error) => {
            tracing::warn!(%error, "documents come from the catalogue alone");
            Ok(None)
        }
        found => Ok(found?),
    }
}

/// Prints the text as it is written.
async fn print(recommender: &Recommender, request: &BaseInfo) -> anyhow::Result<ExitCode> {
    let mut events = recommender.base_info(request)?;
    let mut out = std::io::stdout();
    while let Some(event) = events.next().await {
        match event {
            Event::Text(text) => {
                write!(out, "{text}")?;
                out.flush()?;
            }
            Event::Challenge { .. } => {}
            Event::Close(_) => {
                writeln!(out)?;
                return Ok(ExitCode::SUCCESS);
            }
            Event::Error(failure) => {
                writeln!(out)?;
                bail!("{}", leafresh_server::sentence(Some(failure), recommender.catalog()));
            }
        }
    }
    bail!("{}", leafresh_server::sentence(None, recommender.catalog()))
}
