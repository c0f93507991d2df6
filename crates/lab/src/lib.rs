//! The laboratory: what a server does under load ([`bench`]), and how good answers, search and refusals are ([`eval`]).
//!
//! Both ask as people would, count what comes back, and print figures with their definitions; as JSON, Markdown and HTML
//! too, and as a comparison of two runs. Nothing that serves people depends on this crate.
//!
//! - `bench`: clients in a closed or open loop against a server ([`bench::run`]); parts that have no server, such as the
//!   engine or search alone, are commands below it.
//! - `eval`: requests on a fixed grid, in sessions, and labelled messages and questions; each figure says what it means.

#![forbid(unsafe_code)]

pub mod bench;
pub mod eval;
mod figure;
mod interrupt;
mod json_lines;
mod page;
mod table;

/// What a shell reports for a process that Ctrl-C ended.
pub const INTERRUPTED: i32 = 130;
