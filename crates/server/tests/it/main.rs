//! The server on a real port with the engine's fake model, as its clients see it.

#![allow(clippy::unwrap_used, reason = "what goes wrong in a test's helper fails the test")]

mod bench;
mod clients;
mod conversation;
mod door;
mod encodings;
mod ends;
mod engine;
mod eval;
mod fallback;
mod grounding;
mod index_kill;
mod joining;
mod leaving;
mod many;
#[path = "../../../engine/tests/it/model_files.rs"]
mod model_files;
mod models;
mod page;
mod process;
mod program;
mod refusals;
mod resuming;
mod slow;
mod stream;
mod support;
mod swap;
