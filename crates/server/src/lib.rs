//! The server: HTTP, server-sent events, configuration and command line around the chat.
//!
//! [`run`] is the whole server on a listener.

#![forbid(unsafe_code)]

pub mod assemble;
pub mod cli;
pub mod config;
mod door;
mod http;
mod installed;
mod metrics;
mod retrieval;
mod serve;
mod socket;
mod state;
mod streams;

pub use retrieval::Retrieval;
pub use serve::{Listeners, run};
pub use state::AppState;
