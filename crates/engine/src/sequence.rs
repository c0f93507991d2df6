//! One generation: a program being written, token by token.

use std::sync::Arc;

use crate::constraint::{Automata, Choices, Constraint, Next, Regex};
use crate::detokenizer::Detokenizer;
use crate::model::Candidates;
use crate::sampler::{Sampler, Scratch};
use crate::vocab::{Token, Tokenizer, Vocab};
use crate::{Delta, Error, Grammar, Piece, Program, Progress, Prompt, Request, Segment, Slot, Usage};

/// What every sequence of one model shares.
pub(crate) struct Language {
    pub(crate) vocab: Arc<Vocab>,
    pub(crate) tokenizer: Arc<dyn Tokenizer>,
    pub(crate) automata: Automata,
    /// Jump-forward: forced tokens are fed as a run. Off, each waits for a step of its own, for comparison.
    pub(crate) jump_forward: bool,
}

#[derive(Debug)]
pub(crate) struct Sequence {
    program: Program,
    /// Prompt, fixed text and slots: everything that the model is to have seen, in order.
    tokens: Vec<Token>,
    /// How many of `tokens` the KV cache holds.
    pub(crate) cached: usize,
    /// Index of the segment that is being written.
    segment: usize,
    done: Vec<String>,
    slot: Option<ActiveSlot>,
    sampler: Sampler,
    usage: Usage,
}

#[derive(Debug)]
struct ActiveSlot {
    constraint: Constraint,
    detokenizer: Detokenizer,
    text: String,
    /// Bytes of the fixed text before that the slot's first tokens spell again (see [`split_lead`]).
    lead: usize,
    /// Tokens of the budget that are left.
    left: usize,
    /// Tokens that end the slot: the first of the fixed text behind it, or the model's own ends.
    ends: Vec<Token>,
    /// What the next token is drawn from, once its turn has come.
    choice: Option<Choice>,
}

#[derive(Debug)]
struct Choice {
    tokens: Arc<[Token]>,
    may_end: bool,
}

/// What a sequence waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// Its pending tokens are to be decoded, with logits for the last.
    Pending,
    Finished,
}

impl Sequence {
    /// Tokenises prompt and progress, and runs the program up to the first token that must be sampled.
    ///
    /// # Errors
    /// [`Error::Program`] when a grammar is malformed, a budget is below what the grammar needs, or the progress does
    /// not fit the program.
    pub(crate) fn new(
        request: Request,
        language: &Language,
        out: &mut Vec<Delta>,
    ) -> Result<(Self, Status), Error> {
        let Request { prompt, program, progress, sampling, .. } = request;
        let (tokens, lead) = prompt_tokens(&prompt, language);
        let usage = Usage { prompt_tokens: tokens.len(), ..Usage::default() };
        let sampler = Sampler::new(sampling, &*language.tokenizer);
        let mut sequence =
            Self { program, tokens, cached: 0, segment: 0, done: Vec::new(), slot: None, sampler, usage };
        sequence.restore(progress, lead, language)?;
        let status = sequence.advance(language, out)?;
        Ok((sequence, status))
    }

    /// Writes what was written before: finished slots as fixed text, the partial one as its slot's beginning.
    fn restore(&mut self, progress: Progress, mut lead: usize, language: &Language) -> Result<(), Error> {
        let misfit = || Error::Program("the progress holds more than the program".into());
        let mut finished = progress.done.into_iter();
        while let Some(segment) = self.program.segments().get(self.segment) {
            match segment {
                Segment::Fixed(text) => {
                    let (head, spaces) = split_lead(text);
                    self.feed(&format!("{}{head}", " ".repeat(lead)), language);
                    lead = spaces;
                }
                Segment::Slot(_) => match finished.next() {
                    Some(text) => {
                        self.feed_slot(&format!("{}{text}", " ".repeat(lead)), language);
                        lead = 0;
                        self.done.push(text);
                    }
                    None => return self.open_slot(lead, &progress.partial, language),
                },
            }
            self.segment += 1;
        }
        if finished.next().is_some() || !progress.partial.is_empty() { Err(misfit()) } else { Ok(()) }
    }

    fn feed(&mut self, text: &str, language: &Language) {
        let tokens = language.tokenizer.tokenize(text, false);
        self.usage.forced_tokens += tokens.len();
        self.tokens.extend(tokens);
    }

