//! That the trimmed model says what the model says.

use std::path::Path;
use std::sync::Arc;

use anyhow::bail;
use leafresh_chat::Catalog;
use leafresh_engine::{LocalSettings, Token, Tokenizer, Vocab, load_vocabulary, logits_behind};

use super::answers;

/// Of Korean texts that nothing was kept for, so many have to be cut as before.
const LEAST_HELD_OUT: f64 = 0.95;

/// How far the logit of a token that stays may be from what it was. The rows are the same, so it should be none.
const MOST_APART: f32 = 1e-3;

/// Prompts, and held-out texts, behind which logits are compared.
const PROMPTS: usize = 2;
const TEXTS: usize = 8;

/// What `say` hears about: so many texts at once.
const PORTION: usize = 5000;

/// Both files, and the texts to compare them by.
pub(super) struct Proof<'a> {
    pub(super) source: &'a Path,
    pub(super) trimmed: &'a Path,
    /// The source's tokens that stay, ascending.
    pub(super) kept: &'a [Token],
    /// Those that tokens were kept for, and others.
    pub(super) texts: &'a [String],
    pub(super) held_out: &'a [String],
}

/// One property, and whether it holds.
struct Finding {
    name: &'static str,
    text: String,
    holds: bool,
}

impl Proof<'_> {
    /// Compares, and prints a line for each property. `say` hears what is being done.
    ///
    /// # Errors
    /// A property that doesn't hold; a model that can't be loaded.
    pub(super) fn run(&self, catalog: &Arc<Catalog>, say: &dyn Fn(String)) -> anyhow::Result<()> {
        let mut findings = self.cutting(say)?;
        findings.iter().for_each(Finding::print);
        conclude(&findings)?;
        let settings = settings();
        let asked = answers::ask(catalog, self.source, &settings, say)?;
        let prompts = asked.prompts.iter().take(PROMPTS).map(|(prompt, _)| prompt.text());
        let texts: Vec<String> = prompts.chain(self.held_out.iter().take(TEXTS).cloned()).collect();
        say("computing logits with the model as it was".into());
        let before = logits_behind(self.source, &settings, &texts, self.kept)?;
        say("computing logits with the trimmed model".into());
        let numbers: Vec<Token> = (0..self.kept.len() as Token).collect();
        let after = logits_behind(self.trimmed, &settings, &texts, &numbers)?;
        findings.push(apart(&before, &after).printed());
        let again = answers::again(&asked, self.trimmed, &settings, say)?;
        let same = asked.answers.iter().zip(&again).filter(|(before, after)| before == after).count();
        let all = asked.answers.len();
        let text = format!("{same} of {all} greedy answers are the same");
        findings.push(Finding { name: "answers", text, holds: all > 0 && same == all }.printed());
        conclude(&findings)
    }

    fn cutting(&self, say: &dyn Fn(String)) -> anyhow::Result<Vec<Finding>> {
        let (before, after) = (load_vocabulary(self.source)?, load_vocabulary(self.trimmed)?);
        let mut both = Both { before: &before, after: &after, kept: self.kept, possible: 0, lost: 0 };
        let ascii = ascii();
        // Every character of Unicode's first plane.
        let plane: Vec<String> = ('\u{20}'..='\u{FFFD}').map(String::from).collect();
        let sets = [
            ("catalogue", self.texts, Some(1.0)),
            ("held out", self.held_out, Some(LEAST_HELD_OUT)),
            ("ascii", &*ascii, Some(0.0)),
            ("characters", &*plane, None),
        ];
        let mut findings = Vec::new();
        for (name, texts, least) in sets {
            let mut same = 0;
            for (portion, texts) in texts.chunks(PORTION).enumerate() {
                say(format!("comparing how texts are cut: {name}, {}", portion * PORTION));
                same += texts.iter().filter(|text| both.same(text)).count();
            }
            let text = format!("{same} of {} texts are cut into the same tokens", texts.len());
            if let Some(least) = least {
                findings.push(Finding { name, text, holds: same as f64 >= least * texts.len() as f64 });
            }
        }
        findings.push(both.any_text());
        Ok(findings)
    }
}

