//! What can be asked: valid values, normalised, whichever way they came.

/// A valid request. Two that are equal ask for the same answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Command {
    BaseInfo(BaseInfo),
    FreeText(FreeText),
}

/// The kinds of [`Command`], which differ in some of the sentences around an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Kind {
    #[default]
    BaseInfo,
    FreeText,
}

/// Three choices: codes where the catalogue knows a value, else the text that was given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct BaseInfo {
    /// Whose session it is: the name of an API key, or empty.
    pub owner: String,
    /// Without one nothing is remembered.
    pub session_id: Option<String>,
    pub location: String,
    pub work_type: String,
    /// The category's code.
    pub category: String,
    /// The engine's adapter that is to write. None: the one that the session had, else the category's.
    pub adapter: Option<String>,
}

/// A message in a person's own words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct FreeText {
    /// Whose session it is: the name of an API key, or empty.
    pub owner: String,
    /// Without one nothing is remembered.
    pub session_id: Option<String>,
    /// NFC, one line, not empty.
    pub message: String,
    /// As in [`BaseInfo`]. None: what the session knows, or nothing.
    pub location: Option<String>,
    pub work_type: Option<String>,
    /// As in [`BaseInfo`].
    pub adapter: Option<String>,
}

impl Command {
    pub fn kind(&self) -> Kind {
        match self {
            Self::BaseInfo(_) => Kind::BaseInfo,
            Self::FreeText(_) => Kind::FreeText,
        }
    }

    /// Who asks: the name of an API key, or empty.
    pub fn owner(&self) -> &str {
        match self {
            Self::BaseInfo(BaseInfo { owner, .. }) | Self::FreeText(FreeText { owner, .. }) => owner,
        }
    }

    pub fn session_id(&self) -> Option<&str> {
        match self {
            Self::BaseInfo(BaseInfo { session_id, .. }) | Self::FreeText(FreeText { session_id, .. }) => {
                session_id.as_deref()
            }
        }
    }
}

impl From<BaseInfo> for Command {
    fn from(request: BaseInfo) -> Self {
        Self::BaseInfo(request)
    }
}

impl From<FreeText> for Command {
    fn from(request: FreeText) -> Self {
        Self::FreeText(request)
    }
}
