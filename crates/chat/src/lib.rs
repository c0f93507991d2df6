//! The domain: what a recommendation is, in which words, from which documents. No HTTP, no llama.cpp.

mod answer;
mod answering;
mod blank;
mod brief;
mod catalog;
mod chat_template;
mod command;
mod conversations;
mod error;
mod event;
mod fallback;
mod figures;
mod guard;
mod history;
mod kept;
mod learning;
mod library;
mod reading;
mod recommend;
mod session;
mod start;
mod understanding;
mod words;

pub use blank::is_blank;
pub use brief::Preview;
pub use catalog::{Catalog, Category, Document, Example, Files, Replies, Split, Term, Topic};
pub use command::{BaseInfo, Command, FreeText, Kind};
pub use conversations::Sessions;
pub use error::Error;
pub use event::{Answer, Challenge, DegradedReason, Event, Events, Failure, Grounding, Source, Stage};
pub use fallback::FallbackSettings;
pub use figures::Figures;
pub use guard::{GateReport, Gatekeeper, Refusal};
pub use leafresh_store::{Session, SessionKey};
pub use recommend::{Deadlines, Recommender, Settings};
pub use understanding::{Understood, understand};
