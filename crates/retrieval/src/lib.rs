//! Documents found by meaning and by words; the only crate that knows Qdrant.
//!
//! [`Search`] answers a [`Query`] with [`Hit`]s. A query's vector is made once by [`Search::embed`] and serves whoever else
//! wants to know what a message is about. [`Index`] puts documents in and takes them out again.
//!
//! **In**: files become documents ([`Corpus`]), long texts passages where sentences end (`chunk`); a document's id is a hash
//! of what it says, so that a [`Plan`] knows what is new and what is gone without embedding anything. A document's vector is
//! its text's and that of the `questions` it carries (`meaning`), its words are pairs of letters (`lexical`).
//!
//! **Out**: two lists, by meaning and by words, each stretched to 0 to 1 and added; a [`Metric`] that was learned from
//! questions divides out what tells nothing. At most two of a category, none twice.
//!
//! **Where**: one trait (`store`), two stores: Qdrant in a folder with a journal of our own, for its log isn't read after a
//! crash; and a Qdrant server over gRPC. Blocking calls run on threads that may wait.

mod asking;
mod chunk;
mod corpus;
mod document;
mod error;
mod examine;
mod index;
mod lexical;
mod location;
mod meaning;
mod metric;
mod opening;
mod search;
mod store;
mod vector;

pub use corpus::{Codes, Corpus};
pub use document::Document;
pub use error::Error;
pub use examine::{Contents, Examined, examine};
pub use index::{Index, Plan, Progress, Report};
pub use location::{Location, ServerSettings};
pub use metric::Metric;
pub use opening::Opener;
pub use search::{Hit, Query, Search};
pub use vector::{QueryVector, as_embedded, centre, centred, dot};
