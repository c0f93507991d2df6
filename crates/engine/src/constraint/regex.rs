//! A walk through an automaton that keeps clear of the texts that earlier slots hold.

use std::sync::Arc;

use regex_automata::util::primitives::StateID;

use super::Next;
use super::automaton::{Automaton, UNREACHABLE};
use crate::Error;
use crate::vocab::Token;

#[derive(Debug, Clone)]
pub(crate) struct Regex {
    automaton: Arc<Automaton>,
    excluded: Arc<Excluded>,
    at: Position,
}

/// A state of the automaton, and, while the text is still the beginning of an excluded one, where in their tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Position {
    state: StateID,
    node: Option<usize>,
}

/// The excluded texts as a byte tree. Children come after their parents.
#[derive(Debug, Default)]
struct Excluded {
    nodes: Vec<ExcludedNode>,
}

#[derive(Debug)]
struct ExcludedNode {
    state: StateID,
    children: Vec<(u8, usize)>,
    /// An excluded text ends here: this is no end for the slot.
    whole: bool,
    distance: u32,
}

impl Regex {
    /// Starts at the beginning of a slot that may hold none of `excluded`.
    ///
    /// # Errors
    /// [`Error::Program`] when nothing but the excluded texts matches.
    pub(crate) fn new(automaton: Arc<Automaton>, excluded: &[String]) -> Result<Self, Error> {
        let excluded = Excluded::new(&automaton, excluded);
        let node = (!excluded.nodes.is_empty()).then_some(0);
        let at = Position { state: automaton.start, node };
        let regex = Self { automaton, excluded: Arc::new(excluded), at };
        if regex.distance_at(regex.at) == UNREACHABLE {
            return Err(Error::Program("every text that matches a slot's grammar was used before".into()));
        }
        Ok(regex)
    }

    /// Goes over text that the slot already holds; `false` when it isn't the beginning of any match.
    pub(crate) fn advance_text(&mut self, text: &str) -> bool {
        match text.bytes().try_fold(self.at, |at, byte| self.step(at, byte)) {
            Some(at) if self.distance_at(at) != UNREACHABLE => {
                self.at = at;
                true
            }
            _ => false,
        }
    }

    pub(super) fn next(&self, left: usize) -> Next {
        let left = u32::try_from(left).unwrap_or(u32::MAX);
        let tokens =
            if self.at.node.is_none() { self.automaton.mask(self.at.state, left) } else { self.mask(left) };
        let may_end = self.may_end(self.at);
        match (&*tokens, may_end) {
            ([], _) => Next::End,
            (&[token], false) => Next::Forced(token),
            _ => Next::Choose { tokens, may_end },
        }
    }

    pub(super) fn advance(&mut self, token: Token) {
        let vocab = self.automaton.vocab.clone();
        let at = vocab.piece(token).iter().try_fold(self.at, |at, &byte| self.step(at, byte));
        debug_assert!(at.is_some(), "token {token} was not allowed");
        self.at = at.unwrap_or(self.at);
    }

    pub(super) fn take_byte(&mut self, byte: u8) -> bool {
        let next = self.step(self.at, byte).filter(|&at| self.distance_at(at) != UNREACHABLE);
        self.at = next.unwrap_or(self.at);
        next.is_some()
    }

    pub(super) fn is_whole(&self) -> bool {
        self.may_end(self.at)
    }

    pub(super) fn distance(&self) -> usize {
        self.distance_at(self.at) as usize
    }

    /// As [`Automaton::mask`], but not kept: it depends on this answer's earlier slots.
    fn mask(&self, left: u32) -> Arc<[Token]> {
        let mut tokens = Vec::new();
        self.automaton.vocab.tokens.walk(self.at, &|at, byte| self.step(at, byte), &mut |token, at| {
            if self.distance_at(at) < left {
                tokens.push(token);
            }
        });
        tokens.sort_unstable();
        tokens.into()
    }

    fn step(&self, at: Position, byte: u8) -> Option<Position> {
        self.excluded.step(&self.automaton, at, byte)
    }

    fn may_end(&self, at: Position) -> bool {
        self.automaton.is_match(at.state) && !at.node.is_some_and(|node| self.excluded.nodes[node].whole)
    }

    fn distance_at(&self, at: Position) -> u32 {
        match at.node {
            Some(node) => self.excluded.nodes[node].distance,
            None => self.automaton.distance(at.state),
        }
    }
}

impl ExcludedNode {
    fn child(&self, byte: u8) -> Option<usize> {
        self.children.iter().find(|(other, _)| *other == byte).map(|&(_, child)| child)
    }
}

impl Excluded {
    fn new(automaton: &Automaton, texts: &[String]) -> Self {
        let mut excluded = Self::default();
        for text in texts {
            excluded.insert(automaton, text);
        }
        for index in (0..excluded.nodes.len()).rev() {
            excluded.nodes[index].distance = excluded.distance(automaton, index);
        }
        excluded
    }

    fn step(&self, automaton: &Automaton, at: Position, byte: u8) -> Option<Position> {
        let state = automaton.step(at.state, byte)?;
        Some(Position { state, node: at.node.and_then(|node| self.nodes[node].child(byte)) })
    }

    fn insert(&mut self, automaton: &Automaton, text: &str) {
        if automaton.step_all(automaton.start, text.as_bytes()).is_none() {
            return; // It can't be written anyway.
        }
        let node = |state| ExcludedNode { state, children: Vec::new(), whole: false, distance: UNREACHABLE };
        if self.nodes.is_empty() {
            self.nodes.push(node(automaton.start));
        }
        let mut at = 0;
        for byte in text.bytes() {
            at = if let Some(child) = self.nodes[at].child(byte) {
                child
            } else {
                let Some(state) = automaton.step(self.nodes[at].state, byte) else {
                    return;
                };
                let child = self.nodes.len();
                self.nodes.push(node(state));
                self.nodes[at].children.push((byte, child));
                child
            };
        }
        self.nodes[at].whole = true;
    }

    /// The fewest tokens to an end that isn't an excluded text. The node's children have theirs already.
    fn distance(&self, automaton: &Automaton, index: usize) -> u32 {
        let node = &self.nodes[index];
        if automaton.is_match(node.state) && !node.whole {
            return 0;
        }
        let mut best = UNREACHABLE;
        let step = |at: Position, byte| self.step(automaton, at, byte);
        automaton.vocab.characters.walk(
            Position { state: node.state, node: Some(index) },
            &step,
            &mut |_, at| {
                let distance =
                    at.node.map_or_else(|| automaton.distance(at.state), |node| self.nodes[node].distance);
                best = best.min(distance);
            },
        );
        best.saturating_add(1)
    }
}
