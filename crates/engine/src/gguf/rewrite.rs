//! A model file written anew with other values and fewer rows. All else is copied byte for byte, in pieces: a model is
//! never in memory as a whole.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::metadata::{Entry, Type};
use super::{Header, TensorInfo, open};
use crate::Error;

/// Read and written at once.
const PIECE: u64 = 1 << 20;

/// What is different in the new file.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    values: Vec<(String, NewValue)>,
    /// Indices of the tensors of which only `rows` stay.
    cut: Vec<usize>,
    /// Ascending.
    rows: Vec<u32>,
}

#[derive(Debug)]
pub(crate) enum NewValue {
    /// In the type that the key has; 32 bits without a sign where it is new.
    Integer(u32),
    Integers(Vec<i32>),
    Floats(Vec<f32>),
    Text(String),
    Texts(Vec<Vec<u8>>),
}

impl Changes {
    /// Of these tensors, which have a row for each token, only `rows` stay (ascending).
    pub(crate) fn new(cut: Vec<usize>, rows: Vec<u32>) -> Self {
        Self { values: Vec::new(), cut, rows }
    }

    /// Gives a key another value; one that the file doesn't have comes behind all others.
    pub(crate) fn set(&mut self, key: impl Into<String>, value: NewValue) {
        self.values.push((key.into(), value));
    }

    fn value(&self, key: &str) -> Option<&NewValue> {
        self.values.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// A tensor's shape and bytes in the new file.
    fn shape(&self, index: usize, tensor: &TensorInfo) -> (Vec<u64>, u64) {
        let mut dims = tensor.dims.clone();
        let (true, Some(rows)) = (self.cut.contains(&index), dims.last_mut()) else {
            return (dims, tensor.bytes);
        };
        let bytes = tensor.bytes / *rows * self.rows.len() as u64;
        *rows = self.rows.len() as u64;
        (dims, bytes)
    }

    /// Bytes of the new file's tensors, padding left out.
    pub(crate) fn tensor_bytes(&self, header: &Header) -> u64 {
        header.tensors.iter().enumerate().map(|(index, tensor)| self.shape(index, tensor).1).sum()
    }
}

/// Writes the model file `source` to `out`, changed. `target` is what `out` writes to, for messages.
///
/// # Errors
/// [`Error::ModelFile`] when one of the two files can't be read or written, [`Error::NoRoom`] when the disk is full.
pub(crate) fn rewrite(
    source: &Path,
    header: &Header,
    changes: &Changes,
    target: &Path,
    out: &mut impl Write,
) -> Result<(), Error> {
    let fail = |reason: String| Error::ModelFile { path: source.to_owned(), reason };
    let (file, _) = open(source).map_err(fail)?;
    let alignment = header.metadata.alignment().map_err(fail)?;
    let mut copy = Copy { file, source, target, out, alignment, written: 0 };
    copy.metadata(header, changes)?;
    copy.descriptions(header, changes)?;
    let mut place = header.data;
    for (index, tensor) in header.tensors.iter().enumerate() {
        copy.pad()?;
        let data = place..place + tensor.bytes;
        if changes.cut.contains(&index) {
            copy.rows(data, tensor.dims.last().copied().unwrap_or(1), &changes.rows)?;
        } else {
            copy.range(data)?;
        }
        place = (place + tensor.bytes).next_multiple_of(alignment);
    }
    copy.pad()?;
    copy.out.flush().map_err(|error| copy.not_written(&error))
}

struct Copy<'a, W> {
    file: File,
    source: &'a Path,
    target: &'a Path,
    out: &'a mut W,
    alignment: u64,
    written: u64,
}

