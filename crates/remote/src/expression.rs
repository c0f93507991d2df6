//! Regular expressions as trees that can be taken apart: what of a slot is still to be written, for servers that match what
//! they write alone.

use std::collections::BTreeSet;
use std::sync::Arc;

use regex_syntax::hir::{Class, Hir, HirKind};

/// Ranges of characters, ascending, apart from each other.
type Ranges = Arc<[(char, char)]>;

/// More parts than this are no expression that a server should be asked to compile.
const MOST_PARTS: usize = 20_000;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Expression {
    /// The empty text.
    Empty,
    /// One of these characters; without any, nothing matches.
    One(Ranges),
    /// One after the other.
    All(Arc<[Expression]>),
    /// One of them; none is the empty text.
    Any(Arc<[Expression]>),
    /// So many times, one after the other.
    Times { of: Arc<Expression>, least: u32, most: Option<u32> },
}

use Expression::{All, Any, Empty, One, Times};

impl Expression {
    /// # Errors
    /// A sentence that says what a server can't be asked for.
    pub(crate) fn parse(regex: &str) -> Result<Self, String> {
        let hir = regex_syntax::parse(regex).map_err(|error| error.to_string())?;
        of_hir(&hir)
    }

    /// These characters and no others.
    pub(crate) fn text(text: &str) -> Self {
        let one = |character| One([(character, character)].into());
        all(text.chars().map(one).collect())
    }

    /// One of these texts.
    pub(crate) fn texts<'a>(texts: impl Iterator<Item = &'a str>) -> Self {
        any(texts.map(Self::text).collect())
    }

    pub(crate) fn then(self, next: Self) -> Self {
        all(vec![self, next])
    }

    pub(crate) fn or(self, other: Self) -> Self {
        any(vec![self, other])
    }

    /// What may follow `text`; `None` when nothing that matches begins with it, or when that can't be said in few words.
    pub(crate) fn after(&self, text: &str) -> Option<Self> {
        text.chars().try_fold(self.clone(), |left, character| {
            let rests = left.heads().into_iter().filter(|(head, _)| holds(head, character));
            let left = any(rests.map(|(_, rest)| rest).collect());
            (left != nothing() && left.parts() <= MOST_PARTS).then_some(left)
        })
    }

    /// The same without the empty text.
    pub(crate) fn not_empty(&self) -> Self {
        any(self.heads().into_iter().map(|(head, rest)| One(head).then(rest)).collect())
    }

    /// Whether it matches the empty text.
    pub(crate) fn is_optional(&self) -> bool {
        match self {
            Empty => true,
            One(_) => false,
            All(parts) => parts.iter().all(Self::is_optional),
            Any(parts) => parts.iter().any(Self::is_optional),
            Times { of, least, .. } => *least == 0 || of.is_optional(),
        }
    }

    /// Each way to begin: a character's ranges, and what may follow it ("linear form", Antimirov 1996).
    fn heads(&self) -> Vec<(Ranges, Self)> {
        match self {
            Empty => Vec::new(),
            One(ranges) if ranges.is_empty() => Vec::new(),
            One(ranges) => vec![(ranges.clone(), Empty)],
            All(parts) => {
                let mut heads = Vec::new();
                for (index, part) in parts.iter().enumerate() {
                    let behind = all(parts[index + 1..].to_vec());
                    heads.extend(
                        part.heads().into_iter().map(|(head, rest)| (head, rest.then(behind.clone()))),
                    );
                    if !part.is_optional() {
                        break;
                    }
                }
                heads
            }
            Any(parts) => parts.iter().flat_map(Self::heads).collect(),
            Times { of, least, most } => {
                let again = times(of, least.saturating_sub(1), most.map(|most| most.saturating_sub(1)));
                of.heads().into_iter().map(|(head, rest)| (head, rest.then(again.clone()))).collect()
            }
        }
    }

    fn parts(&self) -> usize {
        match self {
            Empty | One(_) => 1,
            All(parts) | Any(parts) => 1 + parts.iter().map(Self::parts).sum::<usize>(),
            Times { of, .. } => 1 + of.parts(),
        }
    }
}

