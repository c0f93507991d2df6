//! Files written anew, and the vocabulary as it stands in them.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::*;
use crate::gguf::rewrite::{Changes, NewValue, rewrite};
use crate::gguf::vocabulary::{Merging, Vocabulary};

fn file(writer: &Writer) -> (tempfile::TempDir, PathBuf, Header) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.gguf");
    let mut bytes = writer.bytes();
    // Every byte of the tensors other than its neighbours.
    let mut place = writer.with_descriptions().len();
    for tensor in &writer.tensors {
        place = place.next_multiple_of(writer.alignment);
        for at in place..place + tensor.bytes {
            bytes[at] = (at * 7 + at / 251) as u8;
        }
        place += tensor.bytes;
    }
    fs::write(&path, bytes).unwrap();
    let header = check(&path).unwrap();
    (dir, path, header)
}

fn rewritten(path: &Path, header: &Header, changes: &Changes) -> Vec<u8> {
    let mut out = Vec::new();
    rewrite(path, header, changes, Path::new("new.gguf"), &mut out).unwrap();
    out
}

/// A tensor's bytes, by plain addition.
fn data<'a>(bytes: &'a [u8], header: &Header, name: &str) -> &'a [u8] {
    let mut place = header.data as usize;
    for tensor in &header.tensors {
        let end = place + tensor.bytes as usize;
        if tensor.name == name {
            return &bytes[place..end];
        }
        place = end.next_multiple_of(header.metadata.alignment().unwrap() as usize);
    }
    panic!("no {name}");
}

#[test]
fn without_changes_the_file_is_the_same_byte_for_byte() {
    for alignment in [32, 64] {
        let mut writer = Writer::model();
        writer.alignment = alignment;
        writer.set("general.alignment", u32_value(alignment as u32));
        // One that is kept as it is though it is only counted when it is read.
        writer.set("own.floats", list_value(12, 2, &[9; 16]));
        let (_dir, path, header) = file(&writer);
        let mut expected = fs::read(&path).unwrap();
        expected.resize(expected.len().next_multiple_of(alignment), 0);
        assert!(rewritten(&path, &header, &Changes::default()) == expected, "aligned to {alignment}");
    }
}

#[test]
fn rows_go_and_values_change_and_all_else_stays() {
    let mut writer = Writer::model();
    writer.set("llama.vocab_size", u32_value(6));
    writer.set("own.wide", typed(10, &6u64.to_le_bytes()));
    let (_dir, path, header) = file(&writer);
    let before = fs::read(&path).unwrap();
    let mut changes = Changes::new(vec![0, 2], vec![0, 1, 4]);
    changes.set("llama.vocab_size", NewValue::Integer(3));
    changes.set("own.wide", NewValue::Integer(3));
    let tokens = ["<unk>", "<s>", "나"].map(|text| text.as_bytes().to_vec());
    changes.set("tokenizer.ggml.tokens", NewValue::Texts(tokens.to_vec()));
    changes.set("tokenizer.ggml.scores", NewValue::Floats(vec![0.5, -1.0, 2.0]));
    changes.set("new.ids", NewValue::Integers(vec![0, 1, 4]));
    changes.set("new.text", NewValue::Text("가".into()));
    let bytes = rewritten(&path, &header, &changes);
    let after = parse_bytes(&bytes).unwrap();

    assert_eq!(changes.tensor_bytes(&header), after.tensor_bytes);
    assert_eq!((after.vocabulary, after.tensors[0].dims.clone()), (3, vec![64, 3]));
    for (key, value) in [
        ("llama.vocab_size", Value::Integer(3)),
        ("own.wide", Value::Integer(3)),
        ("new.ids", Value::Integers(vec![0, 1, 4])),
        ("new.text", Value::Text("가".into())),
    ] {
        assert_eq!(after.metadata.get(key), Some(&value), "{key}");
    }
    let unchanged = |(key, _): &(&str, &Value)| {
        !key.starts_with("new.")
            && !["llama.vocab_size", "own.wide"].contains(key)
            && !key.starts_with("tokenizer.ggml")
    };
    let [old, new] =
        [&header, &after].map(|header| header.metadata.iter().filter(unchanged).collect::<Vec<_>>());
    assert_eq!(old, new);

    for name in ["token_embd.weight", "output.weight"] {
        let (old, new) = (data(&before, &header, name), data(&bytes, &after, name));
        let row = old.len() / 6;
        let expected: Vec<u8> =
            [0, 1, 4].iter().flat_map(|at| &old[at * row..(at + 1) * row]).copied().collect();
        assert_eq!(new, expected, "{name}");
    }
    let norm = "blk.0.attn_norm.weight";
    assert_eq!(data(&before, &header, norm), data(&bytes, &after, norm));
}

/// A disk with room for so many bytes.
struct Small(usize, io::ErrorKind);

