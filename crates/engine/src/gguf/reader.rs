//! Bounded reading: nothing is taken that the file doesn't hold, and an end that comes too early is named.

use std::fmt;
use std::io::{BufRead, BufReader, Read, Seek};

/// A part of the file, for messages.
#[derive(Debug, Clone)]
pub(super) enum Section {
    Header,
    /// Metadata key `number` (from 1) of `count`, and its name once that is read.
    Key {
        number: u64,
        count: u64,
        name: String,
    },
    /// The description of tensor `number` (from 1) of `count`.
    Tensor {
        number: u64,
        count: u64,
        name: String,
    },
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, number, count, name) = match self {
            Self::Header => return f.write_str("the header"),
            Self::Key { number, count, name } => ("metadata key", number, count, name),
            Self::Tensor { number, count, name } => ("the description of tensor", number, count, name),
        };
        write!(f, "{what} {number} of {count}")?;
        if name.is_empty() { Ok(()) } else { write!(f, " (`{}`)", name.escape_debug()) }
    }
}

pub(super) struct Reader<R> {
    source: BufReader<R>,
    position: u64,
    length: u64,
    section: Section,
}

impl<R: Read + Seek> Reader<R> {
    /// `length`: the bytes that `source` holds.
    pub(super) fn new(source: R, length: u64) -> Self {
        Self {
            source: BufReader::with_capacity(1 << 16, source),
            position: 0,
            length,
            section: Section::Header,
        }
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Bytes up to the end of the file.
    pub(super) fn left(&self) -> u64 {
        self.length - self.position
    }

    /// What is read from now on.
    pub(super) fn enter(&mut self, section: Section) {
        self.section = section;
    }

    /// The first bytes, without taking them.
    pub(super) fn peek(&mut self) -> Result<Vec<u8>, String> {
        let start = self.source.fill_buf().map_err(|error| unreadable(&error))?;
        Ok(start[..start.len().min(512)].to_vec())
    }

    /// An error about what is being read.
    pub(super) fn damaged(&self, reason: impl fmt::Display) -> String {
        format!(
            "{}: {reason}. The file is damaged, or was made by a faulty converter: fetch it again",
            self.section
        )
    }

    /// Fails unless the file still holds that many bytes.
    pub(super) fn need(&self, bytes: u64) -> Result<(), String> {
        let left = self.left();
        if bytes <= left {
            return Ok(());
        }
        Err(format!(
            "is cut off in {}, at byte {}, where it needs at least {} more. \
             It was probably not downloaded completely: fetch it again",
            self.section,
            self.length,
            plural(bytes - left, "byte")
        ))
    }

    pub(super) fn bytes(&mut self, count: u64) -> Result<Vec<u8>, String> {
        self.need(count)?;
        let mut bytes = vec![0; count as usize];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn skip(&mut self, count: u64) -> Result<(), String> {
        self.need(count)?;
        let distance =
            i64::try_from(count).map_err(|_| self.damaged("it claims more bytes than any file has"))?;
        self.source.seek_relative(distance).map_err(|error| unreadable(&error))?;
        self.position += count;
        Ok(())
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        self.need(N as u64)?;
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, String> {
        self.array().map(u64::from_le_bytes)
    }

    /// A string's length, which comes before its bytes.
    pub(super) fn string_length(&mut self, most: u64) -> Result<u64, String> {
        let length = self.u64()?;
        if length > most {
            return Err(self.damaged(format!("a text of {length} bytes; expected at most {most}")));
        }
        self.need(length)?;
        Ok(length)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), String> {
        self.source.read_exact(bytes).map_err(|error| unreadable(&error))?;
        self.position += bytes.len() as u64;
        Ok(())
    }
}

fn unreadable(error: &std::io::Error) -> String {
    format!("can't be read: {error}; the file may have changed meanwhile, or the disk is failing")
}

/// "1 byte", "2 bytes".
pub(super) fn plural(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
