//! What an operator can set: built-in defaults, then the file, then `.env` and the environment, then flags.
//!
//! `config/leafresh.toml` explains every key; a test holds it against the defaults here.

mod dotenv;
mod explain;
mod flags;
mod network;
mod places;
mod sources;
#[cfg(test)]
mod tests;
mod upstream;
mod values;
mod variables;

pub use flags::Common;
pub use network::Network;
pub use sources::{DEFAULT_FILE, Flags, Sources};
pub use upstream::{KeyPlace, Upstream, UpstreamUrl};
pub use values::{CookieName, HostName, Listen, LogFormat, Origin, Prefix, SameSite, Seconds};

use std::path::{Path, PathBuf};

use leafresh_chat::{FallbackSettings, Files};
use leafresh_engine::LocalSettings;
use serde::Deserialize;

/// A configuration that can't be used; the text names the file, variable or flag, what was found and what was expected.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub(crate) String);

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub server: Server,
    pub admin: Admin,
    pub keys: Keys,
    pub limits: Limits,
    pub stream: Stream,
    pub cors: Cors,
    pub catalog: Catalog,
    pub model: Model,
    pub engine: LocalSettings,
    /// Servers that write elsewhere. With one, no model is loaded here.
    pub upstream: Vec<Upstream>,
    pub chat: leafresh_chat::Settings,
    pub retrieval: Retrieval,
    pub deadlines: DeadlineSeconds,
    pub fallback: FallbackSettings,
    pub data: Data,
    pub session: Session,
    pub log: Log,
    /// What was passed over while it was read, for the log.
    #[serde(skip)]
    pub notes: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    pub listen: Listen,
    /// What all paths begin with; empty: nothing.
    pub prefix: Prefix,
    /// Names beside `localhost` under which it is asked where it listens on this machine only and there are no keys.
    pub hosts: Vec<HostName>,
    /// How long a client may take to send the request line and headers, and then the body.
    #[serde(deserialize_with = "values::positive")]
    pub request_seconds: Seconds,
    /// How long a connection may be open without a request.
    #[serde(deserialize_with = "values::positive")]
    pub idle_seconds: Seconds,
    /// How long running answers may go on after Ctrl-C or SIGTERM.
    pub drain_seconds: Seconds,
    /// Connections at the same time; one more gets 503. None: as many as the process may open files, less a reserve.
    pub connections: Option<usize>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: Listen::default(),
            prefix: Prefix::default(),
            hosts: Vec::new(),
            request_seconds: Seconds::new(15),
            idle_seconds: Seconds::new(75),
            drain_seconds: Seconds::new(30),
            connections: None,
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// A second address for what is administrative, which the first one then doesn't answer.
    pub listen: Option<Listen>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Keys {
    /// The API keys. None: whoever reaches the server may ask it.
    pub file: Option<PathBuf>,
    /// How long a browser's cookie stands for the key it was given for.
    #[serde(deserialize_with = "values::positive")]
    pub cookie_seconds: Seconds,
    pub cookie_name: CookieName,
    pub cookie_same_site: SameSite,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            file: None,
            cookie_seconds: Seconds::new(12 * 60 * 60),
            cookie_name: CookieName::default(),
            cookie_same_site: SameSite::Strict,
        }
    }
}

