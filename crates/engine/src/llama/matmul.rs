//! Our products of weights as bytes in the place of ggml's operation in the graph.
//!
//! The build is for processors with AVX2, which most have, and ggml multiplies with what those can do. Products are most of
//! what a small model computes, so there is a kernel for the processors that can do more, chosen when the program runs.
//! Weights of whatever type become bytes of eight bits, which is more than their own.

use std::collections::HashMap;
use std::ffi::{CStr, c_void};

use leafresh_kernels::difference;
use leafresh_kernels::matmul::{BLOCK, Bytes, LANES, bytes_of};
use llama_cpp_sys_2 as sys;

use super::attention::view;
use super::custom;
use crate::memory::MOST_AS_BYTES;

/// How far our outputs may be from ggml's, as a share of them: both round, and ggml activations in blocks of 256 for some types,
/// by which it is 3 % off what the weights say.
const TOLERANCE: f32 = 0.05;

/// The matrices of one model's graphs as bytes, and whether they are used.
#[derive(Default)]
pub(super) struct Matmuls {
    mode: Mode,
    /// By the address of the model's own. In boxes, for graphs hold their addresses.
    matrices: HashMap<usize, Box<Bytes>>,
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

impl Matmuls {
    /// In the next batch our kernel is compared with ggml's.
    pub(super) fn compare(&mut self) {
        *self = Self { mode: Mode::Compare, ..Self::default() };
    }

    /// Ends the comparison: our kernel is used from now on if it gave what ggml's gave everywhere.
    ///
    /// # Errors
    /// Why it isn't used.
    pub(super) fn decide(&mut self) -> Result<(), String> {
        let outcome = if self.bytes > MOST_AS_BYTES {
            Err(format!("the weights as bytes take more than {} MiB", MOST_AS_BYTES >> 20))
        } else {
            custom::outcome("matrices", self.agree, self.differ)
        };
        if outcome.is_ok() {
            self.mode = Mode::Ours;
        } else {
            *self = Self::default();
        }
        outcome
    }

    #[cfg(test)]
    pub(super) fn are_ours(&self) -> bool {
        self.mode == Mode::Ours
    }

    /// Before a node is computed: whether [`Matmuls::see`] wants it afterwards.
    pub(super) fn ask(&mut self, node: &mut sys::ggml_tensor) -> bool {
        if self.mode == Mode::Ggmls || node.op != sys::GGML_OP_MUL_MAT || !fits(node) {
            return false;
        }
        let Some(matrix) = self.matrix(node) else { return false };
        if self.mode == Mode::Ours {
            custom::install(node, compute, matrix.cast_mut().cast());
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
    fn matrix(&mut self, node: &sys::ggml_tensor) -> Option<*const Bytes> {
        // SAFETY: a product's weights are a tensor of the same graph.
        let weights = unsafe { &*node.src[0] };
        let key = weights.data as usize;
        if !self.matrices.contains_key(&key) && self.mode == Mode::Compare {
            self.bytes += bytes_of((weights.ne[0] * weights.ne[1]) as u64);
            if self.bytes > MOST_AS_BYTES {
                return None;
            }
            self.matrices.insert(key, Box::new(bytes(weights)?));
        }
        // A part of a matrix may begin where it does.
        let matrix = self.matrices.get(&key)?;
        let whole = matrix.shape().map(|count| count as i64) == weights.ne[..2];
        whole.then_some(&raw const **matrix)
    }
}

/// A matrix of quantised weights in plain memory, and activations in full precision where the processor can read them.
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
            && [inputs, node].iter().all(|tensor| {
                tensor.type_ == sys::GGML_TYPE_F32 && tensor.nb[0] == 4 && custom::is_host(tensor)
            })
            && [weights, inputs, node].iter().all(|tensor| (tensor.ne[2], tensor.ne[3]) == (1, 1))
    }
}

/// The weights as bytes. None: ggml can't say what they are.
fn bytes(weights: &sys::ggml_tensor) -> Option<Bytes> {
    let (inputs, outputs) = (weights.ne[0] as usize, weights.ne[1] as usize);
    // SAFETY: a type's traits are static.
    let to_float = unsafe { sys::ggml_get_type_traits(weights.type_).as_ref() }?.to_float?;
    Bytes::new(outputs, inputs, |output, row| {
        // SAFETY: the matrix has this row, and `row` holds as many numbers.
        unsafe {
            let data = weights.data.byte_add(output * weights.nb[1]).cast_const();
            to_float(data, row.as_mut_ptr(), inputs as i64);
        }
    })
}

/// Whether our kernel gives what ggml's has given for a node that it has computed.
fn agrees(node: &sys::ggml_tensor, matrix: *const Bytes) -> bool {
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
    difference(&ours, &ggmls.copied().collect::<Vec<_>>()) < TOLERANCE
}

/// A thread's share of the tokens: called by ggml's threads, each with its number.
unsafe extern "C" fn compute(node: *mut sys::ggml_tensor, thread: i32, threads: i32, matrix: *mut c_void) {
    // SAFETY: ggml passes a node that `ask` has looked at, with its sources computed, and the matrix that was put there;
    // threads have numbers of their own.
    unsafe {
        let (node, matrix) = (&*node, &*matrix.cast::<Bytes>());
        let (inputs, outputs) = (view(&*node.src[1]), view(node));
        matrix.multiply(&inputs, &outputs, thread as usize, threads as usize);
    }
}

#[cfg(test)]
mod tests;
