//! How the threads that compute wait for each other.

/// Turns of the waiting loop, some tens of microseconds, before a thread sleeps. libgomp's own default is milliseconds:
/// on a core that something else wants too, a thread that waits keeps the one it waits for from running.
#[cfg(target_os = "linux")]
const SPIN_COUNT: &str = "2000";

/// Starts the process over with the waiting loop's length in its environment, where libgomp looks for it before any
/// line of ours runs. Whoever has set one of its variables is left alone.
#[cfg(target_os = "linux")]
pub(super) fn wait_briefly() {
    use std::os::unix::process::CommandExt;

    let set = |name| std::env::var_os(name).is_some();
    if set("GOMP_SPINCOUNT") || set("OMP_WAIT_POLICY") {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let mut arguments = std::env::args_os();
    let mut command = std::process::Command::new(program);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    // Returns only when it fails; then the threads wait as libgomp has it.
    let error = command.args(arguments).env("GOMP_SPINCOUNT", SPIN_COUNT).exec();
    eprintln!("leafresh: GOMP_SPINCOUNT could not be set ({error}); answers may be slow on a busy machine");
}

#[cfg(not(target_os = "linux"))]
pub(super) fn wait_briefly() {}
