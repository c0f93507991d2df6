//! A model for tests: a small vocabulary with Hangul in it, a deterministic head, and the same bookkeeping duties as a
//! real one, which it checks.

mod embedder;
mod faults;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use faults::{Fault, Faulty};

use crate::model::{Adapter, Candidates, Entry, Model, SeqId};
use crate::vocab::{Token, Tokenizer, Vocab};
use crate::{Error, ModelInfo};

pub use embedder::FakeEmbedder;

/// Every byte is a token, and so is every Hangul syllable; `<eos>` ends a text.
///
/// A token's logits depend on the sequence's tokens and the seed alone, so that the same text is written whoever else
/// is in the batch. Panics when it is asked to continue what it does not hold: that would be an engine's fault.
#[derive(Debug)]
pub struct FakeModel {
    seed: u64,
    step: Duration,
    vocab: Arc<Vocab>,
    info: ModelInfo,
    /// A hash of every prefix that a row holds.
    rows: HashMap<SeqId, Vec<u64>>,
    /// What each row was begun with, and what batches are computed with now.
    begun_with: HashMap<SeqId, Adapter>,
    adapter: Adapter,
    changes: Arc<AtomicUsize>,
    logits: Vec<Vec<f32>>,
    by_entry: Vec<Option<usize>>,
    poison: Option<f32>,
    gate: Option<Receiver<()>>,
    states: States,
}

/// What a model keeps of a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum States {
    /// A state of each position.
    #[default]
    Each,
    /// As [`States::Each`], but the end of a row can't be removed, which isn't known before it is tried.
    Uncut,
    /// One state behind the last token.
    Recurrent,
}

/// How to make one, in this process or in an engine's own.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    pub seed: u64,
    /// How long every batch takes.
    pub step: Duration,
    pub faults: Vec<Fault>,
    /// Names of adapters that it pretends to have.
    pub adapters: Vec<String>,
}

impl Recipe {
    pub fn build(&self) -> Box<dyn Model> {
        let adapters: Vec<&str> = self.adapters.iter().map(String::as_str).collect();
        let model = Box::new(FakeModel::new(self.seed).with_step(self.step).with_adapters(&adapters));
        if self.faults.is_empty() { model } else { Box::new(Faulty::new(model, &self.faults)) }
    }

    /// Without its faults, as a file's is when it is loaded for itself.
    #[expect(clippy::unused_self, reason = "all fakes have the same")]
    pub(crate) fn tokenizer(&self) -> Arc<dyn Tokenizer> {
        Arc::new(FakeTokenizer)
    }
}

const FIRST_HANGUL: u32 = 0xAC00;
const HANGUL: u32 = 11_172;
const EOS: Token = 256 + HANGUL;

impl FakeModel {
    pub fn new(seed: u64) -> Self {
        let bytes = (0..=255u8).map(|byte| Box::from([byte]));
        let hangul = (0..HANGUL).filter_map(|index| char::from_u32(FIRST_HANGUL + index));
        let hangul = hangul.map(|character| character.to_string().into_bytes().into_boxed_slice());
        let pieces = bytes.chain(hangul).chain([Box::from([])]).collect();
        let info = ModelInfo {
            name: "fake".into(),
            id: "fake".into(),
            parameters: 1_000_000,
            context: 65_536,
            ..ModelInfo::default()
        };
        Self {
            seed,
            step: Duration::ZERO,
            vocab: Arc::new(Vocab::new(pieces, |token| token < 256, vec![EOS], None)),
            info,
            rows: HashMap::new(),
            begun_with: HashMap::new(),
            adapter: None,
            changes: Arc::default(),
            logits: Vec::new(),
            by_entry: Vec::new(),
            poison: None,
            gate: None,
            states: States::Each,
        }
    }

    /// Takes a step for every message, and as many as it likes once there is nobody left to send one.
    #[must_use]
    pub fn with_gate(mut self, steps: Receiver<()>) -> Self {
        self.gate = Some(steps);
        self
    }

    /// Every batch takes this long.
    #[must_use]
    pub fn with_step(mut self, step: Duration) -> Self {
        self.step = step;
        self
    }

    /// Pretends to have these adapters. Texts differ from one to another.
    #[must_use]
    pub fn with_adapters(mut self, names: &[&str]) -> Self {
        self.info.adapters = names.iter().map(|&name| name.to_owned()).collect();
        self
    }

    /// How often batches were computed with another adapter than the one before.
    pub fn changes(&self) -> Arc<AtomicUsize> {
        self.changes.clone()
    }

    #[must_use]
    pub fn with_states(mut self, states: States) -> Self {
        self.states = states;
        self
    }

