//! The keys and values before the tensors.

use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Seek};
use std::ops::Range;

use super::reader::{Reader, Section};

/// More keys than any model has: a real one has about thirty.
pub(super) const MOST: u64 = 1 << 16;

/// By the specification.
const LONGEST_KEY: u64 = (1 << 16) - 1;

/// As llama.cpp: beyond it a text is refused, not loaded.
const LONGEST_TEXT: u64 = 1 << 30;

/// A token of a vocabulary.
pub(super) const LONGEST_TOKEN: u64 = 1 << 16;

/// Values up to these are kept, longer ones only counted: chat templates and lists of one number for each block.
const KEPT_TEXT: u64 = 1 << 20;
const KEPT_LIST: u64 = 1 << 10;

/// Entries of a list: the largest vocabularies have a quarter of a million tokens, and as many merges.
const LONGEST_LIST: u64 = 1 << 24;

pub(super) const TOKENS: &str = "tokenizer.ggml.tokens";

/// A metadata value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Any of the integer types; what an `i64` can't hold is its largest.
    Integer(i64),
    Float(f64),
    Bool(bool),
    Text(String),
    /// A list of integers or of true and false, when it is short.
    Integers(Vec<i64>),
    /// Any other list, or a text of more than a mebibyte: its entries or bytes.
    Long(u64),
}

/// The file's keys and values; of long lists only the length.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metadata {
    values: BTreeMap<String, Value>,
    /// In the file's order.
    entries: Vec<Entry>,
    repeated_token: Option<RepeatedToken>,
}

/// Where a key and its value stand in the file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    /// From the length of the key to the end of the value.
    pub(super) whole: Range<u64>,
    /// Where the value's type stands; the value is behind it.
    pub(super) value: u64,
}

#[derive(Debug, Clone, PartialEq)]
struct RepeatedToken {
    first: u64,
    second: u64,
    text: String,
}

/// GGUF's value types by their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    U8 = 0,
    I8 = 1,
    U16 = 2,
    I16 = 3,
    U32 = 4,
    I32 = 5,
    F32 = 6,
    Bool = 7,
    Text = 8,
    List = 9,
    U64 = 10,
    I64 = 11,
    F64 = 12,
}

impl Type {
    const ALL: [Self; 13] = [
        Self::U8,
        Self::I8,
        Self::U16,
        Self::I16,
        Self::U32,
        Self::I32,
        Self::F32,
        Self::Bool,
        Self::Text,
        Self::List,
        Self::U64,
        Self::I64,
        Self::F64,
    ];

    /// Bytes of one value; of a text or list, of its length.
    fn bytes(self) -> u64 {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::Text | Self::List | Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    pub(super) fn read<R: Read + Seek>(reader: &mut Reader<R>) -> Result<Self, String> {
        let number = reader.u32()?;
        let known = Self::ALL.get(number as usize).copied();
        known.ok_or_else(|| reader.damaged(format!("a value of type {number}; expected 0 to 12")))
    }
}

impl Metadata {
    pub(super) fn read<R: Read + Seek>(reader: &mut Reader<R>, count: u64) -> Result<Self, String> {
        let mut metadata = Self::default();
        for number in 1..=count {
            reader.enter(Section::Key { number, count, name: String::new() });
            let start = reader.position();
            let length = reader.string_length(LONGEST_KEY)?;
            let key = String::from_utf8(reader.bytes(length)?)
                .map_err(|_| reader.damaged("a name that isn't UTF-8 text"))?;
            if key.is_empty() {
                return Err(reader.damaged("an empty name"));
            }
            reader.enter(Section::Key { number, count, name: key.clone() });
            if metadata.values.contains_key(&key) {
                return Err(reader.damaged("the same name a second time"));
            }
            let value_start = reader.position();
            let value = match Type::read(reader)? {
                Type::List if key == TOKENS => metadata.read_tokens(reader)?,
                Type::List => read_list(reader)?,
                Type::Text => read_text(reader)?,
                kind => read_scalar(reader, kind)?,
            };
            metadata.entries.push(Entry {
                key: key.clone(),
                whole: start..reader.position(),
                value: value_start,
            });
            metadata.values.insert(key, value);
        }
        Ok(metadata)
    }

