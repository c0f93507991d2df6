//! Programs written by servers that are no real ones: they answer as the published ones do, and fail when they are told to.

#![allow(clippy::unwrap_used, reason = "what goes wrong in a test's helper fails the test")]

mod double;
mod faults;
mod meeting;
mod places;
mod readers;
mod real;
mod support;
mod writing;
