//! Attention over the cells that a row may see, and no others.
//!
//! All requests share one KV cache, so llama.cpp's kernels find in the mask, for every head anew, which cells are a row's own,
//! and convert keys and values from half precision for every head, though several heads share them. Here a row's cells
//! are looked up once, and what heads share is read and converted once for all of them.
//!
//! The softmax is computed in two passes over a row's scores; `exp` is Cephes' polynomial (S. Moshier, `expf.c`).

#[cfg(target_arch = "x86_64")]
mod x86;

use std::cell::RefCell;
use std::ops::Range;

use crate::View;

/// Cells whose values are summed at a time: they stay in the nearest cache.
const BLOCK: usize = 32;

/// Numbers of a vector register.
const LANES: usize = 8;

/// Half precision: not to be seen.
pub const HIDDEN: u16 = 0xFC00;

/// Keys and values have to be a multiple of this many numbers.
pub const MULTIPLE: usize = 2 * LANES;

/// What is computed of what. Heads that share their keys and values lie behind each other.
#[derive(Debug, Clone, Copy)]
pub struct Attention {
    /// Queries, `f32`: `[heads][rows][size]`.
    pub q: View,
    /// Keys, half precision: `[kv_heads][cells][size]`.
    pub k: View,
    /// Values, half precision: `[kv_heads][cells][size]`.
    pub v: View,
    /// Half precision, [`HIDDEN`] where a row doesn't see a cell, else nothing is added: `[rows][cells]`.
    pub mask: View,
    /// `f32`: `[rows][heads][size]`.
    pub out: View,
    /// What products of queries and keys are multiplied with.
    pub scale: f32,
}

/// Whether this processor can do it.
pub fn is_possible() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// What a thread writes into, kept between calls.
#[derive(Default)]
struct Scratch {
    cells: Vec<Range<usize>>,
    /// `[heads][cells]`, one head behind the other, each padded to whole registers.
    scores: Vec<f32>,
}

impl Attention {
    /// One thread's share.
    ///
    /// # Safety
    /// [`is_possible`]; every view's memory is there and fits the others; nobody writes to what is read; every thread
    /// of `threads` has a number of its own.
    pub unsafe fn share(&self, thread: usize, threads: usize) {
        thread_local!(static SCRATCH: RefCell<Scratch> = RefCell::default());
        debug_assert!(thread < threads, "thread {thread} of {threads}");
        #[cfg(target_arch = "x86_64")]
        SCRATCH.with_borrow_mut(|scratch| {
            // SAFETY: the caller's promise.
            unsafe { x86::share(self, thread, threads, scratch) }
        });
    }
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
mod tests;
