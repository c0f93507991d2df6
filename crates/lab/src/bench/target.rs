//! Which server is asked what.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
#[command(next_help_heading = "What is asked")]
pub(super) struct Target {
    /// The server, http://HOST:PORT
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8000")]
    pub(super) url: String,
    /// Its API
    #[arg(long, value_enum, default_value = "leafresh")]
    pub(super) api: Api,
    /// Ask this path instead of the API's usual one, such as /v1/completions
    #[arg(long, value_name = "PATH")]
    pub(super) path: Option<String>,
    /// Ask what FILE says, a request in each line, over and over [default for leafresh: random choices]
    #[arg(long, value_name = "FILE")]
    pub(super) requests: Option<PathBuf>,
    /// Ask a Leafresh for answers by these adapters in turn; an empty name is for none: --adapters ,polite,short
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub(super) adapters: Vec<String>,
    /// Set these keys in the body of every request; null leaves a key out
    #[arg(long, value_name = "JSON")]
    pub(super) body: Option<String>,
    /// Send this header too, such as 'Authorization: Bearer KEY'; can be given again
    #[arg(long = "header", value_name = "NAME: VALUE")]
    pub(super) headers: Vec<String>,
    /// Give an answer up after so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 300.0, value_parser = positive)]
    pub(super) timeout: f64,
    /// Draw questions and arrivals from this seed
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Api {
    /// This server's stream of events
    Leafresh,
    /// /v1/chat/completions, or with --path /v1/completions
    Openai,
    /// llama.cpp's /completion
    LlamaServer,
}

impl Api {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Leafresh => "leafresh",
            Self::Openai => "openai",
            Self::LlamaServer => "llama-server",
        }
    }
}

pub(super) fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| (1e-6..=1e9).contains(number));
    number.ok_or_else(|| "expected a number above 0".into())
}

pub(crate) fn at_least_one(text: &str) -> Result<usize, String> {
    let number = text.parse::<usize>().ok().filter(|number| (1..=1_000_000).contains(number));
    number.ok_or_else(|| "expected a whole number from 1 to 1000000".into())
}
