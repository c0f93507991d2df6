//! How far an answer is before its first text.

use crate::metrics::Phase;

/// Said to readers who asked for it, and counted when an answer ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Stage {
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

impl Stage {
    /// As it is counted.
    pub(super) fn phase(self) -> Phase {
        match self {
            Self::Queued { .. } => Phase::Queued,
            Self::Retrieving => Phase::Retrieving,
            Self::Prefill => Phase::Prefill,
            Self::Writing => Phase::Writing,
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

impl From<leafresh_chat::Stage> for Stage {
    fn from(stage: leafresh_chat::Stage) -> Self {
        match stage {
            leafresh_chat::Stage::Queued { position } => Self::Queued { position },
            leafresh_chat::Stage::Retrieving => Self::Retrieving,
            // Before the first text it still reads.
            leafresh_chat::Stage::Writing => Self::Prefill,
        }
    }
}
