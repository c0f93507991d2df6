//! What a model takes, layer by layer, from its header and the settings.

use super::Available;
use crate::gguf::{self, Header, TensorInfo, Value};
use crate::{Error, KvType, LocalSettings};

/// llama.cpp rounds the context up to a multiple of this.
const CONTEXT_STEP: usize = 256;

/// Bytes of one token in the vocabulary's tables, ours and llama.cpp's. Measured: 430 (gemma-3, 262,144 tokens) and 440
/// (SmolLM2, 49,152 tokens).
const VOCABULARY_BYTES: u64 = 512;

/// The server before it holds a model, with the requests of a full queue.
const PROCESS: u64 = 48 << 20;

/// Weights as bytes at most; models with more go without.
pub(crate) const MOST_AS_BYTES: u64 = 1 << 30;

pub(super) struct Needs {
    /// From the first to the last, then the output layer.
    pub(super) layers: Vec<Layer>,
    /// Weights that stay in the machine's memory wherever the layers are: the embedding table and what belongs to none.
    pub(super) input: u64,
    /// KV cells, rounded as llama.cpp rounds them.
    pub(super) context: usize,
    pub(super) kv_per_token: u64,
    pub(super) output_rows: u64,
    pub(super) scratch: Scratch,
    pub(super) vocabulary: u64,
    pub(super) process: u64,
    /// The weights of all blocks once more as bytes, for products on the processor.
    pub(super) as_bytes: u64,
    /// As many adapters as may be in memory together.
    pub(super) adapters: u64,
    /// Whether the weights in the machine's memory are the file's own pages.
    pub(super) mapped: bool,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Layer {
    pub(super) weights: u64,
    /// Of the weights, what llama.cpp would copy into another order on the CPU.
    pub(super) repacked: u64,
    /// The embedding table used as the output layer once more: no bytes of their own where the table already is.
    pub(super) tied: u64,
    pub(super) kv: u64,
    /// The largest tensor: a GPU takes it in when it computes a layer that is on the CPU.
    pub(super) largest: u64,
}

/// What a step computes in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scratch {
    /// All of it, on a device that computes layers.
    pub(super) whole: u64,
    /// What prepares the inputs for layers that are elsewhere.
    pub(super) inputs: u64,
}

impl Needs {
    pub(super) fn new(
        header: &Header,
        settings: &LocalSettings,
        available: &Available,
    ) -> Result<Self, Error> {
        let context = settings.context.next_multiple_of(CONTEXT_STEP);
        let mut layers = vec![Layer::default(); header.block_count + 1];
        let mut input = 0;
        let output = header.block_count;
        for tensor in &header.tensors {
            match layer_of(&tensor.name, header.block_count) {
                Some(index) => layers[index].add(tensor, &available.repacked),
                None => input += tensor.bytes,
            }
        }
        if !header.tensors.iter().any(|tensor| tensor.name == "output.weight") {
            let table = header.tensors.iter().find(|tensor| tensor.name == "token_embd.weight");
            layers[output].tie(table, &available.repacked);
        }
        let as_bytes = if settings.products_of_bytes && available.byte_products {
            let blocks = header.tensors.iter().filter(|tensor| tensor.name.starts_with("blk."));
            let matrices = blocks.filter(|tensor| !is_repacked(tensor, &available.repacked));
            matrices.filter_map(bytes_of_weights).sum()
        } else {
            0
        };
        let mut kv_per_token = 0;
        for (index, layer) in layers.iter_mut().take(header.block_count).enumerate() {
            let bytes = kv_bytes(header, index, settings.kv_type)?;
            layer.kv = bytes * context as u64;
            kv_per_token += bytes;
        }
        Ok(Self {
            layers,
            input,
            context,
            kv_per_token,
            output_rows: settings.rows() as u64 * header.vocabulary as u64 * 4,
            scratch: Scratch::new(header, settings, context),
            vocabulary: header.vocabulary as u64 * VOCABULARY_BYTES,
            process: PROCESS,
            as_bytes: if as_bytes > MOST_AS_BYTES { 0 } else { as_bytes },
            adapters: adapters(settings)?,
            mapped: settings.mmap,
        })
    }
}

/// The largest ones that may be in memory together: about what their files take.
fn adapters(settings: &LocalSettings) -> Result<u64, Error> {
    let found = gguf::adapters(settings.adapters.as_deref())?;
    let mut bytes: Vec<u64> =
        found.iter().map(|(_, path)| std::fs::metadata(path).map_or(0, |file| file.len())).collect();
    bytes.sort_unstable_by(|a, b| b.cmp(a));
    Ok(bytes.iter().take(settings.adapters_in_memory).sum::<u64>().min(settings.adapters_bytes))
}

impl Layer {
    fn add(&mut self, tensor: &TensorInfo, repacked: &[&str]) {
        self.weights += tensor.bytes;
        self.largest = self.largest.max(tensor.bytes);
        if is_repacked(tensor, repacked) {
            self.repacked += tensor.bytes;
        }
    }

    fn tie(&mut self, table: Option<&TensorInfo>, repacked: &[&str]) {
        let Some(table) = table else { return };
        self.tied = table.bytes;
        self.largest = self.largest.max(table.bytes);
        if is_repacked(table, repacked) {
            self.repacked += table.bytes;
        }
    }
}

