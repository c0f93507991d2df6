//! Whether a message is about the topic, learned from labelled examples.
//!
//! Regularised least squares with a kernel (Rifkin, Yeo & Poggio 2003): what two messages mean, as a Gaussian of the distance
//! of their vectors, plus the pairs of letters that they share. How near a message is to examples tells more than on which
//! side of one plane it lies: of messages not learned from, 75 % of those off the topic are caught where 98 % of the others
//! pass; a logistic regression on the same vectors catches 60 %.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use leafresh_retrieval::{QueryVector, Search};
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

use super::kernel::{dot, solve};
use super::topic::{Example, Split, Topic};
use crate::Error;

/// How fast likeness falls with the distance of two vectors, and how strongly large weights are punished: chosen by
/// five-fold cross-validation on the examples for tuning; half or twice as much is about as good.
const NARROWNESS: f32 = 2.0;
const PENALTY: f32 = 0.5;

/// The share of examples on the topic that have to pass when each is judged by what the others taught.
const LET_THROUGH: f32 = 0.975;

/// How fast scores become probabilities: they lie between -1 and 1.
const SHARPNESS: f32 = 4.0;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Classifier {
    /// Of all examples.
    centre: Vec<f32>,
    /// Examples: their centred vectors of length 1, one after the other, and what each of them says.
    rows: Vec<f32>,
    weights: Vec<f32>,
    lexicon: Lexicon,
    /// The score from which on a message is more likely on the topic than off it.
    cut: f32,
}

/// Pairs of letters that at least two examples have.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Lexicon {
    /// How rare a pair is, and what it says.
    pairs: HashMap<Pair, (f32, f32)>,
}

/// Two letters that stand beside each other; of a word of one letter, the second is that letter too.
type Pair = (char, char);

fn pairs(text: &str) -> BTreeSet<Pair> {
    let text: String = text.nfc().flat_map(char::to_lowercase).collect();
    let mut pairs = BTreeSet::new();
    for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        let letters: Vec<char> = word.chars().collect();
        pairs.extend(letters.windows(letters.len().min(2)).map(|pair| (pair[0], pair[pair.len() - 1])));
    }
    pairs
}

impl Lexicon {
    fn of<'a>(texts: impl ExactSizeIterator<Item = &'a str>) -> Self {
        let all = texts.len() as f32;
        let mut counts: BTreeMap<Pair, f32> = BTreeMap::new();
        for pair in texts.flat_map(pairs) {
            *counts.entry(pair).or_default() += 1.0;
        }
        let shared = counts.into_iter().filter(|(_, count)| *count >= 2.0);
        Self { pairs: shared.map(|(pair, count)| (pair, ((all / count).ln(), 0.0))).collect() }
    }

    /// A text's pairs with their shares in a vector of length 1.
    fn shares(&self, text: &str) -> Vec<(Pair, f32)> {
        let known = pairs(text).into_iter().filter_map(|pair| Some((pair, self.pairs.get(&pair)?.0)));
        let mut shares: Vec<(Pair, f32)> = known.collect();
        let length = shares.iter().map(|(_, rarity)| rarity * rarity).sum::<f32>().sqrt();
        if length > 0.0 {
            for (_, share) in &mut shares {
                *share /= length;
            }
        }
        shares
    }
}

impl Classifier {
    /// Embeds the examples for tuning and learns from them. Takes seconds to half a minute.
    ///
    /// # Errors
    /// [`Error::Retrieval`] when they can't be embedded.
    pub(crate) async fn train(examples: &[Example], search: &Search) -> Result<Self, Error> {
        let tuning = examples.iter().filter(|example| example.split == Split::Tune);
        let (texts, on): (Vec<String>, Vec<bool>) =
            tuning.map(|example| (example.text.clone(), example.topic == Topic::On)).unzip();
        let mut vectors = Vec::with_capacity(texts.len());
        // A few at a time: people's questions get in between.
        for some in texts.chunks(AT_ONCE) {
            vectors.extend(search.embed_all(some.to_vec()).await?);
        }
        let learn = move || {
            let rows: Vec<&[f32]> = vectors.iter().map(QueryVector::as_slice).collect();
            Self::fit(&texts, &rows, &on)
        };
        tokio::task::spawn_blocking(learn)
            .await
            .map_err(|_| Error::Settings("the gate's training failed".into()))
    }

