//! `categories.toml`: what a person can choose, and every way of writing it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;
use unicode_normalization::UnicodeNormalization;

use super::Files;
use super::source::{self, check_line, error_at, line_of};
use crate::Error;
use crate::blank::is_ignorable;

pub(super) const CATEGORIES: &str = "categories.toml";

/// Values of requests are at most this long, so a longer label or alias could never be sent.
const LONGEST_NAME: usize = 50;

/// A kind of challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Category {
    /// Stable, ASCII: what is stored and sent.
    pub code: String,
    /// What people read.
    pub label: String,
    /// Other spellings that people send or write.
    pub aliases: Vec<String>,
    /// What belongs here, in one sentence.
    pub description: String,
    /// The engine's adapter that writes its answers, where nobody asks for another one.
    pub adapter: Option<String>,
}

/// A place where people live, or a kind of work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// Stable, ASCII: what is stored and sent.
    pub code: String,
    /// What people read.
    pub label: String,
    /// Other spellings that people send or write.
    pub aliases: Vec<String>,
    /// How the choice reads inside a sentence.
    pub phrase: String,
}

/// The three lists of `categories.toml`.
#[derive(Debug)]
pub(super) struct Lists {
    pub(super) categories: Choices<Category>,
    pub(super) places: Choices<Term>,
    pub(super) work_types: Choices<Term>,
}

/// A list and the names under which its entries are found.
#[derive(Debug)]
pub(super) struct Choices<T> {
    items: Vec<T>,
    /// The line of each entry's code.
    lines: Vec<usize>,
    /// Index by [`comparable`] code, label or alias.
    names: HashMap<String, usize>,
}

impl<T> Choices<T> {
    pub(super) fn items(&self) -> &[T] {
        &self.items
    }

    pub(super) fn find(&self, text: &str) -> Option<&T> {
        self.names.get(&comparable(text)).map(|&index| &self.items[index])
    }

    pub(super) fn with_lines(&self) -> impl Iterator<Item = (&T, usize)> {
        self.items.iter().zip(self.lines.iter().copied())
    }
}

/// The form in which names are compared: NFKC, without spaces and what shows nothing, letters small.
pub(super) fn comparable(text: &str) -> String {
    let shown = |c: &char| !c.is_whitespace() && !is_ignorable(*c);
    // Before it too: between two letters, what shows nothing would keep them from being composed.
    text.chars().filter(shown).nfkc().filter(shown).flat_map(char::to_lowercase).collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    category: Vec<CategoryTable>,
    place: Vec<TermTable>,
    work_type: Vec<TermTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CategoryTable {
    code: Spanned<String>,
    label: Spanned<String>,
    #[serde(default)]
    aliases: Vec<Spanned<String>>,
    description: Spanned<String>,
    adapter: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TermTable {
    code: Spanned<String>,
    label: Spanned<String>,
    #[serde(default)]
    aliases: Vec<Spanned<String>>,
    phrase: Spanned<String>,
}

/// What both kinds of table have in common.
struct Fields<'a> {
    code: &'a Spanned<String>,
    label: &'a Spanned<String>,
    aliases: &'a [Spanned<String>],
    sentence: (&'static str, &'a Spanned<String>),
}

impl CategoryTable {
    fn fields(&self) -> Fields<'_> {
        let sentence = ("description", &self.description);
        Fields { code: &self.code, label: &self.label, aliases: &self.aliases, sentence }
    }

    fn into_category(self) -> Category {
        Category {
            code: self.code.into_inner(),
            label: self.label.into_inner(),
            aliases: self.aliases.into_iter().map(Spanned::into_inner).collect(),
            description: self.description.into_inner(),
            adapter: self.adapter,
        }
    }
}

impl TermTable {
    fn fields(&self) -> Fields<'_> {
        Fields {
            code: &self.code,
            label: &self.label,
            aliases: &self.aliases,
            sentence: ("phrase", &self.phrase),
        }
    }

    fn into_term(self) -> Term {
        Term {
            code: self.code.into_inner(),
            label: self.label.into_inner(),
            aliases: self.aliases.into_iter().map(Spanned::into_inner).collect(),
            phrase: self.phrase.into_inner(),
        }
    }
}

