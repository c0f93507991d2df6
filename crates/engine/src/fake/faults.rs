//! A model that fails when it is told to: what tests reach and users can't.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Entry, Model, SeqId};
use crate::vocab::{Token, Tokenizer, Vocab};
use crate::{Error, ModelInfo};

/// Something that goes wrong. What is counted is counted from 1, and goes wrong once.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Fault {
    /// The KV cache has no room for the n-th batch.
    CacheFull { batch: u64 },
    /// The n-th batch fails, and nobody knows for whom.
    Decode { batch: u64 },
    /// The n-th batch takes so much longer.
    Delay { batch: u64, by: Duration },
    /// The n-th row of logits that is read is all this number.
    Logits { row: u64, value: f32 },
    /// Every row is, from the first on.
    AllLogits { value: f32 },
    /// Reading the n-th row panics, as a fault in a sampler would.
    PanicSampling { row: u64 },
    /// The n-th text to be tokenised makes the tokenizer panic, as a fault in a grammar would.
    PanicTokenizing { text: u64 },
    /// The n-th text becomes a token that there is not.
    Outside { text: u64 },
    /// The process dies of every batch that holds this character, as native code does of its faults.
    Abort { character: char },
}

/// A model with faults.
pub struct Faulty {
    model: Box<dyn Model>,
    faults: Vec<Fault>,
    tokenizer: Arc<FaultyTokenizer>,
    deadly: Vec<Token>,
    batches: u64,
    rows: AtomicU64,
    /// A row for [`Fault::Logits`] to show.
    poisoned: Vec<(f32, Vec<f32>)>,
}

impl std::fmt::Debug for Faulty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Faulty").field("faults", &self.faults).finish_non_exhaustive()
    }
}

impl Faulty {
    /// `n_vocab`: how long a row of logits is.
    pub fn new(model: Box<dyn Model>, n_vocab: usize, faults: &[Fault]) -> Self {
        let tokenizer = model.tokenizer();
        let deadly = faults.iter().filter_map(|fault| match fault {
            Fault::Abort { character } => tokenizer.tokenize(&character.to_string(), false).last().copied(),
            _ => None,
        });
        let poisoned = faults.iter().filter_map(|fault| match *fault {
            Fault::Logits { value, .. } | Fault::AllLogits { value } => Some((value, vec![value; n_vocab])),
            _ => None,
        });
        Self {
            deadly: deadly.collect(),
            poisoned: poisoned.collect(),
            tokenizer: Arc::new(FaultyTokenizer {
                tokenizer,
                faults: faults.to_vec(),
                texts: AtomicU64::new(0),
            }),
            model,
            faults: faults.to_vec(),
            batches: 0,
            rows: AtomicU64::new(0),
        }
    }

    fn poisoned(&self, value: f32) -> &[f32] {
        let same = |other: f32| other.to_bits() == value.to_bits();
        self.poisoned.iter().find(|(other, _)| same(*other)).map_or(&[], |(_, row)| row)
    }
}

impl Model for Faulty {
    fn info(&self) -> &ModelInfo {
        self.model.info()
    }

    fn vocab(&self) -> Arc<Vocab> {
        self.model.vocab()
    }

    fn tokenizer(&self) -> Arc<dyn Tokenizer> {
        self.tokenizer.clone()
    }

    fn decode(&mut self, batch: &[Entry]) -> Result<(), Error> {
        self.batches += 1;
        if batch.iter().any(|entry| self.deadly.contains(&entry.token)) {
            std::process::abort();
        }
        for fault in &self.faults {
            match *fault {
                Fault::CacheFull { batch } if batch == self.batches => return Err(Error::CacheFull),
                Fault::Decode { batch } if batch == self.batches => {
                    return Err(Error::Native("a fault for a test".into()));
                }
                Fault::Delay { batch, by } if batch == self.batches => std::thread::sleep(by),
                _ => {}
            }
        }
        self.model.decode(batch)
    }

    fn logits(&self, index: usize) -> &[f32] {
        let now = self.rows.fetch_add(1, Ordering::Relaxed) + 1;
        for fault in &self.faults {
            match *fault {
                Fault::AllLogits { value } => return self.poisoned(value),
                Fault::Logits { row, value } if row == now => return self.poisoned(value),
                Fault::PanicSampling { row } => assert!(row != now, "a fault for a test"),
                _ => {}
            }
        }
        self.model.logits(index)
    }

    fn truncate(&mut self, sequence: SeqId, len: usize) {
        self.model.truncate(sequence, len);
    }

    fn share(&mut self, from: SeqId, to: SeqId, len: usize) {
        self.model.share(from, to, len);
    }
}

struct FaultyTokenizer {
    tokenizer: Arc<dyn Tokenizer>,
    faults: Vec<Fault>,
    texts: AtomicU64,
}

impl Tokenizer for FaultyTokenizer {
    fn tokenize(&self, text: &str, special: bool) -> Vec<Token> {
        let now = self.texts.fetch_add(1, Ordering::Relaxed) + 1;
        let mut tokens = self.tokenizer.tokenize(text, special);
        for fault in &self.faults {
            match *fault {
                Fault::PanicTokenizing { text } => assert!(text != now, "a fault for a test"),
                Fault::Outside { text } if text == now => tokens.push(Token::MAX - 1),
                _ => {}
            }
        }
        tokens
    }
}
