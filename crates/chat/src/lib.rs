//! The domain: what a recommendation is, in which words, from which documents. No HTTP, no llama.cpp.

mod answer;
mod catalog;
mod command;
mod error;
mod event;
mod prompt;
mod recommend;

pub use catalog::{Catalog, Category, Document, Replies, Term};
pub use command::{BaseInfo, Command, FreeText, Kind};
pub use error::Error;
pub use event::{Answer, Challenge, DegradedReason, Event, Events, Failure, Grounding, Source};
pub use recommend::{Preview, Recommender, Settings};
