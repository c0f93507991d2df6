//! Who has what: ports, locks and memory, as the kernel tells it in `/proc`. Of other users' processes only names are seen.

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A process, by the name of its program; its arguments may hold secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) name: String,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (process {})", self.name, self.pid)
    }
}

impl Process {
    fn of(pid: u32) -> Self {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let name = name.trim();
        Self { pid, name: if name.is_empty() { "a program" } else { name }.to_owned() }
    }

    /// Whether it is a server of ours or its engine, going by the name.
    pub(super) fn is_ours(&self) -> bool {
        self.name == "leafresh"
    }
}

/// Names in a row, or what to say where nothing can be seen.
pub(super) fn list(processes: &[Process]) -> String {
    if processes.is_empty() {
        return "a process that can't be seen from here".into();
    }
    processes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// This process's own number aside.
fn pids() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|&pid| pid != std::process::id()).collect()
}

/// Who listens on a TCP port of this machine, on whatever address.
pub(super) fn listening(port: u16) -> Vec<Process> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    let sockets: HashSet<String> = tables.iter().flat_map(|table| listeners(table, port)).collect();
    if sockets.is_empty() {
        return Vec::new();
    }
    let has_one = |pid: &u32| {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        files
            .filter_map(|file| fs::read_link(file.path()).ok())
            .any(|link| sockets.contains(link.to_string_lossy().as_ref()))
    };
    pids().into_iter().filter(has_one).map(Process::of).collect()
}

/// The sockets that listen on a port, as descriptors' links name them.
fn listeners(table: &str, port: u16) -> Vec<String> {
    const LISTEN: &str = "0A";
    let line = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (_, own_port) = fields.get(1)?.rsplit_once(':')?;
        let listens = u16::from_str_radix(own_port, 16) == Ok(port) && *fields.get(3)? == LISTEN;
        listens.then(|| format!("socket:[{}]", fields.get(9).copied().unwrap_or_default()))
    };
    table.lines().skip(1).filter_map(line).collect()
}

/// A lock on a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lock {
    /// 0 for a process that isn't seen from here.
    pub(super) pid: u32,
    /// Keeps all others out.
    pub(super) exclusive: bool,
    /// The first of the bytes that are locked.
    pub(super) start: u64,
}

impl Lock {
    pub(super) fn process(self) -> Process {
        if self.pid == 0 {
            return Process { pid: 0, name: "a process of another container".into() };
        }
        Process::of(self.pid)
    }
}

/// The locks that processes hold on a file; none where there is no such file, or no such list.
pub(super) fn locks(path: &Path) -> Vec<Lock> {
    let Ok(about) = fs::metadata(path) else { return Vec::new() };
    let table = fs::read_to_string("/proc/locks").unwrap_or_default();
    locks_of(&table, about.ino())
}

/// By the file's number alone: the device's is written otherwise for some file systems.
fn locks_of(table: &str, inode: u64) -> Vec<Lock> {
    let line = |line: &str| {
        // `1: POSIX  ADVISORY  WRITE 3568 fd:00:2531452 0 EOF`; who waits has `->` behind the number.
        let fields: Vec<&str> = line.split_whitespace().collect();
        if fields.get(1) == Some(&"->") {
            return None;
        }
        let (_, number) = fields.get(5)?.rsplit_once(':')?;
        (number.parse() == Ok(inode)).then_some(())?;
        Some(Lock {
            pid: fields.get(4)?.parse().unwrap_or(0),
            exclusive: *fields.get(3)? == "WRITE",
            start: fields.get(6)?.parse().ok()?,
        })
    };
    table.lines().filter_map(line).collect()
}

/// Who holds most memory of its own, in bytes, the most first.
pub(super) fn largest() -> Vec<(Process, u64)> {
    let mut found: Vec<(u32, u64)> = pids()
        .into_iter()
        .filter_map(|pid| Some((pid, resident(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)?)))
        .collect();
    found.sort_by_key(|&(_, bytes)| std::cmp::Reverse(bytes));
    found.into_iter().map(|(pid, bytes)| (Process::of(pid), bytes)).collect()
}

/// Memory of the process's own; the pages of files can be had.
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_that_listen_on_the_very_port_are_found() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0
   1: 0100007F:1F40 0100007F:ABCD 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 100 0 0 10 0
   2: 00000000000000000000000000000000:1F40 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 4713 1
   3: 0100007F:1F41 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4714 1 0 100 0 0 10 0
broken";
        assert_eq!(listeners(table, 8000), ["socket:[4711]", "socket:[4713]"]);
        assert!(listeners(table, 9).is_empty());
    }

    #[test]
    fn locks_on_a_file_are_found_and_who_waits_has_none() {
        let table = "1: POSIX  ADVISORY  WRITE 3568 fd:00:2531452 120 120
1: -> POSIX  ADVISORY  WRITE 3570 fd:00:2531452 120 120
2: FLOCK  ADVISORY  WRITE 12 00:1b:99 0 EOF
3: POSIX  ADVISORY  READ -1 fd:00:2531452 128 128
4: OFDLCK ADVISORY";
        let lock = |pid, exclusive, start| Lock { pid, exclusive, start };
        assert_eq!(locks_of(table, 2_531_452), [lock(3568, true, 120), lock(0, false, 128)]);
        assert_eq!(locks_of(table, 99), [lock(12, true, 0)]);
    }

    #[test]
    fn a_process_is_listed_with_the_memory_of_its_own() {
        assert_eq!(resident("Name:\tx\nRssAnon:\t    2048 kB\nRssFile:\t9 kB\n"), Some(2 << 20));
        assert_eq!(resident("Name:\tkthread\n"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn who_holds_a_lock_on_this_machine_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let file = fs::File::create(&path).unwrap();
        assert!(locks(&path).is_empty());
        file.lock().unwrap();
        let [lock] = locks(&path)[..] else { panic!("{:?}", locks(&path)) };
        assert!(lock.exclusive && (lock.pid == std::process::id() || lock.pid == 0), "{lock:?}");
    }
}
