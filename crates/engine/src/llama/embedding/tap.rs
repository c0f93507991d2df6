//! What is taken out of an embedding model's graph while it is computed, and what is put into it.

use std::cell::UnsafeCell;
use std::ffi::{CStr, CString, c_void};
use std::sync::{Mutex, MutexGuard, PoisonError};

use llama_cpp_sys_2 as sys;

use super::super::matmul::Matmuls;

/// Our matmuls: one for all contexts of a model. They keep its address, so it lives in a box.
#[derive(Default)]
pub(super) struct SharedMatmuls(Mutex<Matmuls>);

impl SharedMatmuls {
    pub(super) fn lock(&self) -> MutexGuard<'_, Matmuls> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A context's tap: the callback changes it while llama.cpp computes, its owner reads it afterwards, both on one thread.
/// llama.cpp keeps its address, so it lives in a box.
pub(super) struct MiddleTap(Box<UnsafeCell<Inside>>);

// SAFETY: the pointer in it is to a mutex that outlives the context (see `MiddleTap::new`); all else is plain data.
unsafe impl Send for MiddleTap {}

struct Inside {
    matmuls: Option<*const SharedMatmuls>,
    /// The node that carries what the model knows in the middle of its layers.
    middle: CString,
    /// That node's numbers: a row for each token.
    rows: Vec<f32>,
}

impl MiddleTap {
    /// For a model of so many layers. `matmuls` must outlive the context.
    pub(super) fn new(layers: usize, matmuls: Option<&SharedMatmuls>) -> Self {
        // Three quarters of the way: further up models turn to what they were trained for, which is comparing.
        let middle = CString::new(format!("ffn_inp-{}", layers * 3 / 4)).unwrap_or_default();
        let matmuls = matmuls.map(std::ptr::from_ref);
        Self(Box::new(UnsafeCell::new(Inside { matmuls, middle, rows: Vec::new() })))
    }

    /// Has the context call the tap, which must outlive it.
    pub(super) fn install(&self, params: &mut sys::llama_context_params) {
        params.cb_eval = Some(tap);
        params.cb_eval_user_data = self.0.get().cast();
    }

    /// Before a batch: nothing is left of the one before.
    pub(super) fn clear(&mut self) {
        // SAFETY: nothing computes between two calls of the owner, and `&mut self` keeps others out.
        unsafe { &mut *self.0.get() }.rows.clear();
    }

    /// What was seen in a batch: as many numbers for each token, in their order. Empty when the model has no such node.
    pub(super) fn rows(&mut self) -> &[f32] {
        // SAFETY: as above.
        unsafe { &(*self.0.get()).rows }
    }
}

/// Called for every node of the graph: before it (`ask`: is it wanted?) and, if it is, behind it (go on?).
unsafe extern "C" fn tap(node: *mut sys::ggml_tensor, ask: bool, data: *mut c_void) -> bool {
    // SAFETY: llama.cpp passes a node of its graph and the pointer that the context was made with, on the thread that
    // computes, while the owner waits.
    let (node, inside) = unsafe { (&mut *node, &mut *data.cast::<Inside>()) };
    // SAFETY: names end with a zero within their array.
    let is_middle = unsafe { CStr::from_ptr(node.name.as_ptr()) } == inside.middle.as_c_str();
    // SAFETY: it outlives the context.
    let matmuls = inside.matmuls.map(|matmuls| unsafe { &*matmuls });
    if ask {
        return matmuls.is_some_and(|matmuls| matmuls.lock().ask(node)) || is_middle;
    }
    if !is_middle {
        if let Some(matmuls) = matmuls {
            matmuls.lock().see(node);
        }
    } else if node.type_ == sys::GGML_TYPE_F32 {
        inside.rows.resize((node.ne[0] * node.ne[1]) as usize, 0.0);
        // SAFETY: the node is computed and holds this many numbers, one after the other.
        unsafe {
            let bytes = size_of_val(inside.rows.as_slice());
            sys::ggml_backend_tensor_get(node, inside.rows.as_mut_ptr().cast(), 0, bytes);
        }
    }
    true
}
