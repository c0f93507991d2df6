//! An embedding model: a context of its own, so that a question's vector doesn't wait for those who write.

mod tap;

use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};

use llama_cpp_sys_2 as sys;

use self::tap::{MiddleTap, SharedMatmuls};
use super::context::{Batch, Context};
use super::pool::Pool;
use super::{Weights, take_complaints};
use crate::gguf::Header;
use crate::model::Entry;
use crate::{Embedder, EmbedderInfo, Embedding, Error, gguf};

/// Texts in one batch at most: llama.cpp makes room for as many vectors.
const MOST_TEXTS: usize = 64;

/// How an embedding model uses the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EmbeddingSettings {
    /// Batches that are computed at the same time, each on a thread and in a context of its own. One doesn't get into the way
    /// of the language model; two index a corpus almost twice as fast.
    pub threads: usize,
    /// Tokens in one batch. Of several short texts as many as fit are computed at once; a longer one gets a batch of its own.
    pub step_tokens: usize,
    /// Multiply quantised weights by our own kernel where the processor can and it gives what ggml's gives.
    pub own_matmul: bool,
}

impl Default for EmbeddingSettings {
    fn default() -> Self {
        Self { threads: 1, step_tokens: 128, own_matmul: true }
    }
}

/// A GGUF embedding model in this process.
pub struct LlamaEmbedder {
    contexts: Pool<Computing>,
    /// The contexts call them.
    _matmuls: Option<Box<SharedMatmuls>>,
    step_tokens: usize,
    info: EmbedderInfo,
    /// Dropped last: the contexts use them.
    weights: Weights,
}

struct Computing {
    context: Context,
    batch: Batch,
    /// Dropped behind the context, which calls it.
    tap: MiddleTap,
}

impl std::fmt::Debug for LlamaEmbedder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LlamaEmbedder").field("info", &self.info).finish_non_exhaustive()
    }
}

impl LlamaEmbedder {
    /// Loads a file after checking it as [`gguf::check`] and [`gguf::verify_checksum`] do.
    ///
    /// # Errors
    /// [`Error::ModelFile`] when it isn't a whole embedding model, [`Error::Native`] when llama.cpp gives no context.
    pub fn load(path: &Path, settings: &EmbeddingSettings) -> Result<Self, Error> {
        let (info, header) = describe(path)?;
        let own_matmul = settings.own_matmul && leafresh_kernels::matmul::is_possible();
        let matmuls: Option<Box<SharedMatmuls>> = own_matmul.then(Box::default);
        let weights = Weights::open(path, |params| {
            params.n_gpu_layers = 0;
            params.load_mode = sys::LLAMA_LOAD_MODE_AUTO;
            // ggml would put them in an order of its own.
            params.use_extra_bufts &= matmuls.is_none();
        })?;
        let step_tokens = settings.step_tokens.max(info.longest);
        let computing = || {
            let tap = MiddleTap::new(header.block_count, matmuls.as_deref());
            let context = new_context(&weights, step_tokens, &tap)?;
            Ok(Computing { context, batch: Batch::new(step_tokens), tap })
        };
        let mut contexts =
            (0..settings.threads.max(1)).map(|_| computing()).collect::<Result<Vec<_>, Error>>()?;
        let dimension = info.dimension;
        if let (Some(matmuls), Some(first)) = (&matmuls, contexts.first_mut()) {
            // Any text will do: two of different lengths.
            let token = |number: usize| ((1 + 41 * number) % header.vocabulary) as u32;
            let texts = [17, 5].map(|length| (0..length).map(token).collect::<Vec<u32>>());
            matmuls.lock().compare();
            first.embed(&texts, dimension)?;
            match matmuls.lock().decide() {
                Ok(()) => tracing::info!("our own matmul is used with the embedding model"),
                Err(why) => tracing::warn!("our own matmul isn't used with the embedding model: {why}"),
            }
        }
        Ok(Self {
            contexts: Pool::new(contexts),
            _matmuls: matmuls,
            step_tokens: settings.step_tokens,
            info,
            weights,
        })
    }

    /// The text's tokens with those that begin and end one; special tokens in it are plain text.
    fn tokenize(&self, text: &str) -> Vec<u32> {
        let mut tokens = vec![0; text.len() + 8];
        loop {
            // SAFETY: both buffers are as long as stated. Tokenising reads the vocabulary only.
            let count = unsafe {
                sys::llama_tokenize(
                    sys::llama_model_get_vocab(self.weights.as_ptr()),
                    text.as_ptr().cast(),
                    text.len() as i32,
                    tokens.as_mut_ptr(),
                    tokens.len() as i32,
                    true,
                    false,
                )
            };
            if let Ok(count) = usize::try_from(count) {
                tokens.truncate(count);
                return tokens.into_iter().map(|token| token as u32).collect();
            }
            tokens.resize(count.unsigned_abs() as usize, 0);
        }
    }

