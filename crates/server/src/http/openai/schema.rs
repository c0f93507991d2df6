//! A JSON schema as the regular expression of the texts that are valid for it, so that the model can write nothing else.
//!
//! JSON is written on one line, with or without a space after `,` and `:`. Where a schema allows more than an expression can
//! say, the expression allows less: it names properties in the schema's order and adds none. What it would have to pass over is
//! refused instead.

mod integers;
mod object;
mod pattern;

use regex_syntax::escape;
use serde_json::{Map, Value};

use super::error::Refusal;

/// A longer expression is refused before anybody tries to compile it.
const MOST_BYTES: usize = 64 << 10;

/// References within references; those that go round in a circle end here too.
const MOST_REFERENCES: usize = 32;

/// Levels of a JSON object of any kind.
const LEVELS: usize = 3;

/// Most characters of a string and items of a list that a bound can count.
const MOST_COUNTED: usize = 4096;

/// A character of a string.
const CHARACTER: &str = r#"(?:[^"\\\x00-\x1f]|\\["\\/bfnrt])"#;
const NUMBER: &str = r"(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,16})?";

/// What says something about a schema and asks for nothing.
const ANNOTATIONS: [&str; 12] = [
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "$schema",
    "$id",
    "$comment",
    "$defs",
    "definitions",
];

/// All texts that a schema allows, and no other. `path` is the way to the schema.
///
/// # Errors
/// The keyword that can't be followed, and the way to it.
pub(super) fn of_schema(schema: &Value, path: &str) -> Result<String, Refusal> {
    Converter { root: schema, references: Vec::new() }.value(schema, path)
}

/// Any JSON object, of a few levels.
pub(super) fn any_object() -> String {
    let string = format!(r#""{CHARACTER}*""#);
    let scalar = format!("{string}|-?{NUMBER}|true|false|null");
    let of = |value: &str| object::any(&string, value);
    let value = (1..LEVELS)
        .fold(scalar.clone(), |inner, _| format!("{scalar}|{}|{}", list(&inner, 0, None), of(&inner)));
    of(&value)
}

/// A list of so many values.
fn list(value: &str, least: usize, most: Option<usize>) -> String {
    // Of those behind the first.
    let others = |least: usize| match most {
        None => format!("{{{least},}}"),
        Some(most) => format!("{{{least},{}}}", most.saturating_sub(1)),
    };
    match (least, most) {
        (_, Some(0)) => r"\[\]".to_owned(),
        (0, _) => format!(r"\[(?:(?:{value})(?:, ?(?:{value})){})?\]", others(0)),
        (least, _) => format!(r"\[(?:{value})(?:, ?(?:{value})){}\]", others(least - 1)),
    }
}

/// A value as it is, on one line.
fn literal(value: &Value) -> String {
    escape(&value.to_string())
}

struct Converter<'a> {
    root: &'a Value,
    /// Those that are being followed.
    references: Vec<&'a str>,
}

impl<'a> Converter<'a> {
    fn value(&mut self, schema: &'a Value, path: &str) -> Result<String, Refusal> {
        let Value::Object(keys) = schema else {
            return Err(Refusal::invalid(
                path,
                "expected an object that says what is allowed, such as {\"type\":\"string\"}",
            ));
        };
        let regex = self.keyed(keys, path)?;
        if regex.len() > MOST_BYTES {
            return Err(Refusal::invalid(
                path,
                "the schema is too large to be followed; ask for less at once",
            ));
        }
        Ok(regex)
    }

