//! Prompt and program in, text out.
//!
//! The engine knows nothing of recommendations: it takes a [`Prompt`], a [`Program`] of fixed text and slots, and the
//! [`Progress`] already made, and streams [`Delta`]s. Dropping a [`Generation`] cancels it.

mod backend;
mod error;
mod program;

pub use backend::{Backend, Delta, Generation, Health, ModelInfo, Piece, Prompt, Request, Sampling, Usage};
pub use error::Error;
pub use program::{Grammar, Program, Progress, Segment, Slot};
