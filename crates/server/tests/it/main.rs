//! The server on a real port with the engine's fake model, as its clients see it.

#![allow(clippy::unwrap_used, reason = "what goes wrong in a test's helper fails the test")]

mod adapters;
mod clients;
mod conversation;
mod door;
#[allow(dead_code, reason = "the remote engine's own tests use the rest")]
#[path = "../../../remote/tests/remote/double.rs"]
mod double;
mod encodings;
mod ends;
mod fallback;
mod headers;
mod joining;
mod leaving;
mod many;
mod objects;
mod page;
mod refusals;
mod relay;
mod resuming;
mod slow;
mod stream;
mod support;
mod upstreams;