    fn keyed(&mut self, keys: &'a Map<String, Value>, path: &str) -> Result<String, Refusal> {
        let at = |key: &str| format!("{path}.{key}");
        if let Some(reference) = keys.get("$ref") {
            only(keys, path, &["$ref"])?;
            return self.referred(reference, &at("$ref"));
        }
        if let Some(all) = keys.get("allOf") {
            only(keys, path, &["allOf"])?;
            let [one] = some(all, &at("allOf"))? else {
                return Err(refused(&at("allOf"), "of more than one schema; write one that says all of it"));
            };
            return self.value(one, &format!("{path}.allOf[0]"));
        }
        if let Some(any) = keys.get("anyOf") {
            only(keys, path, &["anyOf"])?;
            let of =
                |(index, schema): (usize, &'a Value)| self.value(schema, &format!("{path}.anyOf[{index}]"));
            let any: Result<Vec<String>, Refusal> =
                some(any, &at("anyOf"))?.iter().enumerate().map(of).collect();
            return Ok(format!("(?:{})", any?.join("|")));
        }
        let types = types(keys, path)?;
        let choices = match (keys.get("const"), keys.get("enum")) {
            (Some(value), None) => Some(std::slice::from_ref(value)),
            (None, Some(list)) => Some(some(list, &at("enum"))?),
            (Some(_), Some(_)) => return Err(refused(&at("enum"), "beside `const`; leave one of them out")),
            (None, None) => None,
        };
        if let Some(choices) = choices {
            only(keys, path, &["const", "enum", "type"])?;
            let fit = |value: &&Value| types.is_empty() || types.iter().any(|kind| is_of(value, kind));
            let fitting: Vec<String> = choices.iter().filter(fit).map(literal).collect();
            if fitting.is_empty() {
                return Err(Refusal::invalid(path, "none of its values is of its type"));
            }
            return Ok(format!("(?:{})", fitting.join("|")));
        }
        if types.is_empty() {
            return Err(Refusal::invalid(&at("type"), "is missing: say what is wanted, such as \"string\""));
        }
        let known: Vec<&str> =
            types.iter().flat_map(|kind| keywords(kind)).copied().chain(["type"]).collect();
        only(keys, path, &known)?;
        let kinds: Result<Vec<String>, Refusal> =
            types.iter().map(|kind| self.of_type(kind, keys, path)).collect();
        Ok(format!("(?:{})", kinds?.join("|")))
    }

    fn referred(&mut self, reference: &'a Value, path: &str) -> Result<String, Refusal> {
        let place = reference.as_str().and_then(|text| Some((text, text.strip_prefix('#')?)));
        let found = place.and_then(|(text, pointer)| Some((text, self.root.pointer(pointer)?)));
        let Some((text, schema)) = found else {
            return Err(Refusal::invalid(
                path,
                "expected a place in this schema that is there, such as #/$defs/Name",
            ));
        };
        if self.references.contains(&text) || self.references.len() == MOST_REFERENCES {
            return Err(refused(path, "where a schema holds itself; write as many levels as are wanted"));
        }
        self.references.push(text);
        let regex = self.value(schema, text);
        self.references.pop();
        regex
    }

    fn of_type(&mut self, kind: &str, keys: &'a Map<String, Value>, path: &str) -> Result<String, Refusal> {
        match kind {
            "object" => self.object(keys, path),
            "array" => self.array(keys, path),
            "string" => string(keys, path),
            "integer" => integers::of(keys, path),
            "number" => number(keys, path),
            "boolean" => Ok("true|false".into()),
            "null" => Ok("null".into()),
            other => Err(Refusal::invalid(
                &format!("{path}.type"),
                format!(
                    "expected object, array, string, integer, number, boolean or null, found \"{other}\""
                ),
            )),
        }
    }

    fn array(&mut self, keys: &'a Map<String, Value>, path: &str) -> Result<String, Refusal> {
        if keys.get("uniqueItems").is_some_and(|unique| *unique != Value::Bool(false)) {
            return Err(refused(&format!("{path}.uniqueItems"), "other than false"));
        }
        let path_of_items = format!("{path}.items");
        let Some(items) = keys.get("items") else {
            return Err(Refusal::invalid(&path_of_items, "is missing: say what the list holds"));
        };
        let item = self.value(items, &path_of_items)?;
        let (least, most) = bounds(keys, path, ["minItems", "maxItems"])?;
        Ok(list(&item, least, most))
    }
}

/// What of a schema is looked at for a type.
fn keywords(kind: &str) -> &'static [&'static str] {
    match kind {
        "object" => &["properties", "required", "additionalProperties"],
        "array" => &["items", "minItems", "maxItems", "uniqueItems"],
        "string" => &["pattern", "minLength", "maxLength", "format"],
        "integer" | "number" => &["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"],
        _ => &[],
    }
}

fn refused(path: &str, what: &str) -> Refusal {
    let keyword = path.rsplit('.').next().unwrap_or(path);
    Refusal::invalid(path, format!("`{keyword}` can't be followed {what}"))
}

/// Refuses every keyword that isn't known here.
fn only(keys: &Map<String, Value>, path: &str, known: &[&str]) -> Result<(), Refusal> {
    let unknown =
        keys.keys().find(|key| !known.contains(&key.as_str()) && !ANNOTATIONS.contains(&key.as_str()));
    unknown.map_or(Ok(()), |key| {
        Err(refused(&format!("{path}.{key}"), "here; leave it out, or say it in words"))
    })
}

