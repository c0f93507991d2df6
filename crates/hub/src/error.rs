use std::path::PathBuf;
use std::time::Duration;

/// What can go wrong between a name and a file in the cache. The texts say what to do, and hold no token.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No name of a model on the Hub.
    #[error("{0}")]
    Name(String),

    /// The repository shares its files with those only who accept its terms.
    #[error("{repo} is gated: {advice}")]
    Gated { repo: String, advice: String },

    /// There is no such repository, or it is private: the Hub doesn't tell them apart.
    #[error("there is no repository {repo} at {endpoint}, or it is private: {advice}")]
    NoRepository { repo: String, endpoint: String, advice: String },

    /// The Hub doesn't know the token.
    #[error(
        "the token of {source_of_token} isn't valid: make another one at {page}, or take it away for public repositories"
    )]
    BadToken { source_of_token: String, page: String },

    /// The repository has no such branch, tag or commit.
    #[error("{repo} has no revision `{revision}`")]
    NoRevision { repo: String, revision: String },

    /// No file of the repository is meant by the name, or several are.
    #[error("{0}")]
    NoFile(String),

    /// The Hub says nothing that the file could be checked by.
    #[error("{endpoint} tells no SHA-256 of {file}; fetch it in another way, and name the file with --model")]
    NoChecksum { endpoint: String, file: String },

    /// The Hub asks for patience, for longer than is waited here.
    #[error("{endpoint} has too many requests; it asks to come back in {} s. A token (HF_TOKEN) allows more", .after.as_secs())]
    TooMany { endpoint: String, after: Duration },

    /// It answers with something else than it should.
    #[error("{endpoint} answers {status}: {reason}")]
    Refused { endpoint: String, status: u16, reason: String },

    /// It can't be reached, or the connection breaks again and again. What was fetched is kept.
    #[error(
        "{endpoint}: {reason}; check the connection, HTTPS_PROXY and HF_ENDPOINT. The same command goes on where it stopped"
    )]
    Network { endpoint: String, reason: String },

    /// What was fetched isn't the file that the Hub names. It was deleted.
    #[error(
        "{file} came with another SHA-256 than the Hub names ({found} instead of {expected}) and was deleted; try again, and \
         if it stays so, a proxy or mirror delivers something else"
    )]
    Damaged { file: String, found: String, expected: String },

    /// `HF_HUB_OFFLINE` is set.
    #[error("HF_HUB_OFFLINE is set: nothing is fetched")]
    Offline,

    /// A file or folder of the cache can't be read or written.
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
}

impl Error {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