    /// Pretends to have this many parameters.
    #[must_use]
    pub fn with_parameters(mut self, parameters: u64) -> Self {
        self.info.parameters = parameters;
        self
    }

    /// Pretends to have a chat template.
    #[must_use]
    pub fn with_chat_template(mut self, template: &str) -> Self {
        self.info.chat_template = Some(template.to_owned());
        self
    }

    /// All logits are this number.
    #[must_use]
    pub fn with_logits(mut self, value: f32) -> Self {
        self.poison = Some(value);
        self
    }

    fn head(&self, hash: u64) -> Vec<f32> {
        if let Some(value) = self.poison {
            return vec![value; EOS as usize + 1];
        }
        (0..=u64::from(EOS)).map(|token| (mix(hash ^ mix(self.seed ^ token)) % 1024) as f32 / 128.0).collect()
    }
}

/// SplitMix64's finaliser.
fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

impl Model for FakeModel {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn vocab(&self) -> Arc<Vocab> {
        self.vocab.clone()
    }

    fn tokenizer(&self) -> Arc<dyn Tokenizer> {
        Arc::new(FakeTokenizer)
    }

    fn adapt(&mut self, adapter: Adapter) -> Result<(), Error> {
        assert!(
            adapter.is_none_or(|number| number < self.info.adapters.len()),
            "there is adapter {adapter:?}"
        );
        if std::mem::replace(&mut self.adapter, adapter) != adapter {
            self.changes.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn decode(&mut self, batch: &[Entry]) -> Result<(), Error> {
        if let Some(gate) = &self.gate {
            // Nobody holds it any more: free.
            let _ = gate.recv();
        }
        if !self.step.is_zero() {
            std::thread::sleep(self.step);
        }
        self.logits.clear();
        self.by_entry.clear();
        for entry in batch {
            let row = self.rows.entry(entry.sequence).or_default();
            assert_eq!(row.len(), entry.position, "row {} continues where it ends", entry.sequence);
            if row.is_empty() {
                self.begun_with.insert(entry.sequence, self.adapter);
            }
            let begun_with = self.begun_with.get(&entry.sequence).copied().flatten();
            assert_eq!(begun_with, self.adapter, "row {} goes on with its adapter", entry.sequence);
            let start = self.adapter.map_or(0, |number| number as u64 + 1);
            let hash = mix(row.last().copied().unwrap_or(start) ^ u64::from(entry.token));
            row.push(hash);
            self.by_entry.push(entry.logits.then_some(self.logits.len()));
            if entry.logits {
                let head = self.head(hash);
                self.logits.push(head);
            }
        }
        Ok(())
    }

    fn score(&mut self, wanted: &mut [Candidates]) {
        for candidates in wanted {
            let row = self.by_entry.get(candidates.entry).copied().flatten();
            candidates.pick(row.map_or(&[], |row| &self.logits[row]));
        }
    }

    fn keeps_every_position(&self) -> bool {
        self.states != States::Recurrent
    }

    fn clear(&mut self, sequence: SeqId) {
        self.rows.remove(&sequence);
    }

    fn truncate(&mut self, sequence: SeqId, len: usize) -> bool {
        assert!(self.keeps_every_position(), "a state can't be cut");
        let Some(row) = self.rows.get_mut(&sequence) else { return true };
        if self.states == States::Uncut && len < row.len() {
            return false;
        }
        row.truncate(len);
        true
    }

    fn share(&mut self, from: SeqId, to: SeqId, len: usize) {
        assert!(self.keeps_every_position(), "a state can't be shared in part");
        let row = self.rows.get(&from).map_or(&[][..], |row| &row[..len]).to_vec();
        let before = self.rows.insert(to, row);
        assert!(before.is_none_or(|row| row.is_empty()), "row {to} was empty");
        let begun_with = self.begun_with.get(&from).copied().flatten();
        self.begun_with.insert(to, begun_with);
    }
}

struct FakeTokenizer;

impl Tokenizer for FakeTokenizer {
    fn tokenize(&self, text: &str, special: bool) -> Vec<Token> {
        if special && let Some((before, after)) = text.split_once("<eos>") {
            let mut tokens = self.tokenize(before, true);
            tokens.push(EOS);
            tokens.extend(self.tokenize(after, true));
            return tokens;
        }
        let mut tokens = Vec::with_capacity(text.len());
        for character in text.chars() {
            match u32::from(character).checked_sub(FIRST_HANGUL).filter(|&index| index < HANGUL) {
                Some(index) => tokens.push(256 + index),
                None => tokens.extend(character.to_string().bytes().map(Token::from)),
            }
        }
        tokens
    }
}
