//! Documents found by meaning and by words; the only crate that knows Qdrant.
//!
//! [`Search`] answers a [`Query`] with [`Hit`]s. A query's vector is made once by [`Search::embed`] and serves whoever else
//! wants to know what a message is about. [`Index`] puts documents in and takes them out again.

mod asking;
mod chunk;
mod corpus;
mod document;
mod error;
mod index;
mod lexical;
mod location;
mod meaning;
mod metric;
mod search;
mod store;

pub use corpus::{Codes, Corpus};
pub use document::Document;
pub use error::Error;
pub use index::{Index, Plan, Progress, Report};
pub use location::{Location, Opener, ServerSettings};
pub use metric::{Metric, dot};
pub use search::{Hit, Query, QueryVector, Search};
