//! A system of linear equations whose matrix is symmetric and positive definite.

/// Numbers added up side by side: processors do that at once.
const LANES: usize = 16;

pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let length = a.len().min(b.len());
    let (a, b) = (&a[..length], &b[..length]);
    let mut sums = [0.0f32; LANES];
    for (a, b) in a.chunks_exact(LANES).zip(b.chunks_exact(LANES)) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest = length / LANES * LANES;
    sums.iter().sum::<f32>() + a[rest..].iter().zip(&b[rest..]).map(|(a, b)| a * b).sum::<f32>()
}

/// Rows that are worked on together: what they are multiplied with is read from memory once for all of them.
const BLOCK: usize = 48;

/// `x` with `matrix`·x = `right`, and the diagonal of the matrix's inverse. `matrix`: `[n × n]`, its lower triangle counts.
/// `None` when it isn't positive definite. Cholesky's factor L is made in its place; n³/2 multiplications in all.
pub(crate) fn solve(mut matrix: Vec<f32>, right: &[f32]) -> Option<(Vec<f32>, Vec<f32>)> {
    let size = right.len();
    for first in (0..size).step_by(BLOCK) {
        let end = size.min(first + BLOCK);
        let (before, from) = matrix.split_at_mut(first * size);
        let lines = &mut from[..(end - first) * size];
        for (column, above) in before.chunks_exact(size).enumerate() {
            for line in lines.chunks_exact_mut(size) {
                line[column] = (line[column] - dot(&line[..column], &above[..column])) / above[column];
            }
        }
        for row in first..end {
            let (above, line) = lines.split_at_mut((row - first) * size);
            let line = &mut line[..size];
            for (column, above) in (first..row).zip(above.chunks_exact(size)) {
                line[column] = (line[column] - dot(&line[..column], &above[..column])) / above[column];
            }
            let rest = line[row] - dot(&line[..row], &line[..row]);
            line[row] = (rest > 0.0).then(|| rest.sqrt())?;
        }
    }
    let line = |row: usize| &matrix[row * size..][..=row];
    let mut solution = right.to_vec();
    for row in 0..size {
        solution[row] = (solution[row] - dot(&line(row)[..row], &solution[..row])) / line(row)[row];
    }
    for row in (0..size).rev() {
        solution[row] /= line(row)[row];
        let known = solution[row];
        for (value, factor) in solution[..row].iter_mut().zip(line(row)) {
            *value -= factor * known;
        }
    }
    // Some columns of L's inverse at a time: the inverse's diagonal is the sum of their squares.
    let mut diagonal = Vec::with_capacity(size);
    for first in (0..size).step_by(BLOCK) {
        let end = size.min(first + BLOCK);
        let mut columns = vec![vec![0.0f32; size - first]; end - first];
        for row in first..size {
            let line = &line(row)[first..];
            for (index, column) in columns.iter_mut().enumerate().take(row - first + 1) {
                let unit = if index == row - first { 1.0 } else { 0.0 };
                let (known, rest) = line.split_at(row - first);
                column[row - first] = (unit - dot(&known[index..], &column[index..row - first])) / rest[0];
            }
        }
        diagonal.extend(columns.iter().map(|column| dot(column, column)));
    }
    Some((solution, diagonal))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_matrix_that_is_not_positive_definite_has_no_solution() {
        assert_eq!(solve(vec![1.0, 0.0, 2.0, 1.0], &[1.0, 1.0]), None);
    }

    proptest! {
        #[test]
        fn the_solution_solves_it_and_the_diagonal_is_the_inverse_ones(
            values in prop::collection::vec(-1.0f32..1.0, 40 * 40), size in 1usize..40
        ) {
            // A·Aᵀ and something on the diagonal.
            let rows: Vec<&[f32]> = values.chunks(40).take(size).collect();
            let mut matrix = vec![0.0; size * size];
            for (index, cell) in matrix.iter_mut().enumerate() {
                let (row, column) = (index / size, index % size);
                *cell = dot(rows[row], rows[column]) + if row == column { 1.0 } else { 0.0 };
            }
            let right: Vec<f32> = (0..size).map(|n| n as f32 - 3.0).collect();
            let (solution, diagonal) = solve(matrix.clone(), &right).unwrap();
            for (line, right) in matrix.chunks(size).zip(&right) {
                prop_assert!((dot(line, &solution) - right).abs() < 1e-2);
            }
            for index in 0..size {
                let unit: Vec<f32> = (0..size).map(|n| if n == index { 1.0 } else { 0.0 }).collect();
                let column = solve(matrix.clone(), &unit).unwrap().0;
                prop_assert!((column[index] - diagonal[index]).abs() < 1e-3);
            }
        }
    }
}