    /// What the model looks at: the beginning, and the last token, which marks the end.
    fn cut(&self, mut tokens: Vec<u32>) -> Vec<u32> {
        if tokens.len() > self.info.longest {
            tokens[self.info.longest - 1] = tokens[tokens.len() - 1];
            tokens.truncate(self.info.longest);
        }
        tokens
    }
}

impl Embedder for LlamaEmbedder {
    fn embed(&self, texts: &[&str]) -> Result<Vec<Embedding>, Error> {
        let tokens: Vec<_> = texts.iter().map(|text| self.cut(self.tokenize(text))).collect();
        let batches = batches(&tokens, self.step_tokens);
        let next = AtomicUsize::new(0);
        // Batches, each with its number, as long as there are some left.
        let compute = || {
            let mut done = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(batch) = batches.get(number) else { return Ok(done) };
                done.push((number, self.contexts.take().embed(batch, self.info.dimension)?));
            }
        };
        let mut done = std::thread::scope(|scope| {
            let others: Vec<_> =
                (1..self.contexts.len().min(batches.len())).map(|_| scope.spawn(compute)).collect();
            let mut done: Vec<_> = compute()?;
            for other in others {
                done.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
            }
            Ok::<_, Error>(done)
        })?;
        done.sort_unstable_by_key(|(number, _)| *number);
        Ok(done.into_iter().flat_map(|(_, embeddings)| embeddings).collect())
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.tokenize(text).len()
    }

    fn info(&self) -> &EmbedderInfo {
        &self.info
    }
}

/// Texts that are computed together: as many as fit, at least one.
fn batches(texts: &[Vec<u32>], step_tokens: usize) -> Vec<&[Vec<u32>]> {
    let mut batches = Vec::new();
    let mut rest = texts;
    while !rest.is_empty() {
        let mut tokens = 0;
        let fit = rest.iter().take(MOST_TEXTS).take_while(|text| {
            tokens += text.len();
            tokens <= step_tokens
        });
        let (batch, later) = rest.split_at(fit.count().max(1));
        batches.push(batch);
        rest = later;
    }
    batches
}

impl Computing {
    fn embed(&mut self, texts: &[Vec<u32>], dimension: usize) -> Result<Vec<Embedding>, Error> {
        let entries: Vec<Entry> = texts
            .iter()
            .enumerate()
            .flat_map(|(sequence, tokens)| {
                tokens.iter().enumerate().map(move |(position, &token)| Entry {
                    token,
                    position,
                    sequence: sequence as u32,
                    logits: true,
                })
            })
            .collect();
        self.batch.fill(&entries);
        self.tap.clear();
        take_complaints();
        let context = self.context.as_ptr();
        // SAFETY: the batch's arrays hold as many entries as it says. Models without a KV cache have no memory, which is
        // null then; others forget the texts before.
        let code = unsafe {
            let memory = sys::llama_get_memory(context);
            if !memory.is_null() {
                sys::llama_memory_clear(memory, false);
            }
            sys::llama_decode(context, self.batch.view())
        };
        if code != 0 {
            return Err(Error::Native(format!("embedding failed ({code}): {}", take_complaints())));
        }
        let lengths: Vec<usize> = texts.iter().map(Vec::len).collect();
        let inner = means(self.tap.rows(), &lengths, dimension);
        inner
            .into_iter()
            .enumerate()
            .map(|(sequence, inner)| {
                // SAFETY: llama.cpp returns null or the pooled vector of this sequence; it stays until the next decode.
                let vector = unsafe {
                    let vector = sys::llama_get_embeddings_seq(context, sequence as i32);
                    if vector.is_null() { &[] } else { std::slice::from_raw_parts(vector, dimension) }
                };
                let meaning = normalized(vector).ok_or(Error::NonFinite)?;
                Ok(Embedding { meaning, inner })
            })
            .collect()
    }
}

/// The mean direction of each text's tokens, whose rows stand one behind the other. Empty for all of them where there aren't as
/// many rows of this width: the model doesn't show them, or shows something else.
fn means(rows: &[f32], lengths: &[usize], dimension: usize) -> Vec<Vec<f32>> {
    if rows.len() != lengths.iter().sum::<usize>() * dimension {
        return vec![Vec::new(); lengths.len()];
    }
    let mut rows = rows.chunks_exact(dimension);
    let mean = |&length: &usize| {
        let mut sum = vec![0.0; dimension];
        for row in rows.by_ref().take(length) {
            for (sum, value) in sum.iter_mut().zip(row) {
                *sum += value;
            }
        }
        normalized(&sum).unwrap_or_default()
    };
    lengths.iter().map(mean).collect()
}

/// The vector of length 1 in the same direction. None when it has none.
fn normalized(vector: &[f32]) -> Option<Vec<f32>> {
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    (length.is_finite() && length > 0.0).then(|| vector.iter().map(|x| x / length).collect())
}

