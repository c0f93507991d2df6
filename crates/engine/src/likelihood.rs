//! How likely a model finds texts, without writing any: for measuring what it would choose.

use std::path::Path;
use std::sync::Arc;

use crate::llama::LlamaModel;
use crate::model::{Candidates, Entry, Model};
use crate::sequence::prompt_tokens;
use crate::vocab::{Token, Tokenizer, Vocab};
use crate::{Error, LocalSettings, Prompt, gguf};

/// Computes likelihoods, one text after the other. What prompts have in common is computed once.
pub struct Scorer {
    model: Box<dyn Model>,
    vocab: Arc<Vocab>,
    tokenizer: Arc<dyn Tokenizer>,
    /// Every token: a likelihood is a share of all that might come.
    all: Arc<[Token]>,
    /// Tokens of a batch at most behind which logits are wanted, and at most altogether.
    outputs: usize,
    step_tokens: usize,
    /// What the model's row holds.
    held: Vec<Token>,
}

/// How likely a text is behind a prompt.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Likelihood {
    /// The natural logarithm of the product of its tokens' probabilities.
    pub log: f64,
    pub tokens: usize,
}

impl Likelihood {
    /// The mean over its tokens: long texts are as likely as short ones.
    pub fn per_token(self) -> f64 {
        if self.tokens == 0 { 0.0 } else { self.log / self.tokens as f64 }
    }
}

/// The row that everything is computed in.
const ROW: u32 = 0;

impl std::fmt::Debug for Scorer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scorer").field("model", self.model.info()).finish_non_exhaustive()
    }
}

impl Scorer {
    /// Loads a model of its own on the processor, with a context as long as `settings` say.
    ///
    /// # Errors
    /// As loading an engine's model; [`Error::Unfit`] for one that can't go back in a text (recurrent and hybrid ones).
    pub fn load(path: &Path, settings: &LocalSettings) -> Result<Self, Error> {
        gguf::check(path)?;
        // Of each token the whole head is wanted: as many rows as a batch may have outputs.
        let settings = LocalSettings {
            running: 32,
            head_for_candidates: false,
            gpu_layers: Some(0),
            ..settings.clone()
        };
        settings.check()?;
        let model = Box::new(LlamaModel::load(path, &settings, 0)?);
        Self::new(model, settings.rows(), settings.step_tokens)
    }

    fn new(model: Box<dyn Model>, outputs: usize, step_tokens: usize) -> Result<Self, Error> {
        if !model.keeps_every_position() {
            return Err(Error::Unfit(
                "a recurrent or hybrid model can't say how likely several texts are behind one prompt".into(),
            ));
        }
        let (vocab, tokenizer) = (model.vocab(), model.tokenizer());
        let all = (0..vocab.len() as Token).collect();
        Ok(Self { model, vocab, tokenizer, all, outputs, step_tokens, held: Vec::new() })
    }

    /// How likely each of these texts is as what comes next.
    ///
    /// # Errors
    /// [`Error::CacheFull`] when prompt and text are longer than the context, [`Error::Native`] when the model can't compute.
    pub fn score(&mut self, prompt: &Prompt, texts: &[&str]) -> Result<Vec<Likelihood>, Error> {
        let (prompt, lead) = prompt_tokens(prompt, &self.vocab, &*self.tokenizer);
        let Some((last, _)) = prompt.split_last() else {
            return Err(Error::Unfit(
                "there is no prompt, and the model has no token that begins a text".into(),
            ));
        };
        let behind = prompt.len() - 1;
        self.hold(&prompt[..behind])?;
        let mut likelihoods = Vec::with_capacity(texts.len());
        for text in texts {
            let tokens = self.tokenizer.tokenize(&format!("{}{text}", " ".repeat(lead)), false);
            // The prompt's last token is fed with each text: what it says of the first one is wanted.
            let fed: Vec<Token> = std::iter::once(*last).chain(tokens.iter().copied()).collect();
            let mut log = 0.0;
            for (part, wanted) in fed[..tokens.len()].chunks(self.outputs).zip(tokens.chunks(self.outputs)) {
                let mut rows = self.feed(part, true)?;
                self.model.score(&mut rows);
                log += rows
                    .iter()
                    .zip(wanted)
                    .map(|(row, &token)| log_probability(&row.logits, token))
                    .sum::<f64>();
            }
            likelihoods.push(Likelihood { log, tokens: tokens.len() });
            self.cut(behind)?;
        }
        Ok(likelihoods)
    }

