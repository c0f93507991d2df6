use std::path::PathBuf;

use leafresh_kernels::attention::is_possible;

use super::*;
use crate::llama::LlamaModel;
use crate::llama::custom::tests::{host, repacked};
use crate::model::{Candidates, Entry, Model};
use crate::settings::LocalSettings;

/// Logits of some tokens behind each batch: rows of different lengths, one that shares another's beginning, one
/// token alone, and a batch of more tokens than ggml's tiles hold.
fn logits(model: &mut LlamaModel) -> Vec<f32> {
    let run = |sequence, cells: Range<usize>| {
        let last = cells.end - 1;
        cells.map(move |position| Entry {
            token: (5 + position * 31 % 900) as u32,
            position,
            sequence,
            logits: position == last,
        })
    };
    let mut all = Vec::new();
    let batches: [Vec<Entry>; 4] = [
        run(0, 0..100).collect(),
        run(1, 60..66).chain(run(2, 0..3)).chain(run(0, 100..101)).collect(),
        run(2, 3..4).collect(),
        run(2, 4..150).chain(run(1, 66..67)).collect(),
    ];
    for (number, batch) in batches.iter().enumerate() {
        if number == 1 {
            model.share(0, 1, 60);
        }
        model.decode(batch).unwrap();
        let asked = (0..batch.len()).filter(|&entry| batch[entry].logits);
        let mut wanted: Vec<Candidates> = asked
            .map(|entry| Candidates { entry, tokens: (0..2000).collect(), ..Candidates::default() })
            .collect();
        model.score(&mut wanted);
        all.extend(wanted.into_iter().flat_map(|candidates| candidates.logits));
    }
    all
}

/// How far real models are from themselves with one of our kernels and with ggml's. `choose` switches it, `used` says
/// whether it is in use. Nothing without `LEAFRESH_TEST_MODELS`.
pub(in crate::llama) fn differences(
    choose: fn(&mut LocalSettings, bool),
    used: fn(&mut LlamaModel) -> bool,
    possible: bool,
) -> Vec<(&'static str, f32)> {
    let Some(folder) = std::env::var_os("LEAFRESH_TEST_MODELS").map(PathBuf::from) else { return Vec::new() };
    let names = ["gemma-3-270m-Q4_K_M.gguf", "smollm2-135m-instruct-Q4_1.gguf"];
    let difference = |name| {
        let [ours, ggmls] = [true, false].map(|own| {
            let mut settings =
                LocalSettings { threads: Some(2), context: 512, running: 3, ..LocalSettings::default() };
            choose(&mut settings, own);
            let mut model = LlamaModel::load(&folder.join(name), &settings, 0).unwrap();
            assert_eq!(used(&mut model), own && possible, "{name}");
            logits(&mut model)
        });
        (name, difference(&ours, &ggmls))
    };
    names.map(difference).into()
}

#[test]
fn it_gives_what_ggmls_attention_gives() {
    let choose = |settings: &mut LocalSettings, own| settings.attention_over_own_cells = own;
    // The rounding of activations to eight bits multiplies the least difference between kernels.
    for (name, difference) in differences(choose, |model| model.own_kernels().0, is_possible()) {
        assert!(difference < 0.2, "{name}: {difference}");
    }
}

/// A tensor over somebody's numbers, its dimensions one behind the other.
fn tensor<T>(type_: sys::ggml_type, data: &mut [T], ne: [usize; 3]) -> sys::ggml_tensor {
    // SAFETY: numbers and pointers only, for which zero is a value.
    let mut tensor: sys::ggml_tensor = unsafe { std::mem::zeroed() };
    tensor.type_ = type_;
    tensor.data = data.as_mut_ptr().cast();
    tensor.ne = [ne[0] as i64, ne[1] as i64, ne[2] as i64, 1];
    let size = size_of::<T>();
    tensor.nb = [size, size * ne[0], size * ne[0] * ne[1], size * ne[0] * ne[1] * ne[2]];
    tensor
}

#[test]
fn a_node_gets_our_kernel_and_ggmls_back() {
    if !is_possible() {
        return;
    }
    let (n_kv, size, heads, kv_heads, rows) = (71, 48, 9, 3, 2);
    let wave = |count: usize| (0..count).map(|i| (i as f32 * 0.37).sin()).collect::<Vec<f32>>();
    // SAFETY: a plain conversion of one number.
    let half = |x: f32| unsafe { sys::ggml_fp32_to_fp16(x) };
    let mut q = wave(size * rows * heads);
    let mut k: Vec<u16> = wave(size * n_kv * kv_heads).into_iter().map(half).collect();
    let mut v = k.clone();
    let mut mask = vec![0u16; rows * n_kv];
    let mut out = vec![f32::NAN; size * heads * rows];
    let mut sources = [
        tensor(sys::GGML_TYPE_F32, &mut q, [size, rows, heads]),
        tensor(sys::GGML_TYPE_F16, &mut k, [size, n_kv, kv_heads]),
        tensor(sys::GGML_TYPE_F16, &mut v, [size, n_kv, kv_heads]),
        tensor(sys::GGML_TYPE_F16, &mut mask, [n_kv, rows, 1]),
    ];
    let mut node = tensor(sys::GGML_TYPE_F32, &mut out, [size, heads, rows]);
    node.op = sys::GGML_OP_FLASH_ATTN_EXT;
    node.op_params[0] = 3.0f32.to_bits() as i32;
    let (host, elsewhere) = (host(), repacked(64));
    for (place, source) in node.src.iter_mut().zip(&mut sources) {
        source.buffer = host.0;
        *place = source;
    }
    // Field report 49: what isn't in the processor's memory is left alone.
    for buffer in elsewhere.iter().map(|buffer| buffer.0).chain([std::ptr::null_mut()]) {
        node.buffer = buffer;
        choose(&mut node, true);
        assert_eq!(node.op, sys::GGML_OP_FLASH_ATTN_EXT, "the output");
        node.buffer = host.0;
        #[expect(clippy::needless_range_loop, reason = "the node points into them meanwhile")]
        for index in 0..sources.len() {
            sources[index].buffer = buffer;
            choose(&mut node, true);
            assert_eq!(node.op, sys::GGML_OP_FLASH_ATTN_EXT, "source {index}");
            sources[index].buffer = host.0;
        }
    }
    let before = node.op_params;
    choose(&mut node, true);
    assert!(custom::is_installed(&node, compute));
    for thread in 0..2 {
        // SAFETY: the node is whole.
        unsafe { compute(&raw mut node, thread, 2, std::ptr::null_mut()) };
    }
    choose(&mut node, false);
    assert_eq!((node.op, node.op_params), (sys::GGML_OP_FLASH_ATTN_EXT, before), "it can be taken back");
    assert!(out.iter().all(|x| x.is_finite()), "every row of every head is written");
    assert!(agrees(&node), "what it gave is what it gives");
    out[0] += 100.0;
    assert!(!agrees(&node), "another output isn't taken for the same");
}
