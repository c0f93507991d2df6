//! What of a question's vector tells documents apart.
//!
//! People ask for the same thing in many ways, and the vectors of their questions differ in some directions whatever they ask
//! for: a wish's and a complaint's, a long one's and a short one's. A difference in such a direction says little.
//! Within-class covariance normalisation (Hatch, Kajarekar & Stolcke, Interspeech 2006) divides it by how usual it is, as it
//! was learned from questions that ask for the same.

use serde::{Deserialize, Serialize};

use crate::Document;
use crate::vector::{QueryVector, dot};

/// How much of the spread is taken to be the same in all directions: the rest was seen in a few thousand questions only.
/// From 0.5 to 0.9 it finds about the same.
const EVEN: f64 = 0.7;

/// Questions of one document that are learned from. More of them teach nothing more.
pub(crate) const QUESTIONS: usize = 6;

/// How to look at vectors before they are compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    centre: Vec<f32>,
    /// A lower triangular matrix, line by line.
    lines: Vec<f32>,
}

impl Metric {
    /// From the questions of documents, group by group. None when there are too few to learn from.
    pub(crate) fn learn(groups: &[&[QueryVector]]) -> Option<Self> {
        let all = || groups.iter().flat_map(|group| group.iter());
        let size = all().next()?.as_slice().len();
        let free = all().count().checked_sub(groups.len()).filter(|free| *free >= size)? as f64;
        let mut spread = vec![0.0f64; size * size];
        for group in groups {
            let middle = mean(group.iter(), size);
            for question in *group {
                let apart: Vec<f64> =
                    question.as_slice().iter().zip(&middle).map(|(a, b)| f64::from(*a) - b).collect();
                for (line, value) in spread.chunks_exact_mut(size).zip(&apart) {
                    for (sum, other) in line.iter_mut().zip(&apart) {
                        *sum += value * other / free;
                    }
                }
            }
        }
        let even = (0..size).map(|index| spread[index * size + index]).sum::<f64>() / size as f64;
        for (index, value) in spread.iter_mut().enumerate() {
            *value *= 1.0 - EVEN;
            if index % (size + 1) == 0 {
                *value += EVEN * even;
            }
        }
        let centre = mean(all(), size).into_iter().map(|value| value as f32).collect();
        Some(Self { centre, lines: inverse_root(spread, size)? })
    }

    /// A vector as it is to be compared: of length 1. Empty when it is of another model.
    pub(crate) fn view(&self, vector: &[f32]) -> Vec<f32> {
        if vector.len() != self.centre.len() {
            return Vec::new();
        }
        let apart: Vec<f32> = vector.iter().zip(&self.centre).map(|(a, b)| a - b).collect();
        let mut rest = self.lines.as_slice();
        let mut view: Vec<f32> = Vec::with_capacity(apart.len());
        for row in 0..apart.len() {
            let line;
            (line, rest) = rest.split_at(row + 1);
            view.push(dot(line, &apart[..=row]));
        }
        let length = dot(&view, &view).sqrt().max(f32::MIN_POSITIVE);
        view.iter().map(|value| value / length).collect()
    }

    /// Whether it can look at vectors of this length: one from a file may be of anything.
    pub fn fits(&self, dimension: usize) -> bool {
        self.centre.len() == dimension && self.lines.len() == dimension * (dimension + 1) / 2
    }
}

/// Whether a document's questions are learned from: of one alone it can't be said how it differs from others.
pub(crate) fn questions(document: &Document) -> Option<&[String]> {
    let questions = &document.questions[..document.questions.len().min(QUESTIONS)];
    (questions.len() > 1).then_some(questions)
}

fn mean<'a>(vectors: impl Iterator<Item = &'a QueryVector>, size: usize) -> Vec<f64> {
    let mut sum = vec![0.0; size];
    let mut count = 0.0;
    for vector in vectors {
        count += 1.0;
        for (sum, value) in sum.iter_mut().zip(vector.as_slice()) {
            *sum += f64::from(*value);
        }
    }
    sum.iter().map(|sum| sum / count).collect()
}

