//! Limits of the control groups that this process is in, of version 1 and 2.
//!
//! A container's limit isn't in `/proc/meminfo`, and the limit that counts may be set on any group above the process's
//! own. Page cache counts as used by the group that read it but goes when memory is short, so it is taken off.
//!
//! <https://docs.kernel.org/admin-guide/cgroup-v2.html>, `cgroup-v1/memory.html`

use std::fs;
use std::path::Path;

/// The group that leaves least.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Limit {
    /// Its folder.
    pub(super) group: String,
    pub(super) bytes: u64,
    /// The limit less what is used and can't go.
    pub(super) free: u64,
}

/// Names of a hierarchy's files.
struct Files {
    limits: &'static [&'static str],
    usage: &'static str,
    /// Prefix of the keys in `memory.stat` that count the groups below too.
    stat: &'static str,
}

const VERSION_1: Files =
    Files { limits: &["memory.limit_in_bytes"], usage: "memory.usage_in_bytes", stat: "total_" };

/// Above `memory.high` a group is slowed down until it is useless.
const VERSION_2: Files = Files { limits: &["memory.max", "memory.high"], usage: "memory.current", stat: "" };

/// Version 1 writes "no limit" as the largest multiple of a page.
const NO_LIMIT: u64 = 1 << 62;

/// None where no group has a limit. `root` holds `proc` and what is mounted.
pub(super) fn tightest(root: &Path) -> Option<Limit> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let mounts = fs::read_to_string(root.join("proc/self/mountinfo")).ok()?;
    let mut limits = Vec::new();
    for mount in mounts.lines().filter_map(Mount::parse) {
        let files = if mount.version_2 { &VERSION_2 } else { &VERSION_1 };
        let Some(path) = own_group(&groups, mount.version_2) else { continue };
        let top = root.join(mount.place.trim_start_matches('/'));
        // A container sees a part of the tree, and names its group from the tree's root or from its own.
        let inside = path.strip_prefix(mount.root.trim_end_matches('/')).unwrap_or(path);
        let own = match inside.trim_start_matches('/') {
            "" => top.clone(),
            inside => Some(top.join(inside)).filter(|own| own.is_dir()).unwrap_or_else(|| top.clone()),
        };
        let folders = own.ancestors().take_while(|folder| folder.starts_with(&top));
        limits.extend(folders.filter_map(|folder| files.read(folder)));
    }
    limits.into_iter().min_by_key(|limit| limit.free)
}

/// The path of this process's group in a hierarchy: `0::/a/b` or `4:memory:/a/b`.
fn own_group(groups: &str, version_2: bool) -> Option<&str> {
    groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let wanted = if version_2 {
            controllers.is_empty()
        } else {
            controllers.split(',').any(|controller| controller == "memory")
        };
        wanted.then_some(path)
    })
}

struct Mount<'a> {
    /// The part of the tree that is mounted.
    root: &'a str,
    place: &'a str,
    version_2: bool,
}

impl<'a> Mount<'a> {
    /// A line of `mountinfo`, if it mounts groups with a memory controller.
    fn parse(line: &'a str) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let mut fields = before.split(' ').skip(3);
        let (root, place) = (fields.next()?, fields.next()?);
        let mut kind = after.split(' ');
        let version_2 = match kind.next()? {
            "cgroup2" => true,
            "cgroup" if kind.nth(1)?.split(',').any(|option| option == "memory") => false,
            _ => return None,
        };
        Some(Self { root, place, version_2 })
    }
}

impl Files {
    fn read(&self, folder: &Path) -> Option<Limit> {
        let number =
            |name: &str| -> Option<u64> { fs::read_to_string(folder.join(name)).ok()?.trim().parse().ok() };
        let limit =
            self.limits.iter().filter_map(|name| number(name)).min().filter(|&limit| limit < NO_LIMIT)?;
        let stat = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
        let cached: u64 = ["inactive_file", "active_file"]
            .iter()
            .filter_map(|key| {
                let key = format!("{}{key} ", self.stat);
                stat.lines().find_map(|line| line.strip_prefix(&key))?.trim().parse::<u64>().ok()
            })
            .sum();
        let used = number(self.usage)?.saturating_sub(cached);
        Some(Limit { group: folder.display().to_string(), bytes: limit, free: limit.saturating_sub(used) })
    }
}
