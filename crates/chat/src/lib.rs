//! The domain: what a recommendation is, in which words, from which documents. No HTTP, no llama.cpp.

mod answer;
mod answering;
mod blank;
mod brief;
mod catalog;
mod command;
mod conversations;
mod documents;
mod error;
mod event;
mod fallback;
mod figures;
mod guard;
mod kept;
mod learning;
mod prompt;
mod recommend;
mod session;
mod words;

pub use blank::is_blank;
pub use brief::Preview;
pub use catalog::{Catalog, Category, Document, Files, Replies, Term};
pub use command::{BaseInfo, Command, FreeText, Kind};
pub use conversations::Sessions;
pub use error::Error;
pub use event::{Answer, Challenge, DegradedReason, Event, Events, Failure, Grounding, Source, Stage};
pub use fallback::FallbackSettings;
pub use figures::Figures;
pub use guard::{Example, GateReport, Refusal, Split, Topic, measure_gate};
pub use leafresh_store::{Key as SessionKey, Session};
pub use recommend::{Deadlines, Recommender, Settings};
