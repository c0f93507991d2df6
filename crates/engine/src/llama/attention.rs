//! Attention on the processor over the cells that a row may see, and no others.
//!
//! All requests share one KV cache, so llama.cpp's kernels find in the mask, for every head anew, which cells are a row's own,
//! and convert keys and values from half precision for every head, though several heads share them. Here a row's cells
//! are looked up once, and what heads share is read and converted once for all of them. It takes the place of
//! ggml's operation in the graph, before that is computed, as an operation of the user's (`GGML_OP_CUSTOM`).
//!
//! The softmax is computed in two passes over a row's scores; `exp` is Cephes' polynomial (S. Moshier, `expf.c`).

use std::cell::RefCell;
use std::ffi::c_void;
use std::ops::Range;

use llama_cpp_sys_2 as sys;

/// Cells whose values are summed at a time: they stay in the nearest cache.
const BLOCK: usize = 32;

/// Numbers of a vector register.
const LANES: usize = 8;

/// How far our outputs may be from ggml's, which sums in half precision, as a share of them.
const TOLERANCE: f32 = 0.01;

/// Half precision: not to be seen.
const HIDDEN: u16 = 0xFC00;

/// Where ggml's own parameters are kept while ours are in their place; nothing else uses these.
const KEPT: Range<usize> = 8..14;

type Compute = unsafe extern "C" fn(*mut sys::ggml_tensor, i32, i32, *mut c_void);

/// As ggml reads it out of a node's parameters (`ggml_custom_op_params`).
#[repr(C)]
struct Custom {
    compute: Compute,
    tasks: i32,
    data: *mut c_void,
}

const _: () = assert!(size_of::<Custom>() == 4 * (KEPT.end - KEPT.start));

/// Whether this processor can do it.
pub(super) fn is_possible() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Puts our kernel into a node that computes attention as we can, or ggml's back into one that has ours. Called before
/// the node is computed; llama.cpp uses a graph again for batches of the same shape.
pub(super) fn choose(node: &mut sys::ggml_tensor, ours: bool) {
    if !ours && is_ours(node) {
        node.op = sys::GGML_OP_FLASH_ATTN_EXT;
        node.op_params.copy_within(KEPT, 0);
        node.op_params[KEPT].fill(0);
    } else if ours && node.op == sys::GGML_OP_FLASH_ATTN_EXT && fits(node) {
        node.op_params.copy_within(0..KEPT.end - KEPT.start, KEPT.start);
        let custom = Custom { compute, tasks: -1, data: std::ptr::null_mut() };
        node.op = sys::GGML_OP_CUSTOM;
        // SAFETY: 64 bytes of parameters, of which ggml reads this many.
        unsafe { std::ptr::write_unaligned(node.op_params.as_mut_ptr().cast(), custom) };
    }
}

/// Whether our kernel gives what ggml's has given for a node that it has computed, in plain memory.
pub(super) fn agrees(node: &sys::ggml_tensor) -> bool {
    if node.op != sys::GGML_OP_FLASH_ATTN_EXT || !fits(node) {
        return false;
    }
    let count = node.ne.iter().product::<i64>() as usize;
    let mut ours = vec![0.0f32; count];
    let mut copy = *node;
    copy.data = ours.as_mut_ptr().cast();
    choose(&mut copy, true);
    // SAFETY: the copy is like the node but for its output, which has as many numbers; ggml's lie behind each other too.
    let ggmls = unsafe {
        compute(&raw mut copy, 0, 1, std::ptr::null_mut());
        std::slice::from_raw_parts(node.data.cast::<f32>(), count)
    };
    difference(&ours, ggmls) < TOLERANCE
}

/// The root mean square of the difference, as a share of that of what is right.
fn difference(ours: &[f32], right: &[f32]) -> f32 {
    let squares = |numbers: &mut dyn Iterator<Item = f32>| numbers.map(|x| f64::from(x * x)).sum::<f64>();
    let apart = squares(&mut ours.iter().zip(right).map(|(a, b)| a - b));
    (apart / squares(&mut right.iter().copied())).sqrt() as f32
}

fn is_ours(node: &sys::ggml_tensor) -> bool {
    if node.op != sys::GGML_OP_CUSTOM {
        return false;
    }
    // SAFETY: such a node's parameters begin with this struct.
    let custom: Custom = unsafe { std::ptr::read_unaligned(node.op_params.as_ptr().cast()) };
    std::ptr::fn_addr_eq(custom.compute, compute as Compute)
}