    /// As [`Sequence::feed`], remembered for the repetition penalty.
    fn feed_slot(&mut self, text: &str, language: &Language) {
        let start = self.tokens.len();
        self.feed(text, language);
        for &token in &self.tokens[start..] {
            self.sampler.note(token);
        }
    }

    /// Opens the slot at `self.segment`, which holds `written` already.
    fn open_slot(&mut self, lead: usize, written: &str, language: &Language) -> Result<(), Error> {
        let Some(Segment::Slot(slot)) = self.program.segments().get(self.segment) else {
            return Err(Error::Program("there is no slot to open".into()));
        };
        let spaces = " ".repeat(lead);
        let text = format!("{spaces}{written}");
        let mut constraint = constraint(slot, lead, &self.done, language)?;
        let needed = constraint.distance();
        if needed > slot.max_tokens {
            return Err(too_small(slot, needed));
        }
        let max_tokens = slot.max_tokens;
        let ends = self.slot_ends(language);
        let mut used = 0;
        // With nothing written the leading spaces are left to the slot's first token, which may hold them and more.
        if !written.is_empty() {
            let before = self.tokens.len();
            let misfit = || Error::Program(format!("the text {written:?} does not fit its slot"));
            match &mut constraint {
                Constraint::Regex(regex) => {
                    if !regex.advance_text(&text) {
                        return Err(misfit());
                    }
                }
                Constraint::Choices(choices) => {
                    let texts = texts(slot, &self.done)?;
                    *choices = Choices::new(texts.iter().map(String::as_str), written, &*language.tokenizer)
                        .map_err(|_| misfit())?;
                }
            }
            self.feed_slot(&text, language);
            used = self.tokens.len() - before;
        }
        let needed = constraint.distance();
        let left = max_tokens.saturating_sub(used).max(needed);
        self.slot = Some(ActiveSlot {
            constraint,
            detokenizer: Detokenizer::default(),
            text: written.to_owned(),
            lead: if written.is_empty() { lead } else { 0 },
            left,
            ends,
            choice: None,
        });
        Ok(())
    }

    fn slot_ends(&self, language: &Language) -> Vec<Token> {
        match self.program.segments().get(self.segment + 1) {
            Some(Segment::Fixed(text)) => {
                language.tokenizer.tokenize(split_lead(text).0, false).into_iter().take(1).collect()
            }
            _ => {
                let line = language.tokenizer.tokenize("\n", false);
                language.vocab.ends().iter().copied().chain(line.into_iter().take(1)).collect()
            }
        }
    }

    /// Goes on until a token must be sampled or the program is finished: fixed text and forced tokens need no logits.
    fn advance(&mut self, language: &Language, out: &mut Vec<Delta>) -> Result<Status, Error> {
        loop {
            let Some(slot) = &mut self.slot else {
                out.push(Delta::Done(self.usage));
                return Ok(Status::Finished);
            };
            match slot.constraint.next(slot.left) {
                Next::End => self.close_slot(language, out)?,
                Next::Forced(token) if language.jump_forward => {
                    self.usage.forced_tokens += 1;
                    self.take(token, language, out);
                }
                Next::Forced(_) => return Ok(Status::Pending),
                Next::Choose { tokens, may_end } => {
                    slot.choice = Some(Choice { tokens, may_end });
                    return Ok(Status::Pending);
                }
            }
        }
    }

    /// Names the tokens whose logits are needed behind the last one: none where what comes next is certain.
    pub(crate) fn wanted(&self, candidates: &mut Candidates) {
        candidates.ends.clear();
        match self.slot.as_ref().and_then(|slot| Some((slot, slot.choice.as_ref()?))) {
            Some((slot, choice)) => {
                candidates.tokens = choice.tokens.clone();
                if choice.may_end {
                    candidates.ends.extend_from_slice(&slot.ends);
                }
            }
            None => candidates.tokens = [].into(),
        }
    }

    /// Draws the next token among what [`Sequence::wanted`] named, and goes on as far as nothing must be drawn.
    ///
    /// # Errors
    /// [`Error::NonFinite`], or [`Error::Program`] when a later slot can't be opened.
    pub(crate) fn sample(
        &mut self,
        candidates: &Candidates,
        language: &Language,
        scratch: &mut Scratch,
        out: &mut Vec<Delta>,
    ) -> Result<Status, Error> {
        let Some(slot) = &mut self.slot else {
            return Ok(Status::Finished);
        };
        match slot.choice.take() {
            None => {
                // Without jump-forward a forced token waits for its turn, too.
                if let Next::Forced(token) = slot.constraint.next(slot.left) {
                    self.usage.sampled_tokens += 1;
                    self.take(token, language, out);
                }
            }
            Some(_) => {
                let token = self.sampler.sample(candidates, scratch)?;
                self.usage.sampled_tokens += 1;
                if candidates.ends.contains(&token) {
                    self.close_slot(language, out)?;
                } else {
                    self.take(token, language, out);
                }
            }
        }
        self.advance(language, out)
    }

