mod refusals;
mod rewriting;
pub(crate) mod writer;

use std::fs;
use std::io::Cursor;

use proptest::prelude::*;

use super::*;
use writer::*;

fn parse_bytes(bytes: &[u8]) -> Result<Header, String> {
    parse(Cursor::new(bytes), bytes.len() as u64)
}

/// Expects an error that holds every one of `parts`.
fn assert_refused(bytes: &[u8], parts: &[&str]) {
    let reason = parse_bytes(bytes).map(|_| ()).expect_err("it was accepted");
    for part in parts {
        assert!(reason.contains(part), "expected {part:?} in {reason:?}");
    }
}

#[test]
fn a_model_s_header_is_read() {
    let bytes = Writer::model().bytes();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.gguf");
    fs::write(&path, &bytes).unwrap();
    let header = check(&path).unwrap();
    assert_eq!((header.version, header.architecture.as_str()), (3, "llama"));
    assert_eq!((header.name.as_deref(), header.file_type.as_str()), (Some("작은 모델"), "Q4_K_M"));
    assert_eq!((header.block_count, header.context_length, header.embedding_length), (2, 128, 64));
    assert_eq!((header.heads, header.kv_heads), (vec![4, 4], vec![2, 1]));
    assert_eq!((header.key_length, header.value_length, header.sliding_window), (16, 16, None));
    assert_eq!((header.vocabulary, header.chat_template.as_deref()), (6, Some("{{ messages }}")));
    assert_eq!((header.parameters, header.tensor_bytes), (384 + 64 + 384, 216 + 256 + 768));
    assert_eq!(header.file_bytes, bytes.len() as u64);
    assert_eq!(header.tensors[0].kind, TensorType { name: "Q4_0", block: 32, bytes: 18 });
    assert_eq!(header.metadata.get("tokenizer.ggml.add_bos_token"), Some(&Value::Bool(true)));
    assert_eq!(header.metadata.get("tokenizer.ggml.scores"), Some(&Value::Long(6)));
}

#[test]
fn what_is_optional_may_be_missing_and_what_differs_by_model_is_read() {
    let mut writer = Writer::model();
    for key in
        ["general.name", "general.file_type", "llama.attention.head_count_kv", "tokenizer.chat_template"]
    {
        writer.keys.retain(|(name, _)| name != key);
    }
    writer.version = 2;
    writer.alignment = 64;
    writer.set("general.alignment", u32_value(64));
    writer.set("llama.attention.key_length", u32_value(32));
    writer.set("llama.attention.value_length", u32_value(8));
    writer.set("llama.attention.sliding_window", u32_value(512));
    let header = parse_bytes(&writer.bytes()).unwrap();
    assert_eq!((header.version, header.name, header.chat_template), (2, None, None));
    assert_eq!(header.file_type, "F16", "the type of most bytes");
    assert_eq!(header.kv_heads, [4, 4]);
    assert_eq!((header.key_length, header.value_length, header.sliding_window), (32, 8, Some(512)));
}

#[test]
fn a_file_cut_off_at_any_byte_is_refused_with_the_section_and_what_is_missing() {
    let writer = Writer::model();
    let [keys, tensors, data] =
        [writer.header(), writer.with_keys(), writer.with_descriptions()].map(|part| part.len());
    let whole = writer.bytes();
    assert!(parse_bytes(&whole).is_ok());
    for length in 1..whole.len() {
        let section = match length {
            _ if length < keys => "cut off in the header",
            _ if length < tensors => "cut off in metadata key",
            _ if length < data => "cut off in the description of tensor",
            _ => "cut off in the tensor data",
        };
        let reason = parse_bytes(&whole[..length]).map(|_| ()).expect_err("accepted although cut off");
        assert!(reason.contains(section), "at {length}: expected {section:?} in {reason:?}");
        if length >= data {
            let missing = format!("; {} missing.", plural_are(whole.len() - length));
            assert!(reason.contains(&missing), "at {length}: expected {missing:?} in {reason:?}");
        }
    }
}

fn plural_are(bytes: usize) -> String {
    if bytes == 1 { "1 byte is".into() } else { format!("{bytes} bytes are") }
}

#[test]
fn the_place_of_a_cut_is_named() {
    let writer = Writer::model();
    let template = writer.with_keys().len() - 3;
    assert_refused(
        &writer.bytes()[..template],
        &["metadata key 14 of 14 (`tokenizer.chat_template`)", "3 bytes more"],
    );
    let whole = writer.bytes();
    assert_refused(&whole[..whole.len() - 1], &["tensor 3 of 3 (`output.weight`)", "1 byte is missing"]);
}

#[test]
fn what_follows_the_tensors_is_no_fault() {
    let mut bytes = Writer::model().bytes();
    bytes.resize(bytes.len() + 100, 0);
    assert!(parse_bytes(&bytes).is_ok());
}

/// What an accepted file promises: every tensor within the file, by plain addition.
fn assert_consistent(header: &Header, length: usize) {
    assert_eq!(header.tensor_bytes, header.tensors.iter().map(|tensor| tensor.bytes).sum::<u64>());
    assert!(header.tensor_bytes <= length as u64);
    assert!((1..=512).contains(&header.block_count));
    assert_eq!((header.heads.len(), header.kv_heads.len()), (header.block_count, header.block_count));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(4000), ..ProptestConfig::default() })]

    #[test]
    fn fuzz_flipped_bits_never_panic(flips in proptest::collection::vec((any::<prop::sample::Index>(), 0u8..8), 1..6)) {
        let writer = Writer::model();
        let mut bytes = writer.bytes();
        let header = writer.with_descriptions().len();
        for (index, bit) in flips {
            bytes[index.index(header)] ^= 1 << bit;
        }
        if let Ok(header) = parse_bytes(&bytes) {
            assert_consistent(&header, bytes.len());
        }
    }

    #[test]
    fn fuzz_any_bytes_in_any_place_never_panic(
        at in any::<prop::sample::Index>(),
        noise in proptest::collection::vec(any::<u8>(), 1..64),
        cut in any::<prop::sample::Index>(),
    ) {
        let writer = Writer::model();
        let mut bytes = writer.bytes();
        let at = at.index(writer.with_descriptions().len());
        bytes.splice(at..(at + noise.len()).min(bytes.len()), noise);
        bytes.truncate(cut.index(bytes.len() * 2));
        if let Ok(header) = parse_bytes(&bytes) {
            assert_consistent(&header, bytes.len());
        }
    }
}
