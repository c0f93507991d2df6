use std::path::PathBuf;

/// What can go wrong with stored conversations. No text holds anything that people wrote.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file can't be opened or made.
    #[error("{}: {reason}; [data] dir names another folder", path.display())]
    Open { path: PathBuf, reason: String },

    /// The folder lies on a file system that can't lock files.
    #[error(
        "{}: this file system can't lock files, which stored conversations need; [data] dir names a folder on another disk",
        .0.display()
    )]
    NoLocks(PathBuf),

    /// A newer version of the program has changed the file's layout.
    #[error(
        "{} has layout {found}, but this version knows layouts up to {known}; use the newer leafresh again, or move the \
         file away to begin without the stored conversations",
        path.display()
    )]
    Newer { path: PathBuf, found: usize, known: usize },

    /// The disk is full.
    #[error("no room for the stored conversations: {0}")]
    Full(String),

    /// Another process holds the file's lock, a backup or a second server for instance.
    #[error("another process holds the write lock of the stored conversations")]
    Busy,

    #[error("stored conversations: {0}")]
    Sqlite(rusqlite::Error),

    /// A test made this write fail.
    #[error("a write that was made to fail")]
    Injected,
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Self::Full(error.to_string()),
            Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => Self::Busy,
            _ => Self::Sqlite(error),
        }
    }
}
