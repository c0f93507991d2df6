//! What the command line says.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::figures::Slo;
use super::target::{Target, at_least_one, positive};
use super::{engine, overhead, requests, search};

const EXAMPLES: &str = "\
Examples:
  leafresh bench --clients 1,8,64 --pid $(pgrep -x leafresh) --model models/gemma.gguf --html report.html
      The server on this machine with 1, 8 and 64 clients at once, tokens counted, memory watched.
  leafresh bench --rate 0.5,1 --seconds 120 --slo-ttft-ms 1000 --slo-tpot-ms 60
      Requests that arrive at random, 0.5 and then 1 each second, and how many are answered well in time.
  leafresh bench requests --count 64 --out requests.jsonl
      The prompts, JSON schemas and sampling of this configuration, for other servers.
  leafresh bench --url http://127.0.0.1:8080 --api llama-server --requests requests.jsonl --json other.json
      The same questions to llama.cpp's server; `--requests` gives them to this one too, with --api leafresh.
  leafresh bench --url http://127.0.0.1:8001 --api openai --path /v1/completions --requests requests.jsonl \\
      --body '{\"model\":\"NAME\",\"min_p\":null}'
      To a server with OpenAI's API. --body sets keys of every request's body, null leaves one out.
  leafresh bench --compare other.json ours.json
      Two runs side by side, and how many times the first the second is.
  leafresh bench overhead
      CPU time of HTTP, events and chat for each token, with a model that costs nothing.
  leafresh bench engine
      Time per token while a long prompt joins and with a full cache, and answers of 200 seeds checked.
  leafresh bench search
      How well and how fast documents are found, on labelled questions and up to 100,000 documents.

Ctrl-C ends the run and prints what there is so far; a second one ends the process.";

/// Measure this server or another one that streams.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct Options {
    #[command(subcommand)]
    pub(super) command: Option<Command>,
    #[command(flatten)]
    pub(super) target: Target,
    #[command(flatten)]
    pub(super) load: LoadOptions,
    #[command(flatten)]
    pub(super) output: Output,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Write a file of requests for --requests: our prompts, JSON schemas and sampling
    Requests(requests::Options),
    /// Measure the CPU time of HTTP, events and chat for each token
    Overhead(overhead::Options),
    /// Measure what running answers feel of long prompts and of a full cache, and whether every answer is whole
    Engine(engine::Options),
    /// Measure how well and how fast documents are found
    Search(search::Options),
}

#[derive(Debug, Args)]
#[command(next_help_heading = "How much is asked")]
pub(super) struct LoadOptions {
    /// Closed loop: so many clients, each asking again when it has its answer; one run for each number
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1,8", value_parser = at_least_one)]
    pub(super) clients: Vec<usize>,
    /// So many requests for each client
    #[arg(long, value_name = "N", default_value = "4", value_parser = at_least_one)]
    pub(super) requests_each: usize,
    /// So many requests in each run, whatever the number of clients
    #[arg(long, value_name = "N", conflicts_with = "requests_each", value_parser = at_least_one)]
    pub(super) total: Option<usize>,
    /// Open loop: so many requests each second on average, at random times (Poisson), however long answers take;
    /// one run for each number
    #[arg(long, value_name = "R,…", value_delimiter = ',', conflicts_with_all = ["clients", "total", "requests_each"], value_parser = positive)]
    pub(super) rate: Vec<f64>,
    /// Open loop: requests arrive for so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0, requires = "rate", value_parser = positive)]
    pub(super) seconds: f64,
    /// Requests before the first run that don't count: they warm the server up
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(super) warmup: usize,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "What is measured and written")]
pub(super) struct Output {
    /// Count tokens with this GGUF file's tokenizer, after the runs [default: characters are counted]
    #[arg(long, value_name = "FILE")]
    pub(super) model: Option<PathBuf>,
    /// Watch memory and CPU time of this process and its children: the server
    #[arg(long, value_name = "PID")]
    pub(super) pid: Option<u32>,
    /// For goodput: the time to first token that an answer may take
    #[arg(long, value_name = "MS", value_parser = positive)]
    pub(super) slo_ttft_ms: Option<f64>,
    /// For goodput: the time per output token that an answer may take
    #[arg(long, value_name = "MS", value_parser = positive)]
    pub(super) slo_tpot_ms: Option<f64>,
    /// Write everything to FILE as JSON
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
    /// Write a report with plots to FILE: one page that needs no network
    #[arg(long, value_name = "FILE")]
    pub(super) html: Option<PathBuf>,
    /// Measure nothing: print the runs in these JSON files side by side
    #[arg(long, value_name = "FILE", num_args = 2)]
    pub(super) compare: Option<Vec<PathBuf>>,
}

impl Output {
    pub(super) fn slo(&self) -> Slo {
        Slo { ttft_ms: self.slo_ttft_ms, tpot_ms: self.slo_tpot_ms }
    }
}
