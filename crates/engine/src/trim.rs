//! A vocabulary for the job: a model without the tokens that its texts don't need.
//!
//! Half of a small model is its table of tokens, most of them of scripts that are never written. A token that goes takes its row
//! of the table along; what stays is copied as it is, so that the model says the same of the same tokens.

mod merging;
mod selection;
mod spelling;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

pub use selection::Wanted;

use crate::Error;
use crate::gguf::{self, Changes, Header, NewValue, Value, Verified, Vocabulary};
use crate::vocab::Token;
use merging::Joiner;

/// Tensors that have a row for each token.
const TABLES: [&str; 4] =
    ["token_embd.weight", "output.weight", "output.bias", "per_layer_token_embd.weight"];

/// Lists with an entry for each token.
const PER_TOKEN: [&str; 3] = ["tokenizer.ggml.tokens", "tokenizer.ggml.scores", "tokenizer.ggml.token_type"];

/// How many tokens there were: a key of files that were trimmed.
pub const SOURCE_TOKENS: &str = "leafresh.trim.source_tokens";

/// Which of them each one was, of which file, and why how many stayed.
const SOURCE_IDS: &str = "leafresh.trim.source_ids";
const SOURCE_SHA256: &str = "leafresh.trim.source_sha256";
const KEPT: &str = "leafresh.trim.kept";

/// What would be written: a model file, and which of its tokens stay.
#[derive(Debug)]
pub struct Trim {
    source: PathBuf,
    header: Header,
    kept: Vec<Token>,
    reasons: Vec<(&'static str, usize)>,
    changes: Changes,
}

impl Trim {
    /// Reads a model file and chooses. Reads all of it once, for its checksum.
    ///
    /// # Errors
    /// [`Error::ModelFile`]: what it isn't, or has that isn't known here. Nothing is written.
    pub fn plan(source: &Path, wanted: &Wanted) -> Result<Self, Error> {
        let header = gguf::check(source)?;
        let vocabulary = Vocabulary::read(source, &header)?;
        let fail = |reason: String| Error::ModelFile { path: source.to_owned(), reason };
        let tables = tables(&header, &vocabulary).map_err(fail)?;
        let Verified { sha256, .. } = match gguf::verify_checksum(source)? {
            Some(verified) => verified,
            None => gguf::checksum(source)?,
        };
        let joiner = Joiner::new(&vocabulary);
        let selection = selection::select(&vocabulary, &joiner, wanted);
        let kept: Vec<Token> =
            (0..).zip(&selection.kept).filter(|(_, kept)| **kept).map(|(id, _)| id).collect();
        let tokens = vocabulary.tokens.len();
        if kept.len() == tokens {
            return Err(fail("has no token that isn't wanted; there is nothing to trim".into()));
        }
        let mut changes = Changes::new(tables, kept.clone());
        change(&mut changes, &header, &vocabulary, &joiner, &selection.kept);
        changes.set(SOURCE_TOKENS, NewValue::Integer(tokens as u32));
        changes.set(SOURCE_IDS, NewValue::Integers(kept.iter().map(|&id| id as i32).collect()));
        changes.set(SOURCE_SHA256, NewValue::Text(sha256));
        let reasons = selection.reasons.iter().map(|(reason, count)| format!("{reason} {count}"));
        changes.set(KEPT, NewValue::Text(reasons.collect::<Vec<_>>().join(", ")));
        Ok(Self { source: source.to_owned(), header, kept, reasons: selection.reasons, changes })
    }

    /// What the file says of itself.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The tokens that stay, by their numbers in the source, ascending: their places are their numbers in the new file.
    pub fn kept(&self) -> &[Token] {
        &self.kept
    }

