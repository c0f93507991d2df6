//! Answers of a few words to what was offered.

use std::collections::HashSet;

use crate::catalog::ShortReplies;
use crate::words::Words;

/// What is answered to the last challenges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reply {
    Consent,
    /// None of these.
    Refusal,
    /// One of them, from 1.
    Number(usize),
}

/// Letters of a reply, and of one word in it, at most.
const LONGEST: usize = 30;
const LONGEST_WORD: usize = 12;

/// A longer message that mentions a number says more than that.
const LONGEST_MENTION: usize = 16;

/// `aside`: it also says something about categories or the conversation.
pub(super) fn of(message: &str, words: &Words, aside: bool, replies: &ShortReplies) -> Option<Reply> {
    let squeezed: Vec<char> = replies.squeezed(message).chars().take(LONGEST + 1).collect();
    if (1..=LONGEST).contains(&squeezed.len())
        && let Some(reply) = of_these_words_alone(&squeezed, replies)
    {
        return Some(reply);
    }
    if aside || words.letters() > LONGEST_MENTION {
        return None;
    }
    let any = replies.mentioned.iter().any(|at| at.is_match(words.text()));
    if any && replies.turned_down.is_match(words.text()) {
        return Some(Reply::Refusal);
    }
    mentioned(words, replies).filter(|_| !words.has_any(&replies.question)).map(Reply::Number)
}

/// The number of the challenge that is mentioned; `None` where several are, or none is.
pub(super) fn mentioned(words: &Words, replies: &ShortReplies) -> Option<usize> {
    let mut mentioned = (1..).zip(&replies.mentioned).filter(|(_, at)| at.is_match(words.text()));
    let (number, _) = mentioned.next()?;
    mentioned.next().is_none().then_some(number)
}

fn of_these_words_alone(text: &[char], replies: &ShortReplies) -> Option<Reply> {
    let ShortReplies { consent, refusal, filler, numbers, .. } = replies;
    let kind = [filler, consent];
    let with = |more: &[&HashSet<String>]| {
        let lists: Vec<_> = kind.iter().copied().chain(more.iter().copied()).collect();
        covers(text, &lists)
    };
    let all: Vec<_> = numbers.iter().collect();
    if !with(&[&all[..], &[refusal]].concat()) || covers(text, &[filler]) {
        return None;
    }
    if !with(&all) {
        return Some(Reply::Refusal);
    }
    if with(&[]) {
        return Some(Reply::Consent);
    }
    let meant: Vec<usize> =
        (1..).zip(numbers).filter(|(_, words)| with(&[*words])).map(|(number, _)| number).collect();
    match meant[..] {
        [number] => Some(Reply::Number(number)),
        // "1이랑 2" is a yes to both.
        _ => Some(Reply::Consent),
    }
}

/// Whether a text consists of words of these lists.
fn covers(text: &[char], lists: &[&HashSet<String>]) -> bool {
    let mut up_to = vec![true];
    for end in 1..=text.len() {
        let ends = (end.saturating_sub(LONGEST_WORD)..end).any(|start| {
            let word = || text[start..end].iter().collect::<String>();
            up_to[start] && lists.iter().any(|list| list.contains(&word()))
        });
        up_to.push(ends);
    }
    up_to.last().copied().unwrap_or(false)
}
