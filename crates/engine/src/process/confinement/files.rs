//! Which files an engine's process may open, by Landlock: a process that takes rights from itself, needing none for it.
//!
//! <https://docs.kernel.org/userspace-api/landlock.html>, Linux 5.13 and later.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, LandlockStatus, RestrictionStatus, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};
use tracing::Level;

use super::Note;
use crate::gguf;
use crate::process::protocol::Source;

/// The newest that was tried. Of an older kernel's Landlock is used what there is.
const TRIED: ABI = ABI::V7;

/// Read by the memory plan, the allocator, OpenMP and whoever counts processors.
const ABOUT_THE_MACHINE: [&str; 9] = [
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/sys/vm",
    "/sys/devices/system/cpu",
    "/sys/devices/system/node",
    "/sys/fs/cgroup",
    "/sys/kernel/mm",
];

/// Libraries of GPUs' drivers are loaded late, and ask for more.
const FOR_GPUS: [&str; 19] = [
    "/usr",
    "/lib",
    "/lib64",
    "/opt",
    "/nix/store",
    "/run/opengl-driver",
    "/etc/ld.so.cache",
    "/etc/glvnd",
    "/etc/vulkan",
    "/etc/nvidia",
    "/etc/OpenCL",
    "/etc/drirc",
    "/proc/devices",
    "/proc/driver",
    "/proc/modules",
    "/proc/version",
    "/proc/sys",
    "/sys",
    "/dev",
];

/// They are spoken to through devices.
const DEVICES: &str = "/dev";

/// Whether llama.cpp was built for a GPU.
const WITH_GPUS: bool = cfg!(any(feature = "cuda", feature = "vulkan"));

/// Takes from this thread, and from those that it starts from now on, all files but the model's, its adapters' and what the kernel says of the
/// machine, all writing, TCP, and signals to others.
pub(super) fn keep_to(source: &Source, adapters: Option<&Path>) -> Note {
    match restrict(&readable(source, adapters)) {
        Ok(status) => say(&status.ruleset, status.landlock),
        Err(error) => (
            Level::WARN,
            format!("the engine's process isn't kept from other files: Landlock fails: {error}"),
        ),
    }
}

/// The model's own files, not their folder: somebody's `.env` may lie beside them. The adapters' folder is for adapters.
fn readable(source: &Source, adapters: Option<&Path>) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = ABOUT_THE_MACHINE.iter().map(PathBuf::from).collect();
    // What names functions in a backtrace.
    paths.extend(std::env::current_exe());
    if WITH_GPUS {
        paths.extend(FOR_GPUS.iter().map(PathBuf::from));
        let libraries = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
        paths.extend(std::env::split_paths(&libraries).filter(|path| path.is_absolute()));
    }
    if let Source::File(model) = source {
        paths.extend([model.clone(), gguf::note_path(model)]);
        paths.extend(adapters.map(Path::to_owned));
    }
    paths
}

/// What can't be opened is passed over: there is nothing to allow.
fn restrict(readable: &[impl AsRef<Path>]) -> Result<RestrictionStatus, RulesetError> {
    let devices = WITH_GPUS.then_some(DEVICES);
    Ruleset::default()
        .handle_access(AccessFs::from_all(TRIED))?
        .handle_access(AccessNet::from_all(TRIED))?
        .scope(Scope::from_all(TRIED))?
        .create()?
        .add_rules(path_beneath_rules(readable, AccessFs::ReadFile | AccessFs::ReadDir))?
        .add_rules(path_beneath_rules(devices, AccessFs::WriteFile | AccessFs::IoctlDev))?
        .restrict_self()
}

