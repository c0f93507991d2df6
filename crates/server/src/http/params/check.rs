//! Whether values can be used, and what they mean.

use leafresh_chat::{BaseInfo, Catalog};
use unicode_normalization::UnicodeNormalization;

use super::{Error, Given, Name, Raw};

/// Longest place or work type that the catalogue doesn't know, in Unicode scalar values.
const MAX_TERM: usize = 50;
/// Longest session or request id, in bytes.
const MAX_ID: usize = 128;

/// The fields of one path, in the order in which missing ones are named and bad ones are listed.
pub(crate) struct Table {
    required: &'static [Name],
    optional: &'static [Name],
}

impl Table {
    pub(crate) const BASE_INFO: Self =
        Self { required: &[Name::Location, Name::WorkType, Name::Category], optional: &[Name::SessionId] };

    /// What every path takes.
    const COMMON: [Name; 6] =
        [Name::Dialect, Name::Adapter, Name::Progress, Name::Errors, Name::LastEventId, Name::RequestId];

    fn fields(&self) -> impl Iterator<Item = Name> {
        self.required.iter().chain(self.optional).chain(&Self::COMMON).copied()
    }
}

/// Which event names a reader understands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Dialect {
    #[default]
    Challenge,
    /// The older names: `token` and `complete`.
    Token,
}

/// Checked values: codes where the catalogue knows the text, else the text, normalised. What is absent or blank is
/// empty.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Values {
    pub(crate) location: String,
    pub(crate) work_type: String,
    pub(crate) category: String,
    pub(crate) session_id: Option<String>,
    pub(crate) dialect: Dialect,
}

impl Values {
    pub(crate) fn base_info(self) -> BaseInfo {
        BaseInfo {
            location: self.location,
            work_type: self.work_type,
            category: self.category,
            session_id: self.session_id,
        }
    }
}

/// Checks the fields of `table`.
///
/// # Errors
/// In this order: invalid encoding, the first required field that is missing, all fields with bad values.
pub(crate) fn check(table: &Table, given: &Given, catalog: &Catalog) -> Result<Values, Error> {
    given.check_encoding()?;
    if let Some(missing) = table.required.iter().find(|name| is_blank(given.get(**name))) {
        return Err(Error::Missing(*missing));
    }
    let mut values = Values::default();
    let bad: Vec<_> =
        table.fields().filter(|name| values.read(*name, given.get(*name), catalog).is_none()).collect();
    if bad.is_empty() { Ok(values) } else { Err(Error::InvalidFields(bad)) }
}

impl Values {
    /// Takes one value over; `None` if it can't be used.
    fn read(&mut self, name: Name, raw: Option<&Raw>, catalog: &Catalog) -> Option<()> {
        let text = match raw {
            None => return Some(()),
            Some(Raw::Text(text)) => clean(text)?,
            // Switches take JSON's own words for yes and no.
            Some(Raw::Yes | Raw::No) if name == Name::Progress => return Some(()),
            Some(_) => return None,
        };
        if text.is_empty() {
            return Some(());
        }
        match name {
            Name::Location => {
                self.location =
                    catalog.place(&text).map_or_else(|| short(text), |term| Some(term.code.clone()))?;
            }
            Name::WorkType => {
                self.work_type =
                    catalog.work_type(&text).map_or_else(|| short(text), |term| Some(term.code.clone()))?;
            }
            Name::Category => self.category.clone_from(&catalog.category(&text)?.code),
            Name::SessionId => self.session_id = Some(identifier(text)?),
            Name::Dialect if text == "token" => self.dialect = Dialect::Token,
            // No adapters are registered, so every name is unknown.
            Name::Dialect | Name::Adapter => return None,
            Name::RequestId => drop(identifier(text)?),
            // Looked at elsewhere; any text will do.
            Name::Progress | Name::Errors | Name::LastEventId => {}
        }
        Some(())
    }
}

fn is_blank(raw: Option<&Raw>) -> bool {
    match raw {
        None => true,
        // A control character makes a value bad, not blank: it is looked for before trimming.
        Some(Raw::Text(text)) => clean(text).is_some_and(|text| text.is_empty()),
        Some(_) => false,
    }
}

/// NFC without white space around it; `None` if there is a control character anywhere.
fn clean(text: &str) -> Option<String> {
    if text.contains(char::is_control) {
        return None;
    }
    Some(text.nfc().collect::<String>().trim().to_owned())
}

fn short(text: String) -> Option<String> {
    (text.chars().count() <= MAX_TERM).then_some(text)
}

fn identifier(text: String) -> Option<String> {
    (text.len() <= MAX_ID && text.bytes().all(|byte| byte.is_ascii_graphic())).then_some(text)
}

#[cfg(test)]
mod tests;
