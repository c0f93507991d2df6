//! The kernel for x86 processors with AVX-512 VNNI.

#[allow(clippy::wildcard_imports)] // Twenty intrinsics.
use std::arch::x86_64::*;
use std::cell::RefCell;

use super::{BLOCK, Bytes, LANES};
use crate::View;

/// Tokens that are computed together: weights are read once for all of them.
const TILE: usize = 8;

/// Activations of some tokens, `[tokens][blocks]`.
#[derive(Default)]
struct Rounded {
    /// Four in each.
    bytes: Vec<[i32; BLOCK / 4]>,
    scales: Vec<f32>,
    /// Of all 32: what is multiplied with the least weight.
    sums: Vec<f32>,
}

/// One thread's share: of many tokens some, of few a part of their outputs.
///
/// # Safety
/// As [`Bytes::multiply`].
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) unsafe fn share(matrix: &Bytes, inputs: &View, outputs: &View, thread: usize, threads: usize) {
    thread_local!(static ROUNDED: RefCell<Rounded> = RefCell::default());
    let part = |of: usize| of * thread / threads..of * (thread + 1) / threads;
    let (all, groups) = (inputs.shape[1], matrix.outputs / LANES);
    let (tokens, groups) =
        if all >= threads * TILE { (part(all), 0..groups) } else { (0..all, part(groups)) };
    ROUNDED.with_borrow_mut(|rounded| {
        rounded.clear();
        for token in tokens.clone() {
            // SAFETY: a token has as many numbers as the matrix has inputs.
            rounded.add(unsafe {
                std::slice::from_raw_parts(inputs.row(token, 0).cast::<f32>(), matrix.inputs)
            });
        }
        let count = tokens.len();
        // Few weights stay in the nearest cache while the tokens pass by.
        for group in groups {
            let at = |token: usize| {
                let row = outputs.data.wrapping_byte_add((tokens.start + token) * outputs.strides[0]);
                row.cast::<f32>().wrapping_add(group * LANES)
            };
            let mut first = 0;
            while first < count {
                // SAFETY: the tokens are there, and so are their outputs.
                first += unsafe {
                    match count - first {
                        TILE.. => tile::<TILE>(matrix, group, rounded, first, at),
                        4.. => tile::<4>(matrix, group, rounded, first, at),
                        2 | 3 => tile::<2>(matrix, group, rounded, first, at),
                        _ => tile::<1>(matrix, group, rounded, first, at),
                    }
                };
            }
        }
    });
}

impl Rounded {
    fn clear(&mut self) {
        self.bytes.clear();
        self.scales.clear();
        self.sums.clear();
    }

    #[target_feature(enable = "avx512f,avx512bw")]
    fn add(&mut self, row: &[f32]) {
        for block in row.chunks_exact(BLOCK) {
            let mut bytes = [0i32; BLOCK / 4];
            // SAFETY: a block has two registers of numbers.
            let (low, high) =
                unsafe { (_mm512_loadu_ps(block.as_ptr()), _mm512_loadu_ps(block.as_ptr().add(LANES))) };
            let most = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(low), _mm512_abs_ps(high)));
            let inverse = _mm512_set1_ps(if most > 0.0 { 127.0 / most } else { 0.0 });
            let mut sum = _mm512_setzero_si512();
            for (half, numbers) in [low, high].into_iter().enumerate() {
                let whole = _mm512_cvtps_epi32(_mm512_mul_ps(numbers, inverse));
                sum = _mm512_add_epi32(sum, whole);
                // SAFETY: half a block of bytes.
                unsafe {
                    let at = bytes.as_mut_ptr().add(half * LANES / 4);
                    _mm_storeu_si128(at.cast(), _mm512_cvtepi32_epi8(whole));
                }
            }
            self.bytes.push(bytes);
            self.scales.push(most / 127.0);
            self.sums.push(_mm512_reduce_add_epi32(sum) as f32 * most / 127.0);
        }
    }
}

/// [`LANES`] outputs of `N` tokens. Gives `N`.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn tile<const N: usize>(
    matrix: &Bytes,
    group: usize,
    rounded: &Rounded,
    first: usize,
    output: impl Fn(usize) -> *mut f32,
) -> usize {
    let blocks = matrix.inputs / BLOCK;
    let mut sums = [_mm512_setzero_ps(); N];
    // SAFETY: the matrix has this group, and there are `N` tokens from the first one on, each of as many blocks.
    unsafe {
        let place = group * blocks;
        let mut codes = matrix.codes.as_ptr().add(place * LANES * BLOCK);
        let mut scales = matrix.scales.as_ptr().add(place * LANES);
        let mut least = matrix.least.as_ptr().add(place * LANES);
        let mut bytes = rounded.bytes.as_ptr().add(first * blocks);
        let mut steps = rounded.scales.as_ptr().add(first * blocks);
        let mut totals = rounded.sums.as_ptr().add(first * blocks);
        for _ in 0..blocks {
            let weights: [__m512i; BLOCK / 4] =
                std::array::from_fn(|four| _mm512_loadu_si512(codes.wrapping_add(four * LANES * 4).cast()));
            let (scale, lowest) = (_mm512_loadu_ps(scales), _mm512_loadu_ps(least));
            for (n, sum) in sums.iter_mut().enumerate() {
                let token = n.wrapping_mul(blocks);
                let input = bytes.wrapping_add(token).cast::<i32>();
                let mut whole = _mm512_setzero_si512();
                for (four, weights) in weights.into_iter().enumerate() {
                    let input = _mm512_set1_epi32(input.wrapping_add(four).read());
                    whole = _mm512_dpbusd_epi32(whole, weights, input);
                }
                let scale = _mm512_mul_ps(scale, _mm512_set1_ps(*steps.wrapping_add(token)));
                *sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(whole), scale, *sum);
                *sum = _mm512_fmadd_ps(lowest, _mm512_set1_ps(*totals.wrapping_add(token)), *sum);
            }
            codes = codes.wrapping_add(LANES * BLOCK);
            (scales, least) = (scales.wrapping_add(LANES), least.wrapping_add(LANES));
            (bytes, steps, totals) = (bytes.wrapping_add(1), steps.wrapping_add(1), totals.wrapping_add(1));
        }
        for (n, sum) in sums.into_iter().enumerate() {
            _mm512_storeu_ps(output(first + n), sum);
        }
    }
    N
}
