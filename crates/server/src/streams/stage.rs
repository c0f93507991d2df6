//! How far an answer is before its first text.

/// Said to readers who asked for it, and counted when an answer ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Waiting for a place among the running ones, as the `position`-th from 1.
    Queued { position: usize },
    Retrieving,
    /// The model reads the prompt.
    #[default]
    Prefill,
    Writing,
}

impl Stage {
    pub(crate) const NAMES: [&str; 4] = ["queued", "retrieving", "prefill", "writing"];

    pub(crate) fn name(self) -> &'static str {
        let index = match self {
            Self::Queued { .. } => 0,
            Self::Retrieving => 1,
            Self::Prefill => 2,
            Self::Writing => 3,
        };
        Self::NAMES[index]
    }

    /// For a reader the model writes as soon as it has the request.
    pub(crate) fn for_readers(self) -> Self {
        if self == Self::Prefill { Self::Writing } else { self }
    }
}
