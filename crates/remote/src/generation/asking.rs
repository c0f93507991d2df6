//! Asking one server, slot by slot, and taking what fits of what it says.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use leafresh_engine::{Delta, Error};
use tokio::time::timeout;

use super::{Attempt, Generation, Job};
use crate::client::{Fault, Reply};
use crate::dialect::{Constraint, Cost, Finish, Input, Piece, Said};
use crate::expression::Expression;
use crate::pool::Place;
use crate::prompt;
use crate::writing::Pushed;

/// How often a server may write what doesn't fit, in one slot, before another one is asked.
const MOST_MISFITS: u32 = 3;

/// A slot has ended, and the server hasn't said so yet: it is about to. Then the connection can be used again, and the place in its
/// cache is free for what comes next, which begins alike.
const LAST_WORDS: Duration = Duration::from_secs(2);

impl Generation {
    /// Writes at this place to the program's end.
    pub(super) async fn write_at(&mut self, place: &Place) -> Result<(), Attempt> {
        let mut out = Vec::new();
        loop {
            // A slot that is cut off by its budget ends as the model likes best, where there is a choice.
            let ends = if self.writing.left() == 0 { self.writing.ends() } else { Vec::new() };
            if !ends.is_empty() {
                self.write_end(place, ends).await?;
            }
            let advanced = self.writing.advance(&mut out);
            self.say(&mut out);
            advanced?;
            if self.writing.is_finished() {
                return Ok(());
            }
            self.write_piece(place).await?;
        }
    }

    fn say(&self, out: &mut Vec<Delta>) {
        for delta in out.drain(..) {
            self.job.outlet.send(delta);
        }
    }

    /// Asks for what the open slot may hold, and takes it as long as it fits.
    async fn write_piece(&mut self, place: &Place) -> Result<(), Attempt> {
        let (input, lead) = self.input(place).await?;
        let can_be_bound = place.server.form.is_some() && !self.unbound;
        let constraint = can_be_bound.then(|| self.writing.constraint(lead)).flatten();
        // One more for the end.
        let tokens = self.writing.left() + 1;
        let bound = constraint.is_some();
        let reply = match self.ask(place, &input, constraint.as_ref(), tokens).await {
            Ok(reply) => reply,
            // Of two that could be meant it is the grammar: without it the same is asked once more.
            Err(Fault::Refused { status: 400 | 422, reason }) if bound => {
                let upstream = &place.member().upstream.url;
                tracing::warn!(upstream, reason, "an upstream refuses a grammar, or what is asked with it");
                self.unbound = true;
                return Ok(());
            }
            Err(Fault::Refused { status: status @ (400 | 413 | 422), reason }) => {
                let url = &place.member().upstream.url;
                return Err(Error::Unfit(format!("{url} answers {status}: {reason}")).into());
            }
            Err(fault) => return Err(fault.into()),
        };
        let misfits = self.take(place, reply, lead, bound).await?;
        place.member().praise();
        if misfits > 0 {
            place.member().figures.misfits.fetch_add(1, Ordering::Relaxed);
        }
        if misfits > MOST_MISFITS { Err(Attempt::Misfit) } else { Ok(()) }
    }

    /// Asks for one of several ends, where the server can be bound to them. Whatever comes, the slot ends.
    async fn write_end(&mut self, place: &Place, ends: Vec<String>) -> Result<(), Attempt> {
        if place.server.form.is_none() {
            return Ok(());
        }
        let (input, lead) = self.input(place).await?;
        let tokens = ends.iter().map(String::len).max().unwrap_or(1);
        let spaces = " ".repeat(lead);
        let ends: Vec<String> = ends.iter().map(|end| format!("{spaces}{end}")).collect();
        let expression = Expression::texts(ends.iter().map(String::as_str));
        let constraint = Constraint { choices: Some(ends), expression };
        let reply = self.ask(place, &input, Some(&constraint), tokens).await?;
        self.take(place, reply, lead, true).await?;
        Ok(())
    }

    async fn ask(
        &mut self,
        place: &Place,
        input: &Input,
        constraint: Option<&Constraint>,
        tokens: usize,
    ) -> Result<Reply, Fault> {
        self.pieces += 1;
        place.member().figures.requests.fetch_add(1, Ordering::Relaxed);
        let Job { adapter, sampling, .. } = &self.job;
        // Pieces that begin alike would all go on alike.
        let seed = sampling.seed.map(|seed| seed.wrapping_add(self.pieces));
        let piece = Piece { input, constraint, max_tokens: tokens, sampling, seed };
        let ask = place.server.ask(adapter.as_deref(), piece);
        let (path, body) = ask.request();
        place.server.client.stream(path, &body).await
    }

