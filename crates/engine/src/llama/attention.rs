//! Our attention kernel in the place of ggml's operation in the graph.

use std::ffi::c_void;
use std::ops::Range;

use leafresh_kernels::attention::{Attention, MULTIPLE};
use leafresh_kernels::{View, difference};
use llama_cpp_sys_2 as sys;

use super::custom;

/// How far our outputs may be from ggml's, which sums in half precision, as a share of them.
const TOLERANCE: f32 = 0.01;

/// Where ggml's own parameters are kept while ours are in their place; nothing else uses these.
const KEPT: Range<usize> = 8..8 + custom::PARAMETERS;

/// Puts our kernel into a node that computes attention as we can, or ggml's back into one that has ours. Called before
/// the node is computed; llama.cpp uses a graph again for batches of the same shape.
pub(super) fn choose(node: &mut sys::ggml_tensor, ours: bool) {
    if !ours && custom::is_installed(node, compute) {
        node.op = sys::GGML_OP_FLASH_ATTN_EXT;
        node.op_params.copy_within(KEPT, 0);
        node.op_params[KEPT].fill(0);
    } else if ours && node.op == sys::GGML_OP_FLASH_ATTN_EXT && fits(node) {
        node.op_params.copy_within(0..KEPT.end - KEPT.start, KEPT.start);
        custom::install(node, compute, std::ptr::null_mut());
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

/// Keys and values in half precision, a mask that hides or shows, nothing else that changes the scores, and all of it where the
/// processor can read it.
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
        && [q, k, v, mask, node].iter().all(|tensor| tensor.ne[3] == 1 && custom::is_host(tensor))
        && (q.nb[0], k.nb[0], v.nb[0], mask.nb[0], node.nb[0]) == (4, 2, 2, 2, 4)
        && mask.ne[2] == 1
        && k.ne[0] % MULTIPLE as i64 == 0
        && v.ne[0] % MULTIPLE as i64 == 0
        && k.ne[2] == v.ne[2]
        && q.ne[2] % k.ne[2] == 0
}

/// A tensor as the kernel sees it.
pub(super) fn view(tensor: &sys::ggml_tensor) -> View {
    let [row, rows, planes, _] = tensor.ne.map(|count| count as usize);
    View { data: tensor.data.cast(), shape: [row, rows, planes], strides: [tensor.nb[1], tensor.nb[2]] }
}

/// A thread's share of a node: called by ggml's threads, each with its number.
unsafe extern "C" fn compute(node: *mut sys::ggml_tensor, thread: i32, threads: i32, _: *mut c_void) {
    // SAFETY: ggml passes a node that `choose` has looked at, with its sources computed; threads have numbers of their own.
    unsafe {
        let node = &*node;
        let [q, k, v, mask] = [0, 1, 2, 3].map(|index| view(&*node.src[index]));
        let scale = f32::from_bits(node.op_params[KEPT.start] as u32);
        let attention = Attention { q, k, v, mask, out: view(node), scale };
        attention.share(thread as usize, threads as usize);
    }
}

#[cfg(test)]
pub(super) mod tests;