/// Keys and values in half precision, a mask that hides or shows, and nothing else that changes the scores.
fn fits(node: &sys::ggml_tensor) -> bool {
    let float = |index: usize| f32::from_bits(node.op_params[index] as u32);
    let (alibi, softcap) = (float(1), float(2));
    // SAFETY: a node's sources are tensors of the same graph, or null.
    let [q, k, v, mask, sinks] = [0, 1, 2, 3, 4].map(|index| unsafe { node.src[index].as_ref() });
    let (Some(q), Some(k), Some(v), Some(mask), None) = (q, k, v, mask, sinks) else { return false };
    alibi == 0.0
        && softcap == 0.0
        && node.type_ == sys::GGML_TYPE_F32
        && q.type_ == sys::GGML_TYPE_F32
        && [k, v, mask].iter().all(|tensor| tensor.type_ == sys::GGML_TYPE_F16)
        && [q, k, v, mask, node].iter().all(|tensor| tensor.ne[3] == 1)
        && (q.nb[0], k.nb[0], v.nb[0], mask.nb[0], node.nb[0]) == (4, 2, 2, 2, 4)
        && mask.ne[2] == 1
        && k.ne[0] % (2 * LANES as i64) == 0
        && v.ne[0] % (2 * LANES as i64) == 0
        && k.ne[2] == v.ne[2]
        && q.ne[2] % k.ne[2] == 0
}

/// What a thread writes into, kept between calls.
#[derive(Default)]
struct Scratch {
    cells: Vec<Range<usize>>,
    /// `[heads][cells]`, one head behind the other, each padded to whole registers.
    scores: Vec<f32>,
}

/// A thread's share of a node: called by ggml's threads, each with its number.
unsafe extern "C" fn compute(node: *mut sys::ggml_tensor, thread: i32, threads: i32, _: *mut c_void) {
    thread_local!(static SCRATCH: RefCell<Scratch> = RefCell::default());
    #[cfg(target_arch = "x86_64")]
    SCRATCH.with_borrow_mut(|scratch| {
        // SAFETY: ggml passes a node that `choose` has looked at; threads write to different parts of it.
        unsafe { x86::share(&*node, thread as usize, threads as usize, scratch) }
    });
}

