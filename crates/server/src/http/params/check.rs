//! Whether values can be used, and what they mean.

use leafresh_chat::{BaseInfo, Catalog, Command, FreeText, Kind, Rating, is_blank};
use unicode_normalization::UnicodeNormalization;

use super::{Error, Given, Name, Raw};

/// Longest place or work type that the catalogue doesn't know, in Unicode scalar values.
const MAX_TERM: usize = 50;
/// Longest message, in Unicode scalar values.
const MAX_MESSAGE: usize = 1000;
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
    pub(crate) const FREE_TEXT: Self =
        Self { required: &[Name::Message], optional: &[Name::SessionId, Name::Location, Name::WorkType] };

    /// What somebody thinks of an answer.
    pub(crate) const FEEDBACK: Self = Self { required: &[Name::SessionId], optional: &[Name::Rating] };

    pub(crate) fn of(kind: Kind) -> &'static Self {
        match kind {
            Kind::BaseInfo => &Self::BASE_INFO,
            Kind::FreeText => &Self::FREE_TEXT,
        }
    }

    /// What every path takes.
    const COMMON: [Name; 7] = [
        Name::Dialect,
        Name::Adapter,
        Name::Progress,
        Name::Details,
        Name::Errors,
        Name::LastEventId,
        Name::RequestId,
    ];

    fn fields(&self) -> impl Iterator<Item = Name> {
        self.required.iter().chain(self.optional).chain(&Self::COMMON).copied()
    }
}

/// What names are looked up in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known<'a> {
    pub(crate) catalog: &'a Catalog,
    /// Those of the engine. None: there is no engine yet, and nobody is told what it hasn't.
    pub(crate) adapters: Option<&'a [String]>,
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
    pub(crate) message: String,
    pub(crate) location: String,
    pub(crate) work_type: String,
    pub(crate) category: String,
    pub(crate) session_id: Option<String>,
    pub(crate) adapter: Option<String>,
    pub(crate) dialect: Dialect,
    pub(crate) progress: bool,
    pub(crate) details: bool,
    pub(crate) request_id: Option<String>,
    pub(crate) rating: Option<Rating>,
}

impl Values {
    /// The request of the person or program that a key named `owner` belongs to; empty without keys.
    pub(crate) fn command(self, kind: Kind, owner: &str) -> Command {
        let owner = owner.to_owned();
        let Self { message, location, work_type, category, session_id, adapter, .. } = self;
        let given = |text: String| (!text.is_empty()).then_some(text);
        match kind {
            Kind::BaseInfo => BaseInfo { owner, session_id, location, work_type, category, adapter }.into(),
            Kind::FreeText => {
                let (location, work_type) = (given(location), given(work_type));
                FreeText { owner, session_id, message, location, work_type, adapter }.into()
            }
        }
    }
}

/// Checks the fields of `table`.
///
/// # Errors
/// In this order: invalid encoding, the first required field that is missing, all fields with bad values.
pub(crate) fn check(table: &Table, given: &Given, known: Known<'_>) -> Result<Values, Error> {
    given.check_encoding()?;
    if let Some(missing) = table.required.iter().find(|name| is_missing(**name, given.get(**name))) {
        return Err(Error::Missing(*missing));
    }
    let mut values = Values::default();
    let bad: Vec<_> =
        table.fields().filter(|name| values.read(*name, given.get(*name), known).is_none()).collect();
    match &bad[..] {
        [] => Ok(values),
        // Its length alone is wrong: else there would be no text.
        [Name::Message] if !values.message.is_empty() => Err(Error::MessageTooLong),
        _ => Err(Error::InvalidFields(bad)),
    }
}

impl Values {
    /// Takes one value over; `None` if it can't be used.
    fn read(&mut self, name: Name, raw: Option<&Raw>, known: Known<'_>) -> Option<()> {
        let Known { catalog, adapters } = known;
        let text = match raw {
            None => return Some(()),
            Some(Raw::Text(text)) => clean(name, text)?,
            // Switches take JSON's own words for yes and no.
            Some(raw @ (Raw::Yes | Raw::No)) if matches!(name, Name::Progress | Name::Details) => {
                self.switch(name, *raw == Raw::Yes);
                return Some(());
            }
            Some(_) => return None,
        };
        if text.is_empty() {
            return Some(());
        }
        match name {
            Name::Message => {
                self.message = text;
                return (self.message.chars().count() <= MAX_MESSAGE).then_some(());
            }
            Name::Location => {
                self.location =
                    catalog.place(&text).map_or_else(|| short(text), |term| Some(term.code.clone()))?;
            }
            Name::WorkType => {
                self.work_type =
                    catalog.work_type(&text).map_or_else(|| short(text), |term| Some(term.code.clone()))?;
            }
            Name::Category => self.category.clone_from(&catalog.category(&text)?.code),
            // In a path these two name a folder: no client could ask for such a session.
            Name::SessionId if matches!(&*text, "." | "..") => return None,
            Name::SessionId => self.session_id = Some(identifier(text)?),
            Name::Dialect if text == "token" => self.dialect = Dialect::Token,
            Name::Dialect => return None,
            Name::Adapter if adapters.is_some_and(|known| !known.contains(&text)) => return None,
            Name::Adapter => self.adapter = Some(text),
            Name::RequestId => self.request_id = Some(identifier(text)?),
            Name::Rating => self.rating = Some(Rating::parse(&text)?),
            // Any text will do.
            Name::Progress | Name::Details => self.switch(name, text == "1"),
            // Looked at elsewhere.
            Name::Errors | Name::LastEventId => {}
        }
        Some(())
    }

    fn switch(&mut self, name: Name, on: bool) {
        *(if name == Name::Details { &mut self.details } else { &mut self.progress }) = on;
    }
}

fn is_missing(name: Name, raw: Option<&Raw>) -> bool {
    match raw {
        None => true,
        // A control character makes a value bad, not blank: it is looked for before trimming.
        Some(Raw::Text(text)) => clean(name, text).is_some_and(|text| text.is_empty()),
        Some(_) => false,
    }
}

/// NFC without white space around it, empty if it is blank; `None` if there is a control character anywhere. In a message
/// a tab or a line break is a space.
fn clean(name: Name, text: &str) -> Option<String> {
    let spaced = (name == Name::Message).then(|| text.replace("\r\n", " ").replace(['\t', '\n', '\r'], " "));
    let text = spaced.as_deref().unwrap_or(text);
    if text.contains(char::is_control) {
        return None;
    }
    if is_blank(text) {
        return Some(String::new());
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
