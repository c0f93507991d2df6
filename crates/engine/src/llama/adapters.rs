//! LoRA adapters of a model, loaded when they are wanted.

use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;

use llama_cpp_sys_2 as sys;

use super::context::Context;
use super::{Weights, take_complaints};
use crate::memory::bytes_as;
use crate::model::Adapter;
use crate::{Error, LocalSettings, gguf};

/// The adapters of a folder. Those in memory are freed when this is dropped, before the weights that they change.
pub(super) struct Adapters {
    files: Vec<File>,
    /// The one used last comes last.
    loaded: Vec<Loaded>,
    set: Adapter,
    most: usize,
    most_bytes: u64,
}

struct File {
    name: String,
    path: PathBuf,
    bytes: u64,
    changes_head: bool,
}

struct Loaded {
    file: usize,
    adapter: NonNull<sys::llama_adapter_lora>,
}

// SAFETY: an adapter belongs to its model; who holds it computes with it on one thread at a time.
unsafe impl Send for Loaded {}

impl Drop for Loaded {
    fn drop(&mut self) {
        // SAFETY: made by us, freed once, and before its model.
        unsafe { sys::llama_adapter_lora_free(self.adapter.as_ptr()) }
    }
}

impl Adapters {
    /// Reads the headers of all adapters in the settings' folder, and checks that they are for the model `path`.
    ///
    /// # Errors
    /// [`Error::Unfit`] when the folder can't be read or one takes more memory than all may, [`Error::ModelFile`] when one
    /// isn't for this model.
    pub(super) fn open(path: &Path, settings: &LocalSettings) -> Result<Self, Error> {
        let (most, most_bytes) = (settings.adapters_in_memory, settings.adapters_bytes);
        let mut adapters = Self { files: Vec::new(), loaded: Vec::new(), set: None, most, most_bytes };
        let found = gguf::adapters(settings.adapters.as_deref())?;
        if found.is_empty() {
            return Ok(adapters);
        }
        let model = gguf::check(path)?;
        for (name, path) in found {
            let header = gguf::check_adapter(&path, &model)?;
            header
                .check_for_running(&model)
                .map_err(|reason| Error::ModelFile { path: path.clone(), reason })?;
            if header.bytes > most_bytes {
                return Err(Error::Unfit(format!(
                    "the adapter {} takes {}, more than engine.adapters_bytes allows for all that are in memory, {}",
                    path.display(),
                    bytes_as(header.bytes),
                    bytes_as(most_bytes)
                )));
            }
            adapters.files.push(File {
                name,
                path,
                bytes: header.bytes,
                changes_head: header.changes_head(),
            });
        }
        tracing::info!(
            "adapters: {}; {most} of them in memory at most, of {} together",
            adapters.names().join(", "),
            bytes_as(most_bytes)
        );
        Ok(adapters)
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.files.iter().map(|file| file.name.clone()).collect()
    }

    /// Has the context compute with an adapter from its next batch on. Says whether that changes the output head.
    ///
    /// # Errors
    /// [`Error::ModelFile`] when it can't be loaded.
    pub(super) fn set(
        &mut self,
        adapter: Adapter,
        weights: &Weights,
        context: &Context,
    ) -> Result<bool, Error> {
        if adapter == self.set {
            return Ok(adapter.is_some_and(|number| self.files[number].changes_head));
        }
        let Some(number) = adapter else {
            hand_over(context, &mut []);
            self.set = None;
            return Ok(false);
        };
        let place = self.loaded.iter().position(|loaded| loaded.file == number);
        let loaded = match place {
            Some(place) => self.loaded.remove(place),
            None => {
                // What makes room may be what is set.
                hand_over(context, &mut []);
                self.set = None;
                self.make_room(number);
                self.files[number].load(number, weights)?
            }
        };
        hand_over(context, &mut [loaded.adapter.as_ptr()]);
        self.loaded.push(loaded);
        self.set = adapter;
        Ok(self.files[number].changes_head)
    }

    /// For one more, those used longest ago go.
    fn make_room(&mut self, number: usize) {
        let in_memory =
            |loaded: &[Loaded]| loaded.iter().map(|loaded| self.files[loaded.file].bytes).sum::<u64>();
        let most_bytes = self.most_bytes.saturating_sub(self.files[number].bytes);
        let mut gone = 0;
        while self.loaded.len() - gone >= self.most.max(1) || in_memory(&self.loaded[gone..]) > most_bytes {
            gone += 1;
        }
        for loaded in self.loaded.drain(..gone) {
            tracing::debug!(adapter = self.files[loaded.file].name, "an adapter goes out of memory");
        }
    }
}

impl File {
    fn load(&self, number: usize, weights: &Weights) -> Result<Loaded, Error> {
        let unusable = |reason: String| Error::ModelFile { path: self.path.clone(), reason };
        let path = CString::new(self.path.as_os_str().as_encoded_bytes())
            .map_err(|_| unusable("the path holds a NUL character".into()))?;
        take_complaints();
        // SAFETY: the model is alive; the path ends in NUL.
        let adapter = unsafe { sys::llama_adapter_lora_init(weights.as_ptr(), path.as_ptr()) };
        let adapter = NonNull::new(adapter)
            .ok_or_else(|| unusable(format!("llama.cpp can't load it: {}", take_complaints())))?;
        tracing::debug!(adapter = self.name, "an adapter is in memory");
        Ok(Loaded { file: number, adapter })
    }
}

/// Gives the context these adapters, at full strength, instead of those that it has.
fn hand_over(context: &Context, adapters: &mut [*mut sys::llama_adapter_lora]) {
    let mut scales = vec![1.0f32; adapters.len()];
    // SAFETY: both lists have as many entries, and what they name lives as long as the context has it: whoever frees an
    // adapter takes it away before.
    unsafe {
        sys::llama_set_adapters_lora(
            context.as_ptr(),
            adapters.as_mut_ptr(),
            adapters.len(),
            scales.as_mut_ptr(),
        );
    }
}
