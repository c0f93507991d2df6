use std::path::PathBuf;

use super::*;
use crate::llama::LlamaModel;
use crate::local::LocalSettings;
use crate::model::{Candidates, Entry, Model};

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
        (name, custom::difference(&ours, &ggmls))
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
fn a_row_is_the_mean_of_the_values_it_sees_weighted_by_how_well_the_keys_fit() {
    if !is_possible() {
        return;
    }
    let (n_kv, size) = (71, 48);
    // SAFETY: plain conversions of one number.
    let half = |x: f32| unsafe { sys::ggml_fp32_to_fp16(x) };
    let full = |x: u16| unsafe { sys::ggml_fp16_to_fp32(x) };
    for (heads, kv_heads, rows, threads) in
        [(4, 1, 1, 2), (4, 1, 3, 2), (9, 3, 2, 3), (2, 2, 5, 1), (3, 1, 1, 2)]
    {
        let mut state = 1u32;
        let mut random = |count: usize| -> Vec<f32> {
            let mut next = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / (1 << 23) as f32 - 1.0
            };
            (0..count).map(|_| next()).collect()
        };
        let mut q = random(size * rows * heads);
        let mut k: Vec<u16> = random(size * n_kv * kv_heads).into_iter().map(half).collect();
        let mut v: Vec<u16> = random(size * n_kv * kv_heads).into_iter().map(half).collect();
        let mut mask: Vec<u16> =
            (0..rows * n_kv).map(|i| if i / n_kv == 2 || i * 7 % 5 < 2 { HIDDEN } else { 0 }).collect();
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
        for (place, source) in node.src.iter_mut().zip(&mut sources) {
            *place = source;
        }
        let before = node.op_params;
        choose(&mut node, true);
        assert!(custom::is_put(&node, compute));
        for thread in 0..threads {
            // SAFETY: the node is whole.
            unsafe { compute(&raw mut node, thread, threads, std::ptr::null_mut()) };
        }
        choose(&mut node, false);
        assert_eq!((node.op, node.op_params), (sys::GGML_OP_FLASH_ATTN_EXT, before), "it can be taken back");
        assert!(agrees(&node), "what it gave is what it gives");
        out[0] += 100.0;
        assert!(!agrees(&node), "another output isn't taken for the same");
        out[0] -= 100.0;
        for (row, head) in (0..rows).flat_map(|row| (0..heads).map(move |head| (row, head))) {
            let of = head / (heads / kv_heads);
            let query = &q[(head * rows + row) * size..][..size];
            let at = |of_what: &[u16], cell: usize, d: usize| {
                f64::from(full(of_what[(of * n_kv + cell) * size + d]))
            };
            let seen: Vec<usize> = (0..n_kv).filter(|cell| mask[row * n_kv + cell] == 0).collect();
            let weights: Vec<f64> = seen
                .iter()
                .map(|&cell| (0..size).map(|d| f64::from(query[d]) * at(&k, cell, d)).sum::<f64>())
                .map(|product| (3.0 * product).exp())
                .collect();
            for d in 0..size {
                let sum: f64 =
                    seen.iter().zip(&weights).map(|(&cell, weight)| weight * at(&v, cell, d)).sum();
                let expected = if seen.is_empty() { 0.0 } else { sum / weights.iter().sum::<f64>() };
                let got = f64::from(out[(row * heads + head) * size + d]);
                assert!((got - expected).abs() < 1e-4, "{got} for {expected}, row {row}, head {head}");
            }
        }
    }
}

#[test]
fn a_row_sees_the_cells_that_its_mask_shows() {
    let mut cells = Vec::new();
    let (o, x) = (0, HIDDEN);
    for (mask, expected) in [
        (vec![], vec![]),
        (vec![x, x], vec![]),
        (vec![o, o], vec![Range { start: 0, end: 2 }]),
        (vec![x, o, x, o, o], vec![1..2, 3..5]),
    ] {
        visible(&mask, &mut cells);
        assert_eq!(cells, expected, "{mask:?}");
    }
}
