use std::io::Cursor;

use super::super::tests::writer::{Writer, tensor, text_value, typed};
use super::*;

/// A LoRA of rank 2 for the writer's model, which changes its head.
fn adapter() -> Writer {
    let mut writer = Writer { version: 3, keys: Vec::new(), tensors: Vec::new(), alignment: 32 };
    writer.set("general.type", text_value("adapter"));
    writer.set("general.architecture", text_value("llama"));
    writer.set("adapter.type", text_value("lora"));
    writer.set("adapter.lora.alpha", typed(6, &8f32.to_le_bytes()));
    writer.tensors = vec![
        tensor("output.weight.lora_b", &[2, 6], 0, 2 * 6 * 4),
        tensor("output.weight.lora_a", &[64, 2], 0, 64 * 2 * 4),
    ];
    writer
}

fn read(adapter: &Writer, model: &Writer) -> Result<AdapterHeader, String> {
    let (bytes, model) = (adapter.bytes(), model.bytes());
    let model = super::super::parse(Cursor::new(&model), model.len() as u64).unwrap();
    parse(Cursor::new(&bytes), bytes.len() as u64, &model)
}

#[test]
fn an_adapter_s_pairs_are_found_whatever_their_order() {
    let header = read(&adapter(), &Writer::model()).unwrap();
    let [pair] = &header.pairs[..] else { panic!("{header:?}") };
    assert_eq!((pair.changes.as_str(), pair.rank(), header.bytes), ("output.weight", 2, 48 + 512));
    assert!((header.scale(pair) - 4.0).abs() < f32::EPSILON, "alpha over rank");
    assert!(header.changes_head());
    let mut plain = adapter();
    plain.keys.retain(|(key, _)| key != "adapter.lora.alpha");
    let plain = read(&plain, &Writer::model()).unwrap();
    assert!((plain.scale(&plain.pairs[0]) - 1.0).abs() < f32::EPSILON);
}

#[test]
fn a_table_of_words_is_changed_the_other_way_round_and_not_where_it_is_the_head_too() {
    let mut words = adapter();
    words.tensors = vec![
        tensor("token_embd.weight.lora_a", &[2, 6], 0, 2 * 6 * 4),
        tensor("token_embd.weight.lora_b", &[2, 64], 0, 64 * 2 * 4),
    ];
    let header = read(&words, &Writer::model()).unwrap();
    assert!(header.pairs[0].is_table_of_words() && header.pairs[0].rank() == 2 && !header.changes_head());
    let mut tied = Writer::model();
    tied.tensors.retain(|tensor| tensor.name != "output.weight");
    let read_tied = super::super::parse(Cursor::new(&tied.bytes()), tied.bytes().len() as u64).unwrap();
    let refused = read(&words, &tied).unwrap().check_for_running(&read_tied).unwrap_err();
    assert!(refused.contains("leafresh models merge"), "{refused}");
}

#[test]
fn what_is_no_adapter_for_this_model_is_told_apart() {
    type Change = fn(&mut Writer);
    let cases: [(Change, &str); 10] = [
        (|w| w.set("general.type", text_value("model")), "isn't an adapter"),
        (|w| w.keys.retain(|(key, _)| key != "general.type"), "isn't an adapter"),
        (|w| w.set("adapter.type", text_value("dora")), "`dora`; expected `lora`"),
        (|w| w.set("general.architecture", text_value("qwen3")), "`qwen3`; this one is `llama`"),
        (|w| w.set("adapter.lora.alpha", typed(6, &f32::NAN.to_le_bytes())), "alpha"),
        (|w| w.set("adapter.alora.invocation_tokens", typed(4, &[0; 4])), "aLoRA"),
        (|w| w.tensors.truncate(1), "one half of the pair for `output.weight`"),
        (|w| w.tensors.clear(), "changes nothing"),
        (|w| w.tensors.push(tensor("blk.0.attn_norm.weight", &[64], 0, 256)), "`blk.0.attn_norm.weight`"),
        (|w| w.tensors[1] = tensor("output.weight.lora_a", &[32, 2], 0, 256), "another size"),
    ];
    for (change, expected) in cases {
        let mut writer = adapter();
        change(&mut writer);
        let refused = read(&writer, &Writer::model()).unwrap_err();
        assert!(refused.contains(expected), "expected {expected:?} in {refused:?}");
    }
    let mut elsewhere = adapter();
    for (tensor, name) in
        elsewhere.tensors.iter_mut().zip(["blk.7.ffn_up.weight.lora_b", "blk.7.ffn_up.weight.lora_a"])
    {
        tensor.name = name.into();
    }
    let refused = read(&elsewhere, &Writer::model()).unwrap_err();
    assert!(refused.contains("`blk.7.ffn_up.weight`, which this model doesn't have"), "{refused}");
}

#[test]
fn a_file_cut_off_anywhere_is_refused() {
    let bytes = adapter().bytes();
    let model = Writer::model().bytes();
    let model = super::super::parse(Cursor::new(&model), model.len() as u64).unwrap();
    for length in 0..bytes.len() {
        assert!(parse(Cursor::new(&bytes[..length]), length as u64, &model).is_err(), "{length} bytes");
    }
}
