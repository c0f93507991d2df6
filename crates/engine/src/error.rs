use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Everything that can go wrong between a model file and the last token.
#[derive(Debug, Clone, PartialEq, thiserror::Error, Serialize, Deserialize)]
pub enum Error {
    /// The queue is full: the caller answers at once, nothing was done.
    #[error("the engine's queue is full ({queued} waiting)")]
    Overloaded { queued: usize },

    /// The request's deadline passed while it was in the queue: nothing was computed for it.
    #[error("the request waited in the queue until its deadline")]
    WaitedTooLong,

    /// The engine has stopped or is stopping.
    #[error("the engine has stopped")]
    Stopped,

    /// The request can't be run by this model, whatever the load; the text says which limit to change.
    #[error("{0}")]
    Unfit(String),

    /// The program contradicts itself (an empty list of choices, two slots without fixed text between them …).
    #[error("invalid program: {0}")]
    Program(String),

    /// The model file can't be used; the text names what was expected and what was found.
    #[error("{}: {reason}", path.display())]
    ModelFile { path: PathBuf, reason: String },

    /// The machine has no room for it; the text says how much is needed for what, and what to change.
    #[error("{0}")]
    NoRoom(String),

    /// llama.cpp was compiled for instruction sets, named here, that this processor doesn't have.
    #[error(
        "this build uses {0}, which the processor doesn't have or the virtual machine hides from its guests; build on \
         this machine with RUSTFLAGS=\"-C target-cpu=native\" make build, or let the virtual machine pass on the \
         host's processor"
    )]
    Processor(String),

    /// llama.cpp refused a call.
    #[error("llama.cpp: {0}")]
    Native(String),

    /// The KV cache has no room for a batch. The engine makes room; a request sees this only when there is none to make.
    #[error("the KV cache is full")]
    CacheFull,

    /// A fault in the engine itself, met twice by the same request.
    #[error("a fault in the engine: {0}")]
    Internal(String),

    /// The engine's process died twice while it was computing this request.
    #[error("the engine's process died twice while it worked on this request; it isn't tried again")]
    Died,

    /// No server elsewhere wrote it; the reason names the last one that tried.
    #[error("{reason}")]
    Upstream {
        reason: String,
        /// It took too long, rather than failed.
        late: bool,
    },

    /// No finite probability was left for a slot's next token.
    #[error("the model's output is not finite")]
    NonFinite,
}
