//! What the processes take, in the words that all of Prometheus' clients have for it: this one, and the engine's where it has one of
//! its own. As Linux tells it; elsewhere, and where it may not be read, there are no such series.

use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Linux counts processor time in hundredths of seconds for programs, on every architecture that we are built for.
const TICKS_PER_SECOND: f64 = 100.0;

/// What one process takes.
#[derive(Debug, Default, PartialEq)]
struct Taken {
    cpu_seconds: Option<f64>,
    /// Since 1970.
    start_seconds: Option<f64>,
    resident_bytes: Option<f64>,
    open_files: Option<f64>,
    most_files: Option<f64>,
}

/// Appends the figures of this process and of the engine's.
pub(super) fn render(engine: Option<u32>, out: &mut String) {
    let proc = Path::new("/proc");
    write("process", "the server", &Taken::by(&proc.join("self"), proc), out);
    if let Some(pid) = engine {
        let taken = Taken::by(&proc.join(pid.to_string()), proc);
        write("leafresh_engine_process", "the engine's process", &taken, out);
    }
}

fn write(prefix: &str, whose: &str, taken: &Taken, out: &mut String) {
    let series = [
        ("cpu_seconds_total", "counter", "Processor time, in seconds, of", taken.cpu_seconds),
        ("start_time_seconds", "gauge", "When it began, in seconds since 1970:", taken.start_seconds),
        ("resident_memory_bytes", "gauge", "Memory that is resident, of", taken.resident_bytes),
        ("open_fds", "gauge", "Open files and connections of", taken.open_files),
        ("max_fds", "gauge", "Files and connections that may be open, of", taken.most_files),
    ];
    for (name, kind, help, value) in series {
        let Some(value) = value else { continue };
        // Writing into a String can't fail.
        let _ = write!(
            out,
            "# HELP {prefix}_{name} {help} {whose}\n# TYPE {prefix}_{name} {kind}\n{prefix}_{name} {value}\n\n"
        );
    }
}

impl Taken {
    /// Of the process that this folder tells of, below the folder with what the kernel says of the machine.
    fn by(process: &Path, proc: &Path) -> Self {
        let read = |path: PathBuf| std::fs::read_to_string(path).unwrap_or_default();
        let stat = read(process.join("stat"));
        // The program's name comes before, in parentheses; it may hold spaces and parentheses itself.
        let fields: Vec<f64> = stat
            .rsplit_once(')')
            .map(|(_, rest)| rest.split_whitespace().map(|field| field.parse().unwrap_or(f64::NAN)).collect())
            .unwrap_or_default();
        // Numbered from 1 in proc(5), where the first behind the name is the third.
        let field = |number: usize| fields.get(number - 3).copied().filter(|value| value.is_finite());
        let booted = number_after(&read(proc.join("stat")), "btime");
        let open = std::fs::read_dir(process.join("fd")).ok();
        Self {
            cpu_seconds: field(14).zip(field(15)).map(|(user, system)| (user + system) / TICKS_PER_SECOND),
            start_seconds: field(22).zip(booted).map(|(ticks, booted)| booted + ticks / TICKS_PER_SECOND),
            resident_bytes: number_after(&read(process.join("status")), "VmRSS:").map(|kib| kib * 1024.0),
            open_files: open.map(|files| files.count() as f64),
            // "unlimited" is no number, and no limit that could be met.
            most_files: number_after(&read(process.join("limits")), "Max open files"),
        }
    }
}

/// The number behind a line's beginning.
fn number_after(text: &str, name: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_of_a_process_is_read_whatever_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let process = folder.path().join("7");
        std::fs::create_dir_all(process.join("fd")).unwrap();
        let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        put("stat", "cpu  1 2 3\nbtime 1000\nprocesses 5\n");
        let rest = "S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 4 0 12345 9000 300 1844";
        put("7/stat", &format!("7 (a) (b c) {rest}\n"));
        put("7/status", "Name:\ta) (b c\nVmHWM:\t 900 kB\nVmRSS:\t     512 kB\n");
        put("7/limits", "Limit  Soft Limit  Hard Limit  Units\nMax open files   1024   4096   files\n");
        put("7/fd/0", "");
        put("7/fd/1", "");
        let taken = Taken::by(&process, folder.path());
        let expected = Taken {
            cpu_seconds: Some(3.0),
            start_seconds: Some(1000.0 + 123.45),
            resident_bytes: Some(512.0 * 1024.0),
            open_files: Some(2.0),
            most_files: Some(1024.0),
        };
        assert_eq!(taken, expected);
        assert_eq!(Taken::by(&folder.path().join("8"), folder.path()), Taken::default());
    }

    #[test]
    fn what_is_not_known_has_no_series() {
        let mut text = String::new();
        write("process", "the server", &Taken { open_files: Some(3.0), ..Taken::default() }, &mut text);
        assert_eq!(
            text,
            "# HELP process_open_fds Open files and connections of the server\n# TYPE process_open_fds gauge\nprocess_open_fds 3\n\n"
        );
    }
}