    /// `vectors` of the texts, and whether each is on the topic. Both classes weigh the same, whatever their numbers.
    pub(crate) fn fit(texts: &[String], vectors: &[&[f32]], on: &[bool]) -> Self {
        let count = texts.len();
        let dimension = vectors.first().map_or(0, |vector| vector.len());
        let mut centre = vec![0.0; dimension];
        for vector in vectors {
            for (sum, value) in centre.iter_mut().zip(*vector) {
                *sum += value / count as f32;
            }
        }
        let lexicon = Lexicon::of(texts.iter().map(String::as_str));
        let mut classifier = Self { centre, rows: Vec::new(), weights: Vec::new(), lexicon, cut: 0.0 };
        classifier.rows = vectors.iter().flat_map(|vector| classifier.centred(vector)).collect();

        let shares: Vec<Vec<(Pair, f32)>> =
            texts.iter().map(|text| classifier.lexicon.shares(text)).collect();
        let mut likeness = classifier.likeness(&shares);
        let of_class = |class: bool| on.iter().filter(|&&on| on == class).count().max(1) as f32;
        let (positive, negative) = (of_class(true), of_class(false));
        for (index, &on) in on.iter().enumerate() {
            let weight = 0.5 * count as f32 / if on { positive } else { negative };
            likeness[index * count + index] += PENALTY / weight;
        }
        let targets: Vec<f32> = on.iter().map(|&on| if on { 1.0 } else { -1.0 }).collect();
        let Some((weights, spreads)) = solve(likeness, &targets) else {
            // Not reached with a penalty: the matrix is positive definite.
            return classifier;
        };
        for (shares, weight) in shares.iter().zip(&weights) {
            for (pair, share) in shares {
                if let Some((_, says)) = classifier.lexicon.pairs.get_mut(pair) {
                    *says += weight * share;
                }
            }
        }
        // What each example's score would be had it not been learned from (Rifkin & Lippert 2007).
        let unseen = targets
            .iter()
            .zip(weights.iter().zip(&spreads))
            .map(|(target, (weight, spread))| target - weight / spread);
        let mut unseen: Vec<f32> = unseen.zip(on).filter(|(_, on)| **on).map(|(score, _)| score).collect();
        unseen.sort_by(f32::total_cmp);
        let at = (unseen.len() as f32 * (1.0 - LET_THROUGH)) as usize;
        // Between the classes at most, where all examples on the topic pass by far.
        classifier.cut = unseen.get(at).copied().unwrap_or_default().min(0.0);
        classifier.weights = weights;
        classifier
    }

    /// Of every example with every one before it, and with itself.
    fn likeness(&self, shares: &[Vec<(Pair, f32)>]) -> Vec<f32> {
        let count = shares.len();
        let mut having: HashMap<Pair, Vec<(usize, f32)>> = HashMap::new();
        for (index, shares) in shares.iter().enumerate() {
            for (pair, share) in shares {
                having.entry(*pair).or_default().push((index, *share));
            }
        }
        let mut likeness = vec![0.0; count * count];
        let dimension = self.centre.len();
        for (index, line) in likeness.chunks_exact_mut(count.max(1)).enumerate() {
            let row = |index: usize| &self.rows[index * dimension..(index + 1) * dimension];
            for (other, cell) in line.iter_mut().enumerate().take(index + 1) {
                *cell = near(dot(row(index), row(other)));
            }
            for (pair, share) in &shares[index] {
                for (other, of_other) in having[pair].iter().take_while(|(other, _)| *other <= index) {
                    line[*other] += share * of_other;
                }
            }
        }
        likeness
    }

