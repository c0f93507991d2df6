//! What is refused, and with which words.

use super::writer::*;
use super::*;

/// Changes the model's file and expects an error that holds every one of `parts`.
fn refused(change: impl FnOnce(&mut Writer), parts: &[&str]) {
    let mut writer = Writer::model();
    change(&mut writer);
    assert_refused(&writer.bytes(), parts);
}

#[test]
fn other_kinds_of_files_are_recognised() {
    let safetensors =
        [&40u64.to_le_bytes(), br#"{"__metadata__":{"format":"pt"}}        "#.as_slice()].concat();
    let cases: [(&[u8], &str); 17] = [
        (b"", "is empty"),
        (b"GG", "cut off in the header"),
        (&safetensors, "safetensors"),
        (b"PK\x03\x04\x00\x00", "PyTorch"),
        (b"\x80\x02}q\x00", "PyTorch"),
        (b"\n<!DOCTYPE html><html>", "web page"),
        (b"<HTML><head>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS pointer"),
        (b"lmgg\x01\x00\x00\x00", "GGML"),
        (b"tjgg\x03\x00\x00\x00", "GGJT"),
        (b"{\"error\": \"not found\"}", "JSON"),
        (b"\x1f\x8b\x08", "gzip"),
        (&[0; 64], "zeros"),
        (b"GGUF\x00\x00\x00\x03", "big-endian"),
        (b"GGUF\x01\x00\x00\x00", "version 1"),
        (b"GGUF\x04\x00\x00\x00", "version 4; expected 2 or 3"),
        (b"\xde\xad\xbe\xef", "de ad be ef"),
    ];
    for (bytes, expected) in cases {
        assert_refused(bytes, &[expected]);
    }
}

#[test]
fn what_is_no_readable_file_is_refused_with_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing.gguf");
    let cases = [
        (missing.as_path(), "no such file"),
        (dir.path(), "is a folder"),
        (Path::new("/dev/null"), "is no regular file"),
    ];
    for (path, expected) in cases {
        let message = check(path).unwrap_err().to_string();
        assert!(message.starts_with(&path.display().to_string()), "{message}");
        assert!(message.contains(expected), "{message}");
    }
}

#[cfg(unix)]
#[test]
fn a_named_pipe_is_refused_without_waiting_for_a_writer() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pipe.gguf");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    assert!(check(&path).unwrap_err().to_string().contains("is no regular file"));
}

#[test]
fn absurd_counts_and_lengths_are_refused_before_anything_is_allocated() {
    let count = |at: usize, count: u64| {
        let mut bytes = Writer::model().bytes();
        bytes[at..at + 8].copy_from_slice(&count.to_le_bytes());
        bytes
    };
    for huge in [u64::MAX, i64::MAX as u64, 1 << 40] {
        assert_refused(&count(8, huge), &["announces", "tensors"]);
        assert_refused(&count(16, huge), &["announces", "metadata keys"]);
        assert_refused(&count(24, huge), &["metadata key 1 of 14", "a text of"]);
        refused(|w| w.set("k", typed(8, &huge.to_le_bytes())), &["(`k`)", "a text of"]);
        refused(|w| w.set("k", list_value(0, huge, &[])), &["(`k`)", "a list of"]);
        refused(|w| w.set("k", list_value(8, huge, &[])), &["(`k`)", "a list of"]);
        refused(|w| w.set("k", list_value(8, 1, &huge.to_le_bytes())), &["(`k`)", "a text of"]);
        refused(|w| w.set("tokenizer.ggml.tokens", list_value(8, 1, &huge.to_le_bytes())), &["a text of"]);
    }
    // More than this file holds, though a larger one might.
    refused(|w| w.set("k", list_value(12, 1 << 20, &[])), &["cut off in metadata key 15 of 15 (`k`)"]);
    refused(|w| w.set("k", list_value(8, 1 << 20, &[])), &["cut off in metadata key 15 of 15 (`k`)"]);
}

#[test]
fn damaged_metadata_is_refused_with_its_key() {
    refused(|w| w.keys.push(("llama.block_count".into(), u32_value(2))), &["15 of 15", "second time"]);
    refused(|w| w.keys.push((String::new(), u32_value(2))), &["15 of 15", "an empty name"]);
    refused(|w| w.set("k", typed(13, &[0; 8])), &["(`k`)", "type 13; expected 0 to 12"]);
    refused(|w| w.set("k", list_value(13, 1, &[0; 8])), &["(`k`)", "type 13"]);
    refused(|w| w.set("k", list_value(9, 1, &[0; 16])), &["(`k`)", "a list of lists"]);
    refused(|w| w.set("general.alignment", u32_value(48)), &["`general.alignment` is 48", "power of two"]);
    refused(|w| w.set("general.alignment", u32_value(0)), &["`general.alignment` is 0"]);
    refused(|w| w.set("general.architecture", u32_value(1)), &["`general.architecture` is 1", "a text"]);
    refused(|w| w.keys.retain(|(key, _)| key != "general.architecture"), &["`general.architecture`"]);
    refused(
        |w| w.keys.retain(|(key, _)| key != "llama.embedding_length"),
        &["no metadata key `llama.embedding_length`"],
    );
    refused(
        |w| w.set("general.architecture", text_value("gemma3")),
        &["no metadata key `gemma3.block_count`"],
    );
    refused(|w| w.set("llama.context_length", text_value("x")), &["`llama.context_length` is the text `x`"]);
    refused(|w| w.set("llama.context_length", u32_value(0)), &["`llama.context_length` is 0", "from 1"]);
    refused(
        |w| w.set("llama.attention.head_count_kv", numbers_value(&[2])),
        &["is a list of 1", "a list of 2"],
    );
    refused(
        |w| w.set("llama.attention.head_count_kv", numbers_value(&[2, -1])),
        &["`llama.attention.head_count_kv`"],
    );
    refused(|w| w.set("tokenizer.ggml.tokens", list_value(4, 1, &[0; 4])), &["expected texts"]);
    refused(|w| w.set("tokenizer.ggml.tokens", texts_value(&[])), &["a list that isn't empty"]);
}

