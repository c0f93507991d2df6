//! Attention on the processor over the cells that a row may see, and no others.
//!
//! All requests share one KV cache, so llama.cpp's kernels find in the mask, for every head anew, which cells are a row's own,
//! and convert keys and values from half precision for every head, though several heads share them. Here a row's cells
//! are looked up once, and what heads share is read and converted once for all of them. It takes the place of
//! ggml's operation in the graph, before that is computed, as an operation of the user's (`GGML_OP_CUSTOM`).
//!
//! The softmax is computed in two passes over a row's scores; `exp` is Cephes' polynomial (S. Moshier, `expf.c`).

#[cfg(target_arch = "x86_64")]
mod x86;

use std::cell::RefCell;
use std::ffi::c_void;
use std::ops::Range;

use llama_cpp_sys_2 as sys;

use super::custom;

/// Cells whose values are summed at a time: they stay in the nearest cache.
const BLOCK: usize = 32;

/// Numbers of a vector register.
const LANES: usize = 8;

/// How far our outputs may be from ggml's, which sums in half precision, as a share of them.
const TOLERANCE: f32 = 0.01;

/// Half precision: not to be seen.
const HIDDEN: u16 = 0xFC00;

/// Where ggml's own parameters are kept while ours are in their place; nothing else uses these.
const KEPT: Range<usize> = 8..8 + custom::PARAMETERS;

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
    if !ours && custom::is_put(node, compute) {
        node.op = sys::GGML_OP_FLASH_ATTN_EXT;
        node.op_params.copy_within(KEPT, 0);
        node.op_params[KEPT].fill(0);
    } else if ours && node.op == sys::GGML_OP_FLASH_ATTN_EXT && fits(node) {
        node.op_params.copy_within(0..KEPT.end - KEPT.start, KEPT.start);
        custom::put(node, compute, std::ptr::null_mut());
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
    custom::difference(&ours, ggmls) < TOLERANCE
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

#[cfg(test)]
pub(super) mod tests;