/// What one client may do, whether it is known by its key or by its address. 0 is no limit.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// How fast a client's allowance for requests grows, and how much of it there can be at once.
    pub requests_per_minute: u32,
    pub burst: u32,
    /// Answers that are written for it at the same time.
    pub running: u32,
    /// Connections from one address.
    pub connections: u32,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Off: a client may ask as much as the server takes.
            requests_per_minute: 0,
            burst: 30,
            running: 0,
            connections: 0,
            trusted_proxies: Vec::new(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Stream {
    /// How long a stream may be silent before its first keep-alive line; 0: as long as before the others.
    pub first_keep_alive_seconds: Seconds,
    /// The time between those that follow in the same silence; 0 sends none at all.
    pub keep_alive_seconds: Seconds,
    /// Sends a `close` without data after an `error`, for relays that complete on `close` only.
    pub error_then_close: bool,
    /// How long an answer whose last reader has left waits for one to return; 0 doesn't wait.
    pub grace_seconds: Seconds,
    /// How long an answer that has ended can still be read again.
    pub retention_seconds: Seconds,
    /// Memory for the events of all answers that are running or kept.
    #[serde(deserialize_with = "values::at_least_one")]
    pub memory_mib: usize,
    /// How much of it the answers of one key may take.
    #[serde(deserialize_with = "values::at_least_one")]
    pub memory_per_key_mib: usize,
    /// How long a reader may leave what was sent to it unread before its connection is closed.
    #[serde(deserialize_with = "values::positive")]
    pub write_seconds: Seconds,
}

impl Default for Stream {
    fn default() -> Self {
        Self {
            first_keep_alive_seconds: Seconds::new(5),
            keep_alive_seconds: Seconds::new(8),
            error_then_close: false,
            grace_seconds: Seconds::new(120),
            retention_seconds: Seconds::new(300),
            memory_mib: 64,
            memory_per_key_mib: 16,
            write_seconds: Seconds::new(30),
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cors {
    /// The origins whose pages may read our answers; `*` is any.
    pub origins: Vec<Origin>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Catalog {
    /// The folder with categories, sentences, prompts and documents. None: those in the program.
    pub dir: Option<PathBuf>,
}

impl Catalog {
    pub fn files(&self) -> Files {
        self.dir.as_ref().map_or_else(Files::built_in, |dir| Files::in_folder(dir.clone()))
    }
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Model {
    /// A GGUF file. A leading `~/` is the home directory. None: [`MODEL`] where models are kept.
    pub path: Option<PathBuf>,
}

/// The models that `make model` fetches.
const MODEL: &str = "gemma-3-270m-Q4_K_M.gguf";
const EMBEDDING_MODEL: &str = "multilingual-e5-small-Q4_0.gguf";

impl Model {
    /// The whole path.
    ///
    /// # Errors
    /// When it lies at home, and there is none.
    pub fn file(&self) -> Result<PathBuf, Error> {
        match &self.path {
            Some(path) => at_home("model.path", path),
            None => places::model(&places::environment, MODEL).ok_or_else(|| {
                Error(
                    "model.path: there is no place to look for a model, as neither CACHE_DIRECTORY, XDG_CACHE_HOME nor HOME \
                     is set; name a file with --model or model.path"
                        .into(),
                )
            }),
        }
    }
}

/// A path with a leading `~/` replaced by the home directory; `key` is the setting that it comes from.
pub(crate) fn at_home(key: &str, path: &Path) -> Result<PathBuf, Error> {
    places::at_home(&places::environment, key, path)
}

/// How documents are found.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retrieval {
    /// A GGUF embedding model. A leading `~/` is the home directory. Empty: none. None: [`EMBEDDING_MODEL`] where models are
    /// kept.
    pub model: Option<PathBuf>,
    /// Threads that embed.
    #[serde(deserialize_with = "values::at_least_one")]
    pub threads: usize,
    /// Of a Qdrant server. Without it the index lies in a folder.
    pub url: Option<String>,
    pub api_key: Option<String>,
    pub collection: String,
    /// How long one call to the server may take.
    #[serde(deserialize_with = "values::positive")]
    pub call_seconds: Seconds,
}

/// Without the key.
impl std::fmt::Debug for Retrieval {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { model, threads, url, collection, .. } = self;
        f.debug_struct("Retrieval")
            .field("model", model)
            .field("threads", threads)
            .field("url", url)
            .field("collection", collection)
            .finish_non_exhaustive()
    }
}

impl Default for Retrieval {
    fn default() -> Self {
        Self {
            model: None,
            threads: 1,
            url: None,
            api_key: None,
            collection: "leafresh".into(),
            call_seconds: Seconds::new(5),
        }
    }
}

impl Retrieval {
    /// The embedding model's whole path. None: there should be none, or there is no place to look for it.
    ///
    /// # Errors
    /// When it was said to lie at home, and there is none.
    pub fn file(&self) -> Result<Option<PathBuf>, Error> {
        match &self.model {
            Some(path) if path.as_os_str().is_empty() => Ok(None),
            Some(path) => at_home("retrieval.model", path).map(Some),
            None => Ok(places::model(&places::environment, EMBEDDING_MODEL)),
        }
    }
}

/// How long the steps of an answer may take.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeadlineSeconds {
    #[serde(deserialize_with = "values::positive")]
    pub queue_seconds: Seconds,
    #[serde(deserialize_with = "values::positive")]
    pub retrieval_seconds: Seconds,
    #[serde(deserialize_with = "values::positive")]
    pub stall_seconds: Seconds,
    #[serde(deserialize_with = "values::positive")]
    pub answer_seconds: Seconds,
}

impl Default for DeadlineSeconds {
    fn default() -> Self {
        let leafresh_chat::Deadlines { queue, retrieval, stall, answer } =
            leafresh_chat::Deadlines::default();
        Self {
            queue_seconds: Seconds(queue),
            retrieval_seconds: Seconds(retrieval),
            stall_seconds: Seconds(stall),
            answer_seconds: Seconds(answer),
        }
    }
}

impl From<&DeadlineSeconds> for leafresh_chat::Deadlines {
    fn from(deadlines: &DeadlineSeconds) -> Self {
        Self {
            queue: deadlines.queue_seconds.0,
            retrieval: deadlines.retrieval_seconds.0,
            stall: deadlines.stall_seconds.0,
            answer: deadlines.answer_seconds.0,
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// Where the server keeps what it has to remember. A leading `~/` is the home directory. None: where the system has such
    /// folders.
    pub dir: Option<PathBuf>,
}

impl Data {
    /// The whole path of the folder.
    ///
    /// # Errors
    /// When none was named and the system has no place for it.
    pub fn path(&self) -> Result<PathBuf, Error> {
        match &self.dir {
            Some(dir) => at_home("data.dir", dir),
            None => places::data(&places::environment),
        }
    }
}

/// How much of a conversation is kept.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Session {
    #[serde(deserialize_with = "values::at_least_one")]
    pub days: u32,
    #[serde(deserialize_with = "values::at_least_one")]
    pub turns: u32,
    /// Sessions of one key, and of all. 0: any number.
    pub per_owner: u32,
    pub most: u32,
}

impl Default for Session {
    fn default() -> Self {
        let leafresh_store::SessionLimits { days, turns, per_owner, most } =
            leafresh_store::SessionLimits::default();
        Self { days, turns, per_owner, most }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// What is logged, in the syntax of tracing's `EnvFilter`: `info`, `leafresh=debug,info`.
    pub filter: String,
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info".into(), format: LogFormat::Text }
    }
}
