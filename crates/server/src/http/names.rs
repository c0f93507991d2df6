//! What parameters are called.

use std::fmt;

use leafresh_chat::Replies;

/// The parameters there are. Others are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    Message,
    Location,
    WorkType,
    Category,
    SessionId,
    Dialect,
    Adapter,
    Progress,
    Details,
    Errors,
    LastEventId,
    RequestId,
    Rating,
}

impl Name {
    pub(crate) const COUNT: usize = Self::ALL.len();

    const ALL: [Self; 13] = [
        Self::Message,
        Self::Location,
        Self::WorkType,
        Self::Category,
        Self::SessionId,
        Self::Dialect,
        Self::Adapter,
        Self::Progress,
        Self::Details,
        Self::Errors,
        Self::LastEventId,
        Self::RequestId,
        Self::Rating,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Location => "location",
            Self::WorkType => "workType",
            Self::Category => "category",
            Self::SessionId => "sessionId",
            Self::Dialect => "dialect",
            Self::Adapter => "adapter",
            Self::Progress => "progress",
            Self::Details => "details",
            Self::Errors => "errors",
            Self::LastEventId => "lastEventId",
            Self::RequestId => "requestId",
            Self::Rating => "rating",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == name)
    }

    /// The sentence that says that it is missing.
    pub(crate) fn missing(self, replies: &Replies) -> String {
        match self {
            Self::Message => replies.required.message.clone(),
            Self::Location => replies.required.location.clone(),
            Self::WorkType => replies.required.work_type.clone(),
            Self::Category => replies.required.category.clone(),
            // No table requires another one.
            other => replies.errors.invalid_fields(&[other.as_str()]),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
