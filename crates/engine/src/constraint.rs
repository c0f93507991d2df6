//! What a slot may hold, token by token.
//!
//! Two kinds, one promise: from every state reached there is a way to the slot's end within the tokens that are left
//! of its budget. A regular expression becomes a byte automaton that knows, for every state, the fewest tokens to its
//! end; a list of choices becomes a tree of their canonical tokens.

mod automaton;
mod choices;
mod regex;

use std::sync::Arc;

pub(crate) use automaton::Automata;
pub(crate) use choices::Choices;
pub(crate) use regex::Regex;

use crate::vocab::Token;

/// What may come next in a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    /// The slot can only end here.
    End,
    /// There is one way on: no logits are needed.
    Forced(Token),
    /// One of these, in ascending order, or the end where `may_end`.
    Choose { tokens: Arc<[Token]>, may_end: bool },
}

#[derive(Debug, Clone)]
pub(crate) enum Constraint {
    Regex(Regex),
    Choices(Choices),
}

impl Constraint {
    /// What may come next when `left` tokens of the budget are left.
    pub(crate) fn next(&self, left: usize) -> Next {
        match self {
            Self::Regex(regex) => regex.next(left),
            Self::Choices(choices) => choices.next(left),
        }
    }

    /// Takes a token that [`Constraint::next`] allowed.
    pub(crate) fn advance(&mut self, token: Token) {
        match self {
            Self::Regex(regex) => regex.advance(token),
            Self::Choices(choices) => choices.advance(token),
        }
    }

    /// Where tokens are bytes: takes one, if there is a way to the slot's end behind it.
    pub(crate) fn take_byte(&mut self, byte: u8) -> bool {
        match self {
            Self::Regex(regex) => regex.take_byte(byte),
            Self::Choices(choices) => choices.take_byte(byte),
        }
    }

    /// Whether the slot may end here.
    pub(crate) fn may_end(&self) -> bool {
        match self {
            Self::Regex(regex) => regex.is_whole(),
            Self::Choices(choices) => choices.is_whole(),
        }
    }

    /// The fewest tokens from here to the slot's end.
    pub(crate) fn distance(&self) -> usize {
        match self {
            Self::Regex(regex) => regex.distance(),
            Self::Choices(choices) => choices.distance(),
        }
    }
}
