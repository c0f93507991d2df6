//! The loops that answers spend their time in: arrays in, arrays out.
//!
//! | module | computes | needs |
//! |---|---|---|
//! | [`attention`] | attention of rows over their own cells of a KV cache in half precision | AVX2, FMA, F16C |
//! | [`matmul`] | products of activations with weights as bytes | AVX-512 VNNI |
//! | [`head`] | logits of some tokens, with somebody's dot product | nothing |
//!
//! Nothing here knows llama.cpp, a model or a thread pool: whoever calls says which thread of how many it is, and every
//! thread writes a part of its own. `is_possible` tells whether the processor has the instructions; calling a kernel without
//! them is undefined. This crate is compiled without debug assertions: they check every pointer, in loops of ten
//! instructions. `cargo bench -p leafresh-kernels` measures each kernel alone.
#![cfg_attr(
    not(target_arch = "x86_64"),
    allow(dead_code, unused_variables, reason = "the kernels that use them are for x86-64")
)]
#![allow(unsafe_code)] // SIMD intrinsics, and views of memory that somebody else owns.

use std::ffi::c_void;

pub mod attention;
pub mod head;
pub mod matmul;

/// Memory of another owner as rows of rows of numbers, each row's own numbers one behind the other.
#[derive(Debug, Clone, Copy)]
pub struct View {
    pub data: *mut c_void,
    /// How many numbers in a row, rows in a plane, planes.
    pub shape: [usize; 3],
    /// Bytes from one row to the next, and from one plane to the next.
    pub strides: [usize; 2],
}

impl View {
    /// Where a row begins.
    ///
    /// # Safety
    /// The row lies within the memory.
    unsafe fn row(&self, row: usize, plane: usize) -> *mut c_void {
        // SAFETY: the caller's promise.
        unsafe { self.data.byte_add(row * self.strides[0] + plane * self.strides[1]) }
    }
}

/// The root mean square of the difference between two results, as a share of that of the right one.
pub fn difference(ours: &[f32], right: &[f32]) -> f32 {
    let squares = |numbers: &mut dyn Iterator<Item = f32>| numbers.map(|x| f64::from(x * x)).sum::<f64>();
    let apart = squares(&mut ours.iter().zip(right).map(|(a, b)| a - b));
    (apart / squares(&mut right.iter().copied())).sqrt() as f32
}

/// Numbers between -1 and 1, the same ones each time.
#[cfg(test)]
fn random(count: usize, mut state: u32) -> Vec<f32> {
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}
