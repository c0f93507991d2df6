//! `leafresh doctor`: what may keep the server from serving here, and what mends it.
//!
//! Each area has a file. Its probes look at the machine and change nothing; what they found goes to a pure function that judges
//! it, so that states which can't be made on every machine are tested as well.

mod catalogue;
mod clock;
mod configuration;
mod deep;
mod disk;
mod embedding;
mod finding;
mod gpu;
mod index;
mod kernel;
mod keys;
mod limits;
mod memory;
mod model;
mod port;
mod proc;
mod processor;
mod sessions;

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use leafresh_server::config::{Common, Config, Sources};
use tokio::runtime::Runtime;

use finding::{Finding, Status};

const HELP: &str = "\
What is looked at, with the configuration that `serve` would use:
  configuration  whether it can be read, and whether it contradicts itself
  catalogue, model, embedding model, index, sessions, keys
                 the files that the server needs: there, whole, fitting each other
  disk, memory, processor, gpu, limits
                 what the machine has, against what is needed, and who else holds it
  port, kernel, clock
                 what the system allows

Nothing is changed, and it takes seconds; a server may run meanwhile. Ends with 1 when there is a failure, with 0 when there
are warnings at most. The text and the JSON hold no secrets: they may be attached to a report.

Examples:
  leafresh doctor
  leafresh doctor --listen 0.0.0.0:8000 --model models/my-model.gguf
      Before `serve` is started with the same flags.
  leafresh doctor --json | jq '.findings[] | select(.status != \"ok\")'
  leafresh doctor --deep
      Load the model too, and ask it once.";

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Options {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Load the models as well, and ask once: as much time and memory as a start of the server
    #[arg(long)]
    deep: bool,
    /// The address that `serve` would be given [setting: server.listen, default: 127.0.0.1:8000]
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let listen = options.listen.clone().map(|listen| ("--listen", "server.listen", listen));
    let sources = options.common.sources(listen);
    let findings = match Config::load(&sources) {
        Ok(config) => examine(&config, &sources, options.deep)?,
        Err(error) => vec![configuration::unusable(&error)],
    };
    let text = if options.json {
        serde_json::to_string_pretty(&finding::json(&findings))? + "\n"
    } else {
        finding::text(&findings)
    };
    std::io::stdout().write_all(text.as_bytes())?;
    let failed = finding::worst(&findings) == Status::Failure;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What is worth a line in the log of a server that starts: what is cheap to find, and what nothing else there says.
pub(super) fn at_start(config: &Config) -> Vec<Finding> {
    let mut findings = configuration::contradictions(config);
    // With those the start ends, and says why.
    findings.retain(|finding| finding.status != Status::Failure);
    findings.extend(disk::at_start(config));
    findings.extend(limits::findings(config));
    findings.extend(keys::exposed(config));
    findings.push(clock::finding());
    findings.retain(|finding| finding.status != Status::Ok);
    findings
}

fn examine(config: &Config, sources: &Sources, deep: bool) -> anyhow::Result<Vec<Finding>> {
    let runtime = Runtime::new()?;
    let mut findings = configuration::findings(config, sources);
    let (catalog, about_catalog) = catalogue::finding(config);
    findings.push(about_catalog);
    let (header, about_model) = model::finding(config, deep);
    findings.push(about_model);
    let (embedder, about_embedder) = embedding::finding(config);
    findings.push(about_embedder);
    findings.extend(runtime.block_on(index::findings(config, embedder.as_ref(), catalog.as_deref())));
    findings.push(sessions::finding(config));
    findings.push(keys::finding(config));
    findings.extend(disk::findings(config));
    findings.extend(header.map(|header| memory::finding(config, &header)));
    findings.push(processor::finding(config));
    findings.push(gpu::finding(config));
    findings.extend(port::findings(config));
    findings.extend(limits::findings(config));
    findings.extend(kernel::findings(config));
    findings.push(clock::finding());
    if deep {
        findings.extend(deep::findings(config, catalog, &runtime));
    }
    // A model that is still at work isn't waited for.
    runtime.shutdown_background();
    Ok(findings)
}
