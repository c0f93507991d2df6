//! The memory plan: what a model will take, against what is free, before anything is loaded.
//!
//! Without it the kernel's out-of-memory killer ends the process minutes into a load, or in the middle of an answer.
//! Everything is computed from the file's header and the settings; what can't be known from there (llama.cpp's scratch,
//! the vocabularies' tables) is estimated, and the estimates are held against llama.cpp's own figures by a test.

mod available;
mod bytes;
mod cgroup;
mod disk;
mod needs;
mod placement;
mod refusal;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::Serialize;

pub use available::{Available, Free, Gpu};
pub use bytes::bytes_as;
pub use disk::{disk_free, require_disk};
pub(crate) use needs::MOST_AS_BYTES;

use crate::gguf::Header;
use crate::{Error, KvType, LocalSettings};
use needs::Needs;

/// Where a model's memory goes. All sizes are bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    pub host: Host,
    /// Those that get layers; none on a machine without a GPU.
    pub gpus: Vec<OnGpu>,
    /// Layers on GPUs, and all of them; both with the output layer.
    pub gpu_layers: usize,
    pub layers: usize,
    /// Tokens that the KV cache holds, and how its numbers are stored.
    pub context: usize,
    pub kv_type: KvType,
    /// What one token takes of the KV cache, over all layers.
    pub kv_per_token: u64,
    /// What an operator should know though it fits.
    pub notes: Vec<String>,
}

/// The machine's own memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Host {
    pub weights: u64,
    /// How much of the weights is memory of the process: copies in the order of llama.cpp's kernels, or all of them
    /// without `mmap`. The rest is page cache, the file's own pages.
    pub copied_weights: u64,
    /// The weights once more, for products on the processor.
    pub weights_as_bytes: u64,
    /// Adapters that may be in memory together.
    pub adapters: u64,
    pub kv: u64,
    /// Logits, a row for each sequence that samples.
    pub output_rows: u64,
    /// What a step computes in. An estimate.
    pub scratch: u64,
    /// Our tables of what tokens spell, and llama.cpp's. An estimate.
    pub vocabulary: u64,
    /// The server around the model. An estimate.
    pub process: u64,
    pub free: u64,
    /// What `free` was read from.
    pub limited_by: String,
}

/// A GPU's share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OnGpu {
    pub name: String,
    pub layers: usize,
    pub weights: u64,
    pub kv: u64,
    /// An estimate.
    pub scratch: u64,
    /// Left to the driver.
    pub reserve: u64,
    pub free: u64,
}

impl Host {
    pub fn needed(&self) -> u64 {
        let computing = self.kv + self.output_rows + self.scratch;
        self.weights + self.weights_as_bytes + self.adapters + computing + self.vocabulary + self.process
    }
}

impl OnGpu {
    pub fn needed(&self) -> u64 {
        self.weights + self.kv + self.scratch + self.reserve
    }
}

/// Places a model: as many layers as fit (or as `engine.gpu_layers` says) on the GPUs, the rest in the machine's memory.
///
/// # Errors
/// [`Error::NoRoom`] with the figures and what to change, when a part doesn't fit; [`Error::Unfit`] when the model's
/// heads can't be stored as `engine.kv_type`.
pub fn plan(header: &Header, settings: &LocalSettings, available: &Available) -> Result<Plan, Error> {
    let needs = Needs::new(header, settings, available)?;
    let plan = placement::place(&needs, settings, available)?;
    if plan.host.needed() > plan.host.free {
        return Err(refusal::host(&plan, header, settings, available));
    }
    Ok(plan)
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = &self.host;
        write!(
            f,
            "{} of {} that are free ({}): {}",
            bytes_as(host.needed()),
            bytes_as(host.free),
            host.limited_by,
            self.host_parts()
        )?;
        for gpu in &self.gpus {
            write!(
                f,
                "; {} of {} that are free on {}: {} layers {}, KV cache {}, scratch about {}, reserve {}",
                bytes_as(gpu.needed()),
                bytes_as(gpu.free),
                gpu.name,
                gpu.layers,
                bytes_as(gpu.weights),
                bytes_as(gpu.kv),
                bytes_as(gpu.scratch),
                bytes_as(gpu.reserve)
            )?;
        }
        Ok(())
    }
}

impl Plan {
    fn host_parts(&self) -> String {
        let host = &self.host;
        let kind = match self.kv_type {
            KvType::F16 => "f16",
            KvType::Q8_0 => "q8_0",
        };
        let adapters = match host.adapters {
            0 => String::new(),
            bytes => format!("adapters {}, ", bytes_as(bytes)),
        };
        format!(
            "weights {} ({} of them copied), once more as bytes {}, {adapters}KV cache {} ({} tokens, {kind}, {} each), output rows {}, scratch about \
             {}, vocabulary about {}, the program itself about {}",
            bytes_as(host.weights),
            bytes_as(host.copied_weights),
            bytes_as(host.weights_as_bytes),
            bytes_as(host.kv),
            self.context,
            bytes_as(self.kv_per_token),
            bytes_as(host.output_rows),
            bytes_as(host.scratch),
            bytes_as(host.vocabulary),
            bytes_as(host.process)
        )
    }
}
