//! From a query string or a JSON body to checked, normalised values.
//!
//! Two steps, because their errors have an order: reading (encoding, JSON syntax), then [`check`] (required fields
//! first, then every value).

mod check;
mod json;
mod query;

pub(crate) use check::{Dialect, Known, Table, Values, check};
pub(crate) use json::from_json;
pub(crate) use query::from_query;

use leafresh_chat::is_blank;

use super::error::Error;
use super::names::Name;

/// A value as it was sent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Raw {
    Text(String),
    /// JSON's `true` and `1`.
    Yes,
    /// JSON's `false` and every other number.
    No,
    /// A JSON object or array.
    Structure,
    /// Bytes that are no UTF-8.
    Undecodable,
}

/// The known parameters of one request. Of a repeated one the last counts; JSON's null is absent.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Given([Option<Raw>; Name::COUNT]);

impl Given {
    pub(crate) fn set(&mut self, name: Name, value: Option<Raw>) {
        self.0[name as usize] = value;
    }

    pub(crate) fn get(&self, name: Name) -> Option<&Raw> {
        self.0[name as usize].as_ref()
    }

    /// The value without white space around it, unless it is blank.
    pub(crate) fn text(&self, name: Name) -> Option<&str> {
        match self.get(name) {
            Some(Raw::Text(text)) => Some(text.trim()).filter(|text| !is_blank(text)),
            _ => None,
        }
    }

    /// `errors=http`: real HTTP statuses for whoever can read them.
    pub(crate) fn wants_http_errors(&self) -> bool {
        self.text(Name::Errors) == Some("http")
    }

    fn check_encoding(&self) -> Result<(), Error> {
        if self.0.contains(&Some(Raw::Undecodable)) { Err(Error::InvalidEncoding) } else { Ok(()) }
    }
}
