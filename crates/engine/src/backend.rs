//! What every engine offers, whichever machine it runs on.

use serde::{Deserialize, Serialize};

use crate::{Arrival, Error, Generation, Program, Progress, Reservation};

/// An engine: the local model, a child process, a pool of upstream servers.
pub trait Backend: Send + Sync {
    /// Takes a place for a request before any work is done for it, and says at once when there is none.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when the queue is full, [`Error::Stopped`] when the engine is gone.
    fn reserve(&self, arrival: &Arrival) -> Result<Reservation, Error>;

    /// Queues a generation in a place that this engine has given, and returns at once.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when the prompt is longer than the place was reserved for and the queue has no room for
    /// that, [`Error::Stopped`] when the engine is gone.
    fn start(&self, reservation: Reservation, request: Request) -> Result<Generation, Error>;

    /// Both at once, for a request without a deadline and of no particular client.
    ///
    /// # Errors
    /// As [`Backend::reserve`].
    fn generate(&self, request: Request) -> Result<Generation, Error> {
        let arrival = Arrival { prompt_bytes: request.prompt.bytes(), ..Arrival::default() };
        self.start(self.reserve(&arrival)?, request)
    }

    /// Checks that a program can be written behind a prompt whatever the model says: every slot ends within its budget,
    /// and all of it fits the context. Prepares its grammars.
    ///
    /// # Errors
    /// [`Error::Program`] with the slot, its budget and the fewest tokens it needs; [`Error::Unfit`] with the figures.
    fn check(&self, prompt: &Prompt, program: &Program) -> Result<(), Error>;

    /// How many tokens the model makes of `text`: about, where the tokenizer is elsewhere.
    fn count_tokens(&self, text: &str) -> usize;

    fn health(&self) -> Health;

    fn model(&self) -> &ModelInfo;
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// One of [`ModelInfo::adapters`]. None: the model as it is.
    pub adapter: Option<String>,
    pub prompt: Prompt,
    pub program: Program,
    /// What an earlier attempt has already written and a reader may have seen.
    pub progress: Progress,
    pub sampling: Sampling,
}

/// The text before the program. Pieces are tokenised apart, so that user text never turns into special tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prompt {
    pub pieces: Vec<Piece>,
}

impl Prompt {
    /// All pieces joined, for engines that take one text.
    pub fn text(&self) -> String {
        self.texts().collect()
    }

    /// How long all pieces are together.
    pub fn bytes(&self) -> usize {
        self.texts().map(str::len).sum()
    }

    fn texts(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().map(|(Piece::Template(text) | Piece::Text(text))| text.as_str())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Piece {
    /// From the operator's template: special tokens such as `<start_of_turn>` count.
    Template(String),
    /// Instructions, documents, what people wrote: special tokens in it are plain text.
    Text(String),
}

/// How a slot's next token is drawn. `Default` is the contract's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sampling {
    /// 0 is greedy: the likeliest token, always.
    pub temperature: f32,
    /// Keeps the likeliest tokens until their probabilities sum to this (nucleus sampling, arXiv:1904.09751). 1: off.
    pub top_p: f32,
    /// Keeps the k likeliest tokens. 0: off.
    pub top_k: usize,
    /// Drops tokens less likely than this share of the likeliest one's probability (arXiv:2407.01082). 0: off.
    pub min_p: f32,
    /// Divides the positive logits of tokens that slots already used, multiplies negative ones (arXiv:1909.05858). 1: off.
    pub repetition_penalty: f32,
    /// Texts whose tokens are never penalised: sentence endings have to come again.
    pub penalty_exempt: Vec<String>,
    /// None: another answer every time.
    pub seed: Option<u64>,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 0.3,
            top_p: 0.9,
            top_k: 50,
            min_p: 0.0,
            repetition_penalty: 1.1,
            penalty_exempt: Vec::new(),
            seed: None,
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Whether requests are answered now: not while an engine's process is being started again.
    pub ready: bool,
    pub running: usize,
    pub queued: usize,
    /// Generations that wait for their reader to return.
    pub parked: usize,
    /// KV cells held by running requests, and all there are.
    pub kv_used: usize,
    pub kv_total: usize,
    /// Batches decoded since the start.
    pub steps: u64,
    /// Logits that were NaN and counted as −∞.
    pub nan_logits: u64,
    /// Times that a running request had to give its cells to others and wait again.
    pub preemptions: u64,
    /// Times that an engine's process had to be started again, or an upstream was met anew.
    pub restarts: u64,
    /// The servers that write elsewhere, where there are any.
    pub upstreams: Vec<UpstreamHealth>,
}

/// How a server that writes elsewhere does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamHealth {
    pub url: String,
    /// Whether it is asked now.
    pub ready: bool,
    /// Generations that have a place there.
    pub running: usize,
    /// Since the start: pieces of text that it was asked for, those that it failed at, those that didn't fit their grammar,
    /// and how often it was met anew.
    pub requests: u64,
    pub faults: u64,
    pub misfits: u64,
    pub reconnects: u64,
}

/// What the model file says of itself, or a server of its model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelInfo {
    pub name: String,
    /// 0 where nobody says.
    pub parameters: u64,
    /// Tokens the context holds in all; 0 where nobody says.
    pub context: usize,
    /// The chat template in Jinja, when the file has one, and the texts it names `bos_token` and `eos_token`.
    pub chat_template: Option<String>,
    pub bos: String,
    pub eos: String,
    /// The names of the adapters that requests may ask for, in alphabetical order.
    pub adapters: Vec<String>,
}
