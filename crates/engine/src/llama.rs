//! Every llama.cpp call, and all `unsafe` of the project.
//!
//! On llama-cpp-sys-2 alone: the safe wrapper above it hides what we need (the number of output rows, thread pools, the
//! abort callback), and its context borrows the model, which a struct that owns both can't express.
#![allow(unsafe_code)] // The one place for it.

mod adapters;
mod attention;
mod context;
mod cpu;
mod custom;
mod devices;
mod embedding;
mod head;
mod logits;
mod matmul;
mod merge;
mod model;
mod pool;
mod quantize;
mod vocab;

use std::ffi::{CStr, CString, c_char, c_void};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use llama_cpp_sys_2 as sys;

pub use cpu::{InstructionSets, OwnKernels, instruction_sets, own_kernels};
pub use embedding::{EmbeddingSettings, LlamaEmbedder, describe_embedder};
pub use logits::logits_behind;
pub use merge::{merge, merged_bytes};
pub(crate) use model::LlamaModel;
pub use quantize::{QUANTIZATIONS, quantize, quantized_bytes};

use crate::settings::LocalSettings;
use crate::vocab::{Tokenizer, Vocab};
use crate::{Error, gguf};
use vocab::LlamaTokenizer;

/// What llama.cpp complained of last: its calls return no reason.
static COMPLAINTS: Mutex<String> = Mutex::new(String::new());

/// Ends the process at once, when everything is saved. Threads may still compute or load a model, which can't be interrupted:
/// the usual end would destroy what they use, and the process die of it.
pub fn end_process(code: u8) -> ! {
    // SAFETY: it asks for nothing and doesn't return.
    unsafe { libc::_exit(code.into()) }
}

/// Starts llama.cpp once, its log going to `tracing`; not on a processor that it can't run on.
fn start() -> Result<(), Error> {
    static STARTED: OnceLock<Result<(), Error>> = OnceLock::new();
    let started = STARTED.get_or_init(|| {
        instruction_sets()?;
        // SAFETY: called once, before any other call; the callback is a plain function and takes no user data.
        unsafe {
            sys::llama_log_set(Some(log), std::ptr::null_mut());
            sys::llama_backend_init();
        }
        Ok(())
    });
    started.clone()
}

unsafe extern "C" fn log(level: sys::ggml_log_level, text: *const c_char, _: *mut c_void) {
    if text.is_null() {
        return;
    }
    // SAFETY: llama.cpp passes a string that ends in NUL and lives during the call.
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
    let text = text.trim_end();
    if text.is_empty() || text == "." {
        return;
    }
    if level == sys::GGML_LOG_LEVEL_ERROR {
        let mut complaints = COMPLAINTS.lock().unwrap_or_else(PoisonError::into_inner);
        if !complaints.is_empty() {
            complaints.push_str("; ");
        }
        complaints.push_str(text);
        tracing::warn!(target: "llama.cpp", "{text}");
    } else {
        tracing::debug!(target: "llama.cpp", "{text}");
    }
}

fn take_complaints() -> String {
    let text = std::mem::take(&mut *COMPLAINTS.lock().unwrap_or_else(PoisonError::into_inner));
    if text.is_empty() { "no reason given".into() } else { text }
}

/// The tokenizer of a model file, without its weights: a fraction of a second, and no memory to speak of.
///
/// # Errors
/// [`Error::ModelFile`] when the file isn't a whole GGUF model.
pub fn load_tokenizer(path: &Path) -> Result<Arc<dyn Tokenizer>, Error> {
    Ok(Arc::new(tokenizer(path)?))
}

/// The tokenizer of a model file with what its tokens spell, without its weights.
///
/// # Errors
/// As [`load_tokenizer`].
pub fn load_vocabulary(path: &Path) -> Result<(Arc<dyn Tokenizer>, Vocab), Error> {
    let tokenizer = tokenizer(path)?;
    let vocab = tokenizer.read();
    Ok((Arc::new(tokenizer), vocab))
}

fn tokenizer(path: &Path) -> Result<LlamaTokenizer, Error> {
    gguf::check(path)?;
    let weights = Weights::open(path, |params| params.vocab_only = true)?;
    Ok(LlamaTokenizer::new(Arc::new(weights)))
}

/// The weights: immutable once loaded, so that threads may share them.
struct Weights(NonNull<sys::llama_model>);

// SAFETY: llama.cpp documents model and vocabulary as read-only after loading ("the API is thread-safe" for
// tokenisation); nothing here writes to them.
unsafe impl Send for Weights {}
unsafe impl Sync for Weights {}

impl Weights {
    fn load(path: &Path, settings: &LocalSettings, gpu_layers: usize) -> Result<Self, Error> {
        Self::open(path, |params| {
            params.n_gpu_layers = gpu_layers as i32;
            params.load_mode = match (settings.mmap, settings.mlock) {
                // Maps the file unless a device can't compute from a mapping.
                (true, false) => sys::LLAMA_LOAD_MODE_AUTO,
                (true, true) => sys::LLAMA_LOAD_MODE_MMAP_MLOCK,
                (false, true) => sys::LLAMA_LOAD_MODE_MLOCK,
                (false, false) => sys::LLAMA_LOAD_MODE_NONE,
            };
        })
    }

    fn open(path: &Path, change: impl FnOnce(&mut sys::llama_model_params)) -> Result<Self, Error> {
        start()?;
        let unusable = |reason: String| Error::ModelFile { path: path.to_owned(), reason };
        let name = CString::new(path.as_os_str().as_encoded_bytes())
            .map_err(|_| unusable("the path holds a NUL character".into()))?;
        take_complaints();
        // SAFETY: the parameters are llama.cpp's defaults with numbers changed, the path ends in NUL.
        let model = unsafe {
            let mut params = sys::llama_model_default_params();
            // AMX kernels run on weights in a buffer of their own type only. These buffers are offered together with
            // those of the repacked weights, so a build that holds AMX goes without both.
            params.use_extra_bufts = !cpu::built_with_amx();
            change(&mut params);
            sys::llama_model_load_from_file(name.as_ptr(), params)
        };
        NonNull::new(model)
            .map(Self)
            .ok_or_else(|| unusable(format!("llama.cpp can't load it: {}", take_complaints())))
    }

    fn as_ptr(&self) -> *mut sys::llama_model {
        self.0.as_ptr()
    }

    /// A metadata value of the file, as text.
    fn metadata(&self, key: &CStr) -> Option<String> {
        let mut buffer = vec![0u8; 256];
        loop {
            // SAFETY: the buffer is as long as stated, and llama.cpp ends what it writes with NUL.
            let len = unsafe {
                sys::llama_model_meta_val_str(
                    self.as_ptr(),
                    key.as_ptr(),
                    buffer.as_mut_ptr().cast(),
                    buffer.len(),
                )
            };
            let len = usize::try_from(len).ok()?;
            if len < buffer.len() {
                buffer.truncate(len);
                return Some(String::from_utf8_lossy(&buffer).into_owned());
            }
            buffer.resize(len + 1, 0);
        }
    }
}

impl Drop for Weights {
    fn drop(&mut self) {
        // SAFETY: loaded by us, freed once; contexts and tokenizers hold an `Arc` of it.
        unsafe { sys::llama_model_free(self.as_ptr()) }
    }
}
