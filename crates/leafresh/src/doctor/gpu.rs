//! Graphics processors: what the program was built for, what is there, and whether they meet.

use std::path::Path;

use leafresh_engine::memory::{Available, Gpu, bytes_as};
use leafresh_server::config::Config;

use super::finding::Finding;

const CHECK: &str = "gpu";

pub(super) fn finding(config: &Config) -> Finding {
    let nvidia = std::fs::read_to_string("/proc/driver/nvidia/version").ok();
    judge(&Seen {
        built: built(),
        gpus: Available::here().map(|available| available.gpus).unwrap_or_default(),
        nvidia: nvidia.as_deref().and_then(version).map(str::to_owned),
        devices: ["/dev/nvidia0", "/dev/nvidiactl", "/dev/dri", "/dev/kfd"]
            .into_iter()
            .filter(|device| Path::new(device).exists())
            .collect(),
        wanted: config.engine.gpu_layers,
    })
}

/// The kind of GPU that llama.cpp was built for.
fn built() -> Option<&'static str> {
    let kinds = [
        ("cuda", cfg!(feature = "cuda")),
        ("metal", cfg!(feature = "metal")),
        ("vulkan", cfg!(feature = "vulkan")),
    ];
    kinds.into_iter().find_map(|(name, built)| built.then_some(name))
}

/// The version in what the driver says of itself: `NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat …`.
fn version(text: &str) -> Option<&str> {
    let line = text.lines().find(|line| line.starts_with("NVRM version:"))?;
    line.split_whitespace().find(|word| word.contains('.') && word.starts_with(|c: char| c.is_ascii_digit()))
}

struct Seen {
    built: Option<&'static str>,
    /// Those that llama.cpp can compute on.
    gpus: Vec<Gpu>,
    /// The version of NVIDIA's driver in the kernel.
    nvidia: Option<String>,
    devices: Vec<&'static str>,
    /// `engine.gpu_layers`.
    wanted: Option<usize>,
}

fn judge(seen: &Seen) -> Finding {
    let driver = match &seen.nvidia {
        Some(version) => format!("NVIDIA's driver {version} is there"),
        None if seen.devices.is_empty() => "no GPU's device or driver is to be seen".into(),
        None => format!("{} there", seen.devices.join(", ")),
    };
    let wants_layers = seen.wanted.is_some_and(|layers| layers > 0);
    let Some(kind) = seen.built else {
        let says = format!(
            "this program computes on the processor only (built without cuda, vulkan or metal); {driver}"
        );
        if wants_layers || seen.nvidia.is_some() {
            let advice = "build it for the GPU, or set engine.gpu_layers = 0 and leave the GPU to others";
            return Finding::warning(CHECK, says, advice)
                .run("cargo build --release -p leafresh --features cuda");
        }
        return Finding::ok(CHECK, says);
    };
    if !seen.gpus.is_empty() {
        let gpus: Vec<_> =
            seen.gpus.iter().map(|gpu| format!("{}, {} free", gpu.name, bytes_as(gpu.free))).collect();
        return Finding::ok(CHECK, format!("built for {kind}: {}; {driver}", gpus.join("; ")));
    }
    let says =
        format!("built for {kind}, but llama.cpp sees no GPU; {driver}. The processor computes all layers");
    let advice = if seen.nvidia.is_none() && seen.devices.is_empty() {
        "install the GPU's driver; in a container or a service, show it the devices (deploy/leafresh.service says how)"
    } else {
        "this user has to be allowed to open the devices (groups `video` and `render`), and the driver's version to fit \
         the libraries'"
    };
    Finding::warning(CHECK, says, advice)
}

#[cfg(test)]
mod tests {
    use super::super::finding::Status;
    use super::*;

    #[test]
    fn what_was_built_and_what_is_there_have_to_meet() {
        let none = || Seen { built: None, gpus: Vec::new(), nvidia: None, devices: Vec::new(), wanted: None };
        let gpu = || Gpu { name: "CUDA0 (H200)".into(), free: 1 << 30 };
        let cases = [
            (none(), Status::Ok, "on the processor only"),
            (Seen { devices: vec!["/dev/dri"], ..none() }, Status::Ok, "/dev/dri there"),
            (Seen { nvidia: Some("535.1".into()), ..none() }, Status::Warning, "NVIDIA's driver 535.1"),
            (Seen { wanted: Some(3), ..none() }, Status::Warning, "no GPU's device"),
            (Seen { wanted: Some(0), ..none() }, Status::Ok, "no GPU's device"),
            (Seen { built: Some("cuda"), gpus: vec![gpu()], ..none() }, Status::Ok, "H200), 1.0 GiB free"),
            (Seen { built: Some("cuda"), ..none() }, Status::Warning, "sees no GPU"),
        ];
        for (seen, status, part) in cases {
            let finding = judge(&seen);
            assert!(finding.status == status && finding.says.contains(part), "{finding:?}");
        }
        let drivers_there = Seen { built: Some("vulkan"), devices: vec!["/dev/dri"], ..none() };
        assert!(judge(&drivers_there).advice.unwrap().contains("`render`"));
    }

    #[test]
    fn the_driver_s_version_is_the_number_in_its_line() {
        let text = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\n\
                    GCC version:  gcc version 12.2.0\n";
        assert_eq!(version(text), Some("535.104.05"));
        assert_eq!(version("something else 1.2"), None);
    }
}