    /// Writes a token into the open slot.
    fn take(&mut self, token: Token, language: &Language, out: &mut Vec<Delta>) {
        let index = self.done.len();
        let Some(slot) = &mut self.slot else { return };
        slot.constraint.advance(token);
        slot.left = slot.left.saturating_sub(1);
        self.sampler.note(token);
        self.tokens.push(token);
        let mut bytes = language.vocab.piece(token);
        let skipped = slot.lead.min(bytes.len());
        slot.lead -= skipped;
        bytes = &bytes[skipped..];
        let text = slot.detokenizer.push(bytes);
        if !text.is_empty() {
            slot.text.push_str(&text);
            out.push(Delta::Text { slot: index, text });
        }
    }

    /// Ends the open slot, feeds the fixed text behind it and opens the next one, if there is one.
    fn close_slot(&mut self, language: &Language, out: &mut Vec<Delta>) -> Result<(), Error> {
        let Some(mut slot) = self.slot.take() else {
            return Ok(());
        };
        let index = self.done.len();
        let rest = slot.detokenizer.finish();
        if !rest.is_empty() {
            slot.text.push_str(&rest);
            out.push(Delta::Text { slot: index, text: rest });
        }
        out.push(Delta::SlotDone { slot: index, text: slot.text.clone() });
        self.done.push(slot.text);
        self.segment += 1;
        let mut lead = 0;
        while let Some(Segment::Fixed(text)) = self.program.segments().get(self.segment) {
            let (head, spaces) = split_lead(text);
            let text = format!("{}{head}", " ".repeat(lead));
            lead = spaces;
            self.feed(&text, language);
            self.segment += 1;
        }
        if self.segment < self.program.segments().len() { self.open_slot(lead, "", language) } else { Ok(()) }
    }

    /// Tokens that the KV cache does not hold yet.
    pub(crate) fn pending(&self) -> &[Token] {
        &self.tokens[self.cached..]
    }

    pub(crate) fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// The most tokens this sequence can come to hold.
    pub(crate) fn most_tokens(&self, language: &Language) -> usize {
        let open = self.slot.as_ref().map_or(0, |slot| slot.left);
        let rest = self.program.segments().iter().skip(self.segment + 1);
        let rest: usize = rest
            .map(|segment| match segment {
                Segment::Fixed(text) => language.tokenizer.tokenize(text, false).len() + 1,
                Segment::Slot(slot) => slot.max_tokens,
            })
            .sum();
        self.tokens.len() + open + rest
    }

    pub(crate) fn found_cached(&mut self, tokens: usize) {
        self.cached = tokens;
        self.usage.cached_tokens = tokens;
    }

    /// NaN logits met since the last call.
    pub(crate) fn take_nan(&mut self) -> u64 {
        std::mem::take(&mut self.sampler.nan)
    }
}

/// What a slot may hold from its beginning on, behind `lead` spaces that belong to it, where the slots before it hold `done`.
///
/// # Errors
/// [`Error::Program`] when its grammar is malformed or leaves nothing to write.
pub(crate) fn constraint(
    slot: &Slot,
    lead: usize,
    done: &[String],
    language: &Language,
) -> Result<Constraint, Error> {
    let spaces = " ".repeat(lead);
    match &slot.grammar {
        Grammar::Regex(regex) => {
            let automaton = language.automata.get(&format!("{spaces}(?:{regex})"))?;
            let excluded: Vec<String> =
                slot.distinct_from.iter().map(|&slot| format!("{spaces}{}", done[slot])).collect();
            Ok(Constraint::Regex(Regex::new(automaton, &excluded)?))
        }
        Grammar::Choices(_) | Grammar::Lookup { .. } => {
            let texts: Vec<String> =
                texts(slot, done)?.iter().map(|text| format!("{spaces}{text}")).collect();
            let choices = Choices::new(texts.iter().map(String::as_str), "", &*language.tokenizer)?;
            Ok(Constraint::Choices(choices))
        }
    }
}

