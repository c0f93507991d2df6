//! Downloads from a double of the Hub.

#![allow(clippy::unwrap_used, reason = "what goes wrong in a test's helper fails the test")]

#[allow(dead_code, reason = "other crates' tests use more of it")]
mod double;
mod downloads;
