//! Each kernel alone: `cargo bench -p leafresh-kernels`.
#![allow(missing_docs, unsafe_code, clippy::unwrap_used)]

use leafresh_kernels::View;
use leafresh_kernels::attention::{self, Attention};
use leafresh_kernels::matmul::{self, Bytes};

fn main() {
    divan::main();
}

fn view<T>(numbers: &mut [T], shape: [usize; 3]) -> View {
    let row = size_of::<T>() * shape[0];
    View { data: numbers.as_mut_ptr().cast(), shape, strides: [row, row * shape[1]] }
}

/// The default model's widest product, for as many tokens as readers.
#[divan::bench(args = [1, 4, 8, 16])]
fn matmul_640_to_2048(bencher: divan::Bencher, tokens: usize) {
    if !matmul::is_possible() {
        return;
    }
    let (inputs, outputs) = (640, 2048);
    let matrix = Bytes::new(outputs, inputs, |output, row| row.fill(output as f32 / 1000.0)).unwrap();
    let (mut given, mut out) = (vec![0.5f32; inputs * tokens], vec![0.0f32; outputs * tokens]);
    let (given, out) = (view(&mut given, [inputs, tokens, 1]), view(&mut out, [outputs, tokens, 1]));
    bencher.counter(divan::counter::ItemsCount::new(inputs * outputs * tokens)).bench_local(|| {
        // SAFETY: both views are as large as they say.
        unsafe { matrix.multiply(&given, &out, 0, 1) }
    });
}

/// One layer of the default model: four heads that share their keys, each row with 800 cells of its own.
#[divan::bench(args = [1, 4, 8, 16])]
fn attention_800_cells(bencher: divan::Bencher, rows: usize) {
    if !attention::is_possible() {
        return;
    }
    let (size, heads, own) = (256, 4, 800);
    let n_kv = own * rows;
    let (mut q, mut out) = (vec![0.01f32; size * rows * heads], vec![0.0f32; size * rows * heads]);
    let (mut k, mut v) = (vec![0x2E66u16; size * n_kv], vec![0x2E66u16; size * n_kv]);
    let mut mask: Vec<u16> =
        (0..rows * n_kv).map(|i| if i % n_kv / own == i / n_kv { 0 } else { attention::HIDDEN }).collect();
    let attention = Attention {
        q: view(&mut q, [size, rows, heads]),
        k: view(&mut k, [size, n_kv, 1]),
        v: view(&mut v, [size, n_kv, 1]),
        mask: view(&mut mask, [n_kv, rows, 1]),
        out: view(&mut out, [size, heads, rows]),
        scale: 0.0625,
    };
    // SAFETY: all views are as large as they say.
    bencher.bench_local(|| unsafe { attention.share(0, 1) });
}
