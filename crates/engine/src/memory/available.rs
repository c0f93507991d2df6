//! What is free.

use std::fs;
use std::path::Path;

use super::bytes_as;
use super::cgroup;

/// What a model may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Available {
    pub memory: Free,
    pub gpus: Vec<Gpu>,
    /// Types of tensors that llama.cpp copies into another order on this processor.
    pub repacked: Vec<&'static str>,
    /// Whether this processor can multiply with weights as bytes ([`LocalSettings::products_of_bytes`]).
    ///
    /// [`LocalSettings::products_of_bytes`]: crate::LocalSettings::products_of_bytes
    pub byte_products: bool,
}

/// Free memory of the machine or of the control group that leaves less.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Free {
    pub bytes: u64,
    /// Where the figure comes from, for people.
    pub limited_by: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    pub name: String,
    /// Bytes.
    pub free: u64,
}

impl Free {
    /// What the kernel says of this process; None where it has no `/proc`.
    pub(crate) fn here() -> Option<Self> {
        Self::below(Path::new("/"))
    }

    /// `root` holds `proc` and what is mounted.
    pub(super) fn below(root: &Path) -> Option<Self> {
        let meminfo = fs::read_to_string(root.join("proc/meminfo")).ok()?;
        let machine =
            Self { bytes: mem_available(&meminfo)?, limited_by: "the machine's MemAvailable".into() };
        let group = cgroup::tightest(root).map(|limit| Self {
            bytes: limit.free,
            limited_by: format!(
                "control group {} is limited to {} and uses {}",
                limit.group,
                bytes_as(limit.bytes),
                bytes_as(limit.bytes.saturating_sub(limit.free))
            ),
        });
        Some(match group {
            Some(group) if group.bytes < machine.bytes => group,
            _ => machine,
        })
    }

    pub(crate) fn unlimited(bytes: u64) -> Self {
        Self { bytes, limited_by: "as llama.cpp reports it".into() }
    }
}

/// The kernel's own estimate of what can be taken without swapping, page cache that can go included; in kibibytes.
fn mem_available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
