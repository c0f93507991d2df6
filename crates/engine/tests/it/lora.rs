//! Adapters with random numbers, as files. Tests of other crates take this file too.

use std::path::Path;

/// Rows and columns of the model's matrices that an adapter changes.
pub(crate) struct Changed<'a> {
    pub name: &'a str,
    pub inputs: usize,
    pub outputs: usize,
}

pub(crate) const RANK: usize = 4;

/// Matrices of gemma-3-270m: 640 numbers a token, 2,048 within a block, 4 heads of 256.
pub(crate) const GEMMA: (&str, &[Changed<'static>]) = (
    "gemma3",
    &[
        Changed { name: "blk.2.attn_q.weight", inputs: 640, outputs: 1024 },
        Changed { name: "blk.9.ffn_down.weight", inputs: 2048, outputs: 640 },
        Changed { name: "blk.17.ffn_up.weight", inputs: 640, outputs: 2048 },
        Changed { name: "blk.17.attn_output.weight", inputs: 1024, outputs: 640 },
    ],
);

/// Numbers between −1 and 1, the same for the same seed.
fn random(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}

/// Writes an adapter of rank [`RANK`] whose products are of about this strength.
pub(crate) fn write(path: &Path, (architecture, changed): (&str, &[Changed<'_>]), seed: u64, strength: f32) {
    let text = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
    let key =
        |name: &str, kind: u32, value: Vec<u8>| [text(name), kind.to_le_bytes().to_vec(), value].concat();
    let mut bytes = [b"GGUF".as_slice(), &3u32.to_le_bytes()].concat();
    bytes.extend((2 * changed.len() as u64).to_le_bytes());
    bytes.extend(4u64.to_le_bytes());
    bytes.extend(key("general.type", 8, text("adapter")));
    bytes.extend(key("general.architecture", 8, text(architecture)));
    bytes.extend(key("adapter.type", 8, text("lora")));
    bytes.extend(key("adapter.lora.alpha", 6, (2.0 * RANK as f32).to_le_bytes().to_vec()));
    let mut next = random(seed);
    let mut data: Vec<u8> = Vec::new();
    for Changed { name, inputs, outputs } in changed {
        // Products of a token's numbers, which are about 1, stay about as large as `strength`.
        let halves = [
            ("lora_a", [*inputs, RANK], 1.0 / (*inputs as f32).sqrt()),
            ("lora_b", [RANK, *outputs], strength),
        ];
        for (half, dims, size) in halves {
            bytes.extend(text(&format!("{name}.{half}")));
            bytes.extend(2u32.to_le_bytes());
            bytes.extend(dims.iter().flat_map(|&length| (length as u64).to_le_bytes()));
            bytes.extend(0u32.to_le_bytes());
            bytes.extend((data.len() as u64).to_le_bytes());
            data.extend((0..dims[0] * dims[1]).flat_map(|_| (next() * size).to_le_bytes()));
            data.resize(data.len().next_multiple_of(32), 0);
        }
    }
    bytes.resize(bytes.len().next_multiple_of(32), 0);
    bytes.extend(data);
    std::fs::write(path, bytes).unwrap();
}