impl Lists {
    pub(super) fn load(files: &Files) -> Result<Self, Error> {
        let (text, path) = source::read(files, CATEGORIES)?;
        let file: File = source::from_toml(&text, &path)?;
        let reader = Reader { text: &text, path: &path };
        Ok(Self {
            categories: reader.choices(
                "category",
                file.category,
                CategoryTable::fields,
                CategoryTable::into_category,
            )?,
            places: reader.choices("place", file.place, TermTable::fields, TermTable::into_term)?,
            work_types: reader.choices(
                "work_type",
                file.work_type,
                TermTable::fields,
                TermTable::into_term,
            )?,
        })
    }
}

struct Reader<'a> {
    text: &'a str,
    path: &'a Path,
}

impl Reader<'_> {
    fn choices<Table, T>(
        &self,
        list: &str,
        tables: Vec<Table>,
        fields: fn(&Table) -> Fields<'_>,
        convert: fn(Table) -> T,
    ) -> Result<Choices<T>, Error> {
        if tables.is_empty() {
            return Err(error_at(
                self.path,
                self.text,
                0,
                format!("`{list}` is empty; it needs at least one entry"),
            ));
        }
        let mut names = HashMap::new();
        let mut lines = Vec::new();
        for (index, table) in tables.iter().enumerate() {
            let fields = fields(table);
            self.check(list, &fields)?;
            self.add_names(index, &fields, &mut names)?;
            lines.push(line_of(self.text, fields.code.span().start));
        }
        let names = names.into_iter().map(|(name, owner)| (name, owner.index)).collect();
        Ok(Choices { items: tables.into_iter().map(convert).collect(), lines, names })
    }

    fn check(&self, list: &str, fields: &Fields<'_>) -> Result<(), Error> {
        let Fields { code, label, aliases, sentence } = fields;
        let texts = [("code", *code), ("label", *label), *sentence];
        for (key, value) in texts.into_iter().chain(aliases.iter().map(|alias| ("aliases", alias))) {
            let fail = |reason: String| Err(self.fail(value, format!("`{key}` of `{list}` {reason}")));
            if let Err(reason) = check_line(value.as_ref()) {
                return fail(reason);
            }
            let length = value.as_ref().chars().count();
            if key != sentence.0 && length > LONGEST_NAME {
                return fail(format!(
                    "has {length} characters; at most {LONGEST_NAME} can be sent in a request"
                ));
            }
        }
        let letters = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if !code.as_ref().chars().all(letters) {
            let reason = format!("`code` of `{list}` may hold ASCII letters, digits, `_` and `-` only");
            return Err(self.fail(code, reason));
        }
        Ok(())
    }

    /// A name belongs to one entry. Within an entry an alias may be another spelling of its own label.
    fn add_names<'t>(
        &self,
        index: usize,
        fields: &Fields<'t>,
        names: &mut HashMap<String, Owner<'t>>,
    ) -> Result<(), Error> {
        let code_and_label = [("code", fields.code), ("label", fields.label)];
        for (key, value) in
            code_and_label.into_iter().chain(fields.aliases.iter().map(|alias| ("aliases", alias)))
        {
            match names.entry(comparable(value.as_ref())) {
                Entry::Vacant(entry) => {
                    entry.insert(Owner { index, key, value });
                }
                Entry::Occupied(entry) => {
                    let owner = entry.get();
                    let spelling =
                        owner.index == index && owner.key != key && owner.value.as_ref() != value.as_ref();
                    if !spelling {
                        let line = line_of(self.text, owner.value.span().start);
                        let reason = format!(
                            "`{key}` repeats the `{}` of line {line}: `{}`; spaces and ASCII case don't tell names apart",
                            owner.key,
                            value.as_ref()
                        );
                        return Err(self.fail(value, reason));
                    }
                }
            }
        }
        Ok(())
    }

    fn fail(&self, at: &Spanned<String>, reason: String) -> Error {
        error_at(self.path, self.text, at.span().start, reason)
    }
}

/// Where a name was first seen.
struct Owner<'a> {
    index: usize,
    key: &'static str,
    value: &'a Spanned<String>,
}
