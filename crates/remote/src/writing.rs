//! A program that is being written: what comes next, and what of a server's text fits.

use std::sync::Arc;

use leafresh_engine::{Delta, Error, Grammar, Grammars, Matcher, Program, Progress, Segment, Slot, choices};

use crate::dialect::Constraint;
use crate::expression::Expression;

/// Of a slot that its budget has cut off so many ends are looked at.
const MOST_ENDS: usize = 64;

#[derive(Debug)]
pub(crate) struct Writing {
    program: Program,
    progress: Progress,
    grammars: Arc<Grammars>,
    /// The slot that is being written; `None` where all are.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    slot: Slot,
    matcher: Matcher,
    end: End,
    /// Tokens of the budget that are left.
    left: usize,
    /// How often the server wrote what doesn't fit.
    misfits: u32,
}

/// What is written behind a slot, by which its end is known.
#[derive(Debug, Default)]
struct End {
    /// The shortest one first.
    texts: Vec<String>,
    /// The server's own end counts as well.
    or_none: bool,
}

/// What became of a piece of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushed {
    More,
    /// The slot is finished. What else was in the piece is nothing to anybody.
    Ended,
    /// From some character on it doesn't fit; this is the slot's so many-th time.
    Misfit(u32),
}

impl Writing {
    /// Goes on from `progress`. Compiles grammars: call it where blocking is allowed. `tokens` says how many tokens a text has,
    /// about.
    ///
    /// # Errors
    /// [`Error::Program`] when a grammar is malformed, or the progress doesn't fit the program.
    pub(crate) fn new(
        program: Program,
        progress: Progress,
        grammars: Arc<Grammars>,
        tokens: impl Fn(&str) -> usize,
    ) -> Result<Self, Error> {
        for slot in program.slots() {
            least(slot, &grammars)?;
        }
        if progress.done.len() + usize::from(!progress.partial.is_empty()) > program.slots().count() {
            return Err(Error::Program("the progress holds more than the program".into()));
        }
        let used = tokens(&progress.partial);
        let mut writing = Self { program, progress, grammars, open: None };
        writing.open_slot(used)?;
        Ok(writing)
    }

    fn open_slot(&mut self, used: usize) -> Result<(), Error> {
        self.open = None;
        let Progress { done, partial } = &self.progress;
        let Some(slot) = self.program.slots().nth(done.len()).cloned() else { return Ok(()) };
        let matcher = Matcher::new(&slot, done, partial, &self.grammars)?;
        // A list bounds itself, and its budget was counted in tokens of another model.
        let longest = choices(&slot, done)?.iter().flatten().map(String::len).max().unwrap_or(0);
        let left = slot.max_tokens.max(longest).saturating_sub(used);
        self.open = Some(Open { matcher, end: self.end(), left, misfits: 0, slot });
        Ok(())
    }

    /// What stands behind the slot that comes next.
    fn end(&self) -> End {
        let mut slots = 0;
        let slot = self.program.segments().iter().position(|segment| {
            slots += usize::from(matches!(segment, Segment::Slot(_)));
            slots > self.progress.done.len()
        });
        let behind = slot.and_then(|slot| self.program.segments().get(slot + 1));
        let Some(Segment::Fixed(text)) = behind else {
            // As the last line of an example.
            return End { texts: vec!["\n".into()], or_none: true };
        };
        let text = text.trim_end_matches(' ');
        let breaks = text.len() - text.trim_start_matches('\n').len();
        let first = text.chars().next().map(String::from);
        let texts = first.into_iter().chain((breaks > 1).then(|| text[..breaks].to_owned()));
        End { texts: texts.collect(), or_none: text.is_empty() }
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.open.is_none()
    }

    /// Whether a slot was finished, or begun.
    pub(crate) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// All that was written behind the prompt, fixed text included.
    pub(crate) fn text(&self) -> String {
        self.program.render(&self.progress)
    }

