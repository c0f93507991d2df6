//! How alike many things are, and the equations that say what follows from that.

use leafresh_retrieval::dot;

/// How far the solution's right side may be off, as a share of it: labels say no more than that.
const TOLERANCE: f32 = 1e-3;

/// Steps after which it is near enough in any case; a hundred are usual.
const MOST_STEPS: usize = 500;

/// A symmetric matrix of numbers from 0 up, of 16 bits each: so 14,000 things take 200 MB.
pub(crate) struct Likeness {
    size: usize,
    /// The lower triangle, line by line.
    cells: Vec<u16>,
    /// What a cell's 1 stands for.
    unit: f32,
}

impl Likeness {
    /// `fill` writes a line: of the thing with this number with each before it, and with itself. None is above `most`.
    pub(crate) fn new(size: usize, most: f32, mut fill: impl FnMut(usize, &mut [f32])) -> Self {
        let unit = most / f32::from(u16::MAX);
        let mut cells = Vec::with_capacity(size * (size + 1) / 2);
        let mut line = vec![0.0; size];
        for row in 0..size {
            let line = &mut line[..=row];
            line.fill(0.0);
            fill(row, line);
            cells.extend(line.iter().map(|value| (value / unit).round() as u16));
        }
        Self { size, cells, unit }
    }

    /// The matrix · `weights`: how alike each thing is to all others, as far as they count.
    pub(crate) fn times(&self, weights: &[f32]) -> Vec<f32> {
        let mut product = vec![0.0; self.size];
        let mut rest = self.cells.as_slice();
        let mut line = vec![0.0; self.size];
        for row in 0..self.size {
            let (cells, diagonal);
            (cells, rest) = rest.split_at(row);
            (diagonal, rest) = rest.split_at(1);
            let line = &mut line[..row];
            let own = weights[row];
            for ((value, cell), sum) in line.iter_mut().zip(cells).zip(&mut product) {
                *value = f32::from(*cell);
                *sum += *value * own;
            }
            product[row] += dot(line, &weights[..row]) + f32::from(diagonal[0]) * own;
        }
        for sum in &mut product {
            *sum *= self.unit;
        }
        product
    }

    /// Weights with (matrix + `penalties` on its diagonal) · weights = `right`, by conjugate gradients (Hestenes & Stiefel
    /// 1952), from a guess on. What has an infinite penalty has no weight.
    pub(crate) fn solve(&self, penalties: &[f32], right: &[f32], guess: Vec<f32>) -> Vec<f32> {
        let counts = |index: usize| penalties[index].is_finite();
        let mut weights = guess;
        for index in (0..self.size).filter(|&index| !counts(index)) {
            weights[index] = 0.0;
        }
        let times = |weights: &[f32]| {
            let mut product = self.times(weights);
            for (index, value) in product.iter_mut().enumerate() {
                *value = if counts(index) { *value + penalties[index] * weights[index] } else { 0.0 };
            }
            product
        };
        let missing =
            |(index, (right, is)): (usize, (&f32, f32))| if counts(index) { right - is } else { 0.0 };
        let product = times(&weights);
        let mut rest: Vec<f32> = right.iter().zip(product).enumerate().map(missing).collect();
        let mut direction = rest.clone();
        let mut left = dot(&rest, &rest);
        let enough = TOLERANCE * TOLERANCE * dot(right, right);
        for _ in 0..MOST_STEPS {
            if left <= enough {
                break;
            }
            let product = times(&direction);
            let step = left / dot(&direction, &product);
            for index in 0..self.size {
                weights[index] += step * direction[index];
                rest[index] -= step * product[index];
            }
            let before = std::mem::replace(&mut left, dot(&rest, &rest));
            for (direction, rest) in direction.iter_mut().zip(&rest) {
                *direction = rest + left / before * *direction;
            }
        }
        weights
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_solution_solves_it_for_all_that_count(
            values in prop::collection::vec(0.0f32..1.0, 40 * 40),
            out in prop::collection::vec(any::<bool>(), 40),
            size in 1usize..40,
        ) {
            // A·Aᵀ: nothing is below 0, nor above 40.
            let rows: Vec<&[f32]> = values.chunks(40).take(size).collect();
            let cell = |row: usize, column: usize| dot(rows[row], rows[column]);
            let likeness = Likeness::new(size, 40.0, |row, line| {
                for (column, value) in line.iter_mut().enumerate() {
                    *value = cell(row, column);
                }
            });
            let penalties: Vec<f32> = out[..size].iter().map(|&out| if out { f32::INFINITY } else { 0.5 }).collect();
            let right: Vec<f32> = (0..size).map(|n| if n % 3 == 0 { 1.0 } else { -1.0 }).collect();
            for guess in [vec![0.0; size], vec![0.3; size]] {
                let weights = likeness.solve(&penalties, &right, guess);
                for row in 0..size {
                    if out[row] {
                        prop_assert!(weights[row].abs() < f32::MIN_POSITIVE);
                        continue;
                    }
                    let sum: f32 = (0..size).map(|column| cell(row, column) * weights[column]).sum();
                    let product = likeness.times(&weights)[row];
                    prop_assert!((product - sum).abs() < 0.05, "{product} {sum}");
                    prop_assert!((sum + 0.5 * weights[row] - right[row]).abs() < 0.06);
                }
            }
        }
    }
}
