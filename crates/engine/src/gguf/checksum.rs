//! A model file's SHA-256 against the one that was noted beside it.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::open;
use crate::Error;

/// A file whose bytes are the expected ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// Bytes read.
    pub bytes: u64,
}

/// Compares the whole file with `<file>.sha256`, as `sha256sum` writes it. None when there is no such note.
///
/// Reads all of the file, a mebibyte at a time: about a second for a gigabyte, so call it off the async threads.
///
/// # Errors
/// [`Error::ModelFile`] when the file differs, can't be read, or the note can't be understood.
pub fn verify_checksum(path: &Path) -> Result<Option<Verified>, Error> {
    let fail = |reason: String| Error::ModelFile { path: path.to_owned(), reason };
    let (file, _) = open(path).map_err(fail)?;
    let note = note_path(path);
    let text = match std::fs::read_to_string(&note) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(fail(format!("its checksum {} can't be read: {error}", note.display())));
        }
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let expected = expected(&text, &name).map_err(|reason| fail(format!("{} {reason}", note.display())))?;
    let found = digest(file).map_err(|error| fail(format!("can't be read: {error}")))?;
    if found.sha256 == expected {
        return Ok(Some(found));
    }
    Err(fail(format!(
        "is damaged or another file: its SHA-256 is {}, but {} says {expected}. Fetch it again, or correct that note \
         if you replaced the model on purpose",
        found.sha256,
        note.display()
    )))
}

/// Notes a file's SHA-256 beside it, as `sha256sum` writes it and [`verify_checksum`] reads it. Reads all of the file.
///
/// # Errors
/// [`Error::ModelFile`] when the file can't be read or the note can't be written.
pub fn note_checksum(path: &Path) -> Result<Verified, Error> {
    let fail = |reason: String| Error::ModelFile { path: path.to_owned(), reason };
    let found = checksum(path)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let note = note_path(path);
    std::fs::write(&note, format!("{}  {name}\n", found.sha256))
        .map_err(|error| fail(format!("its checksum {} can't be written: {error}", note.display())))?;
    Ok(found)
}

/// A file's SHA-256. Reads all of it.
pub(crate) fn checksum(path: &Path) -> Result<Verified, Error> {
    let fail = |reason: String| Error::ModelFile { path: path.to_owned(), reason };
    let (file, _) = open(path).map_err(fail)?;
    digest(file).map_err(|error| fail(format!("can't be read: {error}")))
}

/// Where a file's checksum is noted: `<file>.sha256`, beside it.
pub fn note_path(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".sha256");
    path.with_file_name(name)
}

/// The sum for the file `name` in a note of one or more lines `<sum>`, `<sum>  <name>` or `<sum> *<name>`.
fn expected(note: &str, name: &str) -> Result<String, String> {
    for line in note.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (sum, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        if sum.len() != 64 || !sum.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err("holds no SHA-256; expected 64 hexadecimal digits and the file's name".into());
        }
        let noted = rest.trim_start().trim_start_matches('*');
        let noted = noted.rsplit(['/', '\\']).next().unwrap_or(noted);
        if noted.is_empty() || noted == name {
            return Ok(sum.to_ascii_lowercase());
        }
    }
    Err(format!("holds no checksum of `{name}`; write it with `sha256sum {name} > {name}.sha256`"))
}

fn digest(mut file: File) -> std::io::Result<Verified> {
    let mut hasher = Sha256::new();
    let mut block = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        let count = match file.read(&mut block) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(&block[..count]);
        bytes += count as u64;
    }
    Ok(Verified { sha256: format!("{:x}", hasher.finalize()), bytes })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    fn file(bytes: &[u8]) -> (TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.gguf");
        fs::write(&path, bytes).unwrap();
        (dir, path)
    }

    #[test]
    fn a_checksum_beside_the_file_has_to_fit() {
        let bytes = b"abc";
        let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let (_dir, path) = file(bytes);
        let note = path.with_file_name("model.gguf.sha256");
        assert_eq!(verify_checksum(&path).unwrap(), None, "nothing to compare with");

        let verified = Some(Verified { sha256: sum.into(), bytes: 3 });
        let upper = sum.to_uppercase();
        let other = "0".repeat(64);
        for text in [
            format!("{sum}  model.gguf\n"),
            format!("{upper} *./models/model.gguf\r\n"),
            sum.to_owned(),
            format!("{other}  other.gguf\n\n{sum}  model.gguf\n"),
        ] {
            fs::write(&note, &text).unwrap();
            assert_eq!(verify_checksum(&path).unwrap(), verified, "{text:?}");
        }

        for (text, expected) in [
            (format!("{other}  model.gguf\n"), "is damaged or another file"),
            (format!("{sum}  other.gguf\n"), "no checksum of `model.gguf`"),
            (format!("{sum}0  model.gguf\n"), "64 hexadecimal digits"),
            (format!("SHA256 (model.gguf) = {sum}\n"), "64 hexadecimal digits"),
            (String::new(), "no checksum of `model.gguf`"),
        ] {
            fs::write(&note, &text).unwrap();
            let message = verify_checksum(&path).unwrap_err().to_string();
            assert!(
                message.contains(expected) && message.contains("model.gguf.sha256"),
                "{text:?}: {message}"
            );
        }
        fs::remove_file(&path).unwrap();
        assert!(verify_checksum(&path).unwrap_err().to_string().contains("no such file"));
    }

    #[test]
    fn a_noted_checksum_fits_until_the_file_changes() {
        let (_dir, path) = file(b"abc");
        let noted = note_checksum(&path).unwrap();
        assert_eq!(verify_checksum(&path).unwrap(), Some(noted));
        fs::write(&path, b"abd").unwrap();
        assert!(verify_checksum(&path).is_err());
    }

    #[test]
    fn a_checksum_over_many_blocks_is_the_same() {
        let (_dir, path) = file(&vec![b'a'; 3_000_000]);
        let sum = "2a152c894398719c0570f83fac34ac03a0f6e8e474b995c2403aa5434f7b9dd4";
        fs::write(path.with_file_name("model.gguf.sha256"), sum).unwrap();
        assert_eq!(verify_checksum(&path).unwrap().map(|verified| verified.bytes), Some(3_000_000));
    }
}