    /// Reads the vocabulary and remembers the first token that comes twice.
    fn read_tokens<R: Read + Seek>(&mut self, reader: &mut Reader<R>) -> Result<Value, String> {
        let (kind, count) = list_start(reader)?;
        if kind != Type::Text {
            return Err(reader.damaged("a list of numbers; expected texts, the tokens"));
        }
        let mut seen: HashMap<Vec<u8>, u64> = HashMap::new();
        for index in 0..count {
            let length = reader.string_length(LONGEST_TOKEN)?;
            let token = reader.bytes(length)?;
            if token.is_empty() || self.repeated_token.is_some() {
                continue;
            }
            let text = String::from_utf8_lossy(&token).into_owned();
            if let Some(first) = seen.insert(token, index) {
                self.repeated_token = Some(RepeatedToken { first, second: index, text });
            }
        }
        Ok(Value::Long(count))
    }

    /// The value under `key`, whatever it is.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// Where they stand, in the file's order.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// All of them, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.values.iter().map(|(key, value)| (key.as_str(), value))
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<&str>, String> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(key, other, "a text of at most a mebibyte")),
        }
    }

    pub(crate) fn number(&self, key: &str) -> Result<Option<u64>, String> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => Ok(Some(as_number(value).ok_or_else(|| wrong(key, value, "a number from 0"))?)),
        }
    }

    /// A required size of at least 1.
    pub(super) fn size(&self, key: &str, most: u64) -> Result<usize, String> {
        let Some(value) = self.get(key) else {
            return Err(format!("has no metadata key `{key}`; expected a whole language model"));
        };
        let expected = || wrong(key, value, &format!("a number from 1 to {most}"));
        as_number(value)
            .filter(|number| (1..=most).contains(number))
            .map(|size| size as usize)
            .ok_or_else(expected)
    }

    /// A number for each block: one for all of them, or a list.
    pub(super) fn per_block(&self, key: &str, blocks: usize) -> Result<Option<Vec<usize>>, String> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let fits = |number: i64| u32::try_from(number).ok().map(|number| number as usize);
        let numbers = match value {
            Value::Integer(number) => fits(*number).map(|number| vec![number; blocks]),
            Value::Integers(list) if list.len() == blocks => {
                list.iter().map(|&number| fits(number)).collect()
            }
            _ => None,
        };
        let expected = || wrong(key, value, &format!("a number, or a list of {blocks}, one for each block"));
        numbers.map(Some).ok_or_else(expected)
    }

    pub(super) fn list_length(&self, key: &str) -> Result<Option<u64>, String> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Long(length)) if *length > 0 => Ok(Some(*length)),
            Some(other) => Err(wrong(key, other, "a list that isn't empty")),
        }
    }

    /// Bytes to a multiple of which the tensors' places are rounded up.
    pub(super) fn alignment(&self) -> Result<u64, String> {
        const KEY: &str = "general.alignment";
        let Some(value) = self.get(KEY) else { return Ok(32) };
        let fits = |&number: &u64| number.is_power_of_two() && (8..=1 << 30).contains(&number);
        as_number(value).filter(fits).ok_or_else(|| wrong(KEY, value, "a power of two from 8"))
    }

    /// llama.cpp counts on every token having one number, and aborts otherwise.
    pub(super) fn refuse_repeated_tokens(&self) -> Result<(), String> {
        // In this vocabulary (DNA) the same letters stand for several tokens, told apart by a mark.
        let exempt = self.text("tokenizer.ggml.model")? == Some("hybriddna");
        match &self.repeated_token {
            Some(RepeatedToken { first, second, text }) if !exempt => Err(format!(
                "tokens {first} and {second} of the vocabulary are the same, `{}`. \
                 The file is damaged, or was made by a faulty converter: fetch it again",
                text.escape_debug()
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
impl<const N: usize> From<[(&str, Value); N]> for Metadata {
    fn from(values: [(&str, Value); N]) -> Self {
        let values = values.map(|(key, value)| (key.to_owned(), value));
        Self { values: values.into(), ..Self::default() }
    }
}

fn as_number(value: &Value) -> Option<u64> {
    match value {
        Value::Integer(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}

fn wrong(key: &str, found: &Value, expected: &str) -> String {
    let found = match found {
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Bool(yes) => yes.to_string(),
        Value::Text(text) => {
            let start: String = text.chars().take(40).collect();
            format!("the text `{}`", start.escape_debug())
        }
        Value::Integers(list) => format!("a list of {}", list.len()),
        Value::Long(length) => format!("a list or text of {length}"),
    };
    format!("metadata key `{key}` is {found}; expected {expected}. The file is damaged: fetch it again")
}

fn read_text<R: Read + Seek>(reader: &mut Reader<R>) -> Result<Value, String> {
    let length = reader.string_length(LONGEST_TEXT)?;
    if length > KEPT_TEXT {
        reader.skip(length)?;
        return Ok(Value::Long(length));
    }
    Ok(Value::Text(String::from_utf8_lossy(&reader.bytes(length)?).into_owned()))
}

/// The type of a list's entries and their number, of which the file can hold as many.
pub(super) fn list_start<R: Read + Seek>(reader: &mut Reader<R>) -> Result<(Type, u64), String> {
    let kind = Type::read(reader)?;
    let count = reader.u64()?;
    if kind == Type::List {
        return Err(reader.damaged("a list of lists, which llama.cpp doesn't read"));
    }
    if count > LONGEST_LIST {
        return Err(reader.damaged(format!("a list of {count}; expected at most {LONGEST_LIST}")));
    }
    reader.need(count * kind.bytes())?;
    Ok((kind, count))
}

fn read_list<R: Read + Seek>(reader: &mut Reader<R>) -> Result<Value, String> {
    let (kind, count) = list_start(reader)?;
    match kind {
        Type::Text => {
            for _ in 0..count {
                let length = reader.string_length(LONGEST_TEXT)?;
                reader.skip(length)?;
            }
        }
        Type::F32 | Type::F64 => reader.skip(count * kind.bytes())?,
        _ if count > KEPT_LIST => reader.skip(count * kind.bytes())?,
        _ => {
            let mut list = Vec::with_capacity(count as usize);
            for _ in 0..count {
                list.push(match read_scalar(reader, kind)? {
                    Value::Integer(number) => number,
                    Value::Bool(yes) => i64::from(yes),
                    _ => return Err(reader.damaged("a list of mixed types")),
                });
            }
            return Ok(Value::Integers(list));
        }
    }
    Ok(Value::Long(count))
}

fn read_scalar<R: Read + Seek>(reader: &mut Reader<R>, kind: Type) -> Result<Value, String> {
    Ok(match kind {
        Type::U8 => Value::Integer(reader.array().map(u8::from_le_bytes)?.into()),
        Type::I8 => Value::Integer(reader.array().map(i8::from_le_bytes)?.into()),
        Type::U16 => Value::Integer(reader.array().map(u16::from_le_bytes)?.into()),
        Type::I16 => Value::Integer(reader.array().map(i16::from_le_bytes)?.into()),
        Type::U32 => Value::Integer(reader.u32()?.into()),
        Type::I32 => Value::Integer(reader.array().map(i32::from_le_bytes)?.into()),
        Type::U64 => Value::Integer(i64::try_from(reader.u64()?).unwrap_or(i64::MAX)),
        Type::I64 => Value::Integer(reader.array().map(i64::from_le_bytes)?),
        Type::F32 => Value::Float(reader.array().map(f32::from_le_bytes)?.into()),
        Type::F64 => Value::Float(reader.array().map(f64::from_le_bytes)?),
        Type::Bool => Value::Bool(reader.array::<1>()? != [0]),
        Type::Text | Type::List => return Err(reader.damaged("a value that isn't a single number")),
    })
}
