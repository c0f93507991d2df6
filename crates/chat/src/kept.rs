//! What was learned, kept between starts: learning takes up to a minute.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

/// Of the files and of how things are learned: another number means learning anew.
const VERSION: u8 = 3;

/// Bytes of a hash.
const HASH: usize = 32;

/// Changes whenever something else would be learned.
pub(crate) type Key = [u8; HASH];

/// `learned_from`: all that counts, the embedding model's fingerprint too.
pub(crate) fn key<'a>(learned_from: impl IntoIterator<Item = &'a str>) -> Key {
    let mut hasher = Sha256::new_with_prefix([VERSION]);
    for text in learned_from {
        hasher.update((text.len() as u64).to_le_bytes());
        hasher.update(text);
    }
    hasher.finalize().into()
}

/// What was learned for this key; `None` when there is none, or none that is whole.
pub(crate) fn read<T: DeserializeOwned>(file: &Path, key: &Key) -> Option<T> {
    let bytes = std::fs::read(file).ok()?;
    let (found, rest) = bytes.split_at_checked(HASH)?;
    let (sum, body) = rest.split_at_checked(HASH)?;
    let whole = found == key && Sha256::digest(body).as_slice() == sum;
    if whole { postcard::from_bytes(body).ok() } else { None }
}

/// Written beside the file and put in its place as a whole.
///
/// # Errors
/// When the disk refuses it.
pub(crate) fn write<T: Serialize>(file: &Path, key: &Key, learned: &T) -> std::io::Result<()> {
    let body = postcard::to_stdvec(learned).map_err(std::io::Error::other)?;
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    // Two processes that write at once must not write into one file.
    let beside = file.with_extension(format!("{}.tmp", std::process::id()));
    let written = File::create(&beside).and_then(|mut to| {
        to.write_all(key)?;
        to.write_all(&Sha256::digest(&body))?;
        to.write_all(&body)?;
        to.sync_all()
    });
    let placed = written.and_then(|()| std::fs::rename(&beside, file));
    if placed.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    placed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learned() -> Vec<f32> {
        vec![0.5, -1.0, 3.25]
    }

    fn read(file: &Path, key: &Key) -> Option<Vec<f32>> {
        super::read(file, key)
    }

    #[test]
    fn what_is_kept_comes_back_for_its_key_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("new/gate.bin");
        assert_eq!(read(&file, &[1; HASH]), None);
        write(&file, &[1; HASH], &learned()).unwrap();
        assert_eq!(read(&file, &[1; HASH]), Some(learned()));
        assert_eq!(read(&file, &[2; HASH]), None, "learned from something else");
        write(&file, &[2; HASH], &learned()).unwrap();
        assert!(read(&file, &[2; HASH]).is_some(), "written over");
        assert_eq!(
            std::fs::read_dir(file.parent().unwrap()).unwrap().count(),
            1,
            "nothing is left beside it"
        );
    }

    #[test]
    fn a_file_that_is_broken_anywhere_counts_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gate.bin");
        write(&file, &[1; HASH], &learned()).unwrap();
        let whole = std::fs::read(&file).unwrap();
        for at in 0..whole.len() {
            let mut broken = whole.clone();
            broken[at] ^= 1;
            std::fs::write(&file, &broken).unwrap();
            assert_eq!(read(&file, &[1; HASH]), None, "byte {at}");
            std::fs::write(&file, &whole[..at]).unwrap();
            assert_eq!(read(&file, &[1; HASH]), None, "cut at {at}");
        }
    }

    #[test]
    fn a_key_changes_with_all_that_was_learned_from() {
        let keys = [key(["가", "나"]), key(["가나"]), key(["가", "나", ""]), key(["나", "가"])];
        assert_eq!(std::collections::HashSet::from(keys).len(), keys.len());
    }
}
