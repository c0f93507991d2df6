//! What the tokens of a file are to somebody who reads them.

use std::collections::HashMap;

use crate::gguf::{Merging, Vocabulary};
use crate::vocab::Token;

/// `llama_token_type`'s numbers.
const NORMAL: i32 = 1;
const UNUSED: i32 = 5;

/// SentencePiece's mark for a space.
const SPACE: char = '\u{2581}';

/// What a token is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Role {
    /// It begins or ends something, stands for a byte, or is cut out of texts before all others.
    Special,
    /// A number that was set aside and isn't used.
    Reserved,
    /// It spells these bytes.
    Text(Vec<u8>),
}

/// The role of every token.
pub(super) fn roles(vocabulary: &Vocabulary) -> Vec<Role> {
    let bytes = byte_letters();
    let role = |(id, text): (Token, &Vec<u8>)| {
        let kind = vocabulary.types[id as usize];
        let named = vocabulary.named.values().any(|&named| named == id);
        match kind {
            _ if named => Role::Special,
            UNUSED => Role::Reserved,
            NORMAL | 0 => Role::Text(match vocabulary.merging {
                Merging::Scores => spaced(text),
                Merging::Pairs => decoded(text, &bytes),
            }),
            _ if is_reserved(&String::from_utf8_lossy(text)) => Role::Reserved,
            _ => Role::Special,
        }
    };
    (0..).zip(&vocabulary.tokens).map(role).collect()
}

/// `<unused12>`, `[unused3]`, `<|reserved_special_token_7|>`: vocabularies have thousands of them.
fn is_reserved(text: &str) -> bool {
    let word = text.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let name = word.trim_end_matches(|c: char| c.is_ascii_digit());
    let brackets = text.len() > word.len();
    brackets && name.len() < word.len() && ["unused", "reserved"].iter().any(|mark| name.contains(mark))
}

fn spaced(text: &[u8]) -> Vec<u8> {
    match std::str::from_utf8(text) {
        Ok(text) => text.replace(SPACE, " ").into_bytes(),
        Err(_) => text.to_vec(),
    }
}

fn decoded(text: &[u8], bytes: &HashMap<char, u8>) -> Vec<u8> {
    let decoded = std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.chars().map(|c| bytes.get(&c).copied()).collect());
    decoded.unwrap_or_else(|| text.to_vec())
}

/// The letters that GPT-2 gave the bytes: a visible one of Latin-1 stands for itself, the others are numbered from U+0100 on.
fn byte_letters() -> HashMap<char, u8> {
    let visible = |byte: u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    let mut next = 0x100;
    let letter = |byte: u8| {
        if visible(byte) {
            return (char::from(byte), byte);
        }
        let letter = char::from_u32(next).unwrap_or_default();
        next += 1;
        (letter, byte)
    };
    (0..=u8::MAX).map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_were_set_aside_are_told_from_marks() {
        for (text, reserved) in [
            ("<unused0>", true),
            ("[unused99]", true),
            ("<|reserved_special_token_7|>", true),
            ("<|reserved_200017|>", true),
            ("<start_of_turn>", false),
            ("<|im_end|>", false),
            ("[multimodal]", false),
            ("<0x0A>", false),
            ("<h1>", false),
            ("unused7", false),
            ("\n\n", false),
        ] {
            assert_eq!(is_reserved(text), reserved, "{text}");
        }
    }

    #[test]
    fn gpt_2s_letters_stand_for_all_bytes() {
        let letters = byte_letters();
        assert_eq!(letters.len(), 256);
        for (letter, byte) in [('Ġ', b' '), ('Ċ', b'\n'), ('a', b'a'), ('é', 0xE9), ('ł', 0xA0), ('Ń', 0xAD)]
        {
            assert_eq!(letters.get(&letter), Some(&byte), "{letter}");
        }
        assert_eq!(decoded("ĠíķľêµŃ".as_bytes(), &letters), " 한국".as_bytes());
    }
}
