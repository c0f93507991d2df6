//! A model file with an adapter's changes in its matrices.

use std::ffi::CString;
use std::path::Path;
use std::ptr::NonNull;

use llama_cpp_sys_2 as sys;

use super::{start, take_complaints};
use crate::Error;
use crate::gguf::{self, AdapterHeader, Pair};

/// Writes the model `base` as `to` with the changes of `adapter`. Matrices that change are written as F32, so that nothing is
/// rounded before [`super::quantize`] gives all of them their type; the others stay as they are. Holds the model in memory.
///
/// # Errors
/// [`Error::ModelFile`] when one of the files isn't whole or the adapter isn't for this model, [`Error::Native`] when writing
/// fails.
pub fn merge(base: &Path, adapter: &Path, to: &Path) -> Result<(), Error> {
    let header = gguf::check_adapter(adapter, &gguf::check(base)?)?;
    start()?;
    let (base, changes) = (Gguf::read(base)?, Gguf::read(adapter)?);
    let merged = Matrices::new(&header, &base)?;
    for pair in &header.pairs {
        merged.add(pair, header.scale(pair), &base, &changes)?;
    }
    // SAFETY: a plain call; freed when dropped.
    let file = NonNull::new(unsafe { sys::gguf_init_empty() });
    let file = File(file.ok_or_else(|| Error::NoRoom("no memory for a file's header".into()))?);
    let name = c_path(to)?;
    // SAFETY: the tensors of both contexts live until the file is written; the path ends in NUL.
    let written = unsafe {
        sys::gguf_set_kv(file.0.as_ptr(), base.file.0.as_ptr());
        // By the names in the file: the context holds one more, for the numbers of all.
        for number in 0..sys::gguf_get_n_tensors(base.file.0.as_ptr()) {
            let name = sys::gguf_get_tensor_name(base.file.0.as_ptr(), number);
            let changed = sys::ggml_get_tensor(merged.0.0.as_ptr(), name);
            let same = || sys::ggml_get_tensor(base.tensors.0.as_ptr(), name);
            sys::gguf_add_tensor(file.0.as_ptr(), if changed.is_null() { same() } else { changed });
        }
        sys::gguf_write_to_file(file.0.as_ptr(), name.as_ptr(), false)
    };
    if written { Ok(()) } else { Err(Error::Native(format!("{} can't be written", to.display()))) }
}

/// About how many bytes [`merge`] writes.
pub fn merged_bytes(model: &gguf::Header, adapter: &AdapterHeader) -> u64 {
    let grows = |pair: &Pair| {
        let changed = model.tensors.iter().find(|tensor| tensor.name == pair.changes);
        changed.map_or(0, |tensor| (tensor.elements() * 4).saturating_sub(tensor.bytes))
    };
    model.file_bytes + adapter.pairs.iter().map(grows).sum::<u64>()
}

fn c_path(path: &Path) -> Result<CString, Error> {
    CString::new(path.as_os_str().as_encoded_bytes())
        .map_err(|_| Error::Native(format!("{}: the path holds a NUL character", path.display())))
}

/// A file in memory, its numbers too.
struct Gguf {
    file: File,
    tensors: Context,
}

/// A file's keys and descriptions.
struct File(NonNull<sys::gguf_context>);

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: ours, and freed once.
        unsafe { sys::gguf_free(self.0.as_ptr()) }
    }
}

/// ggml's memory for tensors.
struct Context(NonNull<sys::ggml_context>);

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: ours, and freed once.
        unsafe { sys::ggml_free(self.0.as_ptr()) }
    }
}

impl Gguf {
    fn read(path: &Path) -> Result<Self, Error> {
        let name = c_path(path)?;
        let mut tensors = std::ptr::null_mut();
        take_complaints();
        // SAFETY: the path ends in NUL; ggml makes the context for the tensors.
        let file = unsafe {
            let params = sys::gguf_init_params { no_alloc: false, ctx: &raw mut tensors };
            sys::gguf_init_from_file(name.as_ptr(), params)
        };
        let (file, tensors) = (NonNull::new(file).map(File), NonNull::new(tensors).map(Context));
        match (file, tensors) {
            (Some(file), Some(tensors)) => Ok(Self { file, tensors }),
            _ => Err(Error::ModelFile {
                path: path.to_owned(),
                reason: format!("llama.cpp can't read it: {}", take_complaints()),
            }),
        }
    }

