//! What a message says about the conversation and about the person, by words alone.

mod mentions;
mod replies;

use crate::catalog::Catalog;
use crate::words::Words;
use mentions::Mentioned;
pub(crate) use replies::Reply;

/// What a message says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) wish: Option<Wish>,
    /// It answers what was offered, and says nothing else.
    pub(crate) reply: Option<Reply>,
    /// The only challenge that it mentions, from 1.
    pub(crate) number: Option<usize>,
    /// Codes of categories that are named, then of those that things in it belong to; and of those that are named to be
    /// left out.
    pub(crate) categories: Vec<String>,
    pub(crate) except: Vec<String>,
    /// Where the person says that they live and work: a code, or the text that was mentioned.
    pub(crate) location: Option<String>,
    pub(crate) work_type: Option<String>,
    /// Makes sense only as an answer to what was said before.
    pub(crate) follow_up: bool,
    /// Nothing but a wish, a reply or a name: there is nothing in it to search for.
    pub(crate) bare: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Back to the first category.
    Restore,
    /// Any other one.
    Another,
}

/// A message of so few letters that holds a wish or a category's name holds little else.
const BARE: usize = 12;

/// One of so few letters that names a challenge says nothing else of it: "두 번째로요".
const NUMBER: usize = 5;

impl Reading {
    pub(crate) fn of(message: &str, catalog: &Catalog) -> Self {
        let keywords = catalog.keywords();
        let words = keywords.words(message);
        let Named { categories, except, by_name } = categories(&words, catalog);
        let restores = words.has_any(&keywords.wishes.restore);
        let another = words.has_any(&keywords.wishes.another);
        let aside = restores || another || !categories.is_empty() || !except.is_empty();
        let reply = if restores { None } else { replies::of(message, &words, aside, &keywords.replies) };
        let wish = if restores {
            Some(Wish::Restore)
        } else if reply.is_none() && (another || categories.is_empty() && !except.is_empty()) {
            Some(Wish::Another)
        } else {
            None
        };
        // "2번 더 자세히" names a number and asks for something.
        let says_more = matches!(reply, Some(Reply::Number(_))) && words.letters() > NUMBER;
        let Mentioned { location, work_type } = mentions::of(message, catalog.keywords());
        // "전기세가 걱정" is something to search for, "에너지 절약" isn't.
        let short = words.letters() <= BARE && (wish.is_some() || by_name);
        Self {
            bare: reply.is_some() && !says_more || short,
            follow_up: words.has_any(&keywords.wishes.follow_up),
            number: replies::mentioned(&words, &keywords.replies),
            wish,
            reply,
            categories,
            except,
            location,
            work_type,
        }
    }

    /// Whether its words tell all of it: "네", "2번".
    pub(crate) fn is_settled(&self) -> bool {
        match self.reply {
            Some(Reply::Consent) => true,
            Some(Reply::Number(_)) => self.bare,
            Some(Reply::Refusal) | None => false,
        }
    }

    /// Whether the message is about the conversation, whatever else it says.
    pub(crate) fn is_about_conversation(&self) -> bool {
        self.wish.is_some() || self.reply.is_some()
    }
}

/// Categories in a message.
struct Named {
    categories: Vec<String>,
    except: Vec<String>,
    /// The first of `categories` is named, and not only something of it.
    by_name: bool,
}

/// The categories that a message names, then those of the things in it; and those that it excludes by name.
fn categories(words: &Words, catalog: &Catalog) -> Named {
    let keywords = catalog.keywords();
    let found = words.coded(&keywords.categories);
    let names: Vec<_> = found.iter().filter(|(named, _)| named.by_name).collect();
    // From the end: what is joined to an excluded name is excluded with it.
    let mut excluded = vec![false; names.len()];
    for (index, (_, range)) in names.iter().enumerate().rev() {
        let end = names.get(index + 1).map_or(words.text().len(), |(_, next)| next.start);
        let tail = words.text().get(range.end..end).unwrap_or_default();
        let joined = excluded.get(index + 1).copied().unwrap_or(false);
        excluded[index] = keywords.wishes.excluded.of(&format!("{MARK}{tail}"))
            || joined && keywords.wishes.also.contains(tail);
    }
    let codes = |left_out: bool| {
        let of = names.iter().zip(&excluded).filter(move |(_, excluded)| **excluded == left_out);
        of.map(|((named, _), _)| named.code.clone())
    };
    let mut except = Vec::new();
    for code in codes(true) {
        if !except.contains(&code) && !codes(false).any(|named| named == code) {
            except.push(code);
        }
    }
    let things = found.iter().filter(|(named, _)| !named.by_name).map(|(named, _)| named.code.clone());
    let by_name = codes(false).next().is_some();
    let mut categories = Vec::new();
    for code in codes(false).chain(things) {
        if !categories.contains(&code) && !except.contains(&code) {
            categories.push(code);
        }
    }
    Named { categories, except, by_name }
}

/// Stands in an expression for the word that it is about; no text of [`Words`] holds it.
const MARK: char = '@';
