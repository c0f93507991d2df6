//! The kernel for x86 processors with AVX2, FMA and F16C.

#[allow(clippy::wildcard_imports)] // Thirty intrinsics.
use std::arch::x86_64::*;

use super::{Attention, BLOCK, LANES, Scratch, visible};

/// The rows of one thread, and of few rows a part of the heads.
///
/// # Safety
/// As [`Attention::share`].
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn share(of: &Attention, thread: usize, threads: usize, scratch: &mut Scratch) {
    let [_, rows, heads] = of.q.shape;
    let [_, n_kv, kv_heads] = of.k.shape;
    let sharing = heads / kv_heads; // Heads that have their keys and values in common.
    let parts = if rows * kv_heads >= 2 * threads { 1 } else { threads.min(sharing) };
    let items = rows * kv_heads * parts;
    let mut looked_up = None;
    for item in items * thread / threads..items * (thread + 1) / threads {
        let (row, kv_head, part) = (item / (kv_heads * parts), item / parts % kv_heads, item % parts);
        if looked_up != Some(row) {
            // SAFETY: a row of the mask has n_kv half-precision numbers.
            let mask = unsafe { std::slice::from_raw_parts(of.mask.row(row, 0).cast(), n_kv) };
            visible(mask, &mut scratch.cells);
            looked_up = Some(row);
        }
        let mut head = kv_head * sharing + sharing * part / parts;
        let end = kv_head * sharing + sharing * (part + 1) / parts;
        while head < end {
            // SAFETY: heads below `end` are this item's own.
            head += unsafe {
                match end - head {
                    4.. => attend::<4>(of, row, head, kv_head, scratch),
                    2 | 3 => attend::<2>(of, row, head, kv_head, scratch),
                    _ => attend::<1>(of, row, head, kv_head, scratch),
                }
            };
        }
    }
}

/// One row and `N` heads with the same keys and values. Gives `N`.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn attend<const N: usize>(
    of: &Attention,
    row: usize,
    head: usize,
    kv_head: usize,
    scratch: &mut Scratch,
) -> usize {
    let Scratch { cells, scores } = scratch;
    let seen: usize = cells.iter().map(ExactSizeIterator::len).sum();
    let padded = seen.next_multiple_of(LANES);
    scores.clear();
    scores.resize(N * padded, f32::NEG_INFINITY);
    // SAFETY: all pointers are to rows and heads within their views.
    unsafe {
        let Attention { q, k, v, out, scale, .. } = of;
        let queries: [*const f32; N] =
            std::array::from_fn(|n| q.row(row, head + n).cast::<f32>().cast_const());
        let outputs: [*mut f32; N] = std::array::from_fn(|n| out.row(head + n, row).cast());
        let (keys, values) = (k.row(0, kv_head).cast::<u8>(), v.row(0, kv_head).cast::<u8>());
        let size = v.shape[0];
        if seen == 0 {
            for output in outputs {
                output.write_bytes(0, size);
            }
            return N;
        }
        for (index, cell) in cells.iter().cloned().flatten().enumerate() {
            let products = dots(queries, keys.add(cell * k.strides[0]), k.shape[0]);
            for (n, product) in products.into_iter().enumerate() {
                scores[n * padded + index] = product * scale;
            }
        }
        let inverse: [f32; N] = std::array::from_fn(|n| 1.0 / softmax(&mut scores[n * padded..][..padded]));
        for output in outputs {
            output.write_bytes(0, size);
        }
        let mut index = 0;
        for run in cells.iter() {
            for from in run.clone().step_by(BLOCK) {
                let count = BLOCK.min(run.end - from);
                let weights: [*const f32; N] =
                    std::array::from_fn(|n| scores.as_ptr().add(n * padded + index));
                sum(outputs, weights, values.add(from * v.strides[0]), v.strides[0], count, size);
                index += count;
            }
        }
        for (output, inverse) in outputs.into_iter().zip(inverse) {
            for offset in (0..size).step_by(LANES) {
                let at = output.add(offset);
                _mm256_storeu_ps(at, _mm256_mul_ps(_mm256_loadu_ps(at), _mm256_set1_ps(inverse)));
            }
        }
    }
    N
}

/// Eight half-precision numbers.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn halves(at: *const u8) -> __m256 {
    // SAFETY: the caller's sixteen bytes.
    unsafe { _mm256_cvtph_ps(_mm_loadu_si128(at.cast())) }
}