fn new_context(weights: &Weights, tokens: usize, tap: &MiddleTap) -> Result<Context, Error> {
    take_complaints();
    // SAFETY: the model is alive; the parameters are llama.cpp's defaults with numbers changed.
    let context = unsafe {
        let mut params = sys::llama_context_default_params();
        params.n_ctx = tokens as u32;
        params.n_batch = tokens as u32;
        // What isn't causal is computed in one piece.
        params.n_ubatch = tokens as u32;
        params.n_seq_max = MOST_TEXTS as u32;
        params.n_threads = 1;
        params.n_threads_batch = 1;
        params.embeddings = true;
        params.kv_unified = true;
        params.no_perf = true;
        // No layer is on a GPU, and no single operation either: our kernels read the processor's memory.
        params.op_offload = false;
        tap.install(&mut params);
        sys::llama_init_from_model(weights.as_ptr(), params)
    };
    let context = NonNull::new(context);
    context.map(Context::new).ok_or_else(|| {
        Error::Native(format!("no context of {tokens} tokens for embeddings: {}", take_complaints()))
    })
}

/// What an embedding model's file says of itself, without loading it. Reads all of it for the fingerprint: a second for a
/// gigabyte.
///
/// # Errors
/// [`Error::ModelFile`] when it isn't a whole embedding model, or another file than the checksum beside it says.
pub fn describe_embedder(path: &Path) -> Result<EmbedderInfo, Error> {
    Ok(describe(path)?.0)
}

fn describe(path: &Path) -> Result<(EmbedderInfo, Header), Error> {
    let unusable = |reason: String| Error::ModelFile { path: path.to_owned(), reason };
    let mut header = gguf::check(path)?;
    let pooling = header.metadata.number(&format!("{}.pooling_type", header.architecture));
    check_pooling(pooling.map_err(unusable)?).map_err(unusable)?;
    let fingerprint = match gguf::verify_checksum(path)? {
        Some(verified) => verified.sha256,
        None => gguf::checksum(path)?.sha256,
    };
    let id = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let info = EmbedderInfo {
        name: header.name.take().unwrap_or_else(|| id.clone()),
        id,
        fingerprint,
        dimension: header.embedding_length,
        longest: header.context_length,
    };
    Ok((info, header))
}

/// A vector for a text is made of those for its tokens, in a way that the file names (`llama_pooling_type`).
fn check_pooling(kind: Option<u64>) -> Result<(), String> {
    match kind {
        Some(1..=3) => Ok(()),
        Some(4) => Err("is a reranking model; expected one that makes vectors of texts".into()),
        _ => Err("is no embedding model: it doesn't say how the vector of a text is made (`pooling_type`). Language models \
                  write; this has to be one that makes vectors, such as multilingual-e5-small"
            .into()),
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST_TEXTS, batches, check_pooling, means, normalized};

    #[test]
    fn short_texts_share_a_batch_and_a_long_one_gets_its_own() {
        let sizes = |lengths: &[usize]| {
            let texts: Vec<Vec<u32>> = lengths.iter().map(|&length| vec![0; length]).collect();
            batches(&texts, 512).iter().map(|batch| batch.len()).collect::<Vec<_>>()
        };
        assert_eq!(sizes(&[100, 100, 100, 300, 212]), [3, 2]);
        assert_eq!(sizes(&[600, 10, 512, 1]), [1, 1, 1, 1]);
        assert_eq!(sizes(&[1; 100]), [MOST_TEXTS, 100 - MOST_TEXTS]);
        assert!(sizes(&[]).is_empty());
    }

    #[test]
    fn vectors_get_length_one_and_what_has_no_direction_is_refused() {
        assert_eq!(normalized(&[3.0, 4.0]), Some(vec![0.6, 0.8]));
        for bad in [&[0.0, 0.0][..], &[f32::NAN, 1.0], &[f32::INFINITY, 1.0], &[]] {
            assert_eq!(normalized(bad), None);
        }
    }

    #[test]
    fn each_text_gets_the_mean_of_its_own_tokens_and_none_where_rows_are_missing() {
        let rows = [2.0, 0.0, 0.0, 2.0, 0.0, -3.0];
        let half = 0.5f32.sqrt();
        assert_eq!(means(&rows, &[2, 1], 2), [vec![half, half], vec![0.0, -1.0]]);
        for (rows, lengths, dimension) in
            [(&rows[..], &[2, 2][..], 2), (&rows, &[2, 1], 3), (&[], &[2, 1], 2)]
        {
            assert_eq!(means(rows, lengths, dimension), [[0.0f32; 0]; 2]);
        }
        assert_eq!(means(&[1.0, 0.0, -1.0, 0.0], &[2], 2), [[0.0f32; 0]], "no direction");
    }

    #[test]
    fn a_model_that_makes_no_vectors_is_refused() {
        assert!(check_pooling(Some(1)).is_ok());
        assert!(check_pooling(None).unwrap_err().contains("no embedding model"));
        assert!(check_pooling(Some(4)).unwrap_err().contains("rerank"));
    }
}
