//! What is remembered of a conversation.

use time::OffsetDateTime;

use crate::Error;

/// A session's name. Two owners may use the same id without seeing each other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SessionKey {
    /// The name of an API key, or empty.
    pub owner: String,
    pub id: String,
}

/// Where a conversation stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Codes. The base is what the conversation began with and what "as it was" goes back to.
    pub base_category: String,
    pub category: String,
    /// Codes, or the texts that were given.
    pub location: Option<String>,
    pub work_type: Option<String>,
    /// The engine's adapter that was asked for last.
    pub adapter: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub standing: Standing,
    /// Oldest first, at most [`SessionLimits::turns`].
    pub turns: Vec<Turn>,
    /// The ids of documents that were offered, oldest first.
    pub offered: Vec<String>,
    pub expires_at: OffsetDateTime,
}

/// One side's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    pub role: Role,
    pub text: String,
    pub at: OffsetDateTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    User,
    Assistant,
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }

    pub(crate) fn parse(name: &str) -> Self {
        if name == Self::User.as_str() { Self::User } else { Self::Assistant }
    }
}

/// What somebody thinks of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rating {
    Up,
    Down,
}

impl Rating {
    pub const ALL: [Self; 2] = [Self::Up, Self::Down];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rating| rating.as_str() == name)
    }
}

/// An answer that was rated, with its question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rated {
    /// Of its session.
    pub owner: String,
    pub rating: Rating,
    /// When it was answered.
    pub at: OffsetDateTime,
    /// None: it was forgotten before its answer.
    pub question: Option<String>,
    pub answer: String,
}

/// What one request adds to a session: all of it is saved, or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    pub standing: Standing,
    pub turns: Vec<Turn>,
    /// The name under which the answer among them can be rated.
    pub answer: Option<String>,
    /// Ids of documents that were offered this time.
    pub offered: Vec<String>,
}

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLimits {
    /// Days after its last turn that a session is forgotten.
    pub days: u32,
    /// Turns of a session; older ones are forgotten.
    pub turns: u32,
    /// Sessions of one owner, and of all; those that were used last stay. 0: any number.
    pub per_owner: u32,
    pub most: u32,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self { days: 30, turns: 20, per_owner: 10_000, most: 50_000 }
    }
}

/// Keeps sessions. A call that returned without an error is kept, whatever happens to the process afterwards.
pub trait SessionStore: Send + Sync {
    /// The session, unless there is none or it has expired.
    ///
    /// # Errors
    /// [`Error::Sqlite`] when it can't be read.
    fn load(&self, key: &SessionKey, now: OffsetDateTime) -> Result<Option<Session>, Error>;

    /// Adds to the session, or begins it.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Busy`] or [`Error::Sqlite`] when it can't be saved; then nothing of it is.
    fn record(&self, key: &SessionKey, update: &Update, now: OffsetDateTime) -> Result<(), Error>;

    /// Keeps with the session's answer of this name what somebody thinks of it; `None` takes that back. False: there is no such
    /// answer.
    ///
    /// # Errors
    /// As [`SessionStore::record`].
    fn rate(
        &self,
        key: &SessionKey,
        answer: &str,
        rating: Option<Rating>,
        now: OffsetDateTime,
    ) -> Result<bool, Error>;

    /// All answers that are rated, oldest first.
    ///
    /// # Errors
    /// [`Error::Sqlite`] when they can't be read.
    fn rated(&self, now: OffsetDateTime) -> Result<Vec<Rated>, Error>;

    /// Forgets the session, if there is one, for good: its words are overwritten on the disk.
    ///
    /// # Errors
    /// As [`SessionStore::record`].
    fn delete(&self, key: &SessionKey) -> Result<(), Error>;

    /// Forgets all that have expired and says how many those were.
    ///
    /// # Errors
    /// As [`SessionStore::record`].
    fn purge(&self, now: OffsetDateTime) -> Result<usize, Error>;

    /// How often words that were deleted could not be overwritten at once, because another process read the file.
    fn delayed_scrubs(&self) -> u64;
}
