//! What the command line says.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use leafresh_chat::Grounding;

use super::plan::Part;
use crate::bench::target::at_least_one;
use leafresh_server::config::Common;

const HELP: &str = "\
What is asked and what is known about the answers is data of the catalogue: eval/queries.jsonl, \
eval/messages.jsonl, gate/test.jsonl and, for what is understood before, the test halves of \
eval/{distress,innocents,insulting,mentions,turns}.jsonl. docs/evaluation.md explains every figure.

Examples:
  leafresh eval --json before.json --html before.html
      Everything, on the configured model; the report has a plot and what went wrong.
  leafresh eval --compare before.json after.json
      Two runs side by side; exit status 1 when a figure became worse by more than its slack.
  leafresh eval --models small-Q4_K_M.gguf,small-Q8_0.gguf --grounding select,context
      Two quantisations, each in two ways, in one table.
  leafresh eval --parts retrieval,gate
      Search and refusals only: half a minute when the gate has learned, and no language model.

  leafresh eval --parts choosing
      What chooses best among documents, openings and tellings: chance, meaning, the model, both. Minutes.
  leafresh eval --draw answers.md --seed 2
  leafresh eval --read answers.md
      Sixty answers to read and mark, and what the marks say: how many are sensible in every sentence.

Ctrl-C ends the run and prints what there is so far; a second one ends the process.";

/// Measure how good answers, search and refusals are.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub struct Options {
    /// Load these GGUF files one after the other, a column of figures for each [default: --model]
    #[arg(long, value_name = "FILE,…", value_delimiter = ',', conflicts_with = "model")]
    pub(super) models: Vec<PathBuf>,
    /// Use documents in these ways, a column of figures for each [default: what fits the model]
    #[arg(long, value_name = "WAY,…", value_delimiter = ',')]
    pub(super) grounding: Vec<Way>,
    /// Measure these parts only
    #[arg(
        long,
        value_name = "PART,…",
        value_delimiter = ',',
        default_value = "grid,repeats,messages,questions,retrieval,gate,understanding"
    )]
    pub(super) parts: Vec<Part>,
    /// Ask the grid so many times, with other random numbers each time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub(super) seeds: u64,
    /// Requests that run at the same time
    #[arg(long, value_name = "N", default_value = "4", value_parser = at_least_one)]
    pub(super) at_once: usize,
    /// Write everything to FILE as JSON, answers included
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
    /// Write the report to FILE as Markdown
    #[arg(long, value_name = "FILE")]
    pub(super) markdown: Option<PathBuf>,
    /// Write the report to FILE as HTML: one page that needs no network
    #[arg(long, value_name = "FILE")]
    pub(super) html: Option<PathBuf>,
    /// Measure nothing: compare the runs in these JSON files, and fail when the second is worse
    #[arg(long, value_name = "FILE", num_args = 2)]
    pub(super) compare: Option<Vec<PathBuf>>,
    /// Measure nothing: write 60 answers to FILE, drawn by --seed, as a form in which a reader marks each sentence
    #[arg(long, value_name = "FILE", conflicts_with_all = ["models", "json", "markdown", "html", "compare", "read"])]
    pub(super) draw: Option<PathBuf>,
    /// Draw the answers of --draw by this number
    #[arg(long, value_name = "N", default_value_t = 1, requires = "draw", value_parser = clap::value_parser!(u64).range(0..=u64::from(u32::MAX)))]
    pub(super) seed: u64,
    /// Measure nothing: count the marks in FILE, a form of --draw that was filled in
    #[arg(long, value_name = "FILE", conflicts_with = "compare")]
    pub(super) read: Option<PathBuf>,
    #[command(flatten)]
    pub(super) common: Common,
}

/// How documents are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Way {
    /// Not at all
    None,
    /// As text in the prompt
    Context,
    /// As the choices that the model selects from
    Select,
}

impl From<Way> for Grounding {
    fn from(way: Way) -> Self {
        match way {
            Way::None => Self::None,
            Way::Context => Self::Context,
            Way::Select => Self::Select,
        }
    }
}
