//! What is to be indexed: files and folders of challenges or texts, and the catalogue's documents.

mod json;
mod markdown;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use leafresh_engine::Embedder;
use unicode_normalization::UnicodeNormalization;

use crate::chunk::{Lengths, passages};
use crate::vector::{PASSAGE, indexed_text};
use crate::{Document, Error};

/// Endings of files that can be read.
const JSON_LINES: [&str; 2] = ["jsonl", "ndjson"];
const MARKDOWN: [&str; 2] = ["md", "markdown"];
const TEXT: [&str; 1] = ["txt"];

/// What the catalogue's documents come from.
const CATALOG: &str = "catalog:";

/// Tokens of a passage at most, title included, and of what it repeats of the one before. Longer passages say many things, and
/// no question is near all of them.
const PASSAGE_TOKENS: usize = 256;
const OVERLAP_TOKENS: usize = 32;

/// Codes that documents may name. Empty lists allow any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Codes {
    pub categories: Vec<String>,
    pub places: Vec<String>,
    pub work_types: Vec<String>,
}

/// Documents to be indexed, and the origins that they stand for: what else the index has from there is gone.
#[derive(Debug, Clone, Default)]
pub struct Corpus {
    parts: Vec<Part>,
    scopes: Vec<Scope>,
    codes: Codes,
    /// Files in the folders that can't be read.
    pub skipped: usize,
}