/// The layer that a tensor is placed with; None for those that stay with the CPU.
fn layer_of(name: &str, blocks: usize) -> Option<usize> {
    if let Some(rest) = name.strip_prefix("blk.") {
        let (number, _) = rest.split_once('.')?;
        return number.parse().ok().filter(|&number| number < blocks);
    }
    name.starts_with("output").then_some(blocks)
}

/// llama.cpp copies matrices of certain types whose rows come in eights (`ggml_repack_get_optimal_repack_type`).
fn is_repacked(tensor: &TensorInfo, types: &[&str]) -> bool {
    let rows = tensor.dims.get(1).copied().unwrap_or(1);
    tensor.dims.len() >= 2 && rows.is_multiple_of(8) && types.contains(&tensor.kind.name)
}

/// A byte for each of a matrix's weights, with two numbers for 32 of them. None: they aren't held as bytes.
fn bytes_of_weights(tensor: &TensorInfo) -> Option<u64> {
    let &[inputs, outputs] = &tensor.dims[..] else { return None };
    let fits = tensor.kind.block > 1 && inputs.is_multiple_of(32) && outputs.is_multiple_of(16);
    fits.then(|| inputs * outputs / 32 * (32 + 8))
}

/// What one token takes in one block's cache.
fn kv_bytes(header: &Header, block: usize, kind: KvType) -> Result<u64, Error> {
    let number = |key: &str| match header.metadata.get(&format!("{}.attention.{key}", header.architecture)) {
        Some(&Value::Integer(number)) => usize::try_from(number).ok(),
        _ => None,
    };
    // The last blocks of some models read the cache of earlier ones.
    let shared = number("shared_kv_layers").unwrap_or(0);
    if block >= header.block_count.saturating_sub(shared) {
        return Ok(0);
    }
    let (mut key, mut value) = (header.key_length, header.value_length);
    if slides(header, block) {
        key = number("key_length_swa").unwrap_or(key);
        value = number("value_length_swa").unwrap_or(value);
    }
    let heads = header.kv_heads[block] as u64;
    if kind == KvType::Q8_0 && heads > 0 && !(key.is_multiple_of(32) && value.is_multiple_of(32)) {
        return Err(Error::Unfit(format!(
            "engine.kv_type is \"q8_0\", which stores blocks of 32 numbers, but this model's heads have {key} and \
             {value}; use \"f16\""
        )));
    }
    let stored = |numbers: usize| match kind {
        KvType::F16 => numbers as u64 * 2,
        KvType::Q8_0 => numbers as u64 / 32 * 34,
    };
    Ok(heads * (stored(key) + stored(value)))
}

/// Whether a block looks back at a window only, where the file says so block by block.
fn slides(header: &Header, block: usize) -> bool {
    let key = format!("{}.attention.sliding_window_pattern", header.architecture);
    match header.metadata.get(&key) {
        Some(Value::Integers(pattern)) => pattern.get(block).is_some_and(|&slides| slides != 0),
        _ => false,
    }
}

impl Scratch {
    /// llama.cpp's compute buffer. Its parts were found by varying one setting after the other (llama.cpp of
    /// llama-cpp-sys-2 0.1.160, flash attention on), and give its figure to the kibibyte for gemma-3 and Llama models:
    /// masks of 16-bit numbers for every cell and token of a step, one for all full and one for all sliding layers;
    /// the activations; and the logits, which take the masks' place when they fit there.
    fn new(header: &Header, settings: &LocalSettings, context: usize) -> Self {
        let tokens = settings.step_tokens as u64;
        let rows = (settings.rows().min(settings.step_tokens)) as u64;
        let kinds_of_layer = if header.sliding_window.is_some() { 2 } else { 1 };
        let masks = context as u64 * tokens * 2 * kinds_of_layer;
        // Of 32-bit numbers: the residual stream and its copies, and what a feed-forward or attention block holds.
        let residual = 5 * header.embedding_length as u64 * 4 * tokens;
        let activations = residual + 3 * widest(header) * 4 * tokens;
        let logits = rows * header.vocabulary as u64 * 4;
        let computing = if logits <= masks { activations } else { activations.max(logits + residual) };
        // Numbers of positions, cells and rows.
        let indices = 64 * tokens;
        Self { whole: masks + computing + indices, inputs: masks + residual + indices }
    }
}

/// Numbers that the widest part of a block holds for one token.
fn widest(header: &Header) -> u64 {
    let number = |key: &str| match header.metadata.get(&format!("{}.{key}", header.architecture)) {
        Some(Value::Integer(number)) => u64::try_from(*number).unwrap_or(0),
        Some(Value::Integers(list)) => {
            list.iter().copied().max().and_then(|most| u64::try_from(most).ok()).unwrap_or(0)
        }
        _ => 0,
    };
    let experts = number("expert_feed_forward_length") * number("expert_used_count");
    let heads = header.heads.iter().copied().max().unwrap_or(0) as u64;
    let attention = heads * header.key_length.max(header.value_length) as u64;
    number("feed_forward_length").max(experts).max(attention)
}
