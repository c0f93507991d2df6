//! Our kernels in ggml's graph: a node's operation becomes one of the user's (`GGML_OP_CUSTOM`).

use std::ffi::{CStr, c_void};

use llama_cpp_sys_2 as sys;

/// Called by ggml's threads, each with its number and how many there are.
pub(super) type Compute = unsafe extern "C" fn(*mut sys::ggml_tensor, i32, i32, *mut c_void);

/// As ggml reads it out of a node's parameters (`ggml_custom_op_params`).
#[repr(C)]
struct Custom {
    compute: Compute,
    tasks: i32,
    data: *mut c_void,
}

/// How many of a node's parameters that takes, from the first one on.
pub(super) const PARAMETERS: usize = 6;

const _: () = assert!(size_of::<Custom>() == 4 * PARAMETERS);

/// Has ggml compute a node by this function, on all threads. Its parameters from `PARAMETERS` on stay.
pub(super) fn install(node: &mut sys::ggml_tensor, compute: Compute, data: *mut c_void) {
    node.op = sys::GGML_OP_CUSTOM;
    // SAFETY: 64 bytes of parameters, of which ggml reads this many.
    unsafe {
        std::ptr::write_unaligned(node.op_params.as_mut_ptr().cast(), Custom { compute, tasks: -1, data });
    }
}

/// Whether ggml computes a node by this function.
pub(super) fn is_installed(node: &sys::ggml_tensor, compute: Compute) -> bool {
    if node.op != sys::GGML_OP_CUSTOM {
        return false;
    }
    // SAFETY: such a node's parameters begin with this struct.
    let custom: Custom = unsafe { std::ptr::read_unaligned(node.op_params.as_ptr().cast()) };
    std::ptr::fn_addr_eq(custom.compute, compute)
}

/// Whether a tensor lies in memory that the processor reads and writes, and not in a GPU's.
pub(super) fn is_host(tensor: &sys::ggml_tensor) -> bool {
    // SAFETY: a tensor's buffer is null or alive.
    unsafe { !tensor.buffer.is_null() && sys::ggml_backend_buffer_is_host(tensor.buffer) }
}

/// Whether a tensor lies there in ggml's own order: some of its backends put weights into another.
pub(super) fn is_plain(tensor: &sys::ggml_tensor) -> bool {
    is_host(tensor) && !place(tensor).contains(REPACKED)
}

const REPACKED: &str = "REPACK";

/// What ggml calls the memory that a tensor lies in.
fn place(tensor: &sys::ggml_tensor) -> String {
    if tensor.buffer.is_null() {
        return String::new();
    }
    // SAFETY: the buffer is alive; buffers have names that end in NUL.
    unsafe { CStr::from_ptr(sys::ggml_backend_buffer_name(tensor.buffer)) }.to_string_lossy().into_owned()
}

/// Why a tensor that isn't plain isn't, for people.
pub(super) fn whereabouts(tensor: &sys::ggml_tensor) -> String {
    match place(tensor) {
        place if place.is_empty() => "lies in no buffer".to_owned(),
        place if place.contains(REPACKED) => format!("lies in an order for ggml's own kernels ({place})"),
        place => format!("doesn't lie in the processor's memory ({place})"),
    }
}

/// What came of comparing one of our kernels with ggml's in so many places.
///
/// # Errors
/// Why it isn't used.
pub(super) fn outcome(places: &str, agree: usize, differ: usize) -> Result<(), String> {
    match (agree, differ) {
        (0, 0) => Err(format!("the model has no {places} that it can compute")),
        (_, 0) => Ok(()),
        (agree, differ) => {
            Err(format!("in {differ} of {} {places} it gave something else than ggml", agree + differ))
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A buffer of ggml's, freed when it is dropped.
    pub(in crate::llama) struct Buffer(pub(in crate::llama) sys::ggml_backend_buffer_t);

    impl Drop for Buffer {
        fn drop(&mut self) {
            // SAFETY: ours, and freed once.
            unsafe { sys::ggml_backend_buffer_free(self.0) }
        }
    }

    /// One in the processor's memory. Where it begins and ends is asked by nobody here.
    pub(in crate::llama) fn host() -> Buffer {
        // SAFETY: a plain call.
        Buffer(unsafe { sys::ggml_backend_buft_alloc_buffer(sys::ggml_backend_cpu_buffer_type(), 64) })
    }

    /// One that the processor may not read as it is: it stands for a GPU's here. None: this build has no such kind.
    pub(in crate::llama) fn repacked(bytes: usize) -> Option<Buffer> {
        // SAFETY: the function has the type that ggml documents for its name; the list of kinds ends in null.
        unsafe {
            let device = sys::ggml_backend_dev_by_type(sys::GGML_BACKEND_DEVICE_TYPE_CPU);
            let registry = sys::ggml_backend_dev_backend_reg(device);
            let name = c"ggml_backend_dev_get_extra_bufts";
            let found = sys::ggml_backend_reg_get_proc_address(registry, name.as_ptr());
            if found.is_null() {
                return None;
            }
            let extra: sys::ggml_backend_dev_get_extra_bufts_t = std::mem::transmute(found);
            let mut kinds = extra?(device);
            while !(*kinds).is_null() {
                if CStr::from_ptr(sys::ggml_backend_buft_name(*kinds)) == c"CPU_REPACK" {
                    return Some(Buffer(sys::ggml_backend_buft_alloc_buffer(*kinds, bytes)));
                }
                kinds = kinds.add(1);
            }
            None
        }
    }

    /// A log that a test reads.
    #[derive(Clone)]
    pub(in crate::llama) struct Lines(pub(in crate::llama) Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> tracing_subscriber::fmt::MakeWriter<'a> for Lines {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    /// Field report 49.
    #[test]
    fn memory_that_is_not_the_processor_s_is_told_apart() {
        // SAFETY: numbers and pointers only, for which zero is a value.
        let mut tensor: sys::ggml_tensor = unsafe { std::mem::zeroed() };
        assert!(!is_host(&tensor) && !is_plain(&tensor), "in no buffer");
        let host = host();
        tensor.buffer = host.0;
        assert!(is_host(&tensor) && is_plain(&tensor));
        let Some(elsewhere) = repacked(64) else { return };
        tensor.buffer = elsewhere.0;
        assert!(!is_host(&tensor) && !is_plain(&tensor));
        assert!(whereabouts(&tensor).contains("CPU_REPACK"));
    }

    #[test]
    fn a_kernel_is_used_when_it_agreed_everywhere() {
        assert_eq!(outcome("layers", 3, 0), Ok(()));
        assert!(outcome("layers", 0, 0).unwrap_err().contains("no layers"));
        assert!(outcome("layers", 2, 1).unwrap_err().contains("in 1 of 3 layers"));
    }
}