    /// Tokens that the open slot may still take.
    pub(crate) fn left(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.left)
    }

    /// Writes what needs no model: what can't be otherwise, and slots' ends. The rest of a slot whose budget is used up is one of
    /// its shortest ends.
    ///
    /// # Errors
    /// [`Error::Program`] when the next slot can't be opened.
    pub(crate) fn advance(&mut self, out: &mut Vec<Delta>) -> Result<(), Error> {
        while let Some(open) = &mut self.open {
            let mut forced = open.matcher.forced();
            if forced.is_empty() && open.left == 0 {
                forced = open.matcher.shortest_ends(1).pop().unwrap_or_default();
            }
            open.matcher.take(&forced);
            let ends = open.matcher.must_end() || open.left == 0 && open.matcher.may_end();
            self.say(forced, out);
            if !ends {
                return Ok(());
            }
            self.close_slot(out)?;
        }
        Ok(())
    }

    /// What a server may write next, behind `lead` spaces that the text before ends with. `None`: it can't be said.
    ///
    /// Where the budget is used up but for an end, that is one of the shortest.
    pub(crate) fn constraint(&self, lead: usize) -> Option<Constraint> {
        let open = self.open.as_ref()?;
        let written = open.matcher.text();
        let spaces = " ".repeat(lead);
        let texts = choices(&open.slot, &self.progress.done).ok()?;
        let (expression, rests) = match (&open.slot.grammar, texts) {
            (Grammar::Regex(regex), _) => {
                let mut rest = Expression::parse(regex).ok()?.after(written)?;
                if rest.is_optional() && !open.matcher.may_end() {
                    rest = rest.not_empty();
                }
                (rest, Vec::new())
            }
            (_, texts) => {
                let texts = texts?;
                let rests = texts.iter().filter_map(|text| text.strip_prefix(written));
                let rests: Vec<String> = rests.map(|rest| format!("{spaces}{rest}")).collect();
                (Expression::texts(texts.iter().filter_map(|text| text.strip_prefix(written))), rests)
            }
        };
        // Where one is the beginning of another, what comes behind tells whether it is meant.
        let ambiguous =
            rests.iter().any(|text| rests.iter().any(|other| other != text && other.starts_with(text)));
        if !rests.is_empty() && !ambiguous {
            let expression = Expression::text(&spaces).then(expression);
            return Some(Constraint { choices: Some(rests), expression });
        }
        let mut expression = Expression::text(&spaces).then(expression);
        if !open.end.texts.is_empty() {
            let end = Expression::texts(open.end.texts.iter().map(String::as_str));
            expression = expression.then(if open.end.or_none { end.or(Expression::Empty) } else { end });
        }
        Some(Constraint { choices: None, expression })
    }

    /// Takes a piece of a server's text, which cost so many tokens.
    ///
    /// # Errors
    /// As [`Writing::advance`].
    pub(crate) fn push(&mut self, text: &str, tokens: usize, out: &mut Vec<Delta>) -> Result<Pushed, Error> {
        let Some(open) = &mut self.open else { return Ok(Pushed::Ended) };
        open.left = open.left.saturating_sub(tokens);
        let mut taken = 0;
        let mut pushed = Pushed::More;
        for (at, character) in text.char_indices() {
            let ends = open.matcher.may_end() && open.end.texts.iter().any(|end| end.starts_with(character));
            if ends {
                pushed = Pushed::Ended;
                break;
            }
            let end = at + character.len_utf8();
            if open.matcher.take(&text[at..end]) == 0 {
                open.misfits += 1;
                pushed = Pushed::Misfit(open.misfits);
                break;
            }
            taken = end;
            if open.matcher.must_end() {
                pushed = Pushed::Ended;
                break;
            }
        }
        self.say(text[..taken].to_owned(), out);
        if pushed == Pushed::Ended {
            self.close_slot(out)?;
        }
        Ok(pushed)
    }

    /// The server has ended by its own will. `false`: the slot isn't finished with that, for the so many-th time.
    ///
    /// # Errors
    /// As [`Writing::advance`].
    pub(crate) fn stopped(&mut self, out: &mut Vec<Delta>) -> Result<Pushed, Error> {
        let Some(open) = &mut self.open else { return Ok(Pushed::Ended) };
        if open.matcher.may_end() {
            self.close_slot(out)?;
            return Ok(Pushed::Ended);
        }
        open.misfits += 1;
        Ok(Pushed::Misfit(open.misfits))
    }

    /// The server has written as much as it was asked for.
    pub(crate) fn used_up(&mut self) {
        if let Some(open) = &mut self.open {
            open.left = 0;
        }
    }

    /// The texts with which the open slot could end at once, where there are several.
    pub(crate) fn ends(&self) -> Vec<String> {
        let ends = self.open.as_ref().map(|open| open.matcher.shortest_ends(MOST_ENDS)).unwrap_or_default();
        if (2..MOST_ENDS).contains(&ends.len()) { ends } else { Vec::new() }
    }

    /// Another server writes from here on: what the last one got wrong doesn't count.
    pub(crate) fn forgive(&mut self) {
        if let Some(open) = &mut self.open {
            open.misfits = 0;
        }
    }

    fn say(&mut self, text: String, out: &mut Vec<Delta>) {
        if !text.is_empty() {
            let delta = Delta::Text { slot: self.progress.done.len(), text };
            self.progress.note(&delta);
            out.push(delta);
        }
    }

    fn close_slot(&mut self, out: &mut Vec<Delta>) -> Result<(), Error> {
        let delta = Delta::SlotDone { slot: self.progress.done.len(), text: self.progress.partial.clone() };
        self.progress.note(&delta);
        out.push(delta);
        self.open_slot(0)
    }
}

