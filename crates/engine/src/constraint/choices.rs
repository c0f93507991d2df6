//! A list of texts as a tree of their canonical tokens: a choice is fed as the run that the tokenizer makes of it, and
//! only where texts part is anything sampled.

use std::sync::Arc;

use super::Next;
use crate::Error;
use crate::vocab::{Token, Tokenizer};

#[derive(Debug, Clone)]
pub(crate) struct Choices {
    nodes: Arc<[Node]>,
    at: usize,
}

#[derive(Debug, Default)]
struct Node {
    /// Ascending by token.
    children: Vec<(Token, usize)>,
    /// A text ends here.
    whole: bool,
    distance: usize,
}

impl Choices {
    /// `texts` that begin with `written`, from there on.
    ///
    /// # Errors
    /// [`Error::Program`] when none is left to choose from.
    pub(crate) fn new<'a>(
        texts: impl Iterator<Item = &'a str>,
        written: &str,
        tokenizer: &dyn Tokenizer,
    ) -> Result<Self, Error> {
        let mut nodes = vec![Node::default()];
        let mut any = false;
        for rest in texts.filter_map(|text| text.strip_prefix(written)) {
            any = true;
            let mut at = 0;
            for token in tokenizer.tokenize(rest, false) {
                at = match nodes[at].children.binary_search_by_key(&token, |&(token, _)| token) {
                    Ok(index) => nodes[at].children[index].1,
                    Err(index) => {
                        let child = nodes.len();
                        nodes[at].children.insert(index, (token, child));
                        nodes.push(Node::default());
                        child
                    }
                };
            }
            nodes[at].whole = true;
        }
        if !any {
            return Err(Error::Program(format!(
                "none of a slot's choices is left that begins with {written:?}"
            )));
        }
        // Children come after their parents.
        for index in (0..nodes.len()).rev() {
            let nearest = nodes[index].children.iter().map(|&(_, child)| nodes[child].distance + 1).min();
            nodes[index].distance = if nodes[index].whole { 0 } else { nearest.unwrap_or(0) };
        }
        Ok(Self { nodes: nodes.into(), at: 0 })
    }

    pub(super) fn next(&self, left: usize) -> Next {
        let node = &self.nodes[self.at];
        let tokens: Arc<[Token]> = node
            .children
            .iter()
            .filter(|&&(_, child)| self.nodes[child].distance < left)
            .map(|&(token, _)| token)
            .collect();
        match (&*tokens, node.whole) {
            ([], _) => Next::End,
            (&[token], false) => Next::Forced(token),
            _ => Next::Choose { tokens, may_end: node.whole },
        }
    }

    pub(super) fn advance(&mut self, token: Token) {
        let child = self.nodes[self.at].children.iter().find(|(other, _)| *other == token);
        debug_assert!(child.is_some(), "token {token} was not allowed");
        self.at = child.map_or(self.at, |&(_, child)| child);
    }

    pub(super) fn take_byte(&mut self, byte: u8) -> bool {
        let children = &self.nodes[self.at].children;
        let child = children.binary_search_by_key(&Token::from(byte), |&(token, _)| token);
        if let Ok(index) = child {
            self.at = children[index].1;
        }
        child.is_ok()
    }

    pub(super) fn is_whole(&self) -> bool {
        self.nodes[self.at].whole
    }

    pub(super) fn distance(&self) -> usize {
        self.nodes[self.at].distance
    }
}