impl<W: Write> Copy<'_, W> {
    fn metadata(&mut self, header: &Header, changes: &Changes) -> Result<(), Error> {
        let entries = header.metadata.entries();
        let new = |(key, _): &&(String, NewValue)| entries.iter().all(|entry| entry.key != *key);
        let new: Vec<_> = changes.values.iter().filter(new).collect();
        self.bytes(b"GGUF")?;
        self.bytes(&header.version.to_le_bytes())?;
        self.bytes(&(header.tensors.len() as u64).to_le_bytes())?;
        self.bytes(&((entries.len() + new.len()) as u64).to_le_bytes())?;
        for entry in entries {
            match changes.value(&entry.key) {
                None => self.range(entry.whole.clone())?,
                Some(value) => {
                    let kind = self.kind_of(entry)?;
                    self.bytes(&text(entry.key.as_bytes()))?;
                    self.bytes(&encode(value, Some(kind)))?;
                }
            }
        }
        for (key, value) in new {
            self.bytes(&text(key.as_bytes()))?;
            self.bytes(&encode(value, None))?;
        }
        Ok(())
    }

    fn kind_of(&self, entry: &Entry) -> Result<u32, Error> {
        let mut kind = [0; 4];
        self.read(&mut kind, entry.value)?;
        Ok(u32::from_le_bytes(kind))
    }

    fn descriptions(&mut self, header: &Header, changes: &Changes) -> Result<(), Error> {
        let mut place = 0u64;
        for (index, tensor) in header.tensors.iter().enumerate() {
            let (dims, bytes) = changes.shape(index, tensor);
            self.bytes(&text(tensor.name.as_bytes()))?;
            self.bytes(&(dims.len() as u32).to_le_bytes())?;
            for length in dims {
                self.bytes(&length.to_le_bytes())?;
            }
            self.bytes(&tensor.kind.number().to_le_bytes())?;
            self.bytes(&place.to_le_bytes())?;
            place = (place + bytes).next_multiple_of(self.alignment);
        }
        Ok(())
    }

    /// Those of a tensor's `all` rows that stay: neighbours at once.
    fn rows(&mut self, data: Range<u64>, all: u64, rows: &[u32]) -> Result<(), Error> {
        let bytes = (data.end - data.start) / all;
        let mut rest = rows;
        while let Some(&first) = rest.first() {
            let neighbours =
                rest.iter().zip(u64::from(first)..).take_while(|&(&row, at)| u64::from(row) == at);
            let count = neighbours.count();
            let start = data.start + u64::from(first) * bytes;
            self.range(start..start + count as u64 * bytes)?;
            rest = &rest[count..];
        }
        Ok(())
    }

    /// Copies a part of the source.
    fn range(&mut self, range: Range<u64>) -> Result<(), Error> {
        let mut piece = vec![0; (range.end - range.start).min(PIECE) as usize];
        let mut at = range.start;
        while at < range.end {
            let count = (range.end - at).min(PIECE) as usize;
            self.read(&mut piece[..count], at)?;
            self.bytes(&piece[..count])?;
            at += count as u64;
        }
        Ok(())
    }

    fn pad(&mut self) -> Result<(), Error> {
        let missing = self.written.next_multiple_of(self.alignment) - self.written;
        self.bytes(&vec![0; missing as usize])
    }

    fn read(&self, bytes: &mut [u8], at: u64) -> Result<(), Error> {
        self.file.read_exact_at(bytes, at).map_err(|error| Error::ModelFile {
            path: self.source.to_owned(),
            reason: format!(
                "can't be read: {error}; the file may have changed meanwhile, or the disk is failing"
            ),
        })
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.out.write_all(bytes).map_err(|error| self.not_written(&error))?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn not_written(&self, error: &std::io::Error) -> Error {
        not_written(self.target, error)
    }
}

/// Why a file can't be written, and what to do.
pub(crate) fn not_written(path: &Path, error: &std::io::Error) -> Error {
    let full = [ErrorKind::StorageFull, ErrorKind::QuotaExceeded, ErrorKind::FileTooLarge];
    if full.contains(&error.kind()) {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        return Error::NoRoom(format!(
            "{} has no room for the rest of the file ({error}): delete what isn't needed there, or name another folder",
            folder.display()
        ));
    }
    Error::ModelFile { path: path.to_owned(), reason: format!("can't be written: {error}") }
}

/// A text behind its length.
fn text(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u64).to_le_bytes(), bytes].concat()
}

/// A value behind its type. `kind`: what the key had before.
fn encode(value: &NewValue, kind: Option<u32>) -> Vec<u8> {
    match value {
        NewValue::Integer(number) => integer(*number, kind),
        NewValue::Integers(numbers) => list(Type::I32, numbers, |number| number.to_le_bytes().to_vec()),
        NewValue::Floats(numbers) => list(Type::F32, numbers, |number| number.to_le_bytes().to_vec()),
        NewValue::Texts(texts) => list(Type::Text, texts, |bytes| text(bytes)),
        NewValue::Text(bytes) => [&(Type::Text as u32).to_le_bytes(), &*text(bytes.as_bytes())].concat(),
    }
}

/// Both types of 64 bits keep it; every other becomes one of 32.
fn integer(number: u32, kind: Option<u32>) -> Vec<u8> {
    let wide = [Type::U64, Type::I64].into_iter().find(|wide| Some(*wide as u32) == kind);
    let signed = kind == Some(Type::I32 as u32);
    match wide {
        Some(wide) => [&(wide as u32).to_le_bytes(), u64::from(number).to_le_bytes().as_slice()].concat(),
        None => {
            let kind = if signed { Type::I32 } else { Type::U32 };
            [(kind as u32).to_le_bytes(), number.to_le_bytes()].concat()
        }
    }
}

fn list<T>(kind: Type, entries: &[T], encode: impl Fn(&T) -> Vec<u8>) -> Vec<u8> {
    let mut bytes = [(Type::List as u32).to_le_bytes(), (kind as u32).to_le_bytes()].concat();
    bytes.extend((entries.len() as u64).to_le_bytes());
    for entry in entries {
        bytes.extend(encode(entry));
    }
    bytes
}