    /// How many tokens stay why; each counts once.
    pub fn reasons(&self) -> &[(&'static str, usize)] {
        &self.reasons
    }

    /// About how many bytes [`Trim::write`] writes: never fewer than it does.
    pub fn bytes(&self) -> u64 {
        let padding = self.header.tensors.len() as u64 * 64;
        let before = self.header.file_bytes - self.header.tensor_bytes;
        before + padding + self.kept.len() as u64 * 4 + self.changes.tensor_bytes(&self.header) + (1 << 12)
    }

    /// Writes the new file and waits until the disk has it.
    ///
    /// # Errors
    /// [`Error::ModelFile`] when one of the two files can't be read or written, [`Error::NoRoom`] when the disk is full. What was
    /// written until then stays.
    pub fn write(&self, target: &Path) -> Result<(), Error> {
        let fail = |error: std::io::Error| gguf::not_written(target, &error);
        let file = File::create(target).map_err(fail)?;
        let mut out = BufWriter::with_capacity(1 << 20, file);
        gguf::rewrite(&self.source, &self.header, &self.changes, target, &mut out)?;
        out.flush().map_err(fail)?;
        out.get_ref().sync_all().map_err(fail)
    }
}

/// The values that name tokens.
fn change(changes: &mut Changes, header: &Header, vocabulary: &Vocabulary, joiner: &Joiner, kept: &[bool]) {
    let numbers = new_numbers(kept);
    changes.set(PER_TOKEN[0], NewValue::Texts(only(kept, &vocabulary.tokens)));
    if let Some(scores) = &vocabulary.scores {
        changes.set(PER_TOKEN[1], NewValue::Floats(only(kept, scores)));
    }
    changes.set(PER_TOKEN[2], NewValue::Integers(only(kept, &vocabulary.types)));
    if !vocabulary.merges.is_empty() {
        let pairs = vocabulary.merges.iter().filter(|pair| joiner.keeps(pair, kept));
        changes.set("tokenizer.ggml.merges", NewValue::Texts(pairs.cloned().collect()));
    }
    for (key, &token) in &vocabulary.named {
        if let Some(number) = numbers[token as usize] {
            changes.set(key, NewValue::Integer(number));
        }
    }
    for (key, list) in lists_of_tokens(header) {
        let numbers = list.iter().filter_map(|&token| *numbers.get(usize::try_from(token).ok()?)?);
        changes.set(key, NewValue::Integers(numbers.map(|number| number as i32).collect()));
    }
    let size = vocabulary_size(header);
    if header.metadata.get(&size).is_some() {
        let count = kept.iter().filter(|kept| **kept).count();
        changes.set(size, NewValue::Integer(count as u32));
    }
}

/// What a list has for the tokens that stay.
fn only<T: Clone>(kept: &[bool], list: &[T]) -> Vec<T> {
    list.iter().zip(kept).filter(|(_, kept)| **kept).map(|(entry, _)| entry.clone()).collect()
}

/// The new number of each token that stays.
fn new_numbers(kept: &[bool]) -> Vec<Option<Token>> {
    let mut next = 0..;
    kept.iter().map(|kept| if *kept { next.next() } else { None }).collect()
}

/// Short lists that name tokens.
fn lists_of_tokens(header: &Header) -> impl Iterator<Item = (&str, &[i64])> {
    let named = |key: &str| key.ends_with("_token_ids") || key == "tokenizer.ggml.suppress_tokens";
    header.metadata.iter().filter_map(move |(key, value)| match value {
        Value::Integers(list) if key.starts_with("tokenizer.ggml.") && named(key) => Some((key, &**list)),
        _ => None,
    })
}

fn vocabulary_size(header: &Header) -> String {
    format!("{}.vocab_size", header.architecture)
}

/// The tensors that have a row for each token.
///
/// # Errors
/// What isn't as in the models that are known.
fn tables(header: &Header, vocabulary: &Vocabulary) -> Result<Vec<usize>, String> {
    let count = vocabulary.tokens.len() as u64;
    if header.metadata.get(SOURCE_TOKENS).is_some() {
        return Err("was trimmed already; trim the file that it was made from".into());
    }
    let size = vocabulary_size(header);
    if let Some(size) = header.metadata.number(&size)?.filter(|&size| size != count) {
        return Err(format!(
            "says that it has {size} tokens, but lists {count}; a layout that isn't known here"
        ));
    }
    let others =
        header.metadata.iter().filter(|(key, _)| key.starts_with("tokenizer.") && !PER_TOKEN.contains(key));
    for (key, value) in others {
        let per_token = matches!(value, Value::Long(length) if *length == count) && !key.ends_with(".merges");
        if per_token {
            return Err(format!("has a list `{key}` with an entry for each token, which isn't known here"));
        }
    }
    let mut tables = Vec::new();
    for (index, tensor) in header.tensors.iter().enumerate() {
        let name = tensor.name.escape_debug();
        let rows = tensor.dims.last().copied().unwrap_or(1);
        if TABLES.contains(&&*tensor.name) {
            let whole_rows = tensor.dims.len() == 2 || (tensor.dims.len() == 1 && tensor.kind.block == 1);
            if rows != count || !whole_rows {
                let dims = &tensor.dims;
                return Err(format!(
                    "has {count} tokens, but its tensor `{name}` has the shape {dims:?}; expected a row for each token"
                ));
            }
            tables.push(index);
        } else if tensor.dims.contains(&count) {
            return Err(format!(
                "has a tensor `{name}` that belongs to its {count} tokens and isn't known here; known are {}",
                TABLES.join(", ")
            ));
        }
    }
    if !header.tensors.iter().any(|tensor| tensor.name == TABLES[0]) {
        return Err(format!("has no tensor `{}`, the table of its tokens", TABLES[0]));
    }
    Ok(tables)
}