fn some<'a>(list: &'a Value, path: &str) -> Result<&'a [Value], Refusal> {
    match list {
        Value::Array(list) if !list.is_empty() => Ok(list),
        _ => Err(Refusal::invalid(path, "expected a list that isn't empty")),
    }
}

/// The types that a schema names; none where its keywords name none either.
fn types<'a>(keys: &'a Map<String, Value>, path: &str) -> Result<Vec<&'a str>, Refusal> {
    let wrong = || Refusal::invalid(&format!("{path}.type"), "expected a string or a list of strings");
    match keys.get("type") {
        Some(Value::String(kind)) => Ok(vec![kind]),
        Some(list @ Value::Array(_)) => {
            some(list, &format!("{path}.type"))?.iter().map(|kind| kind.as_str().ok_or_else(wrong)).collect()
        }
        Some(_) => Err(wrong()),
        None if keys.contains_key("properties") => Ok(vec!["object"]),
        None if keys.contains_key("items") => Ok(vec!["array"]),
        None => Ok(Vec::new()),
    }
}

fn is_of(value: &Value, kind: &str) -> bool {
    match value {
        Value::Null => kind == "null",
        Value::Bool(_) => kind == "boolean",
        Value::Number(number) => kind == "number" || (kind == "integer" && !number.is_f64()),
        Value::String(_) => kind == "string",
        Value::Array(_) => kind == "array",
        Value::Object(_) => kind == "object",
    }
}

/// How many there have to be, and may be.
fn bounds(
    keys: &Map<String, Value>,
    path: &str,
    names: [&str; 2],
) -> Result<(usize, Option<usize>), Refusal> {
    let bound = |name: &str| {
        let Some(value) = keys.get(name) else { return Ok(None) };
        let number = value.as_u64().map(|number| number as usize).filter(|number| *number <= MOST_COUNTED);
        let wrong = || {
            Refusal::invalid(
                &format!("{path}.{name}"),
                format!("expected a whole number from 0 to {MOST_COUNTED}"),
            )
        };
        number.map(Some).ok_or_else(wrong)
    };
    let [least, most] = names.map(bound);
    let (least, most) = (least?.unwrap_or(0), most?);
    if most.is_some_and(|most| most < least) {
        return Err(Refusal::invalid(&format!("{path}.{}", names[1]), format!("is less than {}", names[0])));
    }
    Ok((least, most))
}

fn string(keys: &Map<String, Value>, path: &str) -> Result<String, Refusal> {
    let (least, most) = bounds(keys, path, ["minLength", "maxLength"])?;
    let is_bounded = keys.contains_key("minLength") || keys.contains_key("maxLength");
    let at = |key: &str| format!("{path}.{key}");
    match (keys.get("pattern"), keys.get("format")) {
        (Some(_), Some(_)) => Err(refused(&at("format"), "beside `pattern`; leave one of them out")),
        (Some(_), None) if is_bounded => {
            Err(refused(&at("pattern"), "beside a length; let the pattern say how long"))
        }
        (Some(pattern), None) => {
            let text =
                pattern.as_str().ok_or_else(|| Refusal::invalid(&at("pattern"), "expected a string"))?;
            pattern::string(text).map_err(|error| Refusal::invalid(&at("pattern"), error))
        }
        (None, Some(format)) => {
            let regex = format.as_str().and_then(pattern::format);
            let regex = regex.ok_or_else(|| {
                let known = pattern::FORMATS.map(|(name, _)| name).join(", ");
                refused(&at("format"), &format!("other than {known}; a `pattern` can say it"))
            })?;
            Ok(format!("\"{regex}\""))
        }
        (None, None) => {
            let count = match (least, most) {
                (0, None) => "*".to_owned(),
                (least, None) => format!("{{{least},}}"),
                (least, Some(most)) => format!("{{{least},{most}}}"),
            };
            Ok(format!("\"{CHARACTER}{count}\""))
        }
    }
}

fn number(keys: &Map<String, Value>, path: &str) -> Result<String, Refusal> {
    for name in ["maximum", "exclusiveMinimum", "exclusiveMaximum"] {
        if keys.contains_key(name) {
            return Err(refused(&format!("{path}.{name}"), "for a number; it can for an integer"));
        }
    }
    match keys.get("minimum").map(Value::as_f64) {
        None => Ok(format!("-?{NUMBER}")),
        Some(Some(0.0)) => Ok(NUMBER.to_owned()),
        Some(_) => {
            Err(refused(&format!("{path}.minimum"), "other than 0 for a number; it can for an integer"))
        }
    }
}

#[cfg(test)]
mod tests;