    fn tensor(&self, name: &str) -> Result<&sys::ggml_tensor, Error> {
        let missing = || Error::Native(format!("there is no tensor {name}"));
        let name = CString::new(name).map_err(|_| missing())?;
        // SAFETY: the name ends in NUL; what is found lives as long as the file.
        unsafe { sys::ggml_get_tensor(self.tensors.0.as_ptr(), name.as_ptr()).as_ref() }.ok_or_else(missing)
    }
}

/// To which ggml rounds what it allocates (`GGML_MEM_ALIGN`), at most.
const ALIGNMENT: usize = 64;

/// The matrices that change, as F32.
struct Matrices(Context);

impl Matrices {
    fn new(header: &AdapterHeader, base: &Gguf) -> Result<Self, Error> {
        let mut bytes = 0;
        for pair in &header.pairs {
            // SAFETY: plain calls.
            bytes += unsafe {
                sys::ggml_nelements(base.tensor(&pair.changes)?) as usize * size_of::<f32>()
                    + sys::ggml_tensor_overhead()
                    + ALIGNMENT
            };
        }
        let params =
            sys::ggml_init_params { mem_size: bytes, mem_buffer: std::ptr::null_mut(), no_alloc: false };
        // SAFETY: ggml allocates what the parameters say.
        let context = unsafe { sys::ggml_init(params) };
        let context =
            NonNull::new(context).ok_or_else(|| Error::NoRoom(format!("no room for {bytes} bytes")))?;
        Ok(Self(Context(context)))
    }

    /// Makes the base's matrix with the product of a pair.
    fn add(&self, pair: &Pair, scale: f32, base: &Gguf, changes: &Gguf) -> Result<(), Error> {
        let matrix = base.tensor(&pair.changes)?;
        let (inputs, outputs, rank) = (matrix.ne[0] as usize, matrix.ne[1] as usize, pair.rank() as usize);
        let a = numbers(changes.tensor(&pair.a.name)?)?;
        let b = numbers(changes.tensor(&pair.b.name)?)?;
        // `[outputs, rank]` and `[rank, inputs]`
        let (left, right) = if pair.is_table_of_words() { (a, transposed(&b, rank)) } else { (b, a) };
        let mut rows = numbers(matrix)?;
        for (row, factors) in rows.chunks_exact_mut(inputs).zip(left.chunks_exact(rank)) {
            for (factor, changes) in factors.iter().zip(right.chunks_exact(inputs)) {
                row.iter_mut().zip(changes).for_each(|(x, change)| *x += scale * factor * change);
            }
        }
        debug_assert_eq!(rows.len(), inputs * outputs, "a matrix");
        // SAFETY: `new` has made room for it; it has as many numbers, and nobody else sees it yet.
        unsafe {
            let merged = sys::ggml_new_tensor(self.0.0.as_ptr(), sys::GGML_TYPE_F32, 2, matrix.ne.as_ptr());
            sys::ggml_set_name(merged, matrix.name.as_ptr());
            std::ptr::copy_nonoverlapping(rows.as_ptr(), (*merged).data.cast(), rows.len());
        }
        Ok(())
    }
}

/// A tensor's numbers in full precision.
fn numbers(tensor: &sys::ggml_tensor) -> Result<Vec<f32>, Error> {
    // SAFETY: the tensor's numbers are in memory, one after the other as in its file; a type's traits are static.
    unsafe {
        let mut numbers = vec![0.0f32; sys::ggml_nelements(tensor) as usize];
        if tensor.type_ == sys::GGML_TYPE_F32 {
            std::ptr::copy_nonoverlapping(tensor.data.cast(), numbers.as_mut_ptr(), numbers.len());
            return Ok(numbers);
        }
        let traits = sys::ggml_get_type_traits(tensor.type_).as_ref();
        let to_float = traits
            .and_then(|traits| traits.to_float)
            .ok_or_else(|| Error::Native(format!("numbers of type {} can't be read", tensor.type_)))?;
        to_float(tensor.data, numbers.as_mut_ptr(), numbers.len() as i64);
        Ok(numbers)
    }
}

/// `[n, rank]` as `[rank, n]`.
fn transposed(matrix: &[f32], rank: usize) -> Vec<f32> {
    (0..rank).flat_map(|column| matrix.iter().skip(column).step_by(rank).copied()).collect()
}
