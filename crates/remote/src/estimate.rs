//! How many tokens a text has, about: the tokenizer is elsewhere, and nobody waits for it to be asked.

use std::sync::atomic::{AtomicU64, Ordering};

/// Tokens and bytes of texts that were counted, halved when there are many, so that what was counted last counts most.
#[derive(Debug, Default)]
pub(crate) struct Estimate {
    tokens: AtomicU64,
    bytes: AtomicU64,
}

/// Beyond this both are halved.
const MOST: u64 = 1 << 20;

/// Before any text was counted: two bytes a token, more tokens than most texts have.
const FIRST: (u64, u64) = (1, 2);

impl Estimate {
    /// A text of so many bytes has so many tokens.
    pub(crate) fn learn(&self, bytes: usize, tokens: usize) {
        if bytes == 0 || tokens == 0 {
            return;
        }
        // Two at the same time may count one of them only, which is no harm.
        let (mut all, mut of) = (self.tokens.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed));
        if of > MOST {
            (all, of) = (all / 2, of / 2);
        }
        self.tokens.store(all + tokens as u64, Ordering::Relaxed);
        self.bytes.store(of + bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn tokens(&self, bytes: usize) -> usize {
        let (tokens, of) = match (self.tokens.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed)) {
            (0, _) | (_, 0) => FIRST,
            learned => learned,
        };
        (bytes as u64 * tokens).div_ceil(of) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_what_was_counted() {
        let estimate = Estimate::default();
        assert_eq!((estimate.tokens(0), estimate.tokens(5)), (0, 3));
        estimate.learn(3000, 1000);
        assert_eq!(estimate.tokens(301), 101);
        for _ in 0..1000 {
            estimate.learn(20_000, 5000);
        }
        assert!((1000..=1001).contains(&estimate.tokens(4000)), "what was counted first is forgotten");
    }
}
