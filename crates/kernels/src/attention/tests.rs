use half::f16;

use super::*;
use crate::random;

fn view<T>(numbers: &mut [T], shape: [usize; 3]) -> View {
    let row = size_of::<T>() * shape[0];
    View { data: numbers.as_mut_ptr().cast(), shape, strides: [row, row * shape[1]] }
}

#[test]
fn a_row_is_the_mean_of_the_values_it_sees_weighted_by_how_well_the_keys_fit() {
    if !is_possible() {
        return;
    }
    let (n_kv, size) = (71, 48);
    for (heads, kv_heads, rows, threads) in
        [(4, 1, 1, 2), (4, 1, 3, 2), (9, 3, 2, 3), (2, 2, 5, 1), (3, 1, 1, 2)]
    {
        let halves = |count, seed| random(count, seed).into_iter().map(|x| f16::from_f32(x).to_bits());
        let mut q = random(size * rows * heads, 1);
        let mut k: Vec<u16> = halves(size * n_kv * kv_heads, 2).collect();
        let mut v: Vec<u16> = halves(size * n_kv * kv_heads, 3).collect();
        let mut mask: Vec<u16> =
            (0..rows * n_kv).map(|i| if i / n_kv == 2 || i * 7 % 5 < 2 { HIDDEN } else { 0 }).collect();
        let mut out = vec![f32::NAN; size * heads * rows];
        let attention = Attention {
            q: view(&mut q, [size, rows, heads]),
            k: view(&mut k, [size, n_kv, kv_heads]),
            v: view(&mut v, [size, n_kv, kv_heads]),
            mask: view(&mut mask, [n_kv, rows, 1]),
            out: view(&mut out, [size, heads, rows]),
            scale: 3.0,
        };
        for thread in 0..threads {
            // SAFETY: all views are as large as their shapes say.
            unsafe { attention.share(thread, threads) };
        }
        for (row, head) in (0..rows).flat_map(|row| (0..heads).map(move |head| (row, head))) {
            let of = head / (heads / kv_heads);
            let query = &q[(head * rows + row) * size..][..size];
            let at = |of_what: &[u16], cell: usize, d: usize| {
                f16::from_bits(of_what[(of * n_kv + cell) * size + d]).to_f64()
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
