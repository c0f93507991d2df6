//! The model's own tokenizer.

use std::sync::Arc;

use llama_cpp_sys_2 as sys;

use super::Weights;
use crate::vocab::{Token, Tokenizer, Vocab};

pub(super) struct LlamaTokenizer {
    weights: Arc<Weights>,
    /// SentencePiece vocabularies put a space before any text. A line break before it keeps the space out; these are
    /// its tokens, to be taken off again.
    anchor: Option<Vec<Token>>,
}

const ANCHOR: &str = "\n";

impl LlamaTokenizer {
    pub(super) fn new(weights: Arc<Weights>) -> Self {
        let mut tokenizer = Self { weights, anchor: None };
        let first = tokenizer.raw("a", false).first().copied();
        if first.is_some_and(|token| tokenizer.piece(token).starts_with(b" ")) {
            tokenizer.anchor = Some(tokenizer.raw(ANCHOR, false));
        }
        tokenizer
    }

    fn vocab(&self) -> *const sys::llama_vocab {
        // SAFETY: the model is alive as long as `self.weights`.
        unsafe { sys::llama_model_get_vocab(self.weights.as_ptr()) }
    }

    fn raw(&self, text: &str, special: bool) -> Vec<Token> {
        let mut tokens = vec![0; text.len() + 8];
        loop {
            // SAFETY: both buffers are as long as stated. Tokenising reads the vocabulary only.
            let count = unsafe {
                sys::llama_tokenize(
                    self.vocab(),
                    text.as_ptr().cast(),
                    text.len() as i32,
                    tokens.as_mut_ptr(),
                    tokens.len() as i32,
                    false,
                    special,
                )
            };
            if let Ok(count) = usize::try_from(count) {
                tokens.truncate(count);
                return tokens.into_iter().map(|token| token as Token).collect();
            }
            tokens.resize(count.unsigned_abs() as usize, 0);
        }
    }

    /// What a token spells; nothing for control tokens.
    fn piece(&self, token: Token) -> Vec<u8> {
        let mut buffer = vec![0u8; 64];
        loop {
            // SAFETY: the buffer is as long as stated, the token is in the vocabulary.
            let len = unsafe {
                let bytes = buffer.as_mut_ptr().cast();
                sys::llama_token_to_piece(self.vocab(), token as i32, bytes, buffer.len() as i32, 0, false)
            };
            if let Ok(len) = usize::try_from(len) {
                buffer.truncate(len);
                return buffer;
            }
            buffer.resize(len.unsigned_abs() as usize, 0);
        }
    }

    fn has_attribute(&self, token: Token, attributes: sys::llama_token_attr) -> bool {
        // SAFETY: the token is in the vocabulary.
        unsafe { sys::llama_vocab_get_attr(self.vocab(), token as i32) & attributes != 0 }
    }

    /// Reads the whole vocabulary.
    pub(super) fn read(&self) -> Vocab {
        // SAFETY: plain look-ups in a vocabulary that is alive.
        let (count, bos, wants_bos) = unsafe {
            let vocab = self.vocab();
            (
                sys::llama_vocab_n_tokens(vocab) as Token,
                sys::llama_vocab_bos(vocab),
                sys::llama_vocab_get_add_bos(vocab),
            )
        };
        let hidden =
            sys::LLAMA_TOKEN_ATTR_CONTROL | sys::LLAMA_TOKEN_ATTR_UNKNOWN | sys::LLAMA_TOKEN_ATTR_UNUSED;
        let pieces = (0..count)
            .map(|token| {
                if self.has_attribute(token, hidden) { Vec::new() } else { self.piece(token) }.into()
            })
            .collect();
        // SAFETY: as above.
        let ends = (0..count)
            .filter(|&token| unsafe { sys::llama_vocab_is_eog(self.vocab(), token as i32) })
            .collect();
        let bos = (wants_bos && bos >= 0).then_some(bos as Token);
        Vocab::new(pieces, |token| self.has_attribute(token, sys::LLAMA_TOKEN_ATTR_BYTE), ends, bos)
    }

    /// How the file writes a special token, for its chat template.
    pub(super) fn text(&self, token: Option<Token>) -> String {
        let Some(token) = token else { return String::new() };
        // SAFETY: the token is in the vocabulary; the text ends in NUL and lives as long as it.
        unsafe {
            let text = sys::llama_vocab_get_text(self.vocab(), token as i32);
            std::ffi::CStr::from_ptr(text).to_string_lossy().into_owned()
        }
    }

    pub(super) fn bos(&self) -> Option<Token> {
        // SAFETY: a plain look-up.
        Token::try_from(unsafe { sys::llama_vocab_bos(self.vocab()) }).ok()
    }

    pub(super) fn eos(&self) -> Option<Token> {
        // SAFETY: a plain look-up.
        Token::try_from(unsafe { sys::llama_vocab_eos(self.vocab()) }).ok()
    }
}

impl Tokenizer for LlamaTokenizer {
    fn tokenize(&self, text: &str, special: bool) -> Vec<Token> {
        if text.is_empty() {
            return Vec::new();
        }
        let Some(anchor) = &self.anchor else {
            return self.raw(text, special);
        };
        let mut tokens = self.raw(&format!("{ANCHOR}{text}"), special);
        if tokens.starts_with(anchor) { tokens.split_off(anchor.len()) } else { self.raw(text, special) }
    }
}
