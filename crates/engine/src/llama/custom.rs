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

/// Whether a tensor lies in plain memory, in ggml's own order: some of its backends put weights into another.
pub(super) fn is_plain(tensor: &sys::ggml_tensor) -> bool {
    // SAFETY: a tensor's buffer is null or alive; buffers have names that end in NUL.
    unsafe {
        !tensor.buffer.is_null()
            && sys::ggml_backend_buffer_is_host(tensor.buffer)
            && !CStr::from_ptr(sys::ggml_backend_buffer_name(tensor.buffer))
                .to_string_lossy()
                .contains("REPACK")
    }
}
