//! Prompt and program in, text out.
//!
//! The engine knows nothing of recommendations: it takes a [`Prompt`], a [`Program`] of fixed text and slots, and the
//! [`Progress`] already made, and streams [`Delta`]s. Dropping a [`Generation`] cancels it.

mod admission;
mod backend;
mod constraint;
mod delta;
mod detokenizer;
mod embedder;
mod error;
pub mod fake;
mod generation;
pub mod gguf;
mod llama;
mod local;
mod matcher;
pub mod memory;
mod model;
mod prefix_cache;
mod presence;
mod process;
mod program;
mod sampler;
mod scheduler;
mod sequence;
mod settings;
mod shared;
mod vocab;
mod worker;

pub use admission::{Admission, Arrival, Reservation};
pub use backend::{Backend, Health, ModelInfo, Piece, Prompt, Request, Sampling, UpstreamHealth};
pub use delta::{Delta, Usage};
pub use embedder::{Embedder, EmbedderInfo, Embedding};
pub use error::Error;
pub use generation::{Generation, Outlet, channel};
pub use llama::{
    EmbeddingSettings, InstructionSets, LlamaEmbedder, QUANTIZATIONS, end_process, instruction_sets,
    load_tokenizer, merge, merged_bytes, quantize, quantized_bytes,
};
pub use local::Local;
pub use matcher::{Grammars, Matcher, choices};
pub use model::{Adapter, Candidates, Entry, Model, SeqId};
pub use presence::Presence;
pub use process::{Child, Launch, Process, Source};
pub use program::{Grammar, Program, Progress, Segment, Slot};
pub use scheduler::Queue;
pub use settings::{KvType, LocalSettings};
pub use vocab::{Token, Tokenizer, Vocab};