/// All texts of one and of two printable characters.
fn ascii() -> Vec<String> {
    let pairs =
        (' '..='~').flat_map(|first| (' '..='~').map(move |second| String::from_iter([first, second])));
    (' '..='~').map(String::from).chain(pairs).collect()
}

/// Small, for a few short answers one after the other, and the same for both models.
fn settings() -> LocalSettings {
    LocalSettings {
        process: false,
        context: 8192,
        running: 1,
        gpu_layers: Some(0),
        ..LocalSettings::default()
    }
}

type Cutter = (Arc<dyn Tokenizer>, Vocab);

struct Both<'a> {
    before: &'a Cutter,
    after: &'a Cutter,
    kept: &'a [Token],
    /// Texts that came back from tokens as they were, with the source; those of them that don't any more.
    possible: usize,
    lost: usize,
}

impl Both<'_> {
    /// Whether a text is cut into the same tokens; notes whether it can still be read and written.
    fn same(&mut self, text: &str) -> bool {
        let cut = |(tokenizer, vocab): &Cutter| {
            let tokens = tokenizer.tokenize(text, false);
            let spelled = tokens.iter().flat_map(|&token| vocab.piece(token)).eq(text.as_bytes());
            (tokens, spelled)
        };
        let ((before, was_possible), (after, is_possible)) = (cut(self.before), cut(self.after));
        self.possible += usize::from(was_possible);
        self.lost += usize::from(was_possible && !is_possible);
        let number = |token| self.kept.binary_search(token).map(|number| number as Token);
        before.iter().map(number).eq(after.into_iter().map(Ok))
    }

    fn any_text(&self) -> Finding {
        let (possible, left) = (self.possible, self.possible - self.lost);
        let text = format!("{left} of {possible} texts and characters come back as they were");
        Finding { name: "any text", text, holds: self.lost == 0 && possible > 0 }
    }
}

/// # Errors
/// What doesn't hold.
fn conclude(findings: &[Finding]) -> anyhow::Result<()> {
    let broken: Vec<&str> = findings.iter().filter(|found| !found.holds).map(|found| found.name).collect();
    if !broken.is_empty() {
        bail!(
            "what was written isn't as good as the model in this: {}; it was taken away",
            broken.join(", ")
        );
    }
    Ok(())
}

/// How far the logits are apart.
fn apart(before: &[Vec<f32>], after: &[Vec<f32>]) -> Finding {
    let pairs = before.iter().flatten().zip(after.iter().flatten());
    let most = pairs.map(|(before, after)| (before - after).abs()).fold(0.0, f32::max);
    let finite = before.iter().chain(after).flatten().all(|logit| logit.is_finite());
    let same_shape = before.iter().map(Vec::len).eq(after.iter().map(Vec::len)) && !before.is_empty();
    let apart =
        if most == 0.0 { "are equal to the last bit".into() } else { format!("are at most {most:e} apart") };
    let (texts, tokens) = (before.len(), before.first().map_or(0, Vec::len));
    let text = format!("of {tokens} tokens behind {texts} texts {apart}");
    Finding { name: "logits", text, holds: finite && same_shape && most <= MOST_APART }
}

impl Finding {
    fn print(&self) {
        let sign = if self.holds { "" } else { "   NOT AS IT SHOULD BE" };
        println!("{:<10}{}{sign}", self.name, self.text);
    }

    fn printed(self) -> Self {
        self.print();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logits_hold_when_they_are_near_finite_and_of_one_shape() {
        let logits = |numbers: &[f32]| vec![numbers.to_vec(), vec![1.0]];
        for (before, after, holds) in [
            (logits(&[0.5, -2.0]), logits(&[0.5, -2.0]), true),
            (logits(&[0.5, -2.0]), logits(&[0.5, -2.0009]), true),
            (logits(&[0.5, -2.0]), logits(&[0.5, -2.002]), false),
            (logits(&[0.5, f32::NAN]), logits(&[0.5, f32::NAN]), false),
            (logits(&[0.5, f32::NEG_INFINITY]), logits(&[0.5, f32::NEG_INFINITY]), false),
            (logits(&[0.5, -2.0]), logits(&[0.5]), false),
            (Vec::new(), Vec::new(), false),
        ] {
            assert_eq!(apart(&before, &after).holds, holds, "{before:?} {after:?}");
        }
    }
}
