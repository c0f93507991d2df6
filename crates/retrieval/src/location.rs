//! Where an index lies.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Where an index lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A folder of this machine, for one process at a time.
    Folder(PathBuf),
    /// A collection on a Qdrant server or cluster, which several processes share.
    Server(ServerSettings),
}

/// How to reach a Qdrant server.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerSettings {
    /// Of its gRPC port: `http://localhost:6334`.
    pub url: String,
    pub api_key: Option<String>,
    pub collection: String,
    /// For one call.
    pub timeout: Duration,
}

/// Without the key: what is logged is read by many.
impl fmt::Debug for ServerSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, collection, timeout, .. } = self;
        f.debug_struct("ServerSettings")
            .field("url", url)
            .field("collection", collection)
            .field("timeout", timeout)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => folder.display().fmt(f),
            Self::Server(server) => write!(f, "{} at {}", server.collection, server.url),
        }
    }
}
