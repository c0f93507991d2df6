//! A loaded model with its KV cache, and which of our kernels it computes with.

use std::path::Path;
use std::sync::Arc;

use llama_cpp_sys_2 as sys;

use super::adapters::Adapters;
use super::context::{Batch, Context};
use super::head::SharedHeadTap;
use super::vocab::LlamaTokenizer;
use super::{Weights, take_complaints};
use crate::model::{Adapter, Candidates, Entry, Model, SeqId};
use crate::settings::LocalSettings;
use crate::vocab::{Tokenizer, Vocab};
use crate::{Error, ModelInfo, gguf};

/// A model that llama.cpp runs.
pub(crate) struct LlamaModel {
    context: Context,
    /// The context computes with them: dropped after it.
    adapters: Adapters,
    /// The context calls it: dropped after it.
    tap: SharedHeadTap,
    /// The graph can end before the head, whose products are ours then.
    pub(super) head_alone: bool,
    /// The adapter that batches are computed with changes the head, so that all of the graph is computed.
    head_changed: bool,
    threads: usize,
    batch: Batch,
    vocab: Arc<Vocab>,
    tokenizer: Arc<LlamaTokenizer>,
    info: ModelInfo,
    n_vocab: usize,
    keeps_every_position: bool,
    /// Keeps the weights until after the context is gone: fields are dropped in this order.
    weights: Arc<Weights>,
}

/// Our kernels, and what they need of a processor.
const ATTENTION: (&str, &str) = ("our own attention", "AVX2, FMA and F16C");
const MATMUL: (&str, &str) = ("our own matmul", "AVX-512 VNNI");

/// Says whether something of ours is used with a model, and if not, why.
fn say(what: &str, learned: &Result<(), String>) -> bool {
    match learned {
        Ok(()) => tracing::info!("{what} is used"),
        Err(why) => tracing::warn!("{what} isn't used with this model: {why}"),
    }
    learned.is_ok()
}

impl LlamaModel {
    /// Loads a file that [`gguf::check`] has found whole, with as many layers on the GPU as the memory plan says.
    ///
    /// # Errors
    /// [`Error::ModelFile`] when the file's checksum differs or llama.cpp can't read it, [`Error::Native`] when
    /// llama.cpp gives no context.
    pub(crate) fn load(path: &Path, settings: &LocalSettings, gpu_layers: usize) -> Result<Self, Error> {
        gguf::verify_checksum(path)?;
        let adapters = Adapters::open(path, settings)?;
        let weights = Arc::new(Weights::load(path, settings, gpu_layers)?);
        let tap = SharedHeadTap::new();
        let context = Context::for_writing(&weights, settings, gpu_layers > 0, &tap)?;
        let tokenizer = Arc::new(LlamaTokenizer::new(weights.clone()));
        // SAFETY: plain look-ups in a model that is alive.
        let (parameters, n_vocab) = unsafe {
            let vocab = sys::llama_model_get_vocab(weights.as_ptr());
            (sys::llama_model_n_params(weights.as_ptr()), sys::llama_vocab_n_tokens(vocab) as usize)
        };
        // SAFETY: as above.
        let keeps_every_position = unsafe {
            !sys::llama_model_is_recurrent(weights.as_ptr()) && !sys::llama_model_is_hybrid(weights.as_ptr())
        };
        if !keeps_every_position {
            tracing::info!(
                "a recurrent or hybrid model: requests share no beginning, each prompt is computed whole"
            );
        }
        let id = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let info = ModelInfo {
            name: weights.metadata(c"general.name").unwrap_or_else(|| id.clone()),
            id,
            parameters,
            context: settings.context,
            chat_template: weights.metadata(c"tokenizer.chat_template"),
            bos: tokenizer.text(tokenizer.bos()),
            eos: tokenizer.text(tokenizer.eos()),
            adapters: adapters.names(),
        };
        let mut model = Self {
            context,
            adapters,
            tap,
            head_alone: false,
            head_changed: false,
            threads: settings.thread_count(),
            batch: Batch::new(settings.step_tokens),
            vocab: Arc::new(tokenizer.read()),
            tokenizer,
            info,
            n_vocab,
            keeps_every_position,
            weights,
        };
        if gpu_layers == 0 {
            model.learn(settings)?;
        } else {
            // A GPU computes the whole head in no time, and what our kernels read would be far away.
            tracing::info!(
                "layers are on a GPU: the whole head is computed, and none of our own kernels is used"
            );
        }
        Ok(model)
    }

    /// Finds out which of our shortcuts and kernels give for this model what llama.cpp gives, and uses those.
    fn learn(&mut self, settings: &LocalSettings) -> Result<(), Error> {
        if settings.head_for_candidates {
            let learned = self.learn_head()?;
            self.head_alone = say("the output head for the allowed tokens only", &learned);
        }
        let [attention, matmul] = [
            (ATTENTION, settings.attention_over_own_cells, leafresh_kernels::attention::is_possible()),
            (MATMUL, settings.products_of_bytes, leafresh_kernels::matmul::is_possible()),
        ]
        .map(|((kernel, needs), wanted, possible)| {
            if wanted && !possible {
                tracing::info!("{kernel} isn't used: it needs a processor with {needs}");
            }
            wanted && possible
        });
        if !attention && !matmul {
            return Ok(());
        }
        let learned = self.learn_kernels(settings.step_tokens, attention, matmul)?;
        for (asked, (kernel, _), learned) in
            [(attention, ATTENTION, &learned[0]), (matmul, MATMUL, &learned[1])]
        {
            if asked {
                say(kernel, learned);
            }
        }
        Ok(())
    }