/// The products of `N` queries with one key, all of `size` numbers.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn dots<const N: usize>(queries: [*const f32; N], key: *const u8, size: usize) -> [f32; N] {
    let mut even = [_mm256_setzero_ps(); N];
    let mut odd = even;
    // SAFETY: `size` is a multiple of two registers.
    unsafe {
        for offset in (0..size).step_by(2 * LANES) {
            let (first, second) = (halves(key.add(2 * offset)), halves(key.add(2 * (offset + LANES))));
            for n in 0..N {
                let query = queries[n].add(offset);
                even[n] = _mm256_fmadd_ps(_mm256_loadu_ps(query), first, even[n]);
                odd[n] = _mm256_fmadd_ps(_mm256_loadu_ps(query.add(LANES)), second, odd[n]);
            }
        }
    }
    std::array::from_fn(|n| total(_mm256_add_ps(even[n], odd[n])))
}

/// Adds to each output the weighted values of cells that lie behind each other.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn sum<const N: usize>(
    outputs: [*mut f32; N],
    weights: [*const f32; N],
    values: *const u8,
    stride: usize,
    count: usize,
    size: usize,
) {
    // SAFETY: `size` is a multiple of two registers, and there are `count` weights and values.
    unsafe {
        for offset in (0..size).step_by(2 * LANES) {
            let mut first: [__m256; N] = std::array::from_fn(|n| _mm256_loadu_ps(outputs[n].add(offset)));
            let mut second: [__m256; N] =
                std::array::from_fn(|n| _mm256_loadu_ps(outputs[n].add(offset + LANES)));
            for cell in 0..count {
                let value = values.add(cell * stride + 2 * offset);
                let (low, high) = (halves(value), halves(value.add(2 * LANES)));
                for n in 0..N {
                    let weight = _mm256_broadcast_ss(&*weights[n].add(cell));
                    first[n] = _mm256_fmadd_ps(weight, low, first[n]);
                    second[n] = _mm256_fmadd_ps(weight, high, second[n]);
                }
            }
            for n in 0..N {
                _mm256_storeu_ps(outputs[n].add(offset), first[n]);
                _mm256_storeu_ps(outputs[n].add(offset + LANES), second[n]);
            }
        }
    }
}

/// Turns scores into weights, of which the largest is 1, and gives their sum.
#[target_feature(enable = "avx2,fma,f16c")]
fn softmax(scores: &mut [f32]) -> f32 {
    let mut most = _mm256_set1_ps(f32::NEG_INFINITY);
    for eight in scores.chunks_exact(LANES) {
        // SAFETY: eight floats.
        most = unsafe { _mm256_max_ps(most, _mm256_loadu_ps(eight.as_ptr())) };
    }
    let most = _mm256_set1_ps(largest(most));
    let mut sum = _mm256_setzero_ps();
    for eight in scores.chunks_exact_mut(LANES) {
        // SAFETY: eight floats.
        unsafe {
            let weight = exp(_mm256_sub_ps(_mm256_loadu_ps(eight.as_ptr()), most));
            _mm256_storeu_ps(eight.as_mut_ptr(), weight);
            sum = _mm256_add_ps(sum, weight);
        }
    }
    total(sum)
}

#[target_feature(enable = "avx2,fma,f16c")]
fn total(eight: __m256) -> f32 {
    let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
}

#[target_feature(enable = "avx2,fma,f16c")]
fn largest(eight: __m256) -> f32 {
    let four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
    let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
}

/// e to the power of numbers that are at most 0: 2^n · e^r with |r| ≤ ln 2 / 2. Below -87 it is nearly 0.
#[target_feature(enable = "avx2,fma,f16c")]
fn exp(x: __m256) -> __m256 {
    let x = _mm256_max_ps(x, _mm256_set1_ps(-87.0));
    let n = _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(_mm256_mul_ps(
        x,
        _mm256_set1_ps(std::f32::consts::LOG2_E),
    ));
    // ln 2 in two parts, so that the difference keeps its precision.
    let r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693_359_4), x);
    let r = _mm256_fnmadd_ps(n, _mm256_set1_ps(-2.121_944_4e-4), r);
    let mut p = _mm256_set1_ps(1.987_569_2e-4);
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(coefficient));
    }
    let e_r = _mm256_add_ps(_mm256_fmadd_ps(p, _mm256_mul_ps(r, r), r), _mm256_set1_ps(1.0));
    let power = _mm256_slli_epi32::<23>(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)));
    _mm256_mul_ps(e_r, _mm256_castsi256_ps(power))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_the_exponential() {
        if !super::super::is_possible() {
            return;
        }
        for thousandths in -80_000..=0 {
            let x = thousandths as f32 / 1000.0;
            // SAFETY: the processor has what it takes.
            let ours = unsafe { _mm256_cvtss_f32(exp(_mm256_set1_ps(x))) };
            assert!((ours / x.exp() - 1.0).abs() < 1e-6, "e^{x} is {}, not {ours}", x.exp());
        }
    }
}