fn of_hir(hir: &Hir) -> Result<Expression, String> {
    Ok(match hir.kind() {
        HirKind::Empty => Empty,
        HirKind::Literal(literal) => match std::str::from_utf8(&literal.0) {
            Ok(text) => Expression::text(text),
            Err(_) => return Err("it holds bytes that are no text".into()),
        },
        HirKind::Class(Class::Unicode(class)) => {
            One(class.iter().map(|range| (range.start(), range.end())).collect())
        }
        HirKind::Class(Class::Bytes(class)) => match class.to_unicode_class() {
            Some(class) => One(class.iter().map(|range| (range.start(), range.end())).collect()),
            None => return Err("it holds bytes that are no text".into()),
        },
        // What a slot holds is matched as a whole, so that these say nothing at its ends and are wrong elsewhere.
        HirKind::Look(look) => return Err(format!("it looks around ({look:?})")),
        HirKind::Repetition(repetition) => {
            times(&Arc::new(of_hir(&repetition.sub)?), repetition.min, repetition.max)
        }
        HirKind::Capture(capture) => of_hir(&capture.sub)?,
        HirKind::Concat(parts) => all(parts.iter().map(of_hir).collect::<Result<_, _>>()?),
        HirKind::Alternation(parts) => any(parts.iter().map(of_hir).collect::<Result<_, _>>()?),
    })
}

fn nothing() -> Expression {
    One([].into())
}

fn all(parts: Vec<Expression>) -> Expression {
    let mut flat = Vec::with_capacity(parts.len());
    for part in parts {
        match part {
            Empty => {}
            All(parts) => flat.extend(parts.iter().cloned()),
            part => flat.push(part),
        }
    }
    if flat.contains(&nothing()) {
        return nothing();
    }
    match flat.len() {
        0 => Empty,
        1 => flat.remove(0),
        _ => All(flat.into()),
    }
}

fn any(parts: Vec<Expression>) -> Expression {
    let (mut ranges, mut others, mut optional) = (Vec::new(), BTreeSet::new(), false);
    for part in parts {
        let inner = if let Any(parts) = part { parts.to_vec() } else { vec![part] };
        for part in inner {
            match part {
                Empty => optional = true,
                One(more) => ranges.extend(more.iter().copied()),
                part => _ = others.insert(part),
            }
        }
    }
    let one = One(joined(ranges));
    let mut parts: Vec<Expression> = others.into_iter().collect();
    if one != nothing() {
        parts.push(one);
    }
    let whole = match parts.len() {
        0 if optional => return Empty,
        0 => return nothing(),
        1 => parts.remove(0),
        _ => Any(parts.into()),
    };
    // Not every dialect of servers knows an alternative that is empty.
    if optional && !whole.is_optional() { times(&Arc::new(whole), 0, Some(1)) } else { whole }
}

fn times(of: &Arc<Expression>, least: u32, most: Option<u32>) -> Expression {
    match (least, most) {
        _ if **of == Empty => Empty,
        (_, Some(0)) => Empty,
        (1, Some(1)) => (**of).clone(),
        _ => Times { of: of.clone(), least, most },
    }
}

fn joined(mut ranges: Vec<(char, char)>) -> Ranges {
    ranges.sort_unstable();
    let mut joined: Vec<(char, char)> = Vec::with_capacity(ranges.len());
    for (start, end) in ranges {
        match joined.last_mut() {
            Some((_, last)) if start <= *last || next_to(*last, start) => *last = end.max(*last),
            _ => joined.push((start, end)),
        }
    }
    joined.into()
}

fn next_to(before: char, after: char) -> bool {
    let mut between = before..=after;
    between.next();
    between.next() == Some(after)
}

