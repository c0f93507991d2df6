//! Bytes of tokens in, whole characters out.

/// Holds back the bytes of an unfinished character, at most three of them; bytes that can't become one turn into
/// U+FFFD at once, so that nothing stalls (Unicode 16, "maximal subpart" practice, as `String::from_utf8_lossy`).
#[derive(Debug, Default)]
pub(crate) struct Detokenizer {
    held: Vec<u8>,
}

impl Detokenizer {
    pub(crate) fn push(&mut self, bytes: &[u8]) -> String {
        self.held.extend_from_slice(bytes);
        let mut text = String::new();
        loop {
            match std::str::from_utf8(&self.held) {
                Ok(valid) => {
                    text.push_str(valid);
                    self.held.clear();
                    return text;
                }
                Err(error) => {
                    let valid = error.valid_up_to();
                    text.push_str(&String::from_utf8_lossy(&self.held[..valid]));
                    let Some(bad) = error.error_len() else {
                        self.held.drain(..valid);
                        return text;
                    };
                    text.push(char::REPLACEMENT_CHARACTER);
                    self.held.drain(..valid + bad);
                }
            }
        }
    }

    /// The end: a character that was never finished becomes U+FFFD.
    pub(crate) fn finish(&mut self) -> String {
        if self.held.is_empty() {
            return String::new();
        }
        self.held.clear();
        char::REPLACEMENT_CHARACTER.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn in_pieces(bytes: &[u8], cuts: &[usize]) -> String {
        let mut detokenizer = Detokenizer::default();
        let mut text = String::new();
        let mut start = 0;
        for &cut in cuts {
            text.push_str(&detokenizer.push(&bytes[start..cut]));
            assert!(detokenizer.held.len() <= 3, "at most an unfinished character is held");
            start = cut;
        }
        text.push_str(&detokenizer.push(&bytes[start..]));
        text.push_str(&detokenizer.finish());
        text
    }

    #[test]
    fn case_11_hangul_and_emoji_survive_a_cut_at_every_byte() {
        let text = "플로깅을 해요 🌱👨‍👩‍👧 é";
        for first in 0..=text.len() {
            for second in first..=text.len() {
                assert_eq!(in_pieces(text.as_bytes(), &[first, second]), text);
            }
        }
    }

    #[test]
    fn case_12_an_end_inside_a_character_is_one_replacement_and_no_stall() {
        let mut detokenizer = Detokenizer::default();
        assert_eq!(detokenizer.push("가".as_bytes().split_at(2).0), "");
        assert_eq!(detokenizer.finish(), "\u{FFFD}");
        assert_eq!(detokenizer.finish(), "");
    }

    proptest! {
        #[test]
        fn case_12_any_bytes_in_any_pieces_give_what_one_lossy_conversion_gives(
            bytes in proptest::collection::vec(any::<u8>(), 0..64),
            mut cuts in proptest::collection::vec(0usize..64, 0..8),
        ) {
            for cut in &mut cuts { *cut = (*cut).min(bytes.len()); }
            cuts.sort_unstable();
            prop_assert_eq!(in_pieces(&bytes, &cuts), String::from_utf8_lossy(&bytes));
        }
    }
}
