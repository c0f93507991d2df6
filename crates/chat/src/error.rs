use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the catalogue can't be used. The text names the line and the key, and says what was expected.
    #[error("{}:{line}: {reason}", path.display())]
    Catalog { path: PathBuf, line: usize, reason: String },

    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },

    /// A setting contradicts the model or the catalogue; the text names the key to change.
    #[error("{0}")]
    Settings(String),

    #[error(transparent)]
    Retrieval(#[from] leafresh_retrieval::Error),

    #[error(transparent)]
    Engine(#[from] leafresh_engine::Error),
}
