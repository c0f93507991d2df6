//! The engine through its public door: with the fake model, and with the real ones that `make model` fetched.

// Helpers outside `#[test]` functions unwrap too: a failure there is a failed test.
#![allow(clippy::unwrap_used)]

mod adapters;
mod embedding;
mod fake;
mod faults;
mod free_text;
mod lora;
mod memory;
mod model_files;
mod parking;
mod real;
mod support;
