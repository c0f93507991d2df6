//! Which instruction sets llama.cpp was compiled for, and whether this processor has them.
//!
//! llama.cpp is compiled for one set of instructions and doesn't look whether the processor has them: the first kernel
//! then ends the process with SIGILL. So it is asked here, before anything of it runs.

use std::fmt;

use llama_cpp_sys_2 as sys;

use crate::Error;

/// What the build uses of the processor, and what it leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstructionSets {
    /// Compiled in, and this processor has them.
    pub used: Vec<&'static str>,
    /// This processor has them, but the build doesn't use them.
    pub unused: Vec<&'static str>,
    /// AMX kernels were compiled in. They are never used.
    pub amx: bool,
}

impl fmt::Display for InstructionSets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |sets: &[&str]| if sets.is_empty() { "none".into() } else { sets.join(", ") };
        write!(f, "{} in use", list(&self.used))?;
        if !self.unused.is_empty() {
            let unused = list(&self.unused);
            write!(
                f,
                "; this processor also has {unused}, which a build with RUSTFLAGS=\"-C target-cpu=native\" uses"
            )?;
        }
        if self.amx {
            f.write_str(
                "; the build holds AMX kernels, which are left alone together with the repacked weights, at some cost \
                 in speed: build with `make build`, which leaves AMX out",
            )?;
        }
        Ok(())
    }
}

/// One set: its name, whether llama.cpp was compiled for it, whether this processor has it.
struct Set {
    name: &'static str,
    compiled: bool,
    present: bool,
}

/// # Errors
/// [`Error::Processor`] when the build uses what this processor doesn't have.
pub fn instruction_sets() -> Result<InstructionSets, Error> {
    sort(&sets(), built_with_amx())
}

/// Which kernels of our own this processor can run. Whether one is used with a model is decided when that is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnKernels {
    /// [`crate::LocalSettings::attention_over_own_cells`].
    pub attention: bool,
    /// [`crate::LocalSettings::products_of_bytes`].
    pub matmul: bool,
}

pub fn own_kernels() -> OwnKernels {
    OwnKernels {
        attention: leafresh_kernels::attention::is_possible(),
        matmul: leafresh_kernels::matmul::is_possible(),
    }
}

fn sort(sets: &[Set], amx: bool) -> Result<InstructionSets, Error> {
    let names = |wanted: fn(&Set) -> bool| -> Vec<&'static str> {
        sets.iter().filter(|set| wanted(set)).map(|set| set.name).collect()
    };
    let missing = names(|set| set.compiled && !set.present);
    if !missing.is_empty() {
        return Err(Error::Processor(missing.join(", ")));
    }
    Ok(InstructionSets {
        used: names(|set| set.compiled),
        unused: names(|set| !set.compiled && set.present),
        amx,
    })
}

/// Whether llama.cpp holds AMX kernels: with `-march=native` on a processor that lists AMX, with `-march` of such a
/// processor, or with `GGML_AMX_INT8`. A virtual machine may list AMX and crash in it, so they must not be used; what
/// leads there is the buffer types that [`super::Weights::load`] then turns off.
pub(super) fn built_with_amx() -> bool {
    // SAFETY: returns a constant that was compiled in.
    unsafe { sys::ggml_cpu_has_amx_int8() != 0 }
}

/// The types of tensors that llama.cpp copies into another order for its kernels (`repack.cpp`). The copy is memory of
/// the process, where the file's own bytes are page cache.
pub(super) fn repacked_types() -> &'static [&'static str] {
    // SAFETY: these return constants that were compiled in.
    let (avx2, avx512, neon) = unsafe {
        (
            sys::ggml_cpu_has_avx2() != 0,
            sys::ggml_cpu_has_avx512() != 0,
            sys::ggml_cpu_has_neon() != 0 && sys::ggml_cpu_has_dotprod() != 0,
        )
    };
    match (built_with_amx(), avx512, avx2, neon) {
        (false, true, ..) => &["Q4_0", "Q4_K", "IQ4_NL", "MXFP4", "Q2_K"],
        (false, false, true, _) => &["Q4_0", "Q4_K", "IQ4_NL", "MXFP4"],
        (false, false, false, true) => &["Q4_0", "Q4_K", "Q5_K", "Q6_K", "Q8_0", "IQ4_NL", "MXFP4", "Q1_0"],
        _ => &[],
    }
}

