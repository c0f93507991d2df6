//! JSON bodies.

use serde_json::Value;

use super::{Error, Given, Name, Raw};

/// Reads an object, a byte order mark before it or not. Nesting beyond serde_json's limit of 128 levels is a syntax error.
///
/// # Errors
/// Bytes that are no UTF-8, text that is no JSON, JSON that is no object.
pub(crate) fn from_json(body: &[u8]) -> Result<Given, Error> {
    let text = std::str::from_utf8(body).map_err(|_| Error::InvalidEncoding)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let value: Value = serde_json::from_str(text).map_err(|_| Error::MalformedJson)?;
    let Value::Object(object) = value else {
        return Err(Error::NotAnObject);
    };
    let mut given = Given::default();
    for (name, value) in object {
        if let Some(name) = Name::parse(&name) {
            given.set(name, read_value(value));
        }
    }
    Ok(given)
}

fn read_value(value: Value) -> Option<Raw> {
    Some(match value {
        Value::Null => return None,
        Value::String(text) => Raw::Text(text),
        Value::Bool(true) => Raw::Yes,
        Value::Number(number) if number.as_u64() == Some(1) => Raw::Yes,
        Value::Bool(false) | Value::Number(_) => Raw::No,
        Value::Array(_) | Value::Object(_) => Raw::Structure,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_read_as_the_contract_says() {
        let cases: &[(&str, Option<Raw>)] = &[
            (r#"{"location":"도시"}"#, Some(Raw::Text("도시".into()))),
            (r#"{"location":"\ub3c4"}"#, Some(Raw::Text("도".into()))),
            (r#"{"location":"%EB%8F%84"}"#, Some(Raw::Text("%EB%8F%84".into()))),
            (r#"{"location":"a","location":"b"}"#, Some(Raw::Text("b".into()))),
            (r#"{"location":"a","location":null}"#, None),
            (r#"{"location":null}"#, None),
            (r#"{"location":true}"#, Some(Raw::Yes)),
            (r#"{"location":1}"#, Some(Raw::Yes)),
            (r#"{"location":0}"#, Some(Raw::No)),
            (r#"{"location":[]}"#, Some(Raw::Structure)),
            (r#"{"location":{}}"#, Some(Raw::Structure)),
            ("\u{feff}{\"location\":\"a\"}", Some(Raw::Text("a".into()))),
            (r#"{"other":{"location":"a"}}"#, None),
        ];
        for (body, expected) in cases {
            let given = from_json(body.as_bytes()).expect(body);
            assert_eq!(given.get(Name::Location), expected.as_ref(), "{body}");
        }
    }

    #[test]
    fn what_is_no_object_is_refused() {
        let deep = "[".repeat(100_000);
        let cases: &[(&[u8], Error)] = &[
            (b"", Error::MalformedJson),
            (b"{", Error::MalformedJson),
            ("\u{feff}\u{feff}{}".as_bytes(), Error::MalformedJson),
            (b"{} {}", Error::MalformedJson),
            (b"{'location':'a'}", Error::MalformedJson),
            (br#"{"location":"\ud800"}"#, Error::MalformedJson),
            (b"{\"location\":\"a\nb\"}", Error::MalformedJson),
            (br#"{"location":1e999}"#, Error::MalformedJson),
            (deep.as_bytes(), Error::MalformedJson),
            (b"[]", Error::NotAnObject),
            (b"null", Error::NotAnObject),
            (b"\"a\"", Error::NotAnObject),
            (b"{\"location\":\"\xff\"}", Error::InvalidEncoding),
        ];
        for (body, expected) in cases {
            assert_eq!(
                from_json(body).as_ref(),
                Err(expected),
                "{}",
                String::from_utf8_lossy(&body[..body.len().min(60)])
            );
        }
    }
}
