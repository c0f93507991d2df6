//! What the machine does meanwhile: memory of the server, CPU time of everybody. From `/proc`, so on Linux only.

use std::collections::BTreeMap;
use std::fs;

use serde::Serialize;

use crate::figure::Figure;

/// CPU time in `/proc` is in ticks, 100 each second on every Linux that runs here (`USER_HZ`).
pub(super) const TICKS_PER_SECOND: f64 = 100.0;

/// Above this share of the machine, others spoil the figures.
const BUSY_PERCENT: f64 = 10.0;

const MIB: f64 = 1024.0 * 1024.0;

/// Reads a process and its children.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watch {
    pub(super) pid: Option<u32>,
}

/// The machine at one time.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Sample {
    /// Seconds since the run's start, and how many requests had ended.
    pub(super) at: f64,
    pub(super) ended: usize,
    pub(super) cpu: Option<Cpu>,
    pub(super) own_ticks: Option<u64>,
    pub(super) server: Option<Process>,
}

/// `/proc/stat`, in ticks since the machine's start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Cpu {
    pub(super) total: u64,
    /// Spent on something, interrupts included.
    pub(super) busy: u64,
    /// Taken by the hypervisor for other machines.
    pub(super) steal: u64,
}

/// A process with its children.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Process {
    pub(super) ticks: u64,
    pub(super) rss_bytes: u64,
    /// The most since each process's start.
    pub(super) peak_bytes: u64,
}

impl Watch {
    pub(super) fn sample(self, at: f64, ended: usize) -> Sample {
        let own = fs::read_to_string("/proc/self/stat").ok();
        Sample {
            at,
            ended,
            cpu: fs::read_to_string("/proc/stat").ok().and_then(|text| cpu(&text)),
            own_ticks: own.and_then(|text| Stat::parse(&text)).map(|stat| stat.ticks),
            server: self.pid.and_then(family),
        }
    }
}

/// A line of `/proc/PID/stat`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) name: String,
    parent: u32,
    /// User and system time, that of children that have ended included.
    pub(super) ticks: u64,
}

impl Stat {
    pub(super) fn parse(text: &str) -> Option<Self> {
        // The name is in parentheses and may hold some itself, and spaces.
        let (before, after) = text.rsplit_once(") ")?;
        let name = before.split_once('(')?.1.to_owned();
        let fields: Vec<&str> = after.split_ascii_whitespace().collect();
        // proc(5) counts from 1 with the name as 2, so that its field n is n - 3 here: 14 to 17 are the times.
        let ticks = fields.get(11..15)?.iter().map(|field| field.parse::<u64>().ok()).sum::<Option<u64>>()?;
        Some(Self { name, parent: fields.get(1)?.parse().ok()?, ticks })
    }
}

/// The first line of `/proc/stat`.
fn cpu(text: &str) -> Option<Cpu> {
    let line = text.lines().next()?.strip_prefix("cpu ")?;
    let fields: Vec<u64> = line.split_ascii_whitespace().map_while(|field| field.parse().ok()).collect();
    let &[user, nice, system, idle, iowait, irq, softirq, steal, ..] = &fields[..] else { return None };
    let busy = user + nice + system + irq + softirq;
    Some(Cpu { total: busy + idle + iowait + steal, busy, steal })
}

/// A process and all its descendants, summed; `None` when there is no such process.
fn family(pid: u32) -> Option<Process> {
    let mut processes = BTreeMap::new();
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let id = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        let stat = id.and_then(|_| Stat::parse(&fs::read_to_string(entry.path().join("stat")).ok()?));
        processes.extend(id.zip(stat));
    }
    let mut sum = Process::default();
    for id in descendants(pid, &processes) {
        sum.ticks += processes.get(&id)?.ticks;
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        sum.rss_bytes += kib(&status, "VmRSS:") * 1024;
        sum.peak_bytes += kib(&status, "VmHWM:") * 1024;
    }
    Some(sum)
}

