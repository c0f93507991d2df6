//! Objects: their properties in the schema's order.

use serde_json::{Map, Value};

use super::super::error::Refusal;
use super::{CHARACTER, Converter, literal};

/// Any keys with values of one kind.
pub(super) fn any(key: &str, value: &str) -> String {
    let pair = format!("(?:{key}): ?(?:{value})");
    format!(r"\{{(?:{pair}(?:, ?{pair})*)?\}}")
}

impl<'a> Converter<'a> {
    pub(super) fn object(&mut self, keys: &'a Map<String, Value>, path: &str) -> Result<String, Refusal> {
        let at = |key: &str| format!("{path}.{key}");
        let none = Map::new();
        let properties = match keys.get("properties") {
            None => None,
            Some(Value::Object(properties)) => Some(properties),
            Some(_) => return Err(Refusal::invalid(&at("properties"), "expected an object")),
        };
        let required = names(keys.get("required"), &at("required"))?;
        let known = properties.unwrap_or(&none);
        if let Some(missing) = required.iter().find(|name| !known.contains_key(**name)) {
            let message = format!("names \"{missing}\", which isn't among the properties");
            return Err(Refusal::invalid(&at("required"), message));
        }
        match (properties.filter(|properties| !properties.is_empty()), keys.get("additionalProperties")) {
            (Some(properties), _) => self.listed(properties, &required, &at("properties")),
            (None, Some(values @ Value::Object(_))) => {
                let value = self.value(values, &at("additionalProperties"))?;
                Ok(any(&format!(r#""{CHARACTER}*""#), &value))
            }
            (None, _) => Ok(r"\{\}".to_owned()),
        }
    }

    fn listed(
        &mut self,
        properties: &'a Map<String, Value>,
        required: &[&str],
        path: &str,
    ) -> Result<String, Refusal> {
        let mut pairs = Vec::new();
        for (name, schema) in properties {
            let value = self.value(schema, &format!("{path}.{name}"))?;
            let pair = format!("{}: ?(?:{value})", literal(&Value::String(name.clone())));
            pairs.push((pair, required.contains(&name.as_str())));
        }
        Ok(match pairs.iter().position(|(_, is_required)| *is_required) {
            // A comma stands behind what comes before it, and before what comes after it.
            Some(first) => {
                let before = pairs[..first].iter().map(|(pair, _)| format!("(?:{pair}, ?)?"));
                let before = before.collect::<Vec<_>>().concat();
                format!(r"\{{{before}{}{}\}}", pairs[first].0, behind(&pairs[first + 1..]))
            }
            // Whichever comes first.
            None => {
                let begin = |first: usize| format!("{}{}", pairs[first].0, behind(&pairs[first + 1..]));
                let all: Vec<String> = (0..pairs.len()).map(begin).collect();
                format!(r"\{{(?:{})?\}}", all.join("|"))
            }
        })
    }
}

fn behind(pairs: &[(String, bool)]) -> String {
    let one = |(pair, is_required): &(String, bool)| {
        format!("(?:, ?{pair}){}", if *is_required { "" } else { "?" })
    };
    pairs.iter().map(one).collect()
}

fn names<'a>(list: Option<&'a Value>, path: &str) -> Result<Vec<&'a str>, Refusal> {
    let wrong = || Refusal::invalid(path, "expected a list of names");
    match list {
        None => Ok(Vec::new()),
        Some(Value::Array(list)) => list.iter().map(|name| name.as_str().ok_or_else(wrong)).collect(),
        Some(_) => Err(wrong()),
    }
}
