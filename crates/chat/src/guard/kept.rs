//! What the gate has learned, kept between starts: learning takes up to half a minute.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::classifier::Classifier;
use super::topic::{Example, Split, Topic};

/// Of the file and of how it is learned: another number means learning anew.
const VERSION: u8 = 1;

/// Bytes of a hash.
const HASH: usize = 32;

/// Changes whenever something else would be learned.
pub(crate) fn key(model: &str, examples: &[Example]) -> [u8; HASH] {
    let mut hasher = Sha256::new_with_prefix([VERSION]);
    let mut add = |text: &str| {
        hasher.update((text.len() as u64).to_le_bytes());
        hasher.update(text);
    };
    add(model);
    for example in examples.iter().filter(|example| example.split == Split::Tune) {
        add(&example.text);
        add(if example.topic == Topic::On { "on" } else { "off" });
    }
    hasher.finalize().into()
}

/// What was learned for this key; `None` when there is none, or none that is whole.
pub(crate) fn read(file: &Path, key: &[u8; HASH], dimension: usize) -> Option<Classifier> {
    let bytes = std::fs::read(file).ok()?;
    let (found, rest) = bytes.split_at_checked(HASH)?;
    let (sum, body) = rest.split_at_checked(HASH)?;
    let whole = found == key && Sha256::digest(body).as_slice() == sum;
    let classifier: Classifier = if whole { postcard::from_bytes(body).ok()? } else { return None };
    classifier.fits(dimension).then_some(classifier)
}

/// Written beside the file and put in its place as a whole.
///
/// # Errors
/// When the disk refuses it.
pub(crate) fn write(file: &Path, key: &[u8; HASH], classifier: &Classifier) -> std::io::Result<()> {
    let body = postcard::to_stdvec(classifier).map_err(std::io::Error::other)?;
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

    fn classifier() -> Classifier {
        let texts: Vec<String> = (0..6).map(|n| format!("말 {n}")).collect();
        let vectors: Vec<Vec<f32>> = (0..6).map(|n| vec![n as f32, 1.0, (n % 2) as f32]).collect();
        let rows: Vec<&[f32]> = vectors.iter().map(Vec::as_slice).collect();
        Classifier::fit(&texts, &rows, &[true, false, true, false, true, false])
    }

    #[test]
    fn what_is_kept_comes_back_for_its_key_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("new/gate.bin");
        assert_eq!(read(&file, &[1; HASH], 3), None);
        write(&file, &[1; HASH], &classifier()).unwrap();
        assert_eq!(read(&file, &[1; HASH], 3), Some(classifier()));
        assert_eq!(read(&file, &[2; HASH], 3), None, "learned from something else");
        assert_eq!(read(&file, &[1; HASH], 4), None, "of another model");
        write(&file, &[2; HASH], &classifier()).unwrap();
        assert!(read(&file, &[2; HASH], 3).is_some(), "written over");
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
        write(&file, &[1; HASH], &classifier()).unwrap();
        let whole = std::fs::read(&file).unwrap();
        for at in 0..whole.len() {
            let mut broken = whole.clone();
            broken[at] ^= 1;
            std::fs::write(&file, &broken).unwrap();
            assert_eq!(read(&file, &[1; HASH], 3), None, "byte {at}");
            std::fs::write(&file, &whole[..at]).unwrap();
            assert_eq!(read(&file, &[1; HASH], 3), None, "cut at {at}");
        }
    }

    #[test]
    fn a_key_changes_with_model_texts_and_labels_and_not_with_tests() {
        let example = |text: &str, topic, split| Example { text: text.into(), topic, split };
        let examples = vec![example("가", Topic::On, Split::Tune), example("나", Topic::Off, Split::Tune)];
        let base = key("m", &examples);
        assert_ne!(base, key("n", &examples));
        assert_ne!(base, key("m", &[example("가", Topic::Off, Split::Tune), examples[1].clone()]));
        assert_ne!(base, key("m", &[example("다", Topic::On, Split::Tune), examples[1].clone()]));
        let mut more = examples;
        more.push(example("라", Topic::On, Split::Test));
        assert_eq!(base, key("m", &more));
    }
}
