//! Which servers there are, and how they are asked.

use std::path::PathBuf;
use std::time::Duration;

/// All servers that write, and what may wait for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// At least one.
    pub upstreams: Vec<Upstream>,
    /// Requests that may wait for a place; one more is refused.
    pub queue: usize,
    /// Bytes of the prompts of those that wait.
    pub queue_bytes: usize,
    /// How long a generation may take from its first place on, time without a reader left out.
    pub total: Duration,
}

/// A server that continues text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// `http://HOST:PORT` or `https://…`, without `/v1`.
    pub url: String,
    /// None: found out.
    pub kind: Option<Kind>,
    /// The name that it knows its model by. None: the first one that it lists.
    pub model: Option<String>,
    /// What it is shown as `Authorization: Bearer …`.
    pub key: Option<Key>,
    /// Generations that it is asked for at the same time.
    pub running: usize,
    /// Whether it may write although it can't be bound to a grammar: what doesn't fit is cut off, and it is asked anew from
    /// there. Else such a server isn't used.
    pub steer: bool,
    /// To connect.
    pub connect: Duration,
    /// From a request to its first text: the server's own queue is in there.
    pub first: Duration,
    /// Between two pieces of text.
    pub idle: Duration,
}

impl Upstream {
    /// A server at this address, with the defaults.
    pub fn new(url: &str) -> Self {
        Self {
            url: url.trim_end_matches('/').trim_end_matches("/v1").trim_end_matches('/').to_owned(),
            kind: None,
            model: None,
            key: None,
            running: 32,
            steer: true,
            connect: Duration::from_secs(5),
            first: Duration::from_secs(25),
            idle: Duration::from_secs(10),
        }
    }
}

/// What a server is: where it tells about itself, tokenises and takes a grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Vllm,
    /// llama.cpp's server.
    LlamaServer,
    Sglang,
    /// Hugging Face's text-generation-inference.
    Tgi,
    /// Another one with `/v1/completions`, of which nothing else is known.
    Openai,
    /// Another Leafresh.
    Leafresh,
}

impl Kind {
    pub const ALL: [Self; 6] =
        [Self::Vllm, Self::LlamaServer, Self::Sglang, Self::Tgi, Self::Openai, Self::Leafresh];

    /// As it is written in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vllm => "vllm",
            Self::LlamaServer => "llama-server",
            Self::Sglang => "sglang",
            Self::Tgi => "tgi",
            Self::Openai => "openai",
            Self::Leafresh => "leafresh",
        }
    }
}

/// Where a server's key is. It is read again whenever the server is met anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// An environment variable.
    Variable(String),
    /// A file that holds nothing else.
    File(PathBuf),
}

impl Key {
    /// # Errors
    /// A sentence that names the variable or file.
    pub(crate) fn read(&self) -> Result<String, String> {
        let (key, place) = match self {
            Self::Variable(name) => (std::env::var(name).map_err(|error| error.to_string()), name.clone()),
            Self::File(path) => {
                (std::fs::read_to_string(path).map_err(|error| error.to_string()), path.display().to_string())
            }
        };
        match key.as_ref().map(|key| key.trim()) {
            Ok("") => Err(format!("the key in {place} is empty")),
            Ok(key) => Ok(key.to_owned()),
            Err(error) => Err(format!("the key in {place} can't be read: {error}")),
        }
    }
}