fn descendants(pid: u32, processes: &BTreeMap<u32, Stat>) -> Vec<u32> {
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        let children = processes.iter().filter(|(id, stat)| stat.parent == parent && !found.contains(id));
        let children: Vec<u32> = children.map(|(id, _)| *id).collect();
        found.extend(children);
        next += 1;
    }
    found
}

/// The number after a name in `/proc/PID/status`; 0 where there is none.
fn kib(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Shares of all the CPU time that there was between two samples, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Shares {
    server: Option<f64>,
    own: f64,
    /// `None` without a server's process to subtract.
    others: Option<f64>,
    steal: f64,
}

fn shares(before: &Sample, after: &Sample) -> Option<Shares> {
    let (from, to) = (before.cpu?, after.cpu?);
    let total = to.total.checked_sub(from.total).filter(|ticks| *ticks > 0)? as f64;
    let share = |before: u64, after: u64| after.saturating_sub(before) as f64 / total;
    let busy = share(from.busy, to.busy);
    let own = share(before.own_ticks?, after.own_ticks?);
    let server = before.server.zip(after.server).map(|(before, after)| share(before.ticks, after.ticks));
    // Ticks are counted in different places, so that a difference can come out below zero.
    let others = server.map(|server| (busy - server - own).max(0.0));
    Some(Shares { server, own, others, steal: share(from.steal, to.steal) })
}

/// Figures of the machine in the time of these samples.
pub(super) fn figures(samples: &[Sample]) -> Vec<Figure> {
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else { return Vec::new() };
    let shares = shares(first, last);
    let percent = |share: Option<f64>| share.map(|share| share * 100.0);
    let memory = |sample: &Sample| sample.server.map(|server| server.rss_bytes as f64 / MIB);
    let most = samples.iter().filter_map(memory).max_by(f64::total_cmp);
    let high_water = last.server.map(|server| server.peak_bytes as f64 / MIB);
    let of_server = "the server's process and its children (--pid), pages they share counted each time";
    vec![
        Figure::new(
            "rss_before",
            "MiB",
            memory(first),
            format!("resident memory before the run: {of_server}"),
        ),
        Figure::new("rss_after", "MiB", memory(last), "the same after the run"),
        Figure::new("rss_peak", "MiB", most, "the most of the same, read each second"),
        Figure::new(
            "rss_high_water",
            "MiB",
            high_water,
            "the kernel's VmHWM after the run: the most since the server's start",
        ),
        Figure::new(
            "cpu_server",
            "%",
            percent(shares.and_then(|shares| shares.server)),
            "share of the whole machine's CPU time that the server used",
        ),
        Figure::new(
            "cpu_client",
            "%",
            percent(shares.map(|shares| shares.own)),
            "share that this client used",
        ),
        Figure::new(
            "cpu_others",
            "%",
            percent(shares.and_then(|shares| shares.others)),
            "share that everything else used, the kernel's interrupts included",
        ),
        Figure::new(
            "cpu_stolen",
            "%",
            percent(shares.map(|shares| shares.steal)),
            "share that the hypervisor gave to other machines",
        ),
    ]
}

/// What the figures of the machine say about the others.
pub(super) fn warnings(figures: &[Figure]) -> Vec<String> {
    let loud = |key: &str, who: &str| {
        let value = figures.iter().find(|figure| figure.key == key)?.value?;
        (value > BUSY_PERCENT).then(|| {
            format!("{who} used {value:.0} % of the machine's CPU time: measure again when it is quiet")
        })
    };
    let others = loud("cpu_others", "other programs");
    others.into_iter().chain(loud("cpu_stolen", "other machines on the same host")).collect()
}

/// The processor's name and how many cores there are.
pub(crate) fn describe() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let name = name.map_or(std::env::consts::ARCH, |(_, name)| name.trim());
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let memory = fs::read_to_string("/proc/meminfo").map_or(0, |text| kib(&text, "MemTotal:"));
    format!("{name}, {cores} cores, {:.1} GiB, {}", memory as f64 / 1024.0 / 1024.0, std::env::consts::OS)
}

#[cfg(test)]
mod tests;