#[test]
fn what_llama_cpp_would_abort_for_is_refused() {
    refused(|w| w.set("llama.block_count", u32_value(513)), &["`llama.block_count` is 513", "1 to 512"]);
    refused(|w| w.set("llama.block_count", u32_value(0)), &["`llama.block_count` is 0"]);
    refused(|w| w.set("llama.nextn_predict_layers", u32_value(3)), &["`llama.nextn_predict_layers` is 3"]);
    refused(|w| w.set("llama.rope.scaling.type", text_value("limear")), &["is `limear`", "`linear`"]);
    refused(|w| w.set("llama.expert_count", u32_value(2048)), &["`llama.expert_count` is 2048", "1024"]);
    refused(|w| w.set("llama.expert_count", u32_value(8)), &["`llama.expert_used_count` is 0"]);
    refused(|w| w.set("llama.expert_used_count", u32_value(2)), &["`llama.expert_used_count` is 2"]);
    refused(|w| w.set("llama.expert_group_count", u32_value(2)), &["`llama.expert_group_count` is 2"]);
    refused(
        |w| w.set("llama.attention.head_count_kv", u32_value(3)),
        &["block 0", "3 key-value heads among 4"],
    );
    refused(|w| w.set("tokenizer.ggml.tokens", texts_value(&["a", "b", "a"])), &["tokens 0 and 2", "`a`"]);
}

#[test]
fn experts_that_fit_are_accepted() {
    let mut writer = Writer::model();
    for (key, value) in [
        ("expert_count", 8),
        ("expert_used_count", 2),
        ("expert_group_count", 4),
        ("expert_group_used_count", 2),
    ] {
        writer.set(&format!("llama.{key}"), u32_value(value));
    }
    parse_bytes(&writer.bytes()).unwrap();
}

#[test]
fn files_that_are_no_whole_model_are_refused() {
    refused(|w| w.set("general.type", text_value("adapter")), &["type `adapter`"]);
    refused(|w| w.set("general.type", text_value("mmproj")), &["type `mmproj`"]);
    refused(|w| w.tensors.clear(), &["no tensors"]);
    let split = |w: &mut Writer| {
        w.set("split.count", typed(2, &3u16.to_le_bytes()));
        w.set("split.no", typed(2, &1u16.to_le_bytes()));
    };
    refused(split, &["part 2 of 3", "--merge"]);
}

#[test]
fn damaged_descriptions_are_refused_with_their_tensor() {
    let name = "tensor 2 of 3 (`blk.0.attn_norm.weight`)";
    refused(|w| w.tensors[1].name = "token_embd.weight".into(), &["tensor 2 of 3", "second time"]);
    refused(|w| w.tensors[1].name = "x".repeat(64), &["tensor 2 of 3", "64 bytes", "at most 63"]);
    refused(|w| w.tensors[1].dims = vec![1; 5], &[name, "5 dimensions"]);
    refused(|w| w.tensors[1].dims = vec![0], &[name, "a shape of [0]"]);
    refused(|w| w.tensors[1].dims = vec![1 << 32, 1 << 32], &[name, "a shape of"]);
    refused(|w| w.tensors[1].dims = vec![1 << 62], &[name, "more than any file"]);
    for kind in [4, 5, 31, 38, 43, u32::MAX] {
        refused(|w| w.tensors[1].kind = kind, &[name, "numbers of type"]);
    }
    refused(|w| w.tensors[0].dims = vec![33, 6], &["tensor 1 of 3", "rows of 33", "Q4_0", "blocks of 32"]);
    refused(|w| w.tensors[1].offset = Some(0), &[name, "begin at 0; expected 224"]);
    refused(|w| w.tensors[1].offset = Some(225), &[name, "begin at 225; expected 224"]);
    refused(|w| w.tensors[2].offset = Some(u64::MAX), &["tensor 3 of 3", "expected 480"]);
    refused(
        |w| w.tensors[2].dims = vec![64, 7],
        &["cut off in the tensor data", "`output.weight`", "128 bytes are missing"],
    );
}