    /// Makes the row hold these tokens and nothing else.
    fn hold(&mut self, tokens: &[Token]) -> Result<(), Error> {
        let shared = self.held.iter().zip(tokens).take_while(|(held, token)| held == token).count();
        self.cut(shared)?;
        for part in tokens[shared..].chunks(self.step_tokens) {
            self.feed(part, false)?;
        }
        Ok(())
    }

    fn cut(&mut self, len: usize) -> Result<(), Error> {
        if !self.model.truncate(ROW, len) {
            return Err(Error::Native("the model doesn't let go of the end of a text".into()));
        }
        self.held.truncate(len);
        Ok(())
    }

    /// Computes tokens behind what the row holds; with an empty list for the logits behind each, if they are wanted.
    fn feed(&mut self, tokens: &[Token], logits: bool) -> Result<Vec<Candidates>, Error> {
        let entry = |(index, &token): (usize, &Token)| Entry {
            token,
            position: self.held.len() + index,
            sequence: ROW,
            logits,
        };
        let batch: Vec<Entry> = tokens.iter().enumerate().map(entry).collect();
        self.model.decode(&batch)?;
        self.held.extend_from_slice(tokens);
        let wanted = |entry| Candidates { entry, tokens: self.all.clone(), ..Candidates::default() };
        Ok(if logits { (0..tokens.len()).map(wanted).collect() } else { Vec::new() })
    }
}

/// The logarithm of a token's softmax, summed in double precision: a vocabulary has hundreds of thousands.
fn log_probability(logits: &[f32], token: Token) -> f64 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - largest).exp()).sum();
    logits.get(token as usize).map_or(f64::NEG_INFINITY, |&logit| f64::from(logit - largest) - sum.ln())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Piece;
    use crate::fake::FakeModel;

    fn scorer(outputs: usize) -> Scorer {
        Scorer::new(Box::new(FakeModel::new(3)), outputs, 16).unwrap()
    }

    fn prompt(text: &str) -> Prompt {
        Prompt { pieces: vec![Piece::Text(text.to_owned())] }
    }

    fn close(one: f64, other: f64) -> bool {
        (one - other).abs() < 1e-6
    }

    #[test]
    fn a_text_is_as_likely_as_its_tokens_one_after_the_other() {
        let mut scorer = scorer(64);
        let whole = scorer.score(&prompt("추천"), &["가나다", "다나가"]).unwrap();
        assert_eq!(whole[0].tokens, 3);
        assert!(!close(whole[0].log, whole[1].log), "{whole:?}");
        let mut steps = 0.0;
        for (before, token) in [("추천", "가"), ("추천가", "나"), ("추천가나", "다")] {
            steps += scorer.score(&prompt(before), &[token]).unwrap()[0].log;
        }
        assert!(close(whole[0].log, steps), "{whole:?}, {steps}");
        assert!(close(whole[0].per_token() * 3.0, steps));
        assert!(whole.iter().all(|likelihood| likelihood.log < 0.0));
    }

    #[test]
    fn neither_other_texts_nor_earlier_prompts_nor_batches_change_a_likelihood() {
        let text = "이 사람에게 어울리는 챌린지를 골라요. 하나씩 해 봐요.";
        let alone = scorer(64).score(&prompt("메시지: 안녕"), &[text]).unwrap()[0];
        for outputs in [1, 5, 64] {
            let mut scorer = scorer(outputs);
            scorer.score(&prompt("메시지: 안부를 묻는 긴 글이 먼저 온다면"), &["가", text]).unwrap();
            let again = scorer.score(&prompt("메시지: 안녕"), &["나", text, "", text]).unwrap();
            for likelihood in [again[1], again[3]] {
                assert!(close(likelihood.log, alone.log) && likelihood.tokens == alone.tokens, "{outputs}");
            }
            assert_eq!(again[2], Likelihood::default());
        }
    }

    #[test]
    fn probabilities_of_all_tokens_sum_to_one() {
        let logits: Vec<f32> = (0..50_000).map(|index| (index % 97) as f32 / 7.0).collect();
        let sum: f64 = (0..50_000).map(|token| log_probability(&logits, token).exp()).sum();
        assert!(close(sum, 1.0), "{sum}");
        assert!(log_probability(&logits, 50_000).is_infinite(), "there is no such token");
    }

    #[test]
    fn a_model_that_keeps_one_state_only_is_refused() {
        let model = FakeModel::new(1).with_states(crate::fake::States::Recurrent);
        let error = Scorer::new(Box::new(model), 8, 16).unwrap_err();
        assert!(error.to_string().contains("recurrent"), "{error}");
    }
}
