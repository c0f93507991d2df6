//! What an engine's process may do: compute. A model file is somebody else's data, read by native code.

#[cfg(target_os = "linux")]
mod files;

use std::path::{Path, PathBuf};

use tracing::Level;

use super::protocol::Source;
use crate::memory::{self, Available};
use crate::{Error, LocalSettings, gguf};

/// Memory beyond what the model's plan needs: grammars, masks, requests, and the allocator's slack. It bounds a leak, so
/// it can be generous.
#[cfg(target_os = "linux")]
const MEMORY_MARGIN: u64 = 2 << 30;

/// Open files: the model, the socket, and what drivers of GPUs keep open.
#[cfg(target_os = "linux")]
const OPEN_FILES: u64 = 256;

/// How willingly the kernel ends this process when the machine is out of memory: before the server, which starts
/// another one.
#[cfg(target_os = "linux")]
const OOM_SCORE: &str = "500";

/// What came of it, for the log. That begins later: what writes it is a thread, to be confined like all others.
pub(super) type Note = (Level, String);

pub(super) fn tell(notes: Vec<Note>) {
    for (level, text) in notes {
        match level {
            Level::WARN => tracing::warn!("{text}"),
            Level::INFO => tracing::info!("{text}"),
            _ => tracing::debug!("{text}"),
        }
    }
}

/// Ends this process when the thread that started it ends, however that comes.
#[cfg(target_os = "linux")]
pub(super) fn follow_the_parent() -> Option<Note> {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};

    let parent = getppid();
    let failed = set_parent_process_death_signal(Some(Signal::KILL)).err();
    // The parent may have ended just before.
    if getppid() != parent {
        std::process::exit(0);
    }
    let text = "the engine's process can't be told to end with the server; its socket still tells it";
    failed.map(|error| (Level::WARN, format!("{text}: {error}")))
}

/// No network, no other programs, no other files, few of them open, no dump of its memory: for this thread and those that it
/// starts from now on. What a system doesn't allow is left out, and said.
#[cfg(target_os = "linux")]
pub(super) fn enter(source: &Source, adapters: Option<&Path>) -> Vec<Note> {
    use rustix::process::{Resource, Rlimit, setrlimit};

    let mut notes = Vec::new();
    for (name, resource, limit) in
        [("open files", Resource::Nofile, OPEN_FILES), ("core dumps", Resource::Core, 0)]
    {
        if let Err(error) = setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) }) {
            notes.push((Level::WARN, format!("the engine's process has no limit on {name}: {error}")));
        }
    }
    if let Err(error) = std::fs::write("/proc/self/oom_score_adj", OOM_SCORE) {
        let text = "the engine's process isn't the first to end when memory runs out";
        notes.push((Level::DEBUG, format!("{text}: {error}")));
    }
    notes.extend(keep(source, adapters));
    notes
}

/// From the network, from other programs and from other files, as far as the kernel has that.
#[cfg(target_os = "linux")]
fn keep(source: &Source, adapters: Option<&Path>) -> [Note; 2] {
    let network = match forbid() {
        Ok(()) => {
            let text = "the engine's process has no network, starts no programs, keeps few files open";
            (Level::INFO, text.to_owned())
        }
        Err(error) => {
            let text = "the engine's process isn't kept from the network: seccomp isn't allowed here";
            (Level::WARN, format!("{text}: {error}"))
        }
    };
    [network, files::keep_to(source, adapters)]
}

/// What an engine's process would be kept from on this machine, first the network, then files: whether it works, and a sentence
/// about it. It is done to a thread that ends with it; the process stays as it is.
pub fn confinement() -> Vec<(bool, String)> {
    let tried = std::thread::spawn(|| keep(&Source::File(PathBuf::new()), None).to_vec());
    let notes = tried.join().unwrap_or_default();
    notes.into_iter().map(|(level, text)| (level != Level::WARN, text)).collect()
}

/// Sockets other than Unix' own (and netlink, which drivers of GPUs ask), and new programs, fail with EACCES.
#[cfg(target_os = "linux")]
fn forbid() -> Result<(), String> {
    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
        SeccompRule,
    };

    let text = |error: seccompiler::BackendError| error.to_string();
    let other_than = |family: i32| {
        SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, family as u64).map_err(text)
    };
    let network =
        SeccompRule::new(vec![other_than(libc::AF_UNIX)?, other_than(libc::AF_NETLINK)?]).map_err(text)?;
    let always = Vec::new;
    let rules = [
        (libc::SYS_socket, vec![network]),
        (libc::SYS_execve, always()),
        (libc::SYS_execveat, always()),
        (libc::SYS_ptrace, always()),
        // It could open sockets on its own.
        (libc::SYS_io_uring_setup, always()),
    ];
    let arch = std::env::consts::ARCH.try_into().map_err(text)?;
    let denied = SeccompAction::Errno(libc::EACCES as u32);
    let filter =
        SeccompFilter::new(rules.into_iter().collect(), SeccompAction::Allow, denied, arch).map_err(text)?;
    let program: BpfProgram = filter.try_into().map_err(text)?;
    seccompiler::apply_filter(&program).map_err(|error| error.to_string())
}

/// Bounds what this process can allocate by what the model needs, so that a leak ends it instead of the machine.
///
/// # Errors
/// As [`memory::plan`].
#[cfg(target_os = "linux")]
pub(super) fn limit_memory(path: &Path, settings: &LocalSettings) -> Result<(), Error> {
    use rustix::process::{Resource, Rlimit, setrlimit};

    let plan = memory::plan(&gguf::check(path)?, settings, &Available::here()?)?;
    if !plan.gpus.is_empty() {
        return Ok(()); // Drivers of GPUs reserve more than they use.
    }
    // Of the mapped file nothing counts: what counts is what can be written to.
    let most = plan.host.needed() + MEMORY_MARGIN;
    match setrlimit(Resource::Data, Rlimit { current: Some(most), maximum: Some(most) }) {
        Ok(()) => tracing::debug!(mib = most >> 20, "the engine's process has a limit on memory"),
        Err(error) => tracing::warn!(%error, "the engine's process has no limit on memory"),
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
pub(super) fn follow_the_parent() -> Option<Note> {
    None
}

#[cfg(not(target_os = "linux"))]
pub(super) fn enter(source: &Source, adapters: Option<&Path>) -> Vec<Note> {
    keep(source, adapters).to_vec()
}

#[cfg(not(target_os = "linux"))]
fn keep(_: &Source, _: Option<&Path>) -> [Note; 1] {
    let text = "on this system the engine's process is kept neither from the network nor from files, and has no limits";
    [(Level::WARN, text.to_owned())]
}

#[cfg(not(target_os = "linux"))]
pub(super) fn limit_memory(_: &Path, _: &LocalSettings) -> Result<(), Error> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_tried_keeps_only_the_thread_that_it_is_tried_on() {
        let notes = confinement();
        assert!(
            !notes.is_empty() && notes.iter().all(|(_, text)| text.contains("the engine's process")),
            "{notes:?}"
        );
        assert!(std::net::TcpListener::bind("127.0.0.1:0").is_ok());
        assert!(std::fs::read_dir("/").is_ok());
    }
}