/// The inverse of Cholesky's factor of a symmetric matrix, of which the lower triangle counts: its lines, as far as they
/// aren't zero. None when the matrix isn't positive definite.
fn inverse_root(mut matrix: Vec<f64>, size: usize) -> Option<Vec<f32>> {
    let sum = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    for row in 0..size {
        let (before, line) = matrix.split_at_mut(row * size);
        for column in 0..row {
            let above = &before[column * size..][..=column];
            line[column] = (line[column] - sum(&line[..column], above)) / above[column];
        }
        let rest = line[row] - sum(&line[..row], &line[..row]);
        line[row] = (rest > 0.0).then(|| rest.sqrt())?;
    }
    // Column by column: factor · inverse = 1.
    let mut inverse = vec![0.0f64; size * size];
    for column in 0..size {
        for row in column..size {
            let known =
                (column..row).map(|index| matrix[row * size + index] * inverse[index * size + column]);
            let unit = if row == column { 1.0 } else { 0.0 };
            inverse[row * size + column] = (unit - known.sum::<f64>()) / matrix[row * size + row];
        }
    }
    let lines = inverse.chunks_exact(size).enumerate();
    Some(lines.flat_map(|(row, line)| line[..=row].iter().map(|value| *value as f32)).collect())
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Of questions that differ along the second direction whatever they ask for, and whose middle is 0.
    pub(crate) fn metric() -> Metric {
        let group = |need: f32| [-3.0, -1.0, 1.0, 3.0].map(|way| QueryVector::of(&[need, way, 0.0]));
        let groups = [-1.0, 0.0, 1.0].map(group);
        Metric::learn(&groups.each_ref().map(|group| &group[..])).unwrap()
    }

    #[test]
    fn what_differs_between_questions_that_ask_for_the_same_counts_less() {
        let metric = metric();
        assert!(metric.fits(3) && !metric.fits(4));
        let cosine = |a: [f32; 3], b: [f32; 3]| dot(&metric.view(&a), &metric.view(&b));
        let plain = 0.5f32.sqrt();
        assert!(cosine([1.0, 0.0, 0.0], [1.0, 1.0, 0.0]) > plain + 0.1, "put in another way");
        assert!(cosine([0.0, 1.0, 0.0], [1.0, 1.0, 0.0]) < plain - 0.1, "of another need");
        assert!((cosine([1.0, 0.0, 0.0], [1.0, 0.0, 1.0]) - plain).abs() < 0.01);
        assert!(metric.view(&[1.0]).is_empty(), "of another model");
    }

    #[test]
    fn nothing_is_learned_from_too_little() {
        let few = [QueryVector::of(&[1.0, 0.0, 0.0]), QueryVector::of(&[0.0, 1.0, 0.0])];
        assert_eq!(Metric::learn(&[]), None);
        assert_eq!(Metric::learn(&[&few]), None);
        let alike = vec![QueryVector::of(&[1.0, 0.0, 0.0]); 10];
        assert_eq!(Metric::learn(&[&alike]), None, "no spread");
        let document =
            |count: usize| Document { questions: vec!["말".into(); count], ..Document::default() };
        assert_eq!(questions(&document(1)), None);
        assert_eq!(questions(&document(20)).unwrap().len(), QUESTIONS);
    }

    proptest! {
        #[test]
        fn seen_through_the_root_what_was_spread_is_even(
            values in prop::collection::vec(-1.0f64..1.0, 12 * 12), size in 1usize..12
        ) {
            // A·Aᵀ and something on the diagonal.
            let rows: Vec<&[f64]> = values.chunks(12).take(size).collect();
            let cell = |row: usize, column: usize| {
                let sum: f64 = rows[row].iter().zip(rows[column]).map(|(a, b)| a * b).sum();
                sum + if row == column { 0.5 } else { 0.0 }
            };
            let matrix = (0..size * size).map(|index| cell(index / size, index % size)).collect();
            let lines = inverse_root(matrix, size).unwrap();
            let root = |row: usize, column: usize| {
                if column > row { 0.0 } else { f64::from(lines[row * (row + 1) / 2 + column]) }
            };
            // Root · matrix · rootᵀ is the identity.
            for row in 0..size {
                for column in 0..size {
                    let mut sum = 0.0;
                    for a in 0..size {
                        for b in 0..size {
                            sum += root(row, a) * cell(a, b) * root(column, b);
                        }
                    }
                    let unit = f64::from(u8::from(row == column));
                    prop_assert!((sum - unit).abs() < 1e-3);
                }
            }
        }
    }
}
