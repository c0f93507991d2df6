//! How a tokenizer joins characters to tokens, and so which tokens another one can't be made without.

use std::collections::HashMap;

use crate::gguf::{Merging, Vocabulary};
use crate::vocab::Token;

/// Joins as llama.cpp does (`llm_tokenizer_spm_session`, `llm_tokenizer_bpe_session` in llama-vocab.cpp): of all neighbours the
/// pair that comes first, of equal ones the leftmost, until no pair is left.
///
/// What is joined to one token in the end was joined within it, in the same order as if it stood alone. So a vocabulary that keeps
/// with each token all that is joined on the way to it cuts every text as before of whose tokens it keeps all.
pub(super) struct Joiner<'a> {
    vocabulary: &'a Vocabulary,
    ids: HashMap<&'a [u8], Token>,
    /// By the two texts with a space between them, as the file has them.
    ranks: HashMap<&'a [u8], usize>,
}

impl<'a> Joiner<'a> {
    pub(super) fn new(vocabulary: &'a Vocabulary) -> Self {
        let ids = (0..).zip(&vocabulary.tokens).map(|(id, text)| (&**text, id)).collect();
        let mut ranks = HashMap::new();
        for (rank, pair) in vocabulary.merges.iter().enumerate() {
            ranks.entry(&**pair).or_insert(rank);
        }
        Self { vocabulary, ids, ranks }
    }

    /// The token that is written so in the file.
    pub(super) fn token(&self, text: &[u8]) -> Option<Token> {
        self.ids.get(text).copied()
    }

    /// The parts that a text, written as in the file, is cut into; `joined` sees each text that was joined on the way.
    pub(super) fn join<'t>(&self, text: &'t [u8], mut joined: impl FnMut(&'t [u8])) -> Vec<&'t [u8]> {
        // Where each part begins, and the end of the last.
        let mut bounds = characters(text);
        loop {
            let mut best: Option<(f64, usize)> = None;
            for (at, part) in bounds.windows(3).enumerate() {
                let (left, right) = (&text[part[0]..part[1]], &text[part[1]..part[2]]);
                let priority = self.priority(left, right, &text[part[0]..part[2]]);
                if let Some(priority) = priority.filter(|own| best.is_none_or(|(best, _)| *own > best)) {
                    best = Some((priority, at));
                }
            }
            let Some((_, at)) = best else { break };
            bounds.remove(at + 1);
            joined(&text[bounds[at]..bounds[at + 1]]);
        }
        bounds.windows(2).map(|part| &text[part[0]..part[1]]).collect()
    }

    /// The higher it is, the earlier two neighbours are joined. None: never.
    fn priority(&self, left: &[u8], right: &[u8], both: &[u8]) -> Option<f64> {
        match self.vocabulary.merging {
            Merging::Scores => {
                let scores = self.vocabulary.scores.as_deref().unwrap_or_default();
                scores.get(self.token(both)? as usize).map(|&score| score.into())
            }
            Merging::Pairs => self.ranks.get(&*[left, b" ", right].concat()).map(|&rank| -(rank as f64)),
        }
    }

    /// The tokens that a token is made of: its characters, and all that is joined on the way to it.
    pub(super) fn parts(&self, token: Token) -> Vec<Token> {
        let text = &*self.vocabulary.tokens[token as usize];
        let mut parts = Vec::new();
        let mut note = |part: &[u8]| parts.extend(self.token(part).filter(|&part| part != token));
        for bounds in characters(text).windows(2) {
            note(&text[bounds[0]..bounds[1]]);
        }
        self.join(text, note);
        parts
    }

    /// Whether a pair may stay in the list of pairs: it names no token that goes.
    pub(super) fn keeps(&self, pair: &[u8], kept: &[bool]) -> bool {
        let stays = |text: &[u8]| self.token(text).is_none_or(|token| kept[token as usize]);
        // As llama.cpp, which looks for the space from the second byte on.
        match pair.iter().skip(1).position(|&byte| byte == b' ') {
            Some(before) => {
                let (left, right) = (&pair[..=before], &pair[before + 2..]);
                stays(left) && stays(right) && stays(&[left, right].concat())
            }
            None => true,
        }
    }
}

/// Where each character begins, and the end of the last, by their first bytes.
fn characters(text: &[u8]) -> Vec<usize> {
    let mut bounds = vec![0];
    let mut at = 0;
    while at < text.len() {
        let length = match text[at] {
            0xF0.. => 4,
            0xE0.. => 3,
            0xC0.. => 2,
            _ => 1,
        };
        at = (at + length).min(text.len());
        bounds.push(at);
    }
    bounds
}
