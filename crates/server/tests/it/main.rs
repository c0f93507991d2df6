//! The server on a real port with the engine's fake model, as its clients see it.

#![allow(clippy::unwrap_used, reason = "what goes wrong in a test's helper fails the test")]

mod adapters;
mod clients;
mod conversation;
mod door;
mod encodings;
mod ends;
mod fallback;
mod feedback;
mod headers;
mod joining;
mod leaving;
mod logged;
mod many;
mod objects;
mod openai;
mod page;
mod refusals;
mod relay;
mod resuming;
mod slow;
mod spans;
mod stream;
mod support;
