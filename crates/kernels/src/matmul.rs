//! Products of quantised weights and activations on processors that multiply bytes (AVX-512 VNNI).
//!
//! Weights become bytes, with a scale and a least value for each block of 32; activations are rounded to eight bits in blocks
//! of 32. Four products are then one instruction.

#[cfg(target_arch = "x86_64")]
mod avx512;

use crate::View;

/// Weights with a scale in common. Inputs have to be a multiple of it.
pub const BLOCK: usize = 32;

/// Outputs that are computed together: numbers of a vector register. Outputs have to be a multiple of it.
pub const LANES: usize = 16;

/// A matrix of weights as bytes, in the order in which the kernel reads it.
#[derive(Debug)]
pub struct Bytes {
    outputs: usize,
    inputs: usize,
    /// Of [`LANES`] outputs and a block of inputs: four weights of one output, then of the next.
    codes: Vec<u8>,
    /// Of the same outputs and block, one for each output: a weight is scale · code + least.
    scales: Vec<f32>,
    least: Vec<f32>,
}

/// Whether this processor can do it.
pub fn is_possible() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vnni");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// How many bytes a matrix of so many weights takes.
pub const fn bytes_of(weights: u64) -> u64 {
    weights / BLOCK as u64 * (BLOCK + 2 * size_of::<f32>()) as u64
}

impl Bytes {
    /// A matrix whose weights `row` writes down, one output after the other: `[inputs]` numbers each. None where inputs or
    /// outputs aren't multiples of [`BLOCK`] and [`LANES`].
    pub fn new(outputs: usize, inputs: usize, mut row: impl FnMut(usize, &mut [f32])) -> Option<Self> {
        if !inputs.is_multiple_of(BLOCK) || !outputs.is_multiple_of(LANES) {
            return None;
        }
        let blocks = inputs / BLOCK;
        let mut matrix = Self {
            outputs,
            inputs,
            codes: vec![0; outputs * inputs],
            scales: vec![0.0; outputs * blocks],
            least: vec![0.0; outputs * blocks],
        };
        let mut weights = vec![0.0f32; inputs];
        for output in 0..outputs {
            row(output, &mut weights);
            for (block, numbers) in weights.chunks_exact(BLOCK).enumerate() {
                matrix.set(output, block, numbers);
            }
        }
        Some(matrix)
    }

    /// Inputs and outputs.
    pub fn shape(&self) -> [usize; 2] {
        [self.inputs, self.outputs]
    }

    fn set(&mut self, output: usize, block: usize, numbers: &[f32]) {
        let (group, lane) = (output / LANES, output % LANES);
        let at = group * (self.inputs / BLOCK) + block;
        let least = numbers.iter().fold(f32::MAX, |least, x| least.min(*x));
        let most = numbers.iter().fold(f32::MIN, |most, x| most.max(*x));
        let scale = (most - least) / 255.0;
        let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
        (self.scales[at * LANES + lane], self.least[at * LANES + lane]) = (scale, least);
        let codes = &mut self.codes[at * LANES * BLOCK..][..LANES * BLOCK];
        for (four, numbers) in numbers.chunks_exact(4).enumerate() {
            for (index, number) in numbers.iter().enumerate() {
                codes[(four * LANES + lane) * 4 + index] = ((number - least) * inverse).round() as u8;
            }
        }
    }

    /// One thread's share of the products of each row of `inputs`, `f32`: `[tokens][inputs]`, into that of `outputs`, `f32`:
    /// `[tokens][outputs]`.
    ///
    /// # Safety
    /// [`is_possible`]; both views' memory is there and has as many numbers in a row as the matrix takes and gives; nobody
    /// writes to what is read; every thread of `threads` has a number of its own.
    pub unsafe fn multiply(&self, inputs: &View, outputs: &View, thread: usize, threads: usize) {
        debug_assert_eq!([inputs.shape[0], outputs.shape[0]], self.shape(), "inputs and outputs");
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the caller's promise.
        unsafe {
            avx512::share(self, inputs, outputs, thread, threads);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{difference, random};

    fn view(numbers: &mut [f32], row: usize) -> View {
        View {
            data: numbers.as_mut_ptr().cast(),
            shape: [row, numbers.len() / row, 1],
            strides: [4 * row, 4 * numbers.len()],
        }
    }

    #[test]
    fn outputs_are_the_sums_of_inputs_times_weights() {
        if !is_possible() {
            return;
        }
        for (inputs, outputs, tokens, threads) in
            [(96, 16, 1, 1), (64, 48, 7, 1), (384, 32, 21, 2), (256, 16, 8, 3), (512, 64, 2, 3)]
        {
            let weights = random(outputs * inputs, 7);
            let row =
                |output: usize, row: &mut [f32]| row.copy_from_slice(&weights[output * inputs..][..inputs]);
            let matrix = Bytes::new(outputs, inputs, row).unwrap();
            let mut given = random(inputs * tokens, 11);
            given[..BLOCK].fill(0.0);
            let mut out = vec![f32::NAN; outputs * tokens];
            for thread in 0..threads {
                // SAFETY: both are as large as their shapes say.
                unsafe {
                    matrix.multiply(&view(&mut given, inputs), &view(&mut out, outputs), thread, threads);
                }
            }
            let right: Vec<f32> = (0..tokens)
                .flat_map(|token| (0..outputs).map(move |output| (token, output)))
                .map(|(token, output)| {
                    let (given, weights) =
                        (&given[token * inputs..][..inputs], &weights[output * inputs..][..inputs]);
                    given.iter().zip(weights).map(|(a, b)| a * b).sum()
                })
                .collect();
            // Both are rounded to eight bits.
            let difference = difference(&out, &right);
            assert!(difference < 0.012, "{inputs} × {outputs}, {tokens} tokens: {difference}");
        }
    }

    #[test]
    fn a_matrix_that_is_no_multiple_is_refused() {
        assert!(Bytes::new(16, 48, |_, _| {}).is_none());
        assert!(Bytes::new(24, 64, |_, _| {}).is_none());
        assert_eq!(bytes_of(64 * 32), 64 * 40);
    }
}