fn say(ruleset: &RulesetStatus, landlock: LandlockStatus) -> Note {
    let version = match landlock {
        LandlockStatus::Available { effective_abi, .. } => format!("Landlock {effective_abi}"),
        _ => "Landlock".to_owned(),
    };
    let most =
        if WITH_GPUS { "the drivers' files, and writes to devices only" } else { "and writes nothing" };
    let holds =
        format!("the engine's process reads its model and what the kernel says of the machine, {most}");
    match ruleset {
        RulesetStatus::FullyEnforced => (Level::INFO, format!("{holds} ({version})")),
        RulesetStatus::PartiallyEnforced => {
            (Level::INFO, format!("{holds}, as far as this kernel knows to keep it from that ({version})"))
        }
        RulesetStatus::NotEnforced => {
            let why = match landlock {
                LandlockStatus::NotEnabled => "is turned off (lsm= of the kernel's command line names it)",
                LandlockStatus::NotImplemented => "is not in this kernel, or not allowed here",
                LandlockStatus::Available { .. } => "does nothing",
            };
            let text = format!(
                "the engine's process isn't kept from other files, it may open whatever the server may: {version} {why}"
            );
            (Level::WARN, text)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    /// Field report 46. Landlock is a thread's own, so that a test can do it to a thread.
    #[test]
    fn it_reads_its_model_and_the_kernel_s_figures_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, name).unwrap();
            path
        };
        let (real, note, secret) = (file("blob"), file("model.gguf.sha256"), file(".env"));
        let model = folder.path().join("model.gguf");
        std::os::unix::fs::symlink(&real, &model).unwrap();
        let adapters = folder.path().join("adapters");
        std::fs::create_dir(&adapters).unwrap();
        let adapter = adapters.join("polite.gguf");
        std::fs::write(&adapter, "").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let confined = std::thread::spawn(move || {
            let note_of_it = keep_to(&Source::File(model.clone()), Some(&adapters));
            if note_of_it.0 == Level::WARN {
                eprintln!("skipped: {}", note_of_it.1);
                return;
            }
            for path in [&model, &note, &adapter, Path::new("/proc/meminfo"), Path::new("/proc/self/maps")] {
                assert!(std::fs::read(path).is_ok(), "{}", path.display());
            }
            assert!(std::env::current_exe().is_ok_and(|program| std::fs::File::open(program).is_ok()));
            let denied = |result: std::io::Result<()>| {
                result.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
            };
            assert!(denied(std::fs::read(&secret).map(drop)), "a file beside the model");
            assert!(denied(std::fs::read("/etc/passwd").map(drop)));
            assert!(denied(std::fs::read_dir("/etc").map(drop)));
            assert!(denied(std::fs::write(folder.path().join("new"), "")));
            assert!(denied(std::fs::write(&model, "")), "not even its model");
            assert!(denied(std::fs::write(adapters.join("new.gguf"), "")));
            assert!(denied(std::fs::remove_file(&secret)));
            // What a thread starts is as confined.
            let inherited = std::thread::spawn(move || std::fs::read(&secret).map(drop));
            assert!(denied(inherited.join().unwrap()));
            if note_of_it.1.contains("as far as") {
                return; // Kernels before 6.7 don't know ports.
            }
            assert!(denied(TcpStream::connect(address).map(drop)));
            assert!(denied(TcpListener::bind("127.0.0.1:0").map(drop)));
        });
        confined.join().unwrap();
    }

    /// Field report 46.
    #[test]
    fn a_kernel_that_lacks_it_is_named_in_one_line() {
        let (level, text) = say(&RulesetStatus::NotEnforced, LandlockStatus::NotImplemented);
        assert_eq!(level, Level::WARN);
        assert!(text.contains("not in this kernel") && !text.contains('\n'), "{text}");
        let (level, text) = say(&RulesetStatus::NotEnforced, LandlockStatus::NotEnabled);
        assert!(level == Level::WARN && text.contains("lsm="), "{text}");
        let old = LandlockStatus::Available { effective_abi: ABI::V1, kernel_abi: None };
        let (level, text) = say(&RulesetStatus::PartiallyEnforced, old);
        assert!(level == Level::INFO && text.contains("Landlock 1"), "{text}");
    }
}