/// The fewest bytes that a slot with a regular expression can hold, 0 for others. Compiles it.
///
/// # Errors
/// [`Error::Program`] when it is malformed, or can't be said to a server.
pub(crate) fn least(slot: &Slot, grammars: &Grammars) -> Result<usize, Error> {
    let Grammar::Regex(regex) = &slot.grammar else { return Ok(0) };
    Expression::parse(regex).map_err(|reason| {
        Error::Program(format!("slot {}: {regex:?} can't be asked of a server: {reason}", slot.name))
    })?;
    let alone = Slot { distinct_from: Vec::new(), ..slot.clone() };
    Ok(Matcher::new(&alone, &[], "", grammars)?.distance())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notation;

    fn slot(name: &str, grammar: Grammar, max_tokens: usize, distinct_from: &[usize]) -> Segment {
        Segment::Slot(Slot { name: name.into(), grammar, max_tokens, distinct_from: distinct_from.to_vec() })
    }

    fn regex(text: &str) -> Grammar {
        Grammar::Regex(text.into())
    }

    fn titles() -> Grammar {
        Grammar::Choices(["걷기", "걷기 알리기", "물 아끼기"].map(String::from).to_vec())
    }

    fn program() -> Program {
        Program::new(vec![
            slot("opening", regex("[가-힣]{2,6}니다\\."), 20, &[]),
            Segment::Fixed("\n\n1. ".into()),
            slot("title_1", titles(), 20, &[]),
            Segment::Fixed("\n2. ".into()),
            slot("title_2", titles(), 20, &[1]),
        ])
        .unwrap()
    }

    fn writing(done: &[&str], partial: &str) -> Result<Writing, Error> {
        let done = done.iter().map(|text| (*text).to_owned()).collect();
        let progress = Progress { done, partial: partial.into() };
        Writing::new(program(), progress, Arc::default(), |text| text.chars().count())
    }

    fn asked(writing: &Writing, lead: usize) -> String {
        notation::regex(&writing.constraint(lead).unwrap().expression)
    }

    #[test]
    fn a_slot_ends_at_the_text_behind_it_or_where_nothing_can_follow() {
        let mut writing = writing(&[], "").unwrap();
        assert_eq!(asked(&writing, 0), "[가-힣]{2,6}니다\\.(?:\\n\\n|\\n)");
        let mut out = Vec::new();
        assert_eq!(writing.push("좋습", 1, &mut out), Ok(Pushed::More));
        assert_eq!(writing.push("니다. 또", 3, &mut out), Ok(Pushed::Ended), "nothing can follow");
        assert_eq!(writing.text(), "좋습니다.\n\n1. ");
        let constraint = writing.constraint(1).unwrap();
        assert_eq!(constraint.choices, None, "one title is the beginning of another");
        assert!(asked(&writing, 1).starts_with(" (?:") && asked(&writing, 1).ends_with(")\\n"));
        assert_eq!(writing.push("걷기\n\n2.", 3, &mut out), Ok(Pushed::Ended));
        assert_eq!(
            writing.constraint(1).unwrap().choices,
            Some(vec![" 걷기 알리기".to_owned(), " 물 아끼기".into()]),
            "what was taken is left out"
        );
        assert_eq!(writing.push("물", 1, &mut out), Ok(Pushed::More));
        writing.advance(&mut out).unwrap();
        assert!(writing.is_finished(), "what can't be otherwise needs no model");
        let said: Vec<&Delta> = out.iter().collect();
        let Delta::SlotDone { slot: 2, text } = said[said.len() - 1] else { panic!("{said:?}") };
        assert_eq!(text, "물 아끼기");
    }

    #[test]
    fn what_does_not_fit_is_cut_off_and_asked_for_anew_from_there() {
        let mut writing = writing(&[], "").unwrap();
        let mut out = Vec::new();
        assert_eq!(writing.push("좋은 날", 3, &mut out), Ok(Pushed::Misfit(1)));
        assert_eq!(out, [Delta::Text { slot: 0, text: "좋은".into() }]);
        assert_eq!(asked(&writing, 0), "[가-힣]{0,4}니다\\.(?:\\n\\n|\\n)");
        assert_eq!(writing.push("\u{FFFD}", 1, &mut out), Ok(Pushed::Misfit(2)));
        assert_eq!(writing.stopped(&mut out), Ok(Pushed::Misfit(3)));
        writing.forgive();
        assert_eq!(writing.stopped(&mut out), Ok(Pushed::Misfit(1)));
    }

    #[test]
    fn a_title_that_there_was_must_go_on() {
        let program = Program::new(vec![
            slot("title_1", regex("[가-힣]{2,4}"), 9, &[]),
            Segment::Fixed("\n".into()),
            slot("title_2", regex("[가-힣]{2,4}"), 9, &[0]),
        ])
        .unwrap();
        let progress = Progress { done: vec!["걷기".into()], partial: String::new() };
        let mut writing = Writing::new(program, progress, Arc::default(), str::len).unwrap();
        let mut out = Vec::new();
        assert_eq!(writing.push("걷기\n", 3, &mut out), Ok(Pushed::Misfit(1)));
        assert_eq!(asked(&writing, 0), "[가-힣][가-힣]?\\n?");
    }

    #[test]
    fn a_budget_that_is_used_up_leads_to_an_end() {
        let mut writing = writing(&[], "좋은").unwrap();
        writing.used_up();
        assert!(writing.ends().is_empty(), "there is one");
        let mut out = Vec::new();
        writing.advance(&mut out).unwrap();
        assert_eq!(writing.progress().done, ["좋은니다."]);
        assert_eq!(writing.left(), 20, "the next slot's");
    }

    #[test]
    fn any_progress_is_gone_on_from_and_none_that_does_not_fit() {
        let whole = ["좋은 날입니다.".replace(' ', ""), "걷기".into(), "물 아끼기".into()];
        for (slot, text) in whole.iter().enumerate() {
            let done: Vec<&str> = whole[..slot].iter().map(String::as_str).collect();
            for (at, _) in text.char_indices() {
                let mut writing = writing(&done, &text[..at]).unwrap();
                let mut out = Vec::new();
                let pushed = writing.push(&format!("{}\n", &text[at..]), 1, &mut out);
                assert_eq!(pushed, Ok(Pushed::Ended), "{text} cut at {at}");
                assert_eq!(writing.progress().done.last(), Some(text));
            }
        }
        let all = ["좋습니다.", "걷기", "물 아끼기"];
        for (done, partial) in [(&all[..0], "a"), (&all[..1], "산"), (&all[..], "x")] {
            assert!(matches!(writing(done, partial), Err(Error::Program(_))), "{done:?} {partial}");
        }
    }
}