fn holds(ranges: &Ranges, character: char) -> bool {
    ranges.iter().any(|&(start, end)| (start..=end).contains(&character))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notation;
    use proptest::prelude::*;

    const SENTENCE: &str =
        "(?:[가-힣0-9]|LED|L|kg)(?:(?:,? |[·~])?(?:[가-힣0-9]|LED|L|kg)%?){3,9}(?:니다|요)\\.";

    fn matches(expression: &Expression, text: &str) -> bool {
        regex::Regex::new(&format!("^(?:{})$", notation::regex(expression))).unwrap().is_match(text)
    }

    #[test]
    fn what_follows_a_text_is_what_completes_it() {
        let whole = Expression::parse(SENTENCE).unwrap();
        let text = "L당 3kg, LED·나무를 심습니다.";
        for (at, _) in text.char_indices() {
            let rest = whole.after(&text[..at]).unwrap_or_else(|| panic!("after {:?}", &text[..at]));
            assert!(matches(&rest, &text[at..]), "{:?} after {:?}", &text[at..], &text[..at]);
            assert!(!matches(&rest, "?") && !rest.is_optional());
        }
        assert!(whole.after(text).unwrap() == Empty);
        assert!(whole.after("나무!").is_none() && whole.after("!").is_none());
    }

    #[test]
    fn what_follows_stays_short() {
        let whole = Expression::parse(&format!("{SENTENCE}(?: {SENTENCE})?")).unwrap();
        let text = "나무를 심어요. 물을 아껴 씁니";
        let longest = text.char_indices().map(|(at, _)| whole.after(&text[..at]).unwrap().parts()).max();
        assert!(longest.unwrap() < 8 * whole.parts(), "{longest:?} of {}", whole.parts());
    }

    #[test]
    fn not_empty_takes_the_end_away_and_nothing_else() {
        let title = Expression::parse("[가-힣]{2,4}").unwrap().after("걷기").unwrap();
        assert!(matches(&title, "") && matches(&title, "도"));
        let title = title.not_empty();
        assert!(
            !matches(&title, "")
                && matches(&title, "도")
                && matches(&title, "하기")
                && !matches(&title, "하기도")
        );
    }

    #[test]
    fn what_can_not_be_asked_for_is_said() {
        for regex in ["^a$", "a\\b", "(?-u:\\xff)"] {
            assert!(Expression::parse(regex).is_err(), "{regex}");
        }
    }

    proptest! {
        /// Any expression and any of its texts, cut anywhere.
        #[test]
        fn a_text_is_its_beginning_and_what_follows(
            expression in tree(),
            seed in proptest::collection::vec(proptest::arbitrary::any::<u8>(), 0..24),
        ) {
            let mut text = String::new();
            let mut left = expression.clone();
            for step in seed {
                let heads = left.heads();
                let Some((head, _)) = heads.get(step as usize % heads.len().max(1)) else { break };
                let character = head[step as usize % head.len()].0;
                text.push(character);
                left = left.after(&character.to_string()).unwrap();
                prop_assert_eq!(left.is_optional(), matches(&expression, &text), "{}", text);
                prop_assert_eq!(expression.after(&text), Some(left.clone()));
            }
        }
    }

    fn tree() -> impl Strategy<Value = Expression> {
        let leaf = prop_oneof![
            "[abc가나]".prop_map(|text| Expression::text(&text)),
            Just(Expression::parse("[a-b]").unwrap()),
            Just(Empty),
        ];
        leaf.prop_recursive(4, 24, 3, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 1..4).prop_map(super::all),
                proptest::collection::vec(inner.clone(), 1..4).prop_map(super::any),
                (inner, 0u32..3, 0u32..3).prop_map(|(of, least, more)| {
                    times(&Arc::new(of), least, (more < 2).then_some(least + more))
                }),
            ]
        })
    }
}
