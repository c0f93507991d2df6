//! A JSON object whose keys are all accounted for: what nobody took in the end is refused by its name.

use serde_json::{Map, Value};

use super::super::error::Error;
use super::error::Refusal;

/// An object of a request, and the way to it: empty for the body.
#[derive(Debug)]
pub(super) struct Fields {
    path: String,
    left: Map<String, Value>,
}

impl Fields {
    /// The body of a request, a byte order mark before it or not.
    ///
    /// # Errors
    /// What is no JSON object.
    pub(super) fn of_body(body: &[u8]) -> Result<Self, Refusal> {
        let body = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
        match serde_json::from_slice(body) {
            Ok(Value::Object(left)) => Ok(Self { path: String::new(), left }),
            Ok(_) => Err(Error::NotAnObject.into()),
            Err(error) => Err(Refusal::invalid("", format!("The body is no JSON: {error}."))),
        }
    }

    /// An object that a parameter holds.
    ///
    /// # Errors
    /// Another value.
    pub(super) fn of(path: &str, value: Value) -> Result<Self, Refusal> {
        match value {
            Value::Object(left) => Ok(Self { path: path.to_owned(), left }),
            other => Err(unexpected(path, "an object", &other)),
        }
    }

    /// A key of this object with the way to it.
    pub(super) fn path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// A value; null is none.
    pub(super) fn take(&mut self, key: &str) -> Option<Value> {
        // The order of the others doesn't matter any more.
        self.left.swap_remove(key).filter(|value| !value.is_null())
    }

    pub(super) fn text(&mut self, key: &str) -> Result<Option<String>, Refusal> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(unexpected(&self.path(key), "a string", &other)),
        }
    }

    pub(super) fn required_text(&mut self, key: &str, expected: &str) -> Result<String, Refusal> {
        let text = self.text(key)?;
        text.ok_or_else(|| Refusal::missing(&self.path(key), expected))
    }

    pub(super) fn flag(&mut self, key: &str) -> Result<bool, Refusal> {
        match self.take(key) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(other) => Err(unexpected(&self.path(key), "true or false", &other)),
        }
    }

    /// A number from the first to the last of these.
    pub(super) fn number(&mut self, key: &str, range: (f64, f64)) -> Result<Option<f64>, Refusal> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let (least, most) = range;
        match value.as_f64().filter(|number| (least..=most).contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(unexpected(&self.path(key), &format!("a number from {least} to {most}"), &value)),
        }
    }

    /// A whole number from the first to the last of these. Clients write `5` or `5.0`.
    pub(super) fn whole(&mut self, key: &str, range: (usize, usize)) -> Result<Option<usize>, Refusal> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let (least, most) = range;
        let exact = |number: &f64| number.fract() == 0.0 && (0.0..=9e15).contains(number);
        let number = value.as_f64().filter(exact).map(|number| number as usize);
        match number.filter(|number| (least..=most).contains(number)) {
            Some(number) => Ok(Some(number)),
            None => {
                let expected = format!("a whole number from {least} to {most}");
                Err(unexpected(&self.path(key), &expected, &value))
            }
        }
    }

    /// What clients send and doesn't change an answer.
    pub(super) fn ignore(&mut self, keys: &[&str]) {
        for key in keys {
            self.left.swap_remove(*key);
        }
    }

    /// What would change an answer and isn't to be had here: allowed where its value says that it isn't wanted.
    pub(super) fn without(&mut self, keys: &[(&str, &str)]) -> Result<(), Refusal> {
        for (key, instead) in keys {
            if self.take(key).is_some_and(|value| is_wanted(&value)) {
                return Err(Refusal::unsupported(&self.path(key), instead));
            }
        }
        Ok(())
    }

    /// All has been taken.
    pub(super) fn end(self) -> Result<(), Refusal> {
        match self.left.keys().next() {
            None => Ok(()),
            Some(key) => Err(Refusal::unknown_parameter(&self.path(key))),
        }
    }
}

/// Whether a value asks for something: false, 0, "none" and what is empty don't.
fn is_wanted(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(wanted) => *wanted,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !matches!(text.as_str(), "" | "none"),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// What was found is told as it is as long as it is short.
pub(super) fn unexpected(path: &str, expected: &str, found: &Value) -> Refusal {
    let found = match found {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        Value::String(text) if text.len() > 40 => "a long string".to_owned(),
        short => short.to_string(),
    };
    Refusal::invalid(path, format!("expected {expected}, found {found}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(body: &str) -> Fields {
        Fields::of_body(body.as_bytes()).unwrap()
    }

    fn message<T: std::fmt::Debug>(result: Result<T, Refusal>) -> String {
        result.unwrap_err().message.into_owned()
    }

    #[test]
    fn what_nobody_took_is_refused_by_its_name() {
        let mut all = fields(r#"{"a":1,"b":null,"c":"x","user":"me"}"#);
        assert_eq!(all.whole("a", (0, 5)).unwrap(), Some(1));
        assert_eq!(all.text("b").unwrap(), None);
        all.ignore(&["user", "metadata"]);
        assert!(message(all.end()).starts_with("c: no such parameter"));
    }

    #[test]
    fn values_of_other_kinds_are_told_with_what_was_expected() {
        let mut all = fields(r#"{"text":1,"flag":"yes","number":2.5,"whole":1.5,"minus":-1,"object":[]}"#);
        assert_eq!(message(all.text("text")), "text: expected a string, found 1");
        assert_eq!(message(all.flag("flag")), "flag: expected true or false, found \"yes\"");
        assert_eq!(
            message(all.number("number", (0.0, 2.0))),
            "number: expected a number from 0 to 2, found 2.5"
        );
        assert_eq!(
            message(all.whole("whole", (1, 8))),
            "whole: expected a whole number from 1 to 8, found 1.5"
        );
        assert!(message(all.whole("minus", (1, 8))).ends_with("found -1"));
        let value = all.take("object").unwrap();
        assert_eq!(message(Fields::of("object", value)), "object: expected an object, found a list");
        assert_eq!(message(all.required_text("none", "a string")), "none: is required: a string");
        for bad in ["", "{", "[]", "1", "{}{}"] {
            assert!(Fields::of_body(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(Fields::of_body("\u{feff}{}".as_bytes()).is_ok());
    }

    #[test]
    fn what_is_not_to_be_had_may_be_declined() {
        for declined in ["null", "false", "0", "0.0", "\"none\"", "[]", "{}"] {
            assert_eq!(fields(&format!(r#"{{"tools":{declined}}}"#)).without(&[("tools", "no")]), Ok(()));
        }
        for wanted in ["true", "1", "[1]", "{\"a\":1}", "\"auto\""] {
            let refused = fields(&format!(r#"{{"tools":{wanted}}}"#)).without(&[("tools", "there are none")]);
            assert_eq!(message(refused), "tools: there are none", "{wanted}");
        }
    }
}
