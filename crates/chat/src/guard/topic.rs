//! Whether a message is about the topic: a logistic regression over embeddings of labelled examples.

use std::path::Path;

use leafresh_retrieval::{QueryVector, Search};
use serde::Deserialize;

use crate::Error;
use crate::catalog::source;

/// A message and whether it is about the topic.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Example {
    pub text: String,
    pub topic: Topic,
    pub split: Split,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Topic {
    On,
    Off,
}

/// What an example is for. The classifier never sees those it is tested with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    Tune,
    Test,
}

pub(crate) fn load(dir: &Path) -> Result<Vec<Example>, Error> {
    let mut examples = Vec::new();
    for name in source::list(dir, "gate", "jsonl")? {
        let (text, path) = source::read(dir, &name)?;
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let example = serde_json::from_str(line).map_err(|error| {
                let message = error.to_string();
                let message = message.split(" at line ").next().unwrap_or_default();
                source::error_on_line(&path, index + 1, source::explain(message, ""))
            })?;
            examples.push(example);
        }
    }
    Ok(examples)
}

/// Weights of a logistic regression on centred vectors.
#[derive(Debug, Clone)]
pub(crate) struct Classifier {
    centre: Vec<f32>,
    weights: Vec<f32>,
    bias: f32,
}

/// Steps of the descent, their size, and how strongly large weights are punished, chosen by hand: the figures hardly
/// change around them.
const STEPS: usize = 600;
const RATE: f32 = 1.0;
const DECAY: f32 = 1e-4;
/// Centred vectors of sentences are short; scaled they have about unit length.
const SCALE: f32 = 2.5;

impl Classifier {
    /// Embeds the examples and learns from them. Takes seconds.
    ///
    /// # Errors
    /// [`Error::Retrieval`] when they can't be embedded.
    pub(crate) async fn train(examples: &[Example], search: &Search) -> Result<Self, Error> {
        let tuning: Vec<&Example> = examples.iter().filter(|example| example.split == Split::Tune).collect();
        let vectors = search.embed_all(tuning.iter().map(|example| example.text.clone()).collect()).await?;
        let on: Vec<bool> = tuning.iter().map(|example| example.topic == Topic::On).collect();
        let learn = move || {
            let rows: Vec<&[f32]> = vectors.iter().map(QueryVector::as_slice).collect();
            Self::fit(&rows, &on)
        };
        tokio::task::spawn_blocking(learn)
            .await
            .map_err(|_| Error::Settings("the gate's training failed".into()))
    }

    /// Full-batch gradient descent; both classes weigh the same, whatever their numbers.
    pub(crate) fn fit(rows: &[&[f32]], on: &[bool]) -> Self {
        let dimension = rows.first().map_or(0, |row| row.len());
        let mut centre = vec![0.0; dimension];
        for row in rows {
            add(&mut centre, row, 1.0 / rows.len() as f32);
        }
        let mut classifier = Self { centre, weights: vec![0.0; dimension], bias: 0.0 };
        let positive = on.iter().filter(|&&on| on).count().max(1) as f32;
        let negative = on.iter().filter(|&&on| !on).count().max(1) as f32;
        let rows: Vec<Vec<f32>> = rows.iter().map(|row| classifier.centred(row)).collect();
        for _ in 0..STEPS {
            let mut gradient = vec![0.0; dimension];
            let mut bias = 0.0;
            for (row, &on) in rows.iter().zip(on) {
                let (target, weight) = if on { (1.0, 0.5 / positive) } else { (0.0, 0.5 / negative) };
                let error = (sigmoid(dot(&classifier.weights, row) + classifier.bias) - target) * weight;
                add(&mut gradient, row, error);
                bias += error;
            }
            for (weight, gradient) in classifier.weights.iter_mut().zip(&gradient) {
                *weight -= RATE * SCALE * (gradient + DECAY * *weight);
            }
            classifier.bias -= RATE * bias;
        }
        classifier
    }

    /// How likely a message with this vector is about the topic, 0 to 1.
    pub(crate) fn probability(&self, vector: &[f32]) -> f32 {
        sigmoid(dot(&self.weights, &self.centred(vector)) + self.bias)
    }

    fn centred(&self, vector: &[f32]) -> Vec<f32> {
        vector.iter().zip(&self.centre).map(|(a, b)| (a - b) * SCALE).collect()
    }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(to: &mut [f32], row: &[f32], weight: f32) {
    for (to, value) in to.iter_mut().zip(row) {
        *to += value * weight;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_clouds_are_told_apart_whatever_their_sizes() {
        // Near each other, as sentences are, and thirty times as many on one side.
        let row = |n: usize, on: bool| {
            let noise = |k: usize| ((n * 31 + k * 17) % 13) as f32 / 130.0;
            let side = if on { 0.15 } else { -0.15 };
            vec![0.9 + side + noise(1), 0.9 - side + noise(2), 0.9 + noise(3)]
        };
        let mut rows: Vec<(Vec<f32>, bool)> = (0..300).map(|n| (row(n, true), true)).collect();
        rows.extend((0..10).map(|n| (row(n + 1000, false), false)));
        let (vectors, on): (Vec<_>, Vec<_>) = rows.iter().map(|(row, on)| (&row[..], *on)).unzip();
        let classifier = Classifier::fit(&vectors, &on);
        for (row, on) in (2000..2050).map(|n| (row(n, n % 2 == 0), n % 2 == 0)) {
            assert_eq!(classifier.probability(&row) > 0.5, on, "{row:?}");
        }
    }
}
