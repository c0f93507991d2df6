//! Model files in fewer bits.

use std::ffi::CString;
use std::path::Path;

use llama_cpp_sys_2 as sys;

use super::{start, take_complaints};
use crate::{Error, gguf};

/// The types that [`quantize`] writes, by the names that file names use.
pub const QUANTIZATIONS: [(&str, sys::llama_ftype); 9] = [
    ("Q4_0", sys::LLAMA_FTYPE_MOSTLY_Q4_0),
    ("Q4_K_S", sys::LLAMA_FTYPE_MOSTLY_Q4_K_S),
    ("Q4_K_M", sys::LLAMA_FTYPE_MOSTLY_Q4_K_M),
    ("Q5_0", sys::LLAMA_FTYPE_MOSTLY_Q5_0),
    ("Q5_K_M", sys::LLAMA_FTYPE_MOSTLY_Q5_K_M),
    ("Q6_K", sys::LLAMA_FTYPE_MOSTLY_Q6_K),
    ("Q8_0", sys::LLAMA_FTYPE_MOSTLY_Q8_0),
    ("F16", sys::LLAMA_FTYPE_MOSTLY_F16),
    ("BF16", sys::LLAMA_FTYPE_MOSTLY_BF16),
];

/// About how many bytes [`quantize`] writes, for any of [`QUANTIZATIONS`].
///
/// The quantiser mixes types within a file: matrices whose rows aren't a multiple of 256 numbers get a type of smaller
/// blocks, tables of words at least six bits (`llama_tensor_get_type`, llama-quant.cpp).
pub fn quantized_bytes(header: &gguf::Header, kind: &str) -> u64 {
    // Bits of a number: in most matrices, where 256 doesn't divide the rows, and in tables of words.
    let (bits, uneven, table) = match kind.to_ascii_uppercase().as_str() {
        "Q4_0" => (4.5, 4.5, 6.6),
        "Q4_K_S" => (4.7, 5.5, 6.6),
        "Q4_K_M" => (5.0, 5.7, 6.6),
        "Q5_0" => (5.5, 5.5, 6.6),
        "Q5_K_M" => (5.8, 6.3, 6.6),
        "Q6_K" => (6.6, 8.5, 6.6),
        "Q8_0" => (8.5, 8.5, 8.5),
        _ => (16.0, 16.0, 16.0),
    };
    let of_tensor = |tensor: &gguf::TensorInfo| {
        let even = tensor.dims.first().is_some_and(|row| row.is_multiple_of(256));
        let of_words = tensor.name == "token_embd.weight" || tensor.name == "output.weight";
        let bits = match (tensor.dims.len(), of_words, even) {
            // Vectors stay as they are.
            (0 | 1, ..) => return tensor.bytes,
            (_, true, true) => table,
            (_, true, false) => f64::max(table, 8.5),
            (_, false, true) => bits,
            (_, false, false) => uneven,
        };
        (tensor.elements() as f64 * bits / 8.0) as u64
    };
    let head = header.file_bytes.saturating_sub(header.tensor_bytes);
    head + header.tensors.iter().map(of_tensor).sum::<u64>()
}

/// Writes the model `from` as `to` in another type, with llama.cpp's quantiser. Takes seconds to minutes.
///
/// # Errors
/// [`Error::ModelFile`] when `from` isn't a whole model, [`Error::Native`] when the type is unknown or writing fails.
pub fn quantize(from: &Path, to: &Path, kind: &str, threads: usize) -> Result<(), Error> {
    let Some((_, ftype)) = QUANTIZATIONS.iter().find(|(name, _)| name.eq_ignore_ascii_case(kind)) else {
        let known = QUANTIZATIONS.map(|(name, _)| name).join(", ");
        return Err(Error::Native(format!("there is no type {kind}; known are {known}")));
    };
    gguf::check(from)?;
    start()?;
    let name = |path: &Path| {
        CString::new(path.as_os_str().as_encoded_bytes())
            .map_err(|_| Error::Native(format!("{}: the path holds a NUL character", path.display())))
    };
    let (source, target) = (name(from)?, name(to)?);
    take_complaints();
    // SAFETY: both paths end in NUL; the parameters are llama.cpp's defaults with numbers changed.
    let code = unsafe {
        let mut params = sys::llama_model_quantize_default_params();
        params.ftype = *ftype;
        params.nthread = threads as i32;
        params.allow_requantize = true;
        sys::llama_model_quantize(source.as_ptr(), target.as_ptr(), &raw const params)
    };
    if code == 0 {
        return Ok(());
    }
    Err(Error::Native(format!("writing {} as {kind} failed ({code}): {}", to.display(), take_complaints())))
}