/// The runs of cells that a row sees.
fn visible(mask: &[u16], cells: &mut Vec<Range<usize>>) {
    cells.clear();
    let mut at = 0;
    while at < mask.len() {
        if mask[at] == HIDDEN {
            at += 1;
            continue;
        }
        let from = at;
        while at < mask.len() && mask[at] != HIDDEN {
            at += 1;
        }
        cells.push(from..at);
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    #[allow(clippy::wildcard_imports)] // Thirty intrinsics.
    use std::arch::x86_64::*;

    use llama_cpp_sys_2 as sys;

    use super::{BLOCK, KEPT, LANES, Scratch, visible};

    /// The rows of one thread, and of few rows a part of the heads.
    ///
    /// # Safety
    /// The node passed `fits`, its sources are computed, and the processor has AVX2, FMA and F16C.
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) unsafe fn share(
        node: &sys::ggml_tensor,
        thread: usize,
        threads: usize,
        scratch: &mut Scratch,
    ) {
        // SAFETY: as promised.
        let [q, k, mask] = unsafe { [&*node.src[0], &*node.src[1], &*node.src[3]] };
        let (rows, heads, kv_heads, n_kv) =
            (q.ne[1] as usize, q.ne[2] as usize, k.ne[2] as usize, k.ne[1] as usize);
        let sharing = heads / kv_heads; // Heads that have their keys and values in common.
        let parts = if rows * kv_heads >= 2 * threads { 1 } else { threads.min(sharing) };
        let items = rows * kv_heads * parts;
        let mut looked_up = None;
        for item in items * thread / threads..items * (thread + 1) / threads {
            let (row, kv_head, part) = (item / (kv_heads * parts), item / parts % kv_heads, item % parts);
            if looked_up != Some(row) {
                // SAFETY: a row of the mask has n_kv half-precision numbers.
                let mask =
                    unsafe { std::slice::from_raw_parts(mask.data.byte_add(row * mask.nb[1]).cast(), n_kv) };
                visible(mask, &mut scratch.cells);
                looked_up = Some(row);
            }
            let mut head = kv_head * sharing + sharing * part / parts;
            let end = kv_head * sharing + sharing * (part + 1) / parts;
            while head < end {
                // SAFETY: heads below `end` are this item's own.
                head += unsafe {
                    match end - head {
                        4.. => attend::<4>(node, row, head, kv_head, scratch),
                        2 | 3 => attend::<2>(node, row, head, kv_head, scratch),
                        _ => attend::<1>(node, row, head, kv_head, scratch),
                    }
                };
            }
        }
    }

    /// One row and `N` heads with the same keys and values. Gives `N`.
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn attend<const N: usize>(
        node: &sys::ggml_tensor,
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
        // SAFETY: all pointers are to rows and heads within their tensors, whose strides ggml gives.
        unsafe {
            let [q, k, v] = [0, 1, 2].map(|index| &*node.src[index]);
            let scale = f32::from_bits(node.op_params[KEPT.start] as u32);
            let queries: [*const f32; N] = std::array::from_fn(|n| {
                q.data.byte_add(row * q.nb[1] + (head + n) * q.nb[2]).cast::<f32>().cast_const()
            });
            let outputs: [*mut f32; N] = std::array::from_fn(|n| {
                node.data.byte_add(row * node.nb[2] + (head + n) * node.nb[1]).cast()
            });
            let keys = k.data.cast::<u8>().add(kv_head * k.nb[2]);
            let values = v.data.cast::<u8>().add(kv_head * v.nb[2]);
            let size = v.ne[0] as usize;
            if seen == 0 {
                for output in outputs {
                    output.write_bytes(0, size);
                }
                return N;
            }
            for (index, cell) in cells.iter().cloned().flatten().enumerate() {
                let products = dots(queries, keys.add(cell * k.nb[1]), k.ne[0] as usize);
                for (n, product) in products.into_iter().enumerate() {
                    scores[n * padded + index] = product * scale;
                }
            }
            let inverse: [f32; N] =
                std::array::from_fn(|n| 1.0 / softmax(&mut scores[n * padded..][..padded]));
            for output in outputs {
                output.write_bytes(0, size);
            }
            let mut index = 0;
            for run in cells.iter() {
                for from in run.clone().step_by(BLOCK) {
                    let count = BLOCK.min(run.end - from);
                    let weights: [*const f32; N] =
                        std::array::from_fn(|n| scores.as_ptr().add(n * padded + index));
                    sum(outputs, weights, values.add(from * v.nb[1]), v.nb[1], count, size);
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
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::llama::LlamaModel;
    use crate::local::LocalSettings;
    use crate::model::{Candidates, Entry, Model};

    /// Logits of some tokens behind each batch: rows of different lengths, one that shares another's beginning, one
    /// token alone, and a batch of more tokens than ggml's tiles hold.
    fn logits(model: &mut LlamaModel) -> Vec<f32> {
        let run = |sequence, cells: Range<usize>| {
            let last = cells.end - 1;
            cells.map(move |position| Entry {
                token: (5 + position * 31 % 900) as u32,
                position,
                sequence,
                logits: position == last,
            })
        };
        let mut all = Vec::new();
        let batches: [Vec<Entry>; 4] = [
            run(0, 0..100).collect(),
            run(1, 60..66).chain(run(2, 0..3)).chain(run(0, 100..101)).collect(),
            run(2, 3..4).collect(),
            run(2, 4..150).chain(run(1, 66..67)).collect(),
        ];
        for (number, batch) in batches.iter().enumerate() {
            if number == 1 {
                model.share(0, 1, 60);
            }
            model.decode(batch).unwrap();
            let asked = (0..batch.len()).filter(|&entry| batch[entry].logits);
            let mut wanted: Vec<Candidates> = asked
                .map(|entry| Candidates { entry, tokens: (0..2000).collect(), ..Candidates::default() })
                .collect();
            model.score(&mut wanted);
            all.extend(wanted.into_iter().flat_map(|candidates| candidates.logits));
        }
        all
    }

    #[test]
    fn it_gives_what_ggmls_attention_gives() {
        let Some(folder) = std::env::var_os("LEAFRESH_TEST_MODELS").map(PathBuf::from) else { return };
        for name in ["gemma-3-270m-Q4_K_M.gguf", "smollm2-135m-instruct-Q4_1.gguf"] {
            let [ours, ggml] = [true, false].map(|attention_over_own_cells| {
                let settings = LocalSettings {
                    threads: Some(2),
                    context: 512,
                    running: 3,
                    attention_over_own_cells,
                    ..LocalSettings::default()
                };
                let mut model = LlamaModel::load(&folder.join(name), &settings, 0).unwrap();
                assert_eq!(model.has_own_attention(), attention_over_own_cells && is_possible(), "{name}");
                logits(&mut model)
            });
            // The rounding of activations to eight bits multiplies the least difference between kernels.
            let difference = difference(&ours, &ggml);
            assert!(difference < 0.2, "{name}: {difference}");
        }
    }

    /// A tensor over somebody's numbers, its dimensions one behind the other.
    fn tensor<T>(type_: sys::ggml_type, data: &mut [T], ne: [usize; 3]) -> sys::ggml_tensor {
        // SAFETY: numbers and pointers only, for which zero is a value.
        let mut tensor: sys::ggml_tensor = unsafe { std::mem::zeroed() };
        tensor.type_ = type_;
        tensor.data = data.as_mut_ptr().cast();
        tensor.ne = [ne[0] as i64, ne[1] as i64, ne[2] as i64, 1];
        let size = size_of::<T>();
        tensor.nb = [size, size * ne[0], size * ne[0] * ne[1], size * ne[0] * ne[1] * ne[2]];
        tensor
    }

    #[test]
    fn a_row_is_the_mean_of_the_values_it_sees_weighted_by_how_well_the_keys_fit() {
        if !is_possible() {
            return;
        }
        let (n_kv, size) = (71, 48);
        // SAFETY: plain conversions of one number.
        let half = |x: f32| unsafe { sys::ggml_fp32_to_fp16(x) };
        let full = |x: u16| unsafe { sys::ggml_fp16_to_fp32(x) };
        for (heads, kv_heads, rows, threads) in
            [(4, 1, 1, 2), (4, 1, 3, 2), (9, 3, 2, 3), (2, 2, 5, 1), (3, 1, 1, 2)]
        {
            let mut state = 1u32;
            let mut random = |count: usize| -> Vec<f32> {
                let mut next = || {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 8) as f32 / (1 << 23) as f32 - 1.0
                };
                (0..count).map(|_| next()).collect()
            };
            let mut q = random(size * rows * heads);
            let mut k: Vec<u16> = random(size * n_kv * kv_heads).into_iter().map(half).collect();
            let mut v: Vec<u16> = random(size * n_kv * kv_heads).into_iter().map(half).collect();
            let mut mask: Vec<u16> =
                (0..rows * n_kv).map(|i| if i / n_kv == 2 || i * 7 % 5 < 2 { HIDDEN } else { 0 }).collect();
            let mut out = vec![f32::NAN; size * heads * rows];
            let mut sources = [
                tensor(sys::GGML_TYPE_F32, &mut q, [size, rows, heads]),
                tensor(sys::GGML_TYPE_F16, &mut k, [size, n_kv, kv_heads]),
                tensor(sys::GGML_TYPE_F16, &mut v, [size, n_kv, kv_heads]),
                tensor(sys::GGML_TYPE_F16, &mut mask, [n_kv, rows, 1]),
            ];
            let mut node = tensor(sys::GGML_TYPE_F32, &mut out, [size, heads, rows]);
            node.op = sys::GGML_OP_FLASH_ATTN_EXT;
            node.op_params[0] = 3.0f32.to_bits() as i32;
            for (place, source) in node.src.iter_mut().zip(&mut sources) {
                *place = source;
            }
            let before = node.op_params;
            choose(&mut node, true);
            assert!(is_ours(&node));
            for thread in 0..threads {
                // SAFETY: the node is whole.
                unsafe { compute(&raw mut node, thread, threads, std::ptr::null_mut()) };
            }
            choose(&mut node, false);
            assert_eq!(
                (node.op, node.op_params),
                (sys::GGML_OP_FLASH_ATTN_EXT, before),
                "it can be taken back"
            );
            for (row, head) in (0..rows).flat_map(|row| (0..heads).map(move |head| (row, head))) {
                let of = head / (heads / kv_heads);
                let query = &q[(head * rows + row) * size..][..size];
                let at = |of_what: &[u16], cell: usize, d: usize| {
                    f64::from(full(of_what[(of * n_kv + cell) * size + d]))
                };
                let seen: Vec<usize> = (0..n_kv).filter(|cell| mask[row * n_kv + cell] == 0).collect();
                let weights: Vec<f64> = seen
                    .iter()
                    .map(|&cell| (0..size).map(|d| f64::from(query[d]) * at(&k, cell, d)).sum::<f64>())
                    .map(|product| (3.0 * product).exp())
                    .collect();
                for d in 0..size {
                    let sum: f64 =
                        seen.iter().zip(&weights).map(|(&cell, weight)| weight * at(&v, cell, d)).sum();
                    let expected = if seen.is_empty() { 0.0 } else { sum / weights.iter().sum::<f64>() };
                    let got = f64::from(out[(row * heads + head) * size + d]);
                    assert!((got - expected).abs() < 1e-4, "{got} for {expected}, row {row}, head {head}");
                }
            }
        }
    }

    #[test]
    fn a_row_sees_the_cells_that_its_mask_shows() {
        let mut cells = Vec::new();
        let (o, x) = (0, HIDDEN);
        for (mask, expected) in [
            (vec![], vec![]),
            (vec![x, x], vec![]),
            (vec![o, o], vec![Range { start: 0, end: 2 }]),
            (vec![x, o, x, o, o], vec![1..2, 3..5]),
        ] {
            visible(&mask, &mut cells);
            assert_eq!(cells, expected, "{mask:?}");
        }
    }
}
