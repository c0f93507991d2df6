//! The vocabulary as it stands in the file: what a token's text, score and type are, and which pairs are joined.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;

use super::metadata::{LONGEST_TOKEN, TOKENS, Type, list_start};
use super::reader::{Reader, Section};
use super::{Header, open};
use crate::Error;

const MODEL: &str = "tokenizer.ggml.model";
const SCORES: &str = "tokenizer.ggml.scores";
const TYPES: &str = "tokenizer.ggml.token_type";
const MERGES: &str = "tokenizer.ggml.merges";

/// Pre-tokenizers of `gpt2` whose tokens are plain text, not bytes in the letters that GPT-2 gave them.
const PLAIN: [&str; 5] = ["gemma4", "granite-embed-multi-311m", "mmbert", "sarvam-moe", "whitespace"];

/// How a tokenizer makes tokens out of characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Merging {
    /// SentencePiece's (`llama`): the two neighbours whose joined text has the highest score are joined first.
    Scores,
    /// Byte-pair encoding over GPT-2's letters for bytes (`gpt2`): by a list of pairs, the first ones first.
    Pairs,
}

/// A vocabulary; each list has an entry for each token.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Vocabulary {
    pub(crate) merging: Merging,
    /// As they are written in the file.
    pub(crate) tokens: Vec<Vec<u8>>,
    /// None: the file has none, and its merging needs none.
    pub(crate) scores: Option<Vec<f32>>,
    /// `llama_token_type`'s numbers.
    pub(crate) types: Vec<i32>,
    /// Each the two texts with a space between them.
    pub(crate) merges: Vec<Vec<u8>>,
    /// The tokens that the keys `tokenizer.ggml.…_token_id` name.
    pub(crate) named: BTreeMap<String, u32>,
}

impl Vocabulary {
    /// Reads the lists of a file whose header was read.
    ///
    /// # Errors
    /// [`Error::ModelFile`]: a tokenizer of another kind, a list that is missing or too short, a file that has changed.
    pub(crate) fn read(path: &Path, header: &Header) -> Result<Self, Error> {
        Self::read_file(path, header).map_err(|reason| Error::ModelFile { path: path.to_owned(), reason })
    }

    fn read_file(path: &Path, header: &Header) -> Result<Self, String> {
        let merging = merging(header)?;
        let mut lists = Lists { path, header };
        let tokens = lists.texts(TOKENS)?.unwrap_or_default();
        let scores = lists.numbers(SCORES, Type::F32, f32::from_le_bytes)?;
        let types = lists.numbers(TYPES, Type::I32, i32::from_le_bytes)?;
        let merges = lists.texts(MERGES)?;
        let missing =
            |key: &str| format!("has no metadata key `{key}`, without which tokens can't be told apart");
        let types = types.ok_or_else(|| missing(TYPES))?;
        match merging {
            Merging::Scores if scores.is_none() => return Err(missing(SCORES)),
            Merging::Pairs if merges.is_none() => return Err(missing(MERGES)),
            _ => {}
        }
        let lengths = [(SCORES, scores.as_ref().map_or(tokens.len(), Vec::len)), (TYPES, types.len())];
        if let Some((key, length)) = lengths.into_iter().find(|(_, length)| *length != tokens.len()) {
            return Err(format!(
                "metadata key `{key}` is a list of {length}; expected {}, one for each token",
                tokens.len()
            ));
        }
        let named = named(header, tokens.len());
        Ok(Self { merging, tokens, scores, types, merges: merges.unwrap_or_default(), named })
    }
}

/// # Errors
/// A tokenizer that isn't known here.
fn merging(header: &Header) -> Result<Merging, String> {
    let model = header.metadata.text(MODEL)?.unwrap_or("none");
    let before = header.metadata.text("tokenizer.ggml.pre")?.unwrap_or_default();
    let found = match model {
        "llama" => return Ok(Merging::Scores),
        "gpt2" if !PLAIN.contains(&before) => return Ok(Merging::Pairs),
        "gpt2" => before,
        other => other,
    };
    Err(format!(
        "has a tokenizer `{}`, whose vocabulary can't be changed here; known are `llama` (SentencePiece with scores) and \
         `gpt2` (byte-pair encoding)",
        found.escape_debug()
    ))
}

/// The tokens that keys name, where there are such tokens.
fn named(header: &Header, count: usize) -> BTreeMap<String, u32> {
    let keys = header.metadata.iter().map(|(key, _)| key);
    let keys = keys.filter(|key| key.starts_with("tokenizer.ggml.") && key.ends_with("_token_id"));
    let id = |key: &str| header.metadata.number(key).ok().flatten().filter(|&id| id < count as u64);
    keys.filter_map(|key| Some((key.to_owned(), id(key)? as u32))).collect()
}

/// Reads lists, each from where it stands.
struct Lists<'a> {
    path: &'a Path,
    header: &'a Header,
}

impl Lists<'_> {
    /// The list's type, its length and a reader of its entries. None: there is no such key.
    fn open(&mut self, key: &str) -> Result<Option<(Reader<File>, Type, u64)>, String> {
        let entries = self.header.metadata.entries();
        let Some(index) = entries.iter().position(|entry| entry.key == key) else { return Ok(None) };
        let (file, length) = open(self.path)?;
        let mut reader = Reader::new(file, length);
        let (number, count) = (index as u64 + 1, entries.len() as u64);
        reader.enter(Section::Key { number, count, name: key.to_owned() });
        reader.skip(entries[index].value)?;
        if Type::read(&mut reader)? != Type::List {
            return Err(reader.damaged("a single value; expected a list"));
        }
        let (kind, count) = list_start(&mut reader)?;
        Ok(Some((reader, kind, count)))
    }

    fn texts(&mut self, key: &str) -> Result<Option<Vec<Vec<u8>>>, String> {
        let Some((mut reader, kind, count)) = self.open(key)? else { return Ok(None) };
        if kind != Type::Text {
            return Err(reader.damaged("a list of numbers; expected texts"));
        }
        let text = |reader: &mut Reader<File>| {
            let length = reader.string_length(LONGEST_TOKEN)?;
            reader.bytes(length)
        };
        (0..count).map(|_| text(&mut reader)).collect::<Result<_, _>>().map(Some)
    }

    fn numbers<T>(
        &mut self,
        key: &str,
        expected: Type,
        from: impl Fn([u8; 4]) -> T,
    ) -> Result<Option<Vec<T>>, String> {
        let Some((mut reader, kind, count)) = self.open(key)? else { return Ok(None) };
        if kind != expected {
            return Err(reader.damaged(format!("a list of another type; expected {expected:?}")));
        }
        (0..count).map(|_| number(&mut reader, &from)).collect::<Result<_, _>>().map(Some)
    }
}

fn number<R: Read + Seek, T>(reader: &mut Reader<R>, from: impl Fn([u8; 4]) -> T) -> Result<T, String> {
    reader.array().map(from)
}
