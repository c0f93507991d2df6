use leafresh_kernels::matmul::is_possible;

use super::*;
use crate::llama::attention::tests::differences;
use crate::llama::custom::tests::{host, repacked};
use crate::settings::LocalSettings;

#[test]
fn models_say_with_them_what_they_say_with_ggmls() {
    let choose = |settings: &mut LocalSettings, own| settings.products_of_bytes = own;
    // Weights of eight bits, activations in other blocks: each layer multiplies such differences.
    for (name, difference) in differences(choose, |model| model.own_kernels().1, is_possible()) {
        assert!(difference < 0.3, "{name}: {difference}");
    }
}

/// Numbers between -1 and 1 that have nothing to do with each other.
fn scattered(count: usize, mut state: u32) -> Vec<f32> {
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// A matrix in one of ggml's types, and what its numbers are.
fn quantized(type_: sys::ggml_type, outputs: usize, inputs: usize) -> (Vec<u8>, Vec<f32>) {
    let numbers = scattered(outputs * inputs, 7);
    let mut back = vec![0.0f32; outputs * inputs];
    // SAFETY: both buffers are as long as the type needs for that many rows.
    unsafe {
        let (rows, columns) = (outputs as i64, inputs as i64);
        let mut bytes = vec![0u8; outputs * sys::ggml_row_size(type_, columns)];
        let data = bytes.as_mut_ptr().cast();
        sys::ggml_quantize_chunk(type_, numbers.as_ptr(), data, 0, rows, columns, std::ptr::null());
        let traits = &*sys::ggml_get_type_traits(type_);
        traits.to_float.unwrap()(bytes.as_ptr().cast(), back.as_mut_ptr(), (outputs * inputs) as i64);
        (bytes, back)
    }
}

fn tensor<T>(type_: sys::ggml_type, data: &mut [T], ne: [usize; 2], row_bytes: usize) -> sys::ggml_tensor {
    // SAFETY: numbers and pointers only, for which zero is a value.
    let mut tensor: sys::ggml_tensor = unsafe { std::mem::zeroed() };
    tensor.type_ = type_;
    tensor.data = data.as_mut_ptr().cast();
    tensor.ne = [ne[0] as i64, ne[1] as i64, 1, 1];
    tensor.nb = [size_of::<f32>(), row_bytes, row_bytes * ne[1], row_bytes * ne[1]];
    tensor
}

#[test]
fn outputs_are_the_sums_of_inputs_times_weights() {
    if !is_possible() {
        return;
    }
    for (type_, inputs, outputs, tokens, threads) in [
        (sys::GGML_TYPE_Q4_0, 96, 16, 1, 1),
        (sys::GGML_TYPE_Q5_0, 64, 48, 7, 1),
        (sys::GGML_TYPE_Q8_0, 384, 32, 21, 2),
        (sys::GGML_TYPE_Q4_K, 256, 16, 8, 3),
        (sys::GGML_TYPE_Q6_K, 512, 64, 2, 3),
    ] {
        let (mut data, numbers) = quantized(type_, outputs, inputs);
        let row_bytes = data.len() / outputs;
        let mut row = scattered(inputs * tokens, 11);
        row[..BLOCK].fill(0.0);
        let mut out = vec![f32::NAN; outputs * tokens];
        let mut weights = tensor(type_, &mut data, [inputs, outputs], row_bytes);
        let mut activations = tensor(sys::GGML_TYPE_F32, &mut row, [inputs, tokens], 4 * inputs);
        let mut node = tensor(sys::GGML_TYPE_F32, &mut out, [outputs, tokens], 4 * outputs);
        node.op = sys::GGML_OP_MUL_MAT;
        node.src[0] = &raw mut weights;
        node.src[1] = &raw mut activations;
        let matrix = bytes(&weights).unwrap();
        for thread in 0..threads {
            let matrix = std::ptr::from_ref(&matrix).cast_mut().cast();
            // SAFETY: the node is whole.
            unsafe { compute(&raw mut node, thread, threads, matrix) };
        }
        let right: Vec<f32> = (0..tokens)
            .flat_map(|token| (0..outputs).map(move |output| (token, output)))
            .map(|(token, output)| {
                let (row, numbers) =
                    (&row[token * inputs..][..inputs], &numbers[output * inputs..][..inputs]);
                row.iter().zip(numbers).map(|(a, b)| a * b).sum()
            })
            .collect();
        // Activations are rounded to eight bits.
        let difference = difference(&out, &right);
        assert!(difference < 0.01, "{inputs} × {outputs}, {tokens} tokens: {difference}");
        assert!(agrees(&node, &raw const matrix), "what it gave is what it gives");
        out[0] += 10.0;
        assert!(!agrees(&node, &raw const matrix), "another output isn't taken for the same");
    }
}

#[test]
fn what_the_kernel_cannot_multiply_is_left_to_ggml() {
    let mut data = vec![0u8; 4096];
    let mut weights = tensor(sys::GGML_TYPE_Q4_0, &mut data, [64, 16], 36);
    let mut node = tensor(sys::GGML_TYPE_F32, &mut [0.0f32; 16], [16, 1], 64);
    node.op = sys::GGML_OP_MUL_MAT;
    assert!(!fits(&node), "no sources");
    let mut inputs = tensor(sys::GGML_TYPE_F32, &mut [0.0f32; 64], [64, 1], 256);
    node.src[0] = &raw mut weights;
    node.src[1] = &raw mut inputs;
    assert!(!fits(&node), "weights in no buffer");
    // Field report 49: nor what isn't in the processor's memory.
    let host = host();
    (weights.buffer, inputs.buffer, node.buffer) = (host.0, host.0, host.0);
    assert!(fits(&node));
    for buffer in repacked(64).iter().map(|buffer| buffer.0).chain([std::ptr::null_mut()]) {
        for part in [&raw mut weights, &raw mut inputs, &raw mut node] {
            // SAFETY: all three are alive, and nobody else looks at them meanwhile.
            unsafe { (*part).buffer = buffer };
            assert!(!fits(&node));
            // SAFETY: as above.
            unsafe { (*part).buffer = host.0 };
        }
    }
}
