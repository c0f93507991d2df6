//! The program itself: its commands, its engine's process, and the server that it starts.

#![allow(clippy::unwrap_used, reason = "what goes wrong in a test's helper fails the test")]

mod adapters;
mod bench;
mod beside;
#[cfg(target_os = "linux")]
mod confined;
mod deployed;
mod doctor;
mod engine;
mod eval;
mod grounding;
mod hub;
#[path = "../../../hub/tests/it/double.rs"]
mod hub_double;
mod index_kill;
#[cfg(target_os = "linux")]
mod kernel;
#[cfg(target_os = "linux")]
mod locks;
#[path = "../../../engine/tests/it/lora.rs"]
mod lora;
#[path = "../../../engine/tests/it/model_files.rs"]
mod model_files;
mod models;
#[cfg(target_os = "linux")]
mod monitored;
mod process;
mod program;
mod replaced;
mod run;
mod shipped;
#[path = "../../../server/tests/it/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the server's tests use more of it")]
mod support;
mod swap;
mod trim;
