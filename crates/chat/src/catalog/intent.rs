//! What messages about offered challenges can mean.

use serde::Deserialize;

/// What somebody means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Intent {
    /// Other challenges: easier ones, short ones, ones to do with children or with others, or anything else.
    Easier,
    Quick,
    Children,
    Company,
    Another,
    /// The topic that the conversation began with.
    Back,
    /// Questions about those that were offered: how to begin, why, how long and how often, what if it is hard, what a
    /// photo shows.
    Begin,
    Why,
    Long,
    Hard,
    Proof,
    /// Yes and no to what was offered.
    Agree,
    Decline,
    /// Nothing is asked for.
    Done,
    Thanks,
    Hello,
    Bye,
    /// Something new, which gets challenges of its own.
    New,
}

impl Intent {
    pub(crate) const ALL: [Self; 18] = [
        Self::Easier,
        Self::Quick,
        Self::Children,
        Self::Company,
        Self::Another,
        Self::Back,
        Self::Begin,
        Self::Why,
        Self::Long,
        Self::Hard,
        Self::Proof,
        Self::Agree,
        Self::Decline,
        Self::Done,
        Self::Thanks,
        Self::Hello,
        Self::Bye,
        Self::New,
    ];

    /// Challenges are wanted, others than those that were offered.
    pub(crate) fn wants_others(self) -> bool {
        matches!(
            self,
            Self::Easier | Self::Quick | Self::Children | Self::Company | Self::Another | Self::Back
        )
    }

    /// It asks about what was offered.
    pub(crate) fn asks_about(self) -> bool {
        matches!(self, Self::Begin | Self::Why | Self::Long | Self::Hard | Self::Proof)
    }
}
