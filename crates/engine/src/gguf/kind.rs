//! What a file is that isn't GGUF, from its first bytes.

const MAGIC: &[u8] = b"GGUF";

/// Why a file that begins with `start` and has `length` bytes can't be a GGUF file. None: it may be one.
pub(super) fn refuse(start: &[u8], length: u64) -> Option<String> {
    if start.is_empty() {
        return Some("is empty (0 bytes); expected a GGUF file. Fetch it again".into());
    }
    if start.starts_with(MAGIC) {
        return None;
    }
    if MAGIC.starts_with(start) {
        return Some(format!("is cut off in the header, at byte {length}; fetch it again"));
    }
    let found = match recognise(start, length) {
        Some((found, advice)) => format!("it looks like {found}. {advice}"),
        None => format!("it begins with the bytes {}. Check the path, or fetch the model again", hex(start)),
    };
    Some(format!("is no GGUF file: {found}"))
}

/// What it looks like, and what to do.
fn recognise(start: &[u8], length: u64) -> Option<(&'static str, &'static str)> {
    const CONVERT: &str =
        "Convert the model with llama.cpp's `convert_hf_to_gguf.py`, or fetch its GGUF version";
    const UNPACK: &str = "Unpack it and use the .gguf file inside";
    const OLD: &str = "llama.cpp no longer reads it; fetch the model's GGUF version";
    const PAGE: &str =
        "The download got a page instead of the file; fetch it again, signed in if it asks for that";

    let signatures: [(&[u8], &str, &str); 13] = [
        (b"PK\x03\x04", "a PyTorch checkpoint or another zip archive", CONVERT),
        (b"\x80\x02", "a PyTorch checkpoint (pickle)", CONVERT),
        (b"\x93NUMPY", "a NumPy array", CONVERT),
        (b"\x89HDF", "an HDF5 file (Keras)", CONVERT),
        (b"\x1f\x8b", "a gzip archive", UNPACK),
        (b"\x28\xb5\x2f\xfd", "a zstd archive", UNPACK),
        (b"\xfd7zXZ", "an xz archive", UNPACK),
        (b"lmgg", "a model in the old format GGML", OLD),
        (b"fmgg", "a model in the old format GGMF", OLD),
        (b"tjgg", "a model in the old format GGJT", OLD),
        (b"algg", "an adapter in the old format GGLA", OLD),
        (b"FUGG", "a GGUF file of the other byte order", "Fetch the little-endian version"),
        (
            b"version https://git-lfs",
            "a Git LFS pointer, not the file that it stands for",
            "Run `git lfs pull` where it was cloned, or download the file itself",
        ),
    ];
    let known = signatures.iter().find(|(signature, ..)| start.starts_with(signature));
    if let Some(&(_, found, advice)) = known {
        return Some((found, advice));
    }
    if is_safetensors(start, length) {
        return Some(("a safetensors file", CONVERT));
    }
    let text =
        String::from_utf8_lossy(start).trim_start_matches('\u{feff}').trim_start().to_ascii_lowercase();
    if text.starts_with("<!doctype") || text.starts_with("<html") || text.starts_with("<?xml") {
        return Some(("a web page", PAGE));
    }
    if text.starts_with('{') {
        return Some(("JSON, perhaps a server's error message", PAGE));
    }
    if start.iter().all(|&byte| byte == 0) {
        return Some(("zeros, space reserved for a download that didn't finish", "Fetch it again"));
    }
    None
}

/// A length in 8 bytes, then JSON of that length.
fn is_safetensors(start: &[u8], length: u64) -> bool {
    let Some((head, rest)) = start.split_first_chunk::<8>() else {
        return false;
    };
    u64::from_le_bytes(*head) <= length && rest.starts_with(b"{\"")
}

fn hex(start: &[u8]) -> String {
    let bytes: Vec<String> = start.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    bytes.join(" ")
}
