//! How one reader wants an answer to look.

use leafresh_chat::{Answer, Challenge};
use serde::Serialize;

use super::params::Dialect;

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct View {
    pub(super) dialect: Dialect,
    /// Where the answer comes from, too.
    pub(super) details: bool,
}

/// The data of `close`.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Shown<'a> {
    Whole(&'a Answer),
    /// For clients to which an unknown key is a fault: these two and nothing else.
    Plain {
        recommend: &'a str,
        challenges: &'a [Challenge],
    },
}

impl View {
    pub(super) fn of(self, answer: &Answer) -> Shown<'_> {
        if self.details {
            return Shown::Whole(answer);
        }
        Shown::Plain { recommend: &answer.recommend, challenges: &answer.challenges }
    }
}
