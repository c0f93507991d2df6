//! How far an answer is.

/// Said to readers who asked for it, and counted when an answer ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Waiting for earlier requests of its session or, as the `position`-th from 1, for a place among the running ones.
    Queued {
        position: Option<usize>,
    },
    Retrieving,
    /// The model reads the prompt.
    #[default]
    Prefill,
    Writing,
}

impl Phase {
    /// Those that are told apart when an answer is counted.
    pub(crate) const ALL: [Self; 4] =
        [Self::Queued { position: None }, Self::Retrieving, Self::Prefill, Self::Writing];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Queued { .. } => "queued",
            Self::Retrieving => "retrieving",
            Self::Prefill => "prefill",
            Self::Writing => "writing",
        }
    }

    /// What readers are told: that it writes as soon as the model has the request, and nothing of a queue in which its
    /// place isn't known.
    pub(crate) fn for_readers(self) -> Option<Self> {
        match self {
            Self::Queued { position: None } => None,
            Self::Prefill => Some(Self::Writing),
            other => Some(other),
        }
    }
}

impl From<leafresh_chat::Stage> for Phase {
    fn from(stage: leafresh_chat::Stage) -> Self {
        match stage {
            leafresh_chat::Stage::Queued { position } => Self::Queued { position },
            leafresh_chat::Stage::Retrieving => Self::Retrieving,
            // Before the first text it still reads.
            leafresh_chat::Stage::Writing => Self::Prefill,
        }
    }
}
