//! Texts as the pairs of characters in their words. Korean joins particles and endings to words, so that whole words seldom
//! agree; pairs do.

use std::collections::BTreeMap;

use unicode_normalization::UnicodeNormalization;

/// How soon a pair that comes again counts no more, and how much long texts are held back (k1 and b of Okapi BM25).
const SATURATION: f32 = 1.2;
const LENGTH_WEIGHT: f32 = 0.75;

/// Pairs in a text of ordinary length: a title and two sentences; and in a question. Fixed, so that a text's weights never
/// change.
const ORDINARY_LENGTH: f32 = 60.0;
const ORDINARY_QUESTION: f32 = 15.0;

/// A sparse vector: indices ascending, none twice.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Sparse {
    pub(crate) indices: Vec<u32>,
    pub(crate) values: Vec<f32>,
}

impl Sparse {
    /// A document's: pairs weighed as BM25 does, but for how rare they are, which the store knows.
    pub(crate) fn of_document(text: &str, questions: &[String]) -> Self {
        let mut counts = counts(text);
        for (index, count) in questions.iter().flat_map(|question| self::counts(question)) {
            *counts.entry(index).or_default() += count;
        }
        let ordinary = ORDINARY_LENGTH + ORDINARY_QUESTION * questions.len() as f32;
        let length: f32 = counts.values().sum();
        let norm = SATURATION * (1.0 - LENGTH_WEIGHT + LENGTH_WEIGHT * length / ordinary);
        let weigh = |(index, count): (u32, f32)| (index, count * (SATURATION + 1.0) / (count + norm));
        Self::from(counts.into_iter().map(weigh).collect::<Vec<_>>())
    }

    /// A question's: each of its pairs once.
    pub(crate) fn of_query(text: &str) -> Self {
        Self::from(counts(text).into_keys().map(|index| (index, 1.0)).collect::<Vec<_>>())
    }
}

impl From<Vec<(u32, f32)>> for Sparse {
    fn from(pairs: Vec<(u32, f32)>) -> Self {
        let (indices, values) = pairs.into_iter().unzip();
        Self { indices, values }
    }
}

/// How alike two texts are by their pairs: the cosine of their counts, 0 to 1.
pub(crate) fn cosine(a: &str, b: &str) -> f32 {
    let (a, b) = (counts(a), counts(b));
    let dot: f32 = a.iter().filter_map(|(index, count)| b.get(index).map(|other| count * other)).sum();
    let square = |counts: &BTreeMap<u32, f32>| counts.values().map(|count| count * count).sum::<f32>();
    let lengths = (square(&a) * square(&b)).sqrt();
    if lengths > 0.0 { (dot / lengths).min(1.0) } else { 0.0 }
}

/// How often each pair comes, by its hash. A word of one character is a pair of its own.
fn counts(text: &str) -> BTreeMap<u32, f32> {
    let text: String = text.nfc().flat_map(char::to_lowercase).collect();
    let mut counts = BTreeMap::new();
    for word in text.split(|character: char| !character.is_alphanumeric()).filter(|word| !word.is_empty()) {
        let characters: Vec<char> = word.chars().collect();
        for pair in characters.windows(characters.len().min(2)) {
            *counts.entry(hash(pair)).or_insert(0.0) += 1.0;
        }
    }
    counts
}

/// FNV-1a, 32 bits: stored vectors depend on it.
fn hash(characters: &[char]) -> u32 {
    let bytes = characters.iter().flat_map(|&character| u32::from(character).to_le_bytes());
    bytes.fold(0x811C_9DC5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_with_other_endings_share_their_pairs() {
        let near = cosine("텀블러를 챙겨요", "텀블러 챙기기");
        let far = cosine("텀블러를 챙겨요", "전등 끄기");
        assert!(near > 0.4 && far < 0.05, "{near} {far}");
    }

    #[test]
    fn the_hash_stays_what_it_was() {
        assert_eq!(hash(&['가', '나']), 0xC9E0_BB09);
        assert_eq!(Sparse::of_query("나").indices.len(), 1, "one character is a pair of its own");
        assert_eq!(Sparse::of_query("  ,. "), Sparse::default());
    }

    #[test]
    fn composed_and_decomposed_hangul_are_the_same() {
        let decomposed: String = "플로깅".nfd().collect();
        assert_eq!(Sparse::of_query(&decomposed), Sparse::of_query("플로깅"));
    }

    #[test]
    fn a_pair_that_comes_again_counts_less_each_time_and_less_in_a_long_text() {
        let weight = |text: &str| Sparse::of_document(text, &[]).values[0];
        let (once, twice) = (weight("가나"), weight("가나 가나"));
        assert!(once < twice && twice < 2.0 * once);
        let index = Sparse::of_query("가나").indices[0];
        let long = Sparse::of_document(&format!("가나 {}", "다라마바사아자차카타파하 ".repeat(20)), &[]);
        let at = long.indices.iter().position(|&found| found == index).unwrap();
        assert!(long.values[at] < once);
    }

    proptest! {
        #[test]
        fn indices_ascend_and_weights_are_positive(text in ".{0,80}") {
            for sparse in [Sparse::of_query(&text), Sparse::of_document(&text, std::slice::from_ref(&text))] {
                prop_assert!(sparse.indices.is_sorted_by(|a, b| a < b));
                prop_assert_eq!(sparse.indices.len(), sparse.values.len());
                prop_assert!(sparse.values.iter().all(|&value| value > 0.0 && value.is_finite()));
            }
        }
    }
}