impl Write for Small {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(self.1)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_disk_that_is_full_and_one_that_fails_are_told_apart_wherever_it_happens() {
    let (_dir, path, header) = file(&Writer::model());
    let length = rewritten(&path, &header, &Changes::default()).len();
    let write = |room, kind| {
        let target = Path::new("folder/new.gguf");
        rewrite(&path, &header, &Changes::default(), target, &mut Small(room, kind))
            .map_err(|error| error.to_string())
    };
    for room in 0..length {
        let full = write(room, io::ErrorKind::StorageFull).unwrap_err();
        assert!(full.contains("folder has no room") && full.contains("another folder"), "{room}: {full}");
    }
    let failed = write(100, io::ErrorKind::PermissionDenied).unwrap_err();
    assert!(failed.contains("folder/new.gguf") && failed.contains("can't be written"), "{failed}");
    write(length, io::ErrorKind::StorageFull).unwrap();
}

#[test]
fn a_file_that_is_cut_off_after_its_header_was_read_is_an_error() {
    let (_dir, path, header) = file(&Writer::model());
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    let error = rewrite(&path, &header, &Changes::default(), Path::new("new.gguf"), &mut Vec::new());
    assert!(error.unwrap_err().to_string().contains("may have changed"));
    fs::write(&path, &bytes[..400]).unwrap();
    assert!(Vocabulary::read(&path, &header).is_err());
}

fn vocabulary(change: impl FnOnce(&mut Writer)) -> Result<Vocabulary, String> {
    let mut writer = Writer::model();
    writer.set("tokenizer.ggml.token_type", numbers_value(&[2, 3, 3, 1, 1, 1]));
    change(&mut writer);
    let (_dir, path, header) = file(&writer);
    Vocabulary::read(&path, &header).map_err(|error| error.to_string())
}

#[test]
fn a_vocabulary_is_read_as_it_stands_in_the_file() {
    let scores: Vec<u8> = (0..6).flat_map(|number| (number as f32 / 2.0).to_le_bytes()).collect();
    let found = vocabulary(|w| {
        w.set("tokenizer.ggml.scores", list_value(6, 6, &scores));
        w.set("tokenizer.ggml.bos_token_id", u32_value(1));
        w.set("tokenizer.ggml.eot_token_id", u32_value(5));
        w.set("tokenizer.ggml.mask_token_id", u32_value(6));
    });
    let found = found.unwrap();
    assert_eq!(found.merging, Merging::Scores);
    assert_eq!(found.tokens.join(&b' '), "<unk> <s> </s> 가 나 ".as_bytes());
    assert_eq!(found.scores, Some(vec![0.0, 0.5, 1.0, 1.5, 2.0, 2.5]));
    assert_eq!(found.types, [2, 3, 3, 1, 1, 1]);
    let named = [("tokenizer.ggml.bos_token_id", 1), ("tokenizer.ggml.eot_token_id", 5)];
    assert_eq!(found.named, named.map(|(key, id)| (key.to_owned(), id)).into(), "6 isn't a token");

    let pairs = vocabulary(|w| {
        w.set("tokenizer.ggml.model", text_value("gpt2"));
        w.set("tokenizer.ggml.merges", texts_value(&["a b", "ab c"]));
        w.keys.retain(|(key, _)| key != "tokenizer.ggml.scores");
    });
    let pairs = pairs.unwrap();
    assert_eq!((pairs.merging, pairs.scores, pairs.merges.len()), (Merging::Pairs, None, 2));
}

#[test]
fn vocabularies_that_can_not_be_changed_are_named() {
    let model = |name: &str, before: &str| {
        vocabulary(|w| {
            w.set("tokenizer.ggml.model", text_value(name));
            w.set("tokenizer.ggml.pre", text_value(before));
        })
    };
    for (found, parts) in [
        (model("t5", "default"), &["`t5`", "`llama`", "`gpt2`"][..]),
        (model("gpt2", "gemma4"), &["`gemma4`", "`llama`"]),
        (model("gpt2", "smollm"), &["tokenizer.ggml.merges"]),
        (
            vocabulary(|w| w.keys.retain(|(key, _)| key != "tokenizer.ggml.scores")),
            &["tokenizer.ggml.scores"],
        ),
        (vocabulary(|w| w.keys.retain(|(key, _)| key != "tokenizer.ggml.token_type")), &["token_type"]),
        (
            vocabulary(|w| w.set("tokenizer.ggml.token_type", numbers_value(&[1; 5]))),
            &["token_type", "a list of 5", "expected 6"],
        ),
        (
            vocabulary(|w| w.set("tokenizer.ggml.token_type", list_value(6, 6, &[0; 24]))),
            &["token_type", "another type", "I32"],
        ),
        (vocabulary(|w| w.set("tokenizer.ggml.scores", u32_value(1))), &["scores", "expected a list"]),
    ] {
        let reason = found.unwrap_err();
        for part in parts {
            assert!(reason.contains(part), "expected {part:?} in {reason:?}");
        }
    }
}