/// The texts that a slot of choices may still hold.
pub(crate) fn texts(slot: &Slot, done: &[String]) -> Result<Vec<String>, Error> {
    let texts = match &slot.grammar {
        Grammar::Regex(_) => &[][..],
        Grammar::Choices(choices) => choices,
        Grammar::Lookup { of, table } => table.get(&done[*of]).map_or(&[][..], Vec::as_slice),
    };
    let taken = |text: &&String| slot.distinct_from.iter().any(|&earlier| done[earlier] == **text);
    let left: Vec<String> = texts.iter().filter(|text| !taken(text)).cloned().collect();
    if left.is_empty() {
        return Err(Error::Program(format!("slot {} has nothing left to choose from", slot.name)));
    }
    Ok(left)
}

/// What a program asks of an engine, in tokens.
pub(crate) struct Needs {
    /// All that prompt and program can come to.
    pub(crate) most: usize,
    /// The smallest budget of each slot.
    pub(crate) least: Vec<usize>,
}

/// Checks that every slot of a program can be written within its budget, whatever earlier slots hold, and compiles its
/// expressions, so that no running batch waits for that.
///
/// # Errors
/// [`Error::Program`] with the slot, its budget and the fewest tokens it needs.
pub(crate) fn check(prompt: &Prompt, program: &Program, language: &Language) -> Result<Needs, Error> {
    let (tokens, mut lead) = prompt_tokens(prompt, language);
    let (mut most, mut least) = (tokens.len(), Vec::new());
    for segment in program.segments() {
        match segment {
            Segment::Fixed(text) => {
                most += language.tokenizer.tokenize(text, false).len();
                lead = split_lead(text).1;
            }
            Segment::Slot(slot) => {
                let needed = fewest_tokens(slot, lead, language)?;
                if needed > slot.max_tokens {
                    return Err(too_small(slot, needed));
                }
                most += slot.max_tokens;
                least.push(needed);
                lead = 0;
            }
        }
    }
    Ok(Needs { most, least })
}

fn too_small(slot: &Slot, needed: usize) -> Error {
    Error::Program(format!(
        "slot {} may take {} tokens, but its grammar needs at least {needed}; raise its max_tokens",
        slot.name, slot.max_tokens
    ))
}

/// The budget with which a slot always ends whole: for a list the longest choice, since any may be the last one left.
fn fewest_tokens(slot: &Slot, lead: usize, language: &Language) -> Result<usize, Error> {
    let spaces = " ".repeat(lead);
    let longest = |texts: &mut dyn Iterator<Item = &String>| {
        texts
            .map(|text| language.tokenizer.tokenize(&format!("{spaces}{text}"), false).len())
            .max()
            .unwrap_or(0)
    };
    Ok(match &slot.grammar {
        Grammar::Regex(regex) => {
            let automaton = language.automata.get(&format!("{spaces}(?:{regex})"))?;
            Constraint::Regex(Regex::new(automaton, &[])?).distance()
        }
        Grammar::Choices(choices) => longest(&mut choices.iter()),
        Grammar::Lookup { table, .. } => longest(&mut table.values().flatten()),
    })
}

/// Splits the trailing spaces off. Tokenizers join a space to the word behind it, so that a space fed alone would make
/// the model continue a text it has never seen: the spaces become the beginning of the slot, and aren't sent twice.
fn split_lead(text: &str) -> (&str, usize) {
    let head = text.trim_end_matches(' ');
    (head, text.len() - head.len())
}

/// The prompt's tokens, and how many trailing spaces are left to the program.
fn prompt_tokens(prompt: &Prompt, language: &Language) -> (Vec<Token>, usize) {
    let mut tokens: Vec<Token> = language.vocab.bos().into_iter().collect();
    let mut lead = 0;
    let last = prompt.pieces.len().saturating_sub(1);
    for (index, piece) in prompt.pieces.iter().enumerate() {
        let (text, special) = match piece {
            Piece::Template(text) => (text, true),
            Piece::Text(text) => (text, false),
        };
        let mut text = text.as_str();
        if index == last {
            (text, lead) = split_lead(text);
        }
        tokens.extend(language.tokenizer.tokenize(text, special));
    }
    if tokens.len() > 1 && tokens[0] == tokens[1] && Some(tokens[0]) == language.vocab.bos() {
        tokens.remove(0); // The template has its own.
    }
    (tokens, lead)
}
