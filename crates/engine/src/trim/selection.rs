//! Which tokens stay.

use std::collections::HashMap;

use super::merging::Joiner;
use super::spelling::{Role, roles};
use crate::gguf::Vocabulary;
use crate::vocab::Token;

/// Where a file doesn't say which tokens begin and end a text, llama.cpp takes numbers below this one.
const NUMBERED: usize = 12;

/// Vocabularies come in multiples of this: kernels compute the head's rows in groups.
const MULTIPLE: usize = 64;

/// What is wanted of a vocabulary, beside what a tokenizer can't do without.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    /// Tokens with one of these letters stay.
    pub letters: fn(char) -> bool,
    /// Tokens of so many ASCII characters stay, a space before them not counted.
    pub ascii_length: usize,
    /// Tokens that are a part of one of these texts stay.
    pub texts: &'a [String],
}

/// Which tokens stay, and how many of them why: each is counted once, by the first reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Selection {
    pub(super) kept: Vec<bool>,
    pub(super) reasons: Vec<(&'static str, usize)>,
}

pub(super) fn select(vocabulary: &Vocabulary, joiner: &Joiner, wanted: &Wanted) -> Selection {
    let roles = roles(vocabulary);
    let mut selection = Selection { kept: vec![false; roles.len()], reasons: Vec::new() };
    let with = |test: &dyn Fn(&str) -> bool| ids(&roles, |bytes| std::str::from_utf8(bytes).is_ok_and(test));
    let special = (0..).zip(&roles).filter(|(id, role)| **role == Role::Special || (*id as usize) < NUMBERED);
    selection.keep("special", special.map(|(id, _)| id));
    // Whole bytes, and pieces of characters: any text can be made of them.
    selection.keep("bytes", ids(&roles, |bytes| bytes.len() == 1 || std::str::from_utf8(bytes).is_err()));
    selection.keep("letters", with(&|text| text.contains(wanted.letters)));
    selection.keep("symbols", with(&is_symbol));
    let length = |text: &str| text.strip_prefix(' ').unwrap_or(text).len();
    selection.keep("ascii", with(&|text| text.is_ascii() && length(text) <= wanted.ascii_length));
    selection.keep("texts", parts_of(&roles, wanted.texts));
    selection.close(joiner);
    selection.fill(&roles, joiner);
    selection
}

/// A sign or an emoji: people write them whatever their language is.
fn is_symbol(text: &str) -> bool {
    let mut characters = text.chars();
    characters.next().is_some_and(|c| !c.is_alphanumeric()) && characters.next().is_none()
}

fn ids(roles: &[Role], test: impl Fn(&[u8]) -> bool) -> Vec<Token> {
    let spelled = (0..).zip(roles).filter(|(_, role)| matches!(role, Role::Text(bytes) if test(bytes)));
    spelled.map(|(id, _)| id).collect()
}

impl Selection {
    fn keep(&mut self, reason: &'static str, tokens: impl IntoIterator<Item = Token>) {
        let mut count = 0;
        for token in tokens {
            count += usize::from(!std::mem::replace(&mut self.kept[token as usize], true));
        }
        self.reasons.push((reason, count));
    }

    fn count(&self) -> usize {
        self.kept.iter().filter(|kept| **kept).count()
    }

    /// Keeps what kept tokens are made of.
    pub(super) fn close(&mut self, joiner: &Joiner) {
        let mut waiting: Vec<Token> =
            (0..).zip(&self.kept).filter(|(_, kept)| **kept).map(|(id, _)| id).collect();
        let mut parts = Vec::new();
        let mut seen = self.kept.clone();
        while let Some(token) = waiting.pop() {
            for part in joiner.parts(token) {
                if !std::mem::replace(&mut seen[part as usize], true) {
                    parts.push(part);
                    waiting.push(part);
                }
            }
        }
        self.keep("parts", parts);
    }

    /// Keeps a few more, the first ones whose parts are kept, up to a round number.
    fn fill(&mut self, roles: &[Role], joiner: &Joiner) {
        let missing = self.count().next_multiple_of(MULTIPLE) - self.count();
        let mut more = Vec::new();
        for id in ids(roles, |_| true) {
            if more.len() == missing {
                break;
            }
            let parts_stay = || joiner.parts(id).iter().all(|&part| self.kept[part as usize]);
            if !self.kept[id as usize] && parts_stay() {
                more.push(id);
            }
        }
        self.keep("round", more);
    }
}

/// The tokens that are a part of one of the texts, from character to character.
fn parts_of(roles: &[Role], texts: &[String]) -> Vec<Token> {
    let tree = Tree::new(roles);
    let mut found = vec![false; roles.len()];
    for text in texts {
        for (start, _) in text.char_indices() {
            tree.beginnings(&text.as_bytes()[start..], |token| found[token as usize] = true);
        }
    }
    (0..).zip(found).filter(|(_, found)| *found).map(|(id, _)| id).collect()
}

/// All spellings, by their bytes.
struct Tree {
    /// From a node and the next byte to the next node; 0 is the root.
    steps: HashMap<(u32, u8), u32>,
    /// What is spelled at a node.
    tokens: Vec<Option<Token>>,
}

impl Tree {
    fn new(roles: &[Role]) -> Self {
        let mut tree = Self { steps: HashMap::new(), tokens: vec![None] };
        for (id, role) in (0..).zip(roles) {
            let Role::Text(bytes) = role else { continue };
            let mut node = 0;
            for &byte in bytes {
                let next = tree.tokens.len() as u32;
                node = *tree.steps.entry((node, byte)).or_insert(next);
                if node == next {
                    tree.tokens.push(None);
                }
            }
            if node > 0 {
                tree.tokens[node as usize].get_or_insert(id);
            }
        }
        tree
    }

    /// Shows every token that `text` begins with.
    fn beginnings(&self, text: &[u8], mut show: impl FnMut(Token)) {
        let mut node = 0;
        for &byte in text {
            let Some(&next) = self.steps.get(&(node, byte)) else { return };
            node = next;
            self.tokens[node as usize].into_iter().for_each(&mut show);
        }
    }
}
