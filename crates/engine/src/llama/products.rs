//! Products of quantised weights and activations on processors that multiply bytes (AVX-512 VNNI).
//!
//! The build is for processors with AVX2, which most have, and ggml multiplies with what those can do. Products are most of
//! what a small model computes, so there is a kernel for the processors that can do more, chosen when the program runs. It
//! takes the place of ggml's operation in the graph, before that is computed, as an operation of the user's.
//!
//! Weights of whatever type become bytes, with a scale and a least value for each block of 32: of eight bits, which is more
//! than their own. Activations are rounded to eight bits in blocks of 32, as ggml does it.

#[cfg(target_arch = "x86_64")]
mod avx512;

use std::collections::HashMap;
use std::ffi::{CStr, c_void};

use llama_cpp_sys_2 as sys;

use super::custom;
use crate::memory::MOST_AS_BYTES;

/// Weights with a scale in common.
const BLOCK: usize = 32;

/// Outputs that are computed together: numbers of a vector register.
const LANES: usize = 16;

/// How far our outputs may be from ggml's, as a share of them: both round, and ggml activations in blocks of 256 for some types,
/// by which it is 3 % off what the weights say.
const TOLERANCE: f32 = 0.05;

/// The products of one model's graphs.
#[derive(Default)]
pub(super) struct Products {
    mode: Mode,
    /// By the address of the model's own. In boxes, for graphs hold their addresses.
    matrices: HashMap<usize, Box<Matrix>>,
    bytes: u64,
    agree: usize,
    differ: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Mode {
    #[default]
    Ggmls,
    /// ggml computes; our kernel's outputs are compared with its.
    Compare,
    Ours,
}

/// A matrix in the order in which the kernel reads it.
struct Matrix {
    outputs: usize,
    inputs: usize,
    /// Of [`LANES`] outputs and a block of inputs: four weights of one output, then of the next.
    codes: Vec<u8>,
    /// Of the same outputs and block, one for each output: a weight is scale · code + least.
    scales: Vec<f32>,
    least: Vec<f32>,
}

/// Whether this processor can do it.
pub(super) fn is_possible() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vnni");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

impl Products {
    /// In the next batch our kernel is compared with ggml's.
    pub(super) fn compare(&mut self) {
        *self = Self { mode: Mode::Compare, ..Self::default() };
    }

    /// Ends the comparison: our kernel is used from now on if it gave what ggml's gave everywhere. Says whether.
    pub(super) fn decide(&mut self) -> bool {
        let ours = self.agree > 0 && self.differ == 0;
        if ours {
            self.mode = Mode::Ours;
        } else {
            *self = Self::default();
        }
        ours
    }

    #[cfg(test)]
    pub(super) fn are_ours(&self) -> bool {
        self.mode == Mode::Ours
    }

    /// Before a node is computed: whether [`Products::see`] wants it afterwards.
    pub(super) fn ask(&mut self, node: &mut sys::ggml_tensor) -> bool {
        if self.mode == Mode::Ggmls || node.op != sys::GGML_OP_MUL_MAT || !fits(node) {
            return false;
        }
        let Some(matrix) = self.matrix(node) else { return false };
        if self.mode == Mode::Ours {
            custom::put(node, compute, matrix.cast_mut().cast());
        }
        self.mode == Mode::Compare
    }

    /// Behind a node that was to be seen.
    pub(super) fn see(&mut self, node: &sys::ggml_tensor) {
        if let Some(matrix) = self.matrix(node) {
            *(if agrees(node, matrix) { &mut self.agree } else { &mut self.differ }) += 1;
        }
    }

