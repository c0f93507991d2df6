//! `LEAFRESH_SECTION__KEY` variables as settings.

use std::collections::BTreeMap;

use figment::error::{Actual, Kind};
use figment::value::{Dict, Map, Value};
use figment::{Metadata, Profile, Provider};

const PREFIX: &str = "LEAFRESH_";
const SEPARATOR: &str = "__";

/// Variables of the test suite, which are no settings.
const FOR_TESTS: &str = "LEAFRESH_TEST_";

/// Where empty is a value: no embedding model.
const EMPTY_COUNTS: [&str; 1] = ["retrieval__model"];

/// How Kubernetes writes the address of a Service's port.
const ADDRESSES: [&str; 3] = ["tcp://", "udp://", "sctp://"];

/// What a value is taken for. It begins as what it looks like, and what the field that it belongs to doesn't take becomes
/// what it does take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    List,
}

/// The variables of one origin.
pub(super) struct Variables<'a> {
    origin: &'static str,
    /// Keys as they are written, in small letters.
    values: Vec<(String, &'a str)>,
    forms: BTreeMap<String, Form>,
    /// Those that Kubernetes has set.
    pub(super) foreign: Vec<&'a str>,
}

impl<'a> Variables<'a> {
    pub(super) fn new(origin: &'static str, variables: &'a [(String, String)]) -> Self {
        let mut own = Self { origin, values: Vec::new(), forms: BTreeMap::new(), foreign: Vec::new() };
        for (name, value) in variables {
            let Some(key) = name.strip_prefix(PREFIX).filter(|_| !name.starts_with(FOR_TESTS)) else {
                continue;
            };
            let key = key.to_ascii_lowercase();
            if is_of_kubernetes(&key, value) {
                own.foreign.push(name);
            } else if !value.trim().is_empty() || EMPTY_COUNTS.contains(&&*key) {
                own.values.push((key, value.as_str()));
            }
        }
        own
    }

    /// Takes a value that its field refused for what the field expects. False: there is nothing to change.
    pub(super) fn yields(&mut self, error: &figment::Error) -> bool {
        let own = error.metadata.as_ref().is_some_and(|metadata| metadata.name == self.origin);
        let key = error.path.join(SEPARATOR);
        if !own || !self.values.iter().any(|(known, _)| *known == key) {
            return false;
        }
        let Kind::InvalidType(found, expected) = &error.kind else { return false };
        let form = match expected.as_str() {
            "a string" | "path string" if !matches!(found, Actual::Str(_)) => Form::Text,
            "a sequence" => Form::List,
            _ => return false,
        };
        self.forms.insert(key, form) != Some(form)
    }
}

impl Provider for &Variables<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.origin)
            .interpolater(|_, keys| format!("{PREFIX}{}", keys.join(SEPARATOR).to_ascii_uppercase()))
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        let mut dict = Dict::new();
        for (key, value) in &self.values {
            let value = match self.forms.get(key) {
                Some(Form::Text) => Value::from(*value),
                Some(Form::List) => Value::from(value.split(',').map(str::trim).collect::<Vec<_>>()),
                None => parse(value),
            };
            insert(&mut dict, key, SEPARATOR, value);
        }
        Ok(Map::from([(Profile::Default, dict)]))
    }
}

/// What is no number, boolean, list or table is a string.
fn parse(value: &str) -> Value {
    // figment 0.10.19 panics where letters of several bytes come before a backslash in quotes: such a text is what it is.
    if !value.is_ascii() && value.contains('\\') {
        return Value::from(value);
    }
    value.parse().unwrap_or_else(|_| Value::from(value))
}

/// Whether Kubernetes sets such a variable in every pod beside a Service `leafresh` or `leafresh-…`: the Service's address
/// and, for each port, several more.
fn is_of_kubernetes(key: &str, value: &str) -> bool {
    if key.contains(SEPARATOR) {
        return false;
    }
    let key = format!("_{key}");
    // Somebody may have meant server.listen by LEAFRESH_PORT=8000.
    let address = ADDRESSES.iter().any(|scheme| value.starts_with(scheme));
    address && key.contains("_port")
        || key.ends_with("_service_host")
        || key.ends_with("_service_port")
        || key.contains("_service_port_")
        || ["_proto", "_port", "_addr"].iter().any(|end| {
            let port = key.strip_suffix(end).and_then(|rest| {
                ["_tcp", "_udp", "_sctp"].iter().find_map(|protocol| rest.strip_suffix(protocol))
            });
            port.and_then(|rest| rest.rsplit_once("_port_"))
                .is_some_and(|(_, number)| number.parse::<u16>().is_ok())
        })
}

pub(super) fn insert(dict: &mut Dict, path: &str, separator: &str, value: Value) {
    let Some((section, rest)) = path.split_once(separator) else {
        dict.insert(path.to_owned(), value);
        return;
    };
    let mut inner = match dict.remove(section) {
        Some(Value::Dict(_, inner)) => inner,
        _ => Dict::new(),
    };
    insert(&mut inner, rest, separator, value);
    dict.insert(section.to_owned(), Value::from(inner));
}