#[derive(Debug, Clone)]
enum Part {
    /// Its path, its origin, and its name as shown to whoever asks.
    File {
        path: PathBuf,
        origin: String,
        name: String,
    },
    Documents(Vec<Document>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Scope {
    Exactly(String),
    Under(String),
}

impl Corpus {
    /// The catalogue's own documents.
    pub fn catalog(documents: &[Document]) -> Self {
        Self {
            parts: vec![Part::Documents(documents.to_vec())],
            scopes: vec![Scope::Exactly(CATALOG.into())],
            ..Self::default()
        }
    }

    /// Files, and folders with all that is in them. Nothing is read yet.
    ///
    /// # Errors
    /// [`Error::Io`] when one isn't there, [`Error::Document`] when a file has an unknown ending.
    pub fn files(paths: &[PathBuf], codes: Codes) -> Result<Self, Error> {
        let mut corpus = Self { codes, ..Self::default() };
        for path in paths {
            let io = |source| Error::Io { path: path.clone(), source };
            let real = std::fs::canonicalize(path).map_err(io)?;
            let origin = real.to_string_lossy().into_owned();
            if real.is_dir() {
                corpus.scopes.push(Scope::Under(format!("{origin}/")));
                corpus.add_folder(&real, &real)?;
                continue;
            }
            if !is_readable(&real) {
                let endings = [&JSON_LINES[..], &MARKDOWN, &TEXT].concat().join(", .");
                let reason = format!("its ending is unknown; expected one of .{endings}");
                return Err(Error::Document { path: path.clone(), line: 1, reason });
            }
            corpus.scopes.push(Scope::Exactly(origin));
            corpus.add_file(&real, real.parent().unwrap_or(&real));
        }
        Ok(corpus)
    }

    /// Nothing in the place of what these paths, which may be gone, once held.
    pub fn nothing_at(paths: &[PathBuf]) -> Result<Self, Error> {
        let mut corpus = Self::default();
        for path in paths {
            let whole =
                std::path::absolute(path).map_err(|source| Error::Io { path: path.clone(), source })?;
            let origin = std::fs::canonicalize(&whole).unwrap_or(whole).to_string_lossy().into_owned();
            corpus.scopes.push(Scope::Under(format!("{origin}/")));
            corpus.scopes.push(Scope::Exactly(origin));
        }
        Ok(corpus)
    }

    /// Both.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.parts.extend(other.parts);
        self.scopes.extend(other.scopes);
        self.skipped += other.skipped;
        self
    }

    fn add_folder(&mut self, folder: &Path, root: &Path) -> Result<(), Error> {
        let io = |source| Error::Io { path: folder.to_owned(), source };
        let mut entries: Vec<PathBuf> = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(io)? {
            let entry = entry.map_err(io)?;
            if !entry.file_name().to_string_lossy().starts_with('.') {
                entries.push(entry.path());
            }
        }
        entries.sort();
        for path in entries {
            // A link to a folder could lead back here.
            if path.is_dir() && !path.is_symlink() {
                self.add_folder(&path, root)?;
            } else if path.is_file() && is_readable(&path) {
                self.add_file(&path, root);
            } else {
                self.skipped += 1;
            }
        }
        Ok(())
    }

    fn add_file(&mut self, path: &Path, root: &Path) {
        let name = path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned();
        let origin = path.to_string_lossy().into_owned();
        self.parts.push(Part::File { path: path.to_owned(), origin, name });
    }

    /// Files that are read.
    pub fn file_count(&self) -> usize {
        self.parts.iter().filter(|part| matches!(part, Part::File { .. })).count()
    }

    /// Whether a document of this origin is one of these, or gone.
    pub(crate) fn covers(&self, origin: &str) -> bool {
        self.scopes.iter().any(|scope| match scope {
            Scope::Exactly(exact) => origin == exact,
            Scope::Under(prefix) => origin.starts_with(prefix.as_str()),
        })
    }

    /// Documents that are at hand without reading a file: the catalogue's.
    pub(crate) fn at_hand(&self) -> impl Iterator<Item = Document> {
        let lists = self.parts.iter().filter_map(|part| match part {
            Part::Documents(documents) => Some(documents),
            Part::File { .. } => None,
        });
        lists.flatten().cloned().map(in_lines)
    }

    /// Reads everything once, and hands over each document with its origin.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Document`] with file and line, and whatever `each` returns.
    pub(crate) fn for_each(
        &self,
        embedder: &dyn Embedder,
        mut each: impl FnMut(&str, Document) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for part in &self.parts {
            match part {
                Part::Documents(documents) => {
                    documents.iter().try_for_each(|document| each(CATALOG, in_lines(document.clone())))?;
                }
                Part::File { path, origin, name } => {
                    self.read(path, name, &mut |document| {
                        split(document, embedder)
                            .into_iter()
                            .try_for_each(|document| each(origin, in_lines(document)))
                    })?;
                }
            }
        }
        Ok(())
    }

    fn read(
        &self,
        path: &Path,
        name: &str,
        each: &mut dyn FnMut(Document) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if has_ending(path, &JSON_LINES) {
            return json::read(path, name, &self.codes, each);
        }
        let text = read_text(path)?;
        if has_ending(path, &MARKDOWN) {
            return markdown::sections(&text, name).into_iter().try_for_each(each);
        }
        let title = path.file_stem().unwrap_or_default().to_string_lossy().nfc().collect();
        each(Document { id: name.into(), title, text, source: name.into(), ..Document::default() })
    }
}

/// A document whose title and texts are one line each: an answer may hold them as they are, and in it a line has a meaning.
fn in_lines(document: Document) -> Document {
    let line = |text: String| {
        let is_break = |character| matches!(character, '\n'..='\r' | '\u{85}' | '\u{2028}' | '\u{2029}');
        if !text.contains(is_break) {
            return text;
        }
        let parts = text.split(is_break).map(str::trim).filter(|part| !part.is_empty());
        parts.collect::<Vec<_>>().join(" ")
    };
    Document {
        title: line(document.title),
        text: line(document.text),
        short: line(document.short),
        ..document
    }
}

/// A document in passages, when it is too long for one. Their ids are the document's with a number.
fn split(document: Document, embedder: &dyn Embedder) -> Vec<Document> {
    let count = |text: &str| embedder.count_tokens(text);
    let whole = format!("{PASSAGE}{}", indexed_text(&document));
    // No token is shorter than a byte: most texts needn't be counted.
    if whole.len() <= PASSAGE_TOKENS || count(&whole) <= PASSAGE_TOKENS {
        return if document.text.trim().is_empty() { Vec::new() } else { vec![document] };
    }
    let head = count(&format!("{PASSAGE}{}\n", document.title));
    let passage = PASSAGE_TOKENS.saturating_sub(head).max(PASSAGE_TOKENS / 4);
    let overlap = OVERLAP_TOKENS;
    let pieces = passages(&document.text, Lengths { passage, overlap }, count);
    let single = pieces.len() == 1;
    pieces
        .into_iter()
        .enumerate()
        .map(|(number, text)| {
            let id = if single { document.id.clone() } else { format!("{}#{}", document.id, number + 1) };
            // They are about the whole: found once is enough.
            let questions = if number == 0 { document.questions.clone() } else { Vec::new() };
            Document { id, text, questions, ..document.clone() }
        })
        .collect()
}

fn has_ending(path: &Path, endings: &[&str]) -> bool {
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    endings.contains(&&*ending)
}

fn is_readable(path: &Path) -> bool {
    [&JSON_LINES[..], &MARKDOWN, &TEXT].iter().any(|endings| has_ending(path, endings))
}

/// A file's text in NFC, without a byte order mark and with plain line breaks.
fn read_text(path: &Path) -> Result<String, Error> {
    let bytes = std::fs::read(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    let text = str::from_utf8(&bytes).map_err(|error| {
        let line = bytes[..error.valid_up_to()].split(|&byte| byte == b'\n').count();
        let reason = "not UTF-8 text; save the file with the encoding UTF-8".into();
        Error::Document { path: path.to_owned(), line, reason }
    })?;
    Ok(text.trim_start_matches('\u{feff}').replace("\r\n", "\n").nfc().collect())
}

/// Of a document in the corpus: where it comes from.
pub(crate) type Origins = BTreeSet<String>;

#[cfg(test)]
mod tests;