    /// How likely a message with this vector is about the topic, 0 to 1.
    pub(crate) fn probability(&self, message: &str, vector: &[f32]) -> f32 {
        let vector = self.centred(vector);
        let rows = self.rows.chunks_exact(self.centre.len().max(1));
        let meaning: f32 =
            rows.zip(&self.weights).map(|(row, weight)| weight * near(dot(row, &vector))).sum();
        let shares = self.lexicon.shares(message).into_iter();
        let words: f32 = shares.map(|(pair, share)| share * self.lexicon.pairs[&pair].1).sum();
        1.0 / (1.0 + (-SHARPNESS * (meaning + words - self.cut)).exp())
    }

    fn centred(&self, vector: &[f32]) -> Vec<f32> {
        let mut centred: Vec<f32> = vector.iter().zip(&self.centre).map(|(a, b)| a - b).collect();
        let length = dot(&centred, &centred).sqrt().max(f32::MIN_POSITIVE);
        for value in &mut centred {
            *value /= length;
        }
        centred
    }

    /// Whether it can judge vectors of this length: one from a file may be of anything.
    pub(crate) fn fits(&self, dimension: usize) -> bool {
        self.centre.len() == dimension && self.rows.len() == self.weights.len() * dimension
    }
}

/// Texts embedded with one call.
const AT_ONCE: usize = 16;

/// Of two vectors of length 1 with this cosine: 1 for the same one.
fn near(cosine: f32) -> f32 {
    (NARROWNESS * (cosine - 1.0)).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two rings of directions, one around the other: no plane tells them apart.
    fn ring(count: usize) -> (Vec<String>, Vec<Vec<f32>>, Vec<bool>) {
        let on: Vec<bool> = (0..count).map(|n| n % 3 == 0).collect();
        let vector = |(n, &on): (usize, &bool)| {
            let angle = n as f32 * 0.7;
            let wide = if on { 0.3 } else { 1.2 };
            vec![wide * angle.cos(), wide * angle.sin(), 1.0]
        };
        let vectors = on.iter().enumerate().map(vector).collect();
        ((0..count).map(|n| format!("{n}")).collect(), vectors, on)
    }

    fn fit(texts: &[String], vectors: &[Vec<f32>], on: &[bool]) -> Classifier {
        let rows: Vec<&[f32]> = vectors.iter().map(Vec::as_slice).collect();
        Classifier::fit(texts, &rows, on)
    }

    #[test]
    fn what_lies_around_something_else_is_told_from_it() {
        let (texts, mut vectors, on) = ring(120);
        // Centring would put the inner ring into the middle of nothing: a third direction keeps it apart.
        for (vector, _) in vectors.iter_mut().zip(&on).filter(|(_, on)| **on) {
            vector[2] += 0.2;
        }
        let classifier = fit(&texts[..90], &vectors[..90], &on[..90]);
        let right = (90..120).filter(|&n| (classifier.probability("", &vectors[n]) > 0.5) == on[n]).count();
        assert!(right >= 28, "{right} of 30");
    }

    #[test]
    fn where_vectors_say_nothing_words_do() {
        let texts: Vec<String> = (0..40)
            .map(|n| format!("{} {n}", if n % 2 == 0 { "텀블러 챙기기" } else { "주식 시세" }))
            .collect();
        let on: Vec<bool> = (0..40).map(|n| n % 2 == 0).collect();
        let vectors = vec![vec![1.0, 0.0]; 40];
        let classifier = fit(&texts, &vectors, &on);
        assert!(classifier.probability("텀블러 좋아", &vectors[0]) > 0.5);
        assert!(classifier.probability("오늘 주식은", &vectors[0]) < 0.5);
    }

    #[test]
    fn most_examples_on_the_topic_pass_though_others_are_many() {
        let (texts, vectors, on) = ring(150);
        let classifier = fit(&texts, &vectors, &on);
        let passed = |n: &usize| classifier.probability(&texts[*n], &vectors[*n]) >= 0.5;
        let all = (0..150).filter(|&n| on[n]);
        assert!(all.clone().filter(passed).count() * 100 >= all.count() * 97);
    }
}