#[cfg(target_arch = "x86_64")]
fn sets() -> Vec<Set> {
    use std::is_x86_feature_detected as detected;
    let avx512 = detected!("avx512f")
        && detected!("avx512cd")
        && detected!("avx512vl")
        && detected!("avx512dq")
        && detected!("avx512bw");
    let set = |name, compiled: std::ffi::c_int, present| Set { name, compiled: compiled != 0, present };
    // SAFETY: these return constants that were compiled in.
    unsafe {
        vec![
            set("SSSE3", sys::ggml_cpu_has_ssse3(), detected!("ssse3")),
            set("AVX", sys::ggml_cpu_has_avx(), detected!("avx")),
            set("AVX2", sys::ggml_cpu_has_avx2(), detected!("avx2")),
            set("FMA", sys::ggml_cpu_has_fma(), detected!("fma")),
            set("F16C", sys::ggml_cpu_has_f16c(), detected!("f16c")),
            set("BMI2", sys::ggml_cpu_has_bmi2(), detected!("bmi2")),
            set("AVX-VNNI", sys::ggml_cpu_has_avx_vnni(), detected!("avxvnni")),
            set("AVX-512", sys::ggml_cpu_has_avx512(), avx512),
            set("AVX-512 VBMI", sys::ggml_cpu_has_avx512_vbmi(), detected!("avx512vbmi")),
            set("AVX-512 VNNI", sys::ggml_cpu_has_avx512_vnni(), detected!("avx512vnni")),
            set("AVX-512 BF16", sys::ggml_cpu_has_avx512_bf16(), detected!("avx512bf16")),
        ]
    }
}

#[cfg(target_arch = "aarch64")]
fn sets() -> Vec<Set> {
    use std::arch::is_aarch64_feature_detected as detected;
    let set = |name, compiled: std::ffi::c_int, present| Set { name, compiled: compiled != 0, present };
    // SAFETY: these return constants that were compiled in.
    unsafe {
        vec![
            set("NEON", sys::ggml_cpu_has_neon(), detected!("neon")),
            set("FP16", sys::ggml_cpu_has_fp16_va(), detected!("fp16")),
            set("DOTPROD", sys::ggml_cpu_has_dotprod(), detected!("dotprod")),
            set("I8MM", sys::ggml_cpu_has_matmul_int8(), detected!("i8mm")),
            set("SVE", sys::ggml_cpu_has_sve(), detected!("sve")),
        ]
    }
}

/// Elsewhere nothing is known.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn sets() -> Vec<Set> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: [(&'static str, bool, bool); 3]) -> Vec<Set> {
        rows.map(|(name, compiled, present)| Set { name, compiled, present }).into()
    }

    #[test]
    fn what_the_processor_lacks_is_named_before_it_is_used() {
        let sets = table([("AVX", true, true), ("AVX2", true, false), ("FMA", true, false)]);
        let error = sort(&sets, false).unwrap_err().to_string();
        assert!(error.contains("AVX2, FMA") && error.contains("target-cpu=native"), "{error}");
    }

    #[test]
    fn what_is_used_and_what_is_left_is_said() {
        let sets = table([("AVX", true, true), ("AVX2", true, true), ("AVX-512", false, true)]);
        let text = sort(&sets, false).unwrap().to_string();
        assert!(text.starts_with("AVX, AVX2 in use; this processor also has AVX-512"), "{text}");
        assert!(!text.contains("AMX"));
        assert!(sort(&sets, true).unwrap().to_string().contains("AMX"));
    }

    #[test]
    fn this_machine_runs_its_own_build() {
        assert!(instruction_sets().is_ok());
    }

    /// `make` leaves AMX out of native builds, and no other build has it.
    #[test]
    fn amx_is_not_in_the_build() {
        assert!(!built_with_amx(), "built with AMX: see the Makefile's CFLAGS");
    }
}
