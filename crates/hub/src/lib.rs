//! Model files of the Hugging Face Hub; the only crate that speaks its HTTP and knows the layout of its cache.
//!
//! | module | what |
//! |---|---|
//! | [`Reference`] | `hf:OWNER/REPO[:QUANT]`, and which of a repository's files it means |
//! | [`known`] | models with a short name |
//! | [`Cache`] | the folder that the Hub's other tools share: finding, listing, checking, removing, tidying up |
//! | [`Hub`] | asking the Hub what a repository has |
//! | [`Download`] | fetching files into the cache: resumed, checked, put in place as a whole |
//!
//! The layout is that of `huggingface_hub`: `models--OWNER--REPO/blobs/ETAG`, `snapshots/COMMIT/NAME` linking there,
//! `refs/BRANCH` with the commit, `.locks/` while somebody downloads.
//! <https://huggingface.co/docs/huggingface_hub/guides/manage-cache>

#![forbid(unsafe_code)]

mod cache;
mod client;
mod download;
mod error;
mod known;
mod reference;
mod settings;

pub use cache::{Cache, Cached, Leftover, State};
pub use client::{Hub, Licence, Remote, Repository};
pub use download::{Download, Part, Progress};
pub use error::Error;
pub use known::{Known, known};
pub use reference::{Reference, RepoId};
pub use settings::{Patience, Settings, Token};
