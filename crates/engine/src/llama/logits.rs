//! What a model file says comes next, for comparing it with another one.

use std::path::Path;

use super::LlamaModel;
use crate::model::{Candidates, Entry, Model};
use crate::settings::LocalSettings;
use crate::vocab::Token;
use crate::{Error, gguf};

/// The logits of `tokens` behind each text, by llama.cpp alone: none of our kernels, and the whole head. Loads the model, and
/// computes on the processor.
///
/// # Errors
/// [`Error::ModelFile`] when the file can't be used, [`Error::Unfit`] when a text is longer than the context, [`Error::Native`]
/// when llama.cpp fails.
pub fn logits_behind(
    path: &Path,
    settings: &LocalSettings,
    texts: &[String],
    tokens: &[Token],
) -> Result<Vec<Vec<f32>>, Error> {
    gguf::check(path)?;
    let plain = LocalSettings {
        head_for_candidates: false,
        attention_over_own_cells: false,
        products_of_bytes: false,
        ..settings.clone()
    };
    let mut model = LlamaModel::load(path, &plain, 0)?;
    let (tokenizer, bos) = (model.tokenizer(), model.vocab().bos());
    let mut behind = Vec::new();
    for text in texts {
        let mut written: Vec<Token> = bos.into_iter().collect();
        written.extend(tokenizer.tokenize(text, false));
        if written.len() > settings.context {
            let (length, most) = (written.len(), settings.context);
            return Err(Error::Unfit(format!("a text of {length} tokens; the context has {most}")));
        }
        behind.push(model.logits_of(&written, settings.step_tokens, tokens)?);
    }
    Ok(behind)
}

impl LlamaModel {
    /// The logits of `tokens` behind a text, which is computed anew.
    fn logits_of(&mut self, text: &[Token], step: usize, tokens: &[Token]) -> Result<Vec<f32>, Error> {
        self.clear(0);
        let entries = text.iter().enumerate().map(|(position, &token)| Entry {
            token,
            position,
            sequence: 0,
            logits: position + 1 == text.len(),
        });
        let entries: Vec<Entry> = entries.collect();
        let mut last = 0;
        for batch in entries.chunks(step.max(1)) {
            self.decode(batch)?;
            last = batch.len().saturating_sub(1);
        }
        let mut wanted = [Candidates { entry: last, tokens: tokens.into(), ..Candidates::default() }];
        self.score(&mut wanted);
        let [Candidates { logits, .. }] = wanted;
        Ok(logits)
    }
}