    /// Of a node that fits. Matrices are made while kernels are compared; none comes later.
    fn matrix(&mut self, node: &sys::ggml_tensor) -> Option<*const Matrix> {
        // SAFETY: a product's weights are a tensor of the same graph.
        let weights = unsafe { &*node.src[0] };
        let key = weights.data as usize;
        if !self.matrices.contains_key(&key) && self.mode == Mode::Compare {
            self.bytes += (weights.ne[0] * weights.ne[1]) as u64 / 32 * 40;
            if self.bytes > MOST_AS_BYTES {
                self.differ += 1;
                return None;
            }
            self.matrices.insert(key, Box::new(Matrix::of(weights)?));
        }
        // A part of a matrix may begin where it does.
        let matrix = self.matrices.get(&key)?;
        let whole = [matrix.inputs as i64, matrix.outputs as i64] == weights.ne[..2];
        whole.then_some(&raw const **matrix)
    }
}

/// A matrix of quantised weights in plain memory, and activations in full precision.
fn fits(node: &sys::ggml_tensor) -> bool {
    // SAFETY: a node's sources are tensors of the same graph, or null; names end in NUL.
    unsafe {
        let (Some(weights), Some(inputs)) = (node.src[0].as_ref(), node.src[1].as_ref()) else {
            return false;
        };
        // The head is computed for the tokens that may come next, or not by us.
        custom::is_plain(weights)
            && CStr::from_ptr(node.name.as_ptr()) != c"result_output"
            && sys::ggml_is_quantized(weights.type_)
            && weights.ne[0] % BLOCK as i64 == 0
            && weights.ne[1] % LANES as i64 == 0
            && [inputs, node].iter().all(|tensor| tensor.type_ == sys::GGML_TYPE_F32 && tensor.nb[0] == 4)
            && [weights, inputs, node].iter().all(|tensor| (tensor.ne[2], tensor.ne[3]) == (1, 1))
    }
}

impl Matrix {
    /// None: ggml can't say what its weights are.
    fn of(weights: &sys::ggml_tensor) -> Option<Self> {
        let (inputs, outputs) = (weights.ne[0] as usize, weights.ne[1] as usize);
        let blocks = inputs / BLOCK;
        // SAFETY: a type's traits are static.
        let to_float = unsafe { sys::ggml_get_type_traits(weights.type_).as_ref() }?.to_float?;
        let mut matrix = Self {
            outputs,
            inputs,
            codes: vec![0; outputs * inputs],
            scales: vec![0.0; outputs * blocks],
            least: vec![0.0; outputs * blocks],
        };
        let mut row = vec![0.0f32; inputs];
        for output in 0..outputs {
            // SAFETY: the matrix has this row, and the vector holds as many numbers.
            unsafe {
                let data = weights.data.byte_add(output * weights.nb[1]).cast_const();
                to_float(data, row.as_mut_ptr(), inputs as i64);
            }
            for (block, numbers) in row.chunks_exact(BLOCK).enumerate() {
                matrix.set(output, block, numbers);
            }
        }
        Some(matrix)
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
}

/// Whether our kernel gives what ggml's has given for a node that it has computed.
fn agrees(node: &sys::ggml_tensor, matrix: *const Matrix) -> bool {
    let (outputs, tokens) = (node.ne[0] as usize, node.ne[1] as usize);
    let mut ours = vec![0.0f32; outputs * tokens];
    let mut copy = *node;
    copy.data = ours.as_mut_ptr().cast();
    copy.nb[1] = outputs * size_of::<f32>();
    // SAFETY: the copy is like the node but for its output, which has as many numbers.
    unsafe { compute(&raw mut copy, 0, 1, matrix.cast_mut().cast()) };
    let ggmls = (0..tokens).flat_map(|token| {
        // SAFETY: the node has that many rows of that many numbers.
        unsafe { std::slice::from_raw_parts(node.data.byte_add(token * node.nb[1]).cast::<f32>(), outputs) }
    });
    custom::difference(&ours, &ggmls.copied().collect::<Vec<_>>()) < TOLERANCE
}

/// A thread's share of the tokens: called by ggml's threads, each with its number.
unsafe extern "C" fn compute(node: *mut sys::ggml_tensor, thread: i32, threads: i32, matrix: *mut c_void) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: ggml passes a node that `tap` has looked at and the matrix that it put there.
    unsafe {
        avx512::share(&*node, thread as usize, threads as usize, &*matrix.cast::<Matrix>());
    }
}

#[cfg(test)]
mod tests;
