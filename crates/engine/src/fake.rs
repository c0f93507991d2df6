//! A model for tests: a small vocabulary with Hangul in it, a deterministic head, and the same bookkeeping duties as a
//! real one, which it checks.

mod embedder;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use crate::model::{Entry, Model, SeqId};
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
    logits: Vec<Vec<f32>>,
    by_entry: Vec<Option<usize>>,
    poison: Option<f32>,
    gate: Option<Receiver<()>>,
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
        let info =
            ModelInfo { name: "fake".into(), parameters: 1_000_000, context: 65_536, ..ModelInfo::default() };
        Self {
            seed,
            step: Duration::ZERO,
            vocab: Arc::new(Vocab::new(pieces, |token| token < 256, vec![EOS], None)),
            info,
            rows: HashMap::new(),
            logits: Vec::new(),
            by_entry: Vec::new(),
            poison: None,
            gate: None,
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

    /// Pretends to have this many parameters.
    #[must_use]
    pub fn with_parameters(mut self, parameters: u64) -> Self {
        self.info.parameters = parameters;
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
            let hash = mix(row.last().copied().unwrap_or(0) ^ u64::from(entry.token));
            row.push(hash);
            self.by_entry.push(entry.logits.then_some(self.logits.len()));
            if entry.logits {
                let head = self.head(hash);
                self.logits.push(head);
            }
        }
        Ok(())
    }

    fn logits(&self, index: usize) -> &[f32] {
        self.by_entry.get(index).copied().flatten().map_or(&[], |row| &self.logits[row])
    }

    fn truncate(&mut self, sequence: SeqId, len: usize) {
        if let Some(row) = self.rows.get_mut(&sequence) {
            row.truncate(len);
        }
    }

    fn share(&mut self, from: SeqId, to: SeqId, len: usize) {
        let row = self.rows.get(&from).map_or(&[][..], |row| &row[..len]).to_vec();
        let before = self.rows.insert(to, row);
        assert!(before.is_none_or(|row| row.is_empty()), "row {to} was empty");
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
