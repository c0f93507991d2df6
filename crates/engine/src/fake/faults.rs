//! A model that fails when it is told to: what tests reach and users can't.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Adapter, Candidates, Entry, Model, SeqId};
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
    /// All that the n-th request gets that wants logits is this number.
    Logits { row: u64, value: f32 },
    /// Giving the n-th its logits panics.
    PanicScoring { row: u64 },
    /// The n-th gets a token to draw that there is not.
    DrawOutside { row: u64 },
    /// The n-th text to be tokenised makes the tokenizer panic, as a fault in a grammar would.
    PanicTokenizing { text: u64 },
    /// The n-th text becomes a token that there is not.
    Outside { text: u64 },
    /// The process dies of every batch that holds this character, as native code does of its faults.
    Abort { character: char },
    /// The process dies of every batch unless it is kept from other people's files.
    Trespass,
}

/// A token of no vocabulary.
const OUTSIDE: Token = Token::MAX - 1;

/// A model with faults.
pub struct Faulty {
    model: Box<dyn Model>,
    faults: Vec<Fault>,
    tokenizer: Arc<FaultyTokenizer>,
    deadly: Vec<Token>,
    batches: u64,
    rows: u64,
}

impl std::fmt::Debug for Faulty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Faulty").field("faults", &self.faults).finish_non_exhaustive()
    }
}

impl Faulty {
    pub fn new(model: Box<dyn Model>, faults: &[Fault]) -> Self {
        let tokenizer = model.tokenizer();
        let deadly = faults.iter().filter_map(|fault| match fault {
            Fault::Abort { character } => tokenizer.tokenize(&character.to_string(), false).last().copied(),
            _ => None,
        });
        Self {
            deadly: deadly.collect(),
            tokenizer: Arc::new(FaultyTokenizer {
                tokenizer,
                faults: faults.to_vec(),
                texts: AtomicU64::new(0),
            }),
            model,
            faults: faults.to_vec(),
            batches: 0,
            rows: 0,
        }
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

    fn adapt(&mut self, adapter: Adapter) -> Result<(), Error> {
        self.model.adapt(adapter)
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
                Fault::Trespass if can_trespass() => std::process::abort(),
                _ => {}
            }
        }
        self.model.decode(batch)
    }

    fn score(&mut self, wanted: &mut [Candidates]) {
        self.model.score(wanted);
        for candidates in wanted.iter_mut().filter(|candidates| !candidates.logits.is_empty()) {
            self.rows += 1;
            for fault in &self.faults {
                match *fault {
                    Fault::Logits { row, value } if row == self.rows => candidates.logits.fill(value),
                    Fault::PanicScoring { row } => assert!(row != self.rows, "a fault for a test"),
                    Fault::DrawOutside { row } if row == self.rows => {
                        candidates.tokens = [OUTSIDE].into();
                        candidates.ends.clear();
                        candidates.logits = vec![1.0];
                    }
                    _ => {}
                }
            }
        }
    }

    fn keeps_every_position(&self) -> bool {
        self.model.keeps_every_position()
    }

    fn clear(&mut self, sequence: SeqId) {
        self.model.clear(sequence);
    }

    fn truncate(&mut self, sequence: SeqId, len: usize) -> bool {
        self.model.truncate(sequence, len)
    }

    fn share(&mut self, from: SeqId, to: SeqId, len: usize) {
        self.model.share(from, to, len);
    }
}

/// Whether native code that somebody else steers could read or write what isn't the model's.
fn can_trespass() -> bool {
    let folder = std::env::temp_dir();
    let new = folder.join(format!("leafresh-trespass-{}", std::process::id()));
    let writes = std::fs::write(&new, "").is_ok();
    if writes {
        let _ = std::fs::remove_file(&new);
    }
    writes || std::fs::read_dir(&folder).is_ok()
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
                Fault::Outside { text } if text == now => tokens.push(OUTSIDE),
                _ => {}
            }
        }
        tokens
    }
}
