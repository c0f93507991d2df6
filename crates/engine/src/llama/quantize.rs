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
