//! llama.cpp's contexts and batches.

use std::ptr::NonNull;

use llama_cpp_sys_2 as sys;

use super::head::SharedHeadTap;
use super::{Weights, take_complaints};
use crate::Error;
use crate::model::Entry;
use crate::settings::{KvType, LocalSettings};

pub(super) struct Context(NonNull<sys::llama_context>);

// SAFETY: a context may move between threads as long as one uses it at a time; what holds one isn't `Sync`, or has a
// lock around it, and changes it through `&mut` only.
unsafe impl Send for Context {}

impl Context {
    /// Takes over a context that nobody else frees.
    pub(super) fn new(context: NonNull<sys::llama_context>) -> Self {
        Self(context)
    }

    pub(super) fn as_ptr(&self) -> *mut sys::llama_context {
        self.0.as_ptr()
    }

    /// For a model that writes.
    ///
    /// # Errors
    /// [`Error::Native`] when llama.cpp gives none.
    pub(super) fn for_writing(
        weights: &Weights,
        settings: &LocalSettings,
        on_gpu: bool,
        tap: &SharedHeadTap,
    ) -> Result<Self, Error> {
        take_complaints();
        let mut params = parameters(settings, on_gpu);
        tap.install(&mut params);
        // SAFETY: the model is alive; the parameters are llama.cpp's defaults with numbers changed.
        let context = unsafe { sys::llama_init_from_model(weights.as_ptr(), params) };
        NonNull::new(context).map(Self).ok_or_else(|| {
            Error::Native(format!("no context of {} tokens: {}", settings.context, take_complaints()))
        })
    }
}

fn parameters(settings: &LocalSettings, on_gpu: bool) -> sys::llama_context_params {
    let threads = settings.thread_count() as i32;
    // SAFETY: a plain call.
    let mut params = unsafe { sys::llama_context_default_params() };
    params.n_ctx = settings.context as u32;
    params.n_batch = settings.step_tokens as u32;
    params.n_ubatch = settings.step_tokens as u32;
    params.n_seq_max = settings.rows() as u32;
    // Logits are computed for one token of each row at most. The default reserves n_batch × vocabulary.
    params.n_outputs_max = settings.rows() as u32;
    params.n_threads = threads;
    params.n_threads_batch = threads;
    // What makes values in fewer bits possible, and idle rows cheap.
    params.flash_attn_type = sys::LLAMA_FLASH_ATTN_TYPE_ENABLED;
    let kv_type = match settings.kv_type {
        KvType::F16 => sys::GGML_TYPE_F16,
        KvType::Q8_0 => sys::GGML_TYPE_Q8_0,
    };
    params.type_k = kv_type;
    params.type_v = kv_type;
    // Sliding-window layers keep the whole length, or prefixes could not be shared.
    params.swa_full = true;
    params.kv_unified = true;
    params.no_perf = true;
    // Where no layer is on a GPU none computes single operations either: weights would be copied there for each of
    // them, and our kernels read what lies in the processor's memory.
    params.op_offload = on_gpu;
    params
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: made by us, freed once.
        unsafe { sys::llama_free(self.0.as_ptr()) }
    }
}

/// A batch's arrays, as llama.cpp wants them.
pub(super) struct Batch {
    tokens: Vec<i32>,
    positions: Vec<i32>,
    sequences: Vec<i32>,
    sequence_counts: Vec<i32>,
    /// One pointer into `sequences` for each entry.
    sequence_pointers: Vec<*mut i32>,
    logits: Vec<i8>,
}

// SAFETY: the pointers point into the struct's own vectors and are used by `view` only.
unsafe impl Send for Batch {}

impl Batch {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            tokens: Vec::with_capacity(capacity),
            positions: Vec::with_capacity(capacity),
            sequences: Vec::with_capacity(capacity),
            sequence_counts: Vec::with_capacity(capacity),
            sequence_pointers: Vec::with_capacity(capacity),
            logits: Vec::with_capacity(capacity),
        }
    }

    pub(super) fn fill(&mut self, entries: &[Entry]) {
        self.tokens.clear();
        self.positions.clear();
        self.sequences.clear();
        self.logits.clear();
        for entry in entries {
            self.tokens.push(entry.token as i32);
            self.positions.push(entry.position as i32);
            self.sequences.push(entry.sequence as i32);
            self.logits.push(i8::from(entry.logits));
        }
        self.sequence_counts.clear();
        self.sequence_counts.resize(entries.len(), 1);
        self.sequence_pointers.clear();
        self.sequence_pointers.extend(self.sequences.iter_mut().map(std::ptr::from_mut));
    }

    /// The row of an entry among the batch's outputs, in whose order llama.cpp computes them.
    pub(super) fn output(&self, entry: usize) -> Option<usize> {
        let asked = *self.logits.get(entry)? != 0;
        asked.then(|| self.logits[..entry].iter().filter(|&&asked| asked != 0).count())
    }

    /// Valid until the next `fill`.
    pub(super) fn view(&mut self) -> sys::llama_batch {
        sys::llama_batch {
            n_tokens: self.tokens.len() as i32,
            token: self.tokens.as_mut_ptr(),
            embd: std::ptr::null_mut(),
            pos: self.positions.as_mut_ptr(),
            n_seq_id: self.sequence_counts.as_mut_ptr(),
            seq_id: self.sequence_pointers.as_mut_ptr(),
            logits: self.logits.as_mut_ptr(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Field report 49.
    #[test]
    fn a_gpu_computes_single_operations_only_where_it_has_layers() {
        for on_gpu in [true, false] {
            assert_eq!(parameters(&LocalSettings::default(), on_gpu).op_offload, on_gpu);
        }
    }
}