    /// Computes one token with the whole graph, and leaves the head out from then on if ours says the same. Else: why not.
    fn learn_head(&mut self) -> Result<Result<(), String>, Error> {
        let token = self.tokenizer.bos().unwrap_or_default();
        self.tap.learn();
        self.decode(&[Entry { token, position: 0, sequence: 0, logits: true }])?;
        let logits = self.logits(0).to_vec();
        let learned = self.tap.cut(&logits);
        self.forget();
        Ok(learned)
    }

    /// Computes two short rows, and uses those of our kernels from then on that give what ggml's give in every layer:
    /// attention, matmul. Else: why not.
    fn learn_kernels(
        &mut self,
        step_tokens: usize,
        attention: bool,
        matmul: bool,
    ) -> Result<[Result<(), String>; 2], Error> {
        let each = step_tokens.min(32) / 2;
        let entry = |sequence, position| Entry {
            token: (1 + 37 * position + 101 * sequence as usize) as u32 % self.n_vocab as u32,
            position,
            sequence,
            logits: position + 1 == each,
        };
        let batch: Vec<Entry> =
            (0..2).flat_map(|sequence| (0..each).map(move |at| entry(sequence, at))).collect();
        self.tap.compare(matmul);
        let decoded = if batch.is_empty() { Ok(()) } else { self.decode(&batch) };
        let learned = self.tap.choose(attention);
        self.forget();
        decoded.map(|()| learned)
    }

    #[cfg(test)]
    pub(super) fn own_kernels(&mut self) -> (bool, bool) {
        self.tap.own_kernels()
    }

    /// As before the first batch: cells are given out from the first one on. Their order is the order of additions, in whose
    /// last bits texts differ.
    fn forget(&mut self) {
        // SAFETY: the memory belongs to the context, which computes nothing now.
        unsafe { sys::llama_memory_clear(sys::llama_get_memory(self.context.as_ptr()), false) }
    }

    /// The logits, `[n_vocab]`, behind an entry of the last batch that asked for them.
    fn logits(&self, entry: usize) -> &[f32] {
        // SAFETY: llama.cpp returns null or the row of n_vocab numbers for this entry of the last batch; they stay
        // until the next decode, which takes `&mut self`.
        unsafe {
            let row = sys::llama_get_logits_ith(self.context.as_ptr(), entry as i32);
            if row.is_null() { &[] } else { std::slice::from_raw_parts(row, self.n_vocab) }
        }
    }
}

impl Model for LlamaModel {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn vocab(&self) -> Arc<Vocab> {
        self.vocab.clone()
    }

    fn tokenizer(&self) -> Arc<dyn Tokenizer> {
        self.tokenizer.clone()
    }

    fn adapt(&mut self, adapter: Adapter) -> Result<(), Error> {
        let changes_head = self.adapters.set(adapter, &self.weights, &self.context)?;
        if self.head_alone && changes_head != self.head_changed {
            self.tap.end_before_head(!changes_head);
        }
        self.head_changed = changes_head;
        Ok(())
    }

    fn decode(&mut self, batch: &[Entry]) -> Result<(), Error> {
        self.batch.fill(batch);
        take_complaints();
        // SAFETY: the batch's arrays hold as many entries as it says.
        match unsafe { sys::llama_decode(self.context.as_ptr(), self.batch.view()) } {
            0 => Ok(()),
            1 => Err(Error::CacheFull),
            code => Err(Error::Native(format!("a batch failed ({code}): {}", take_complaints()))),
        }
    }

    fn score(&mut self, wanted: &mut [Candidates]) {
        if self.head_alone && !self.head_changed {
            let batch = &self.batch;
            return self.tap.score(wanted, self.threads, |entry| batch.output(entry));
        }
        for candidates in wanted {
            candidates.pick(self.logits(candidates.entry));
        }
    }

    fn keeps_every_position(&self) -> bool {
        self.keeps_every_position
    }

    fn clear(&mut self, sequence: SeqId) {
        // A whole sequence can always be removed.
        if !self.truncate(sequence, 0) {
            tracing::error!(sequence, "llama.cpp kept a sequence that should go");
        }
    }

    fn truncate(&mut self, sequence: SeqId, len: usize) -> bool {
        // SAFETY: the memory belongs to the context; an empty or unknown range is no error.
        unsafe {
            let memory = sys::llama_get_memory(self.context.as_ptr());
            sys::llama_memory_seq_rm(memory, sequence as i32, len as i32, -1)
        }
    }

    fn share(&mut self, from: SeqId, to: SeqId, len: usize) {
        // SAFETY: as above; both rows are below the context's n_seq_max.
        unsafe {
            let memory = sys::llama_get_memory(self.context.as_ptr());
            sys::llama_memory_seq_cp(memory, from as i32, to as i32, 0, len as i32);
        }
    }
}
