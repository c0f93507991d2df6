//! Runs of letters by which messages are alike.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

/// Two or three letters that stand beside each other; the third of two is `\0`.
pub(crate) type Run = [char; 3];

/// Which runs count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Letters {
    /// Pairs within a word; of a word of one letter, that letter twice.
    InWords,
    /// Pairs and triples whatever spaces and signs stand between: who is in distress or disguises an insult doesn't care for
    /// them. They count as much as both vectors.
    Anywhere,
}

impl Letters {
    /// How alike messages of the same runs are; of the same vector it is 1.
    pub(crate) fn weight(self) -> f32 {
        match self {
            Self::InWords => 1.0,
            Self::Anywhere => 2.0,
        }
    }

    pub(crate) fn runs(self, text: &str) -> BTreeSet<Run> {
        match self {
            Self::InWords => in_words(text),
            Self::Anywhere => anywhere(text),
        }
    }
}

fn in_words(text: &str) -> BTreeSet<Run> {
    let text: String = text.nfc().flat_map(char::to_lowercase).collect();
    let mut runs = BTreeSet::new();
    for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        let letters: Vec<char> = word.chars().collect();
        runs.extend(letters.windows(letters.len().min(2)).map(|pair| [pair[0], pair[pair.len() - 1], '\0']));
    }
    runs
}

fn anywhere(text: &str) -> BTreeSet<Run> {
    // Jamo that stand alone stay what they are: NFKC would make "ㅅㅂ" parts of the syllables beside them.
    let letters: Vec<char> =
        text.nfc().flat_map(char::to_lowercase).filter(|c| c.is_alphanumeric()).collect();
    let pairs = letters.windows(2).map(|run| [run[0], run[1], '\0']);
    let triples = letters.windows(3).map(|run| [run[0], run[1], run[2]]);
    pairs.chain(triples).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_of_words_or_of_whole_messages() {
        for (letters, text, expected) in [
            (Letters::InWords, "물 병씨 A", &["aa", "물물", "병씨"][..]),
            (Letters::Anywhere, "물 병.씨", &["물병", "물병씨", "병씨"]),
            (Letters::Anywhere, "ㅅ ㅂ", &["ㅅㅂ"]),
            (Letters::Anywhere, "아", &[]),
        ] {
            let runs = letters.runs(text);
            let found: Vec<String> =
                runs.iter().map(|run| run.iter().filter(|&&c| c != '\0').collect()).collect();
            assert_eq!(found, expected, "{text}");
        }
    }
}
