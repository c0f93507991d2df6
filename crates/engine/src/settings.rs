//! How an engine of our own uses the machine.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Error;

/// Rows that llama.cpp's KV cache can have (`LLAMA_MAX_SEQ`).
const MAX_ROWS: usize = 256;

/// Bytes of a prompt that must find room in an empty queue: what some thousand tokens come to.
const LONG_PROMPT: usize = 64 << 10;

/// How the local engine uses the machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key that stands for itself")]
pub struct LocalSettings {
    /// Whether the server computes in a process of its own ([`crate::Process`]). [`crate::Local`] itself never does.
    pub process: bool,
    /// Threads that compute. None: one less than the cores where there are more than two, else all.
    pub threads: Option<usize>,
    /// Tokens that the KV cache holds for all requests together.
    pub context: usize,
    /// Tokens that are kept of requests that have ended, for others with the same beginning. Every one of them makes
    /// each step a little slower.
    pub cached_tokens: usize,
    /// Requests that write at the same time.
    pub running: usize,
    /// Requests that may wait; one more is refused.
    pub queue: usize,
    /// Bytes of the prompts of those that wait; what would make it more is refused.
    pub queue_bytes: usize,
    /// Tokens in one batch at most.
    pub step_tokens: usize,
    /// Tokens that prompts may add to a batch while others are writing.
    pub prefill_tokens: usize,
    /// Feed forced text as a run instead of token by token.
    pub jump_forward: bool,
    /// Compute the logits of the tokens that a slot allows instead of all. Off is only for comparing.
    pub head_for_candidates: bool,
    /// Attention by our own kernel, over the cells that a row sees. On the processor, with keys and values in half precision.
    pub attention_over_own_cells: bool,
    /// Products by our own kernel, where the processor has AVX-512 VNNI. Weights are held once more for it, as bytes.
    pub products_of_bytes: bool,
    /// A folder of LoRA adapters for this model, `NAME.gguf` each, which requests may ask for.
    pub adapters: Option<PathBuf>,
    /// Adapters that are in memory at the same time; the one used longest ago goes for another one.
    pub adapters_in_memory: usize,
    /// Bytes that they take there together at most.
    pub adapters_bytes: u64,
    /// Layers on the GPU, the output layer counted. None: as many as fit into its free memory.
    pub gpu_layers: Option<usize>,
    /// How keys and values are stored.
    pub kv_type: KvType,
    /// Use the model file's pages where they are instead of copying them into memory of the process.
    pub mmap: bool,
    /// Keep the weights from being paged out.
    pub mlock: bool,
}

/// A number type of the KV cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KvType {
    /// Two bytes a number.
    F16,
    /// Blocks of 32 numbers in 34 bytes.
    #[serde(rename = "q8_0")]
    Q8_0,
}

impl Default for LocalSettings {
    fn default() -> Self {
        Self {
            process: true,
            threads: None,
            context: 16_384,
            cached_tokens: 2048,
            running: 8,
            queue: 64,
            queue_bytes: 4 << 20,
            step_tokens: 512,
            prefill_tokens: 64,
            jump_forward: true,
            head_for_candidates: true,
            attention_over_own_cells: true,
            products_of_bytes: true,
            adapters: None,
            adapters_in_memory: 3,
            adapters_bytes: 256 << 20,
            gpu_layers: None,
            kv_type: KvType::F16,
            mmap: true,
            mlock: false,
        }
    }
}

impl LocalSettings {
    pub(crate) fn thread_count(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        self.threads.unwrap_or(if cores > 2 { cores - 1 } else { cores }).max(1)
    }

    /// Looks at what can be told without a model.
    ///
    /// # Errors
    /// [`Error::Unfit`] with the key whose value can't work.
    pub fn check(&self) -> Result<(), Error> {
        let least = [
            ("running", self.running, 1),
            ("context", self.context, 1),
            ("prefill_tokens", self.prefill_tokens, 1),
            ("adapters_in_memory", self.adapters_in_memory, 1),
            ("queue_bytes", self.queue_bytes, LONG_PROMPT),
            // Every request that writes needs a token in each step.
            ("step_tokens", self.step_tokens, self.running),
        ];
        for (key, value, least) in least {
            if value < least {
                return Err(Error::Unfit(format!("engine.{key} is {value}; it must be at least {least}")));
            }
        }
        if self.running > MAX_ROWS {
            let most = MAX_ROWS;
            return Err(Error::Unfit(format!(
                "engine.running is {}; it can be at most {most}",
                self.running
            )));
        }
        Ok(())
    }

    /// Rows of the KV cache: one for each running request, and as many again that keep prefixes.
    pub(crate) fn rows(&self) -> usize {
        (self.running * 2).min(MAX_ROWS)
    }
}
