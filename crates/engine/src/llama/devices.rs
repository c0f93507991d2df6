//! What llama.cpp can compute on, and the memory that is free there.

use std::ffi::CStr;

use llama_cpp_sys_2 as sys;

use super::{cpu, start};
use crate::Error;
use crate::memory::{Available, Free, Gpu};

impl Available {
    /// What this process may still take of the machine, its control groups and its GPUs.
    ///
    /// # Errors
    /// [`Error::Processor`] when llama.cpp can't run on this processor.
    pub fn here() -> Result<Self, Error> {
        start()?;
        let devices = devices();
        let of_kind = |kind| devices.iter().filter(move |device| device.kind == kind);
        let host = of_kind(sys::GGML_BACKEND_DEVICE_TYPE_CPU).next().map_or(0, |device| device.gpu.free);
        // As llama.cpp chooses them: a GPU that is part of the processor counts only where there is no other.
        let mut gpus: Vec<_> = of_kind(sys::GGML_BACKEND_DEVICE_TYPE_GPU).collect();
        if gpus.is_empty() {
            gpus = of_kind(sys::GGML_BACKEND_DEVICE_TYPE_IGPU).take(1).collect();
        }
        Ok(Self {
            memory: Free::here().unwrap_or_else(|| Free::unlimited(host)),
            gpus: gpus.into_iter().map(|device| device.gpu.clone()).collect(),
            repacked: cpu::repacked_types().to_vec(),
            byte_products: leafresh_kernels::matmul::is_possible(),
        })
    }
}

struct Device {
    kind: sys::ggml_backend_dev_type,
    gpu: Gpu,
}

fn devices() -> Vec<Device> {
    // SAFETY: the backends are registered; indices below the count are valid, names are static strings that end in NUL.
    unsafe {
        (0..sys::ggml_backend_dev_count())
            .map(|index| {
                let device = sys::ggml_backend_dev_get(index);
                let (mut free, mut total) = (0, 0);
                sys::ggml_backend_dev_memory(device, &raw mut free, &raw mut total);
                let text = |text| CStr::from_ptr(text).to_string_lossy().into_owned();
                let name = text(sys::ggml_backend_dev_name(device));
                let description = text(sys::ggml_backend_dev_description(device));
                Device {
                    kind: sys::ggml_backend_dev_type(device),
                    gpu: Gpu { name: format!("{name} ({description})"), free: free as u64 },
                }
            })
            .collect()
    }
}
