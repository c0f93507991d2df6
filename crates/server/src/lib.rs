//! The server: HTTP, server-sent events, configuration and command line around the chat.
//!
//! [`run`] is the whole server on a listener; [`app`] is its paths without one.

#![forbid(unsafe_code)]

pub mod assemble;
pub mod cli;
pub mod config;
mod http;
mod metrics;
mod retrieval;
mod serve;
mod state;
mod streams;

pub use http::app;
pub use retrieval::Retrieval;
pub use serve::run;
pub use state::AppState;
