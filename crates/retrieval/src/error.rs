use std::path::PathBuf;

/// Everything that can go wrong between documents and what is found among them.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no embedding model: search goes by words alone, and nothing can be embedded.
    #[error("no embedding model is configured; set retrieval.model")]
    NoEmbedder,

    /// More questions wait for the embedding model than may.
    #[error("too many questions wait for the embedding model")]
    Busy,

    /// The index is still being opened, or the server can't be reached yet.
    #[error("the index isn't open yet")]
    NotOpen,

    /// The index was made with another model or another layout. The text names the command that makes it anew.
    #[error("{0}")]
    Mismatch(String),

    /// Another process uses the index's folder.
    #[error("{}: another process uses this index; stop it first, or use a Qdrant server for both", .0.display())]
    Locked(PathBuf),

    /// The folder lies on a file system that can't lock files.
    #[error(
        "{}: this file system can't lock files, which an index needs; name a folder on another disk with data.dir, or use a \
         Qdrant server (retrieval.url)",
        .0.display()
    )]
    NoLocks(PathBuf),

    /// Documents that can't be read; `line` counts from 1.
    #[error("{}:{line}: {reason}", path.display())]
    Document { path: PathBuf, line: usize, reason: String },

    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },

    /// The store refused a call or can't be reached.
    #[error("{0}")]
    Store(String),

    /// The embedding model failed.
    #[error(transparent)]
    Engine(#[from] leafresh_engine::Error),
}
