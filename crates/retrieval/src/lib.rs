//! Documents found by meaning and by words; the only crate that knows Qdrant.
//!
//! [`Search`] answers a [`Query`] with [`Hit`]s. A query's vector is made once by [`Search::embed`] and serves whoever else
//! wants to know what a message is about.

mod document;
mod error;
mod search;

pub use document::Document;
pub use error::Error;
pub use search::{Hit, Query, QueryVector, Search};
