//! The chat page in a real browser, served by the real server with the engine's fake model.

// Helpers outside `#[test]` functions unwrap too: a failure there is a failed test.
#![allow(clippy::unwrap_used)]

mod accessibility;
mod answer;
mod away;
mod cards;
mod hands;
mod installing;
mod interruptions;
mod keys;
mod languages;
mod layout;
mod network;
mod origins;
mod recalling;
mod refused;
mod replies;
mod support;