    /// What the server is to continue, and how many spaces at its end are left to what it writes: tokenizers join a space to
    /// the word behind it.
    async fn input(&mut self, place: &Place) -> Result<(Input, usize), Fault> {
        let server = &place.server;
        let input = match &self.input {
            Some((of, input)) if Arc::ptr_eq(of, server) => input.clone(),
            _ => {
                let input = prompt::input(&self.job.prompt, server.tokenizer.as_ref(), &server.bos).await?;
                if let Input::Tokens(tokens) = &input {
                    self.learn_prompt(tokens.len());
                }
                self.input = Some((server.clone(), input.clone()));
                input
            }
        };
        let written = " ".repeat(self.prompt_spaces) + &self.writing.text();
        let text = written.trim_end_matches(' ');
        let lead = written.len() - text.len();
        Ok((prompt::continued(input, text, server.tokenizer.as_ref()).await?, lead))
    }

    fn learn_prompt(&mut self, tokens: usize) {
        self.usage.prompt_tokens = tokens;
        self.job.estimate.learn(self.job.prompt.bytes(), tokens);
    }

    /// What a piece cost. Its prompt is that of the whole only as long as nothing is written behind it.
    fn note_cost(&mut self, cost: Option<Cost>) {
        let Some(cost) = cost else { return };
        self.usage.cached_tokens = self.usage.cached_tokens.max(cost.cached);
        if self.usage.prompt_tokens == 0 && self.pieces == 1 {
            self.learn_prompt(cost.prompt);
        }
    }

    /// Takes what a server writes. Says for the how-many-th time it didn't fit, if it didn't.
    async fn take(
        &mut self,
        place: &Place,
        mut reply: Reply,
        mut lead: usize,
        bound: bool,
    ) -> Result<u32, Attempt> {
        let mut out = Vec::new();
        loop {
            let Some(event) = reply.next().await? else {
                return Err(Fault::Gone("it ended an answer without saying so".into()).into());
            };
            let said = Said::read(place.server.kind, &event)?;
            self.has_run = true;
            self.note_cost(said.cost);
            let text = without_lead(&said.text, &mut lead);
            let tokens = usize::from(!said.text.is_empty());
            self.usage.sampled_tokens += tokens;
            let mut pushed = self.writing.push(text, tokens, &mut out);
            if pushed == Ok(Pushed::More) {
                match said.finish {
                    Some(Finish::Stop) => pushed = self.writing.stopped(&mut out),
                    Some(Finish::Length) => self.writing.used_up(),
                    None => {}
                }
            }
            // Whatever comes now, what counts as written is the reader's.
            self.say(&mut out);
            match pushed? {
                Pushed::Misfit(times) => return Ok(times),
                Pushed::Ended => self.unbound = false,
                Pushed::More if said.finish.is_some() => {}
                Pushed::More if said.done => {
                    return Err(Fault::Gone("it ended an answer without saying why".into()).into());
                }
                Pushed::More => continue,
            }
            if (bound || said.finish.is_some()) && !said.done {
                self.hear_the_rest(place, reply).await;
            }
            return Ok(0);
        }
    }

    /// There is nothing more to take: the server has said that it ends, or is about to, as it is bound to.
    async fn hear_the_rest(&mut self, place: &Place, mut reply: Reply) {
        let rest = async {
            while let Ok(Some(event)) = reply.next().await {
                let Ok(said) = Said::read(place.server.kind, &event) else { return };
                self.note_cost(said.cost);
                if said.done {
                    // And the end of the body, for the connection's sake.
                    let _ = reply.next().await;
                    return;
                }
            }
        };
        // If not, the connection is closed, which ends it.
        let _ = timeout(LAST_WORDS, rest).await;
    }
}

/// The text without the spaces that its reader has already.
fn without_lead<'a>(text: &'a str, lead: &mut usize) -> &'a str {
    let spaces = text.len() - text.trim_start_matches(' ').len();
    let skipped = spaces.min(*lead);
    // Who begins otherwise has left them out.
    *lead = if skipped == text.len() { *lead - skipped } else { 0 };
    &text[skipped..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_that_a_reader_has_are_not_sent_again() {
        let mut lead = 2;
        assert_eq!((without_lead(" ", &mut lead), lead), ("", 1));
        assert_eq!((without_lead("  가", &mut lead), lead), (" 가", 0));
        assert_eq!(without_lead(" 나", &mut lead), " 나");
        assert_eq!(without_lead("다", &mut 1), "다");
    }
}
