//! What this host is and has, read once. Nothing is tried or changed.
//!
//! Whatever can't be read is unknown, never an error: what follows from it is
//! decided elsewhere.

pub mod btrfs;
mod forwarding;
mod mounts;
mod resources;
mod security;

use std::collections::BTreeSet;
use std::env;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use caps::{CapSet, Capability};

use crate::paths::Paths;

pub use forwarding::Forwarding;
pub use mounts::Mount;
pub use resources::{Resources, read as resources};
pub use security::{Labels, kernel_layout, socket_hook, task_layout};

/// Types of namespaces, as `/proc/self/ns` names them, that a guest needs.
pub const NAMESPACES: [&str; 8] = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];

/// What is known about this host.
#[derive(Clone, Debug, Default)]
pub struct HostFacts {
    /// Is the effective user root?
    pub is_root: bool,
    /// Names of capabilities that are effective, `CAP_` in front.
    pub capabilities: BTreeSet<String>,
    /// The kernel's release, as uname(1) tells it.
    pub release: String,
    /// Those of [`NAMESPACES`] that the kernel has.
    pub namespaces: Vec<&'static str>,
    /// Can sockets in guests be refused by family, whatever makes them?
    pub filters_sockets: bool,
    /// Which labels guests can have.
    pub labels: Labels,
    /// What it has to share out, and with what it can be limited.
    pub resources: Resources,
    /// The directory of guests' roots, or the nearest one above that exists.
    pub roots: PathBuf,
    /// The mount that it lies in.
    pub roots_mount: Option<Mount>,
    /// Bytes that are free there.
    pub free_bytes: Option<u64>,
    /// Does their file system, a btrfs, know that its quotas are wrong?
    pub counts_wrongly: bool,
    /// `user.max_user_namespaces`.
    pub max_user_namespaces: Option<u64>,
    /// `fs.inotify.max_user_instances`.
    pub max_inotify_instances: Option<u64>,
    /// `kernel.pid_max`.
    pub pid_max: Option<u64>,
    /// Programs that were found, of those in [`TOOLS`].
    pub tools: Vec<&'static str>,
    /// Does its journal take messages?
    pub has_journal: bool,
    /// Which packets it passes on.
    pub forwarding: Forwarding,
    /// The groups that may send pings, first and last.
    pub ping_groups: Option<(u32, u32)>,
}

/// Programs that some build methods call.
pub const TOOLS: [&str; 3] = ["mmdebstrap", "debootstrap", "dpkg-query"];

impl HostFacts {
    /// The kernel's version, major and minor.
    pub fn kernel(&self) -> Option<(u32, u32)> {
        version(&self.release)
    }

    /// Is the kernel of this version or newer? An unknown one is not.
    pub fn is_kernel(&self, major: u32, minor: u32) -> bool {
        self.kernel().is_some_and(|version| version >= (major, minor))
    }
}

/// Major and minor number of a kernel's release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Does this program run in a user namespace other than the first, in a guest
/// that has guests itself (user_namespaces(7), "uid_map")? To be asked before
/// it enters one that it has made: [`crate::plan::Plan`] keeps the answer.
pub fn is_in_user_namespace() -> bool {
    let map = text("/proc/self/uid_map");
    map.split_ascii_whitespace().ne(["0", "0", "4294967295"])
}

/// Reads everything.
pub fn read(paths: &Paths) -> HostFacts {
    let mounts = mounts::parse(&text("/proc/self/mountinfo"));
    let roots = existing(&paths.roots_dir());
    HostFacts {
        is_root: rustix::process::geteuid().is_root(),
        capabilities: capabilities(),
        release: text("/proc/sys/kernel/osrelease").trim().to_owned(),
        namespaces: NAMESPACES.into_iter().filter(|name| has_namespace(name)).collect(),
        filters_sockets: socket_hook(&paths.run_dir()).is_some(),
        labels: Labels::read(),
        resources: resources([]),
        roots_mount: mounts::containing(&mounts, &roots).cloned(),
        counts_wrongly: File::open(&roots).is_ok_and(|roots| btrfs::counts_wrongly(&roots)),
        free_bytes: rustix::fs::statvfs(&roots).ok().map(|fs| fs.f_bavail * fs.f_frsize),
        roots,
        max_user_namespaces: number("/proc/sys/user/max_user_namespaces"),
        max_inotify_instances: number("/proc/sys/fs/inotify/max_user_instances"),
        pid_max: number("/proc/sys/kernel/pid_max"),
        tools: TOOLS.into_iter().filter(|tool| is_on_path(tool)).collect(),
        has_journal: Path::new("/run/systemd/journal/socket").exists(),
        forwarding: Forwarding::read(),
        ping_groups: forwarding::ping_groups(),
    }
}

fn capabilities() -> BTreeSet<String> {
    let effective = caps::read(None, CapSet::Effective).unwrap_or_default();
    effective.iter().map(Capability::to_string).collect()
}

fn has_namespace(name: &str) -> bool {
    fs::symlink_metadata(Path::new("/proc/self/ns").join(name)).is_ok()
}

/// Lines of `/proc/cgroups` (cgroups(7)): name, hierarchy, cgroups, enabled;
/// hierarchy 0 is v2's or none.
fn v1_controllers(table: &str) -> Vec<String> {
    let taken = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let (name, hierarchy) = (fields.next()?, fields.next()?.parse::<u32>().ok()?);
        (hierarchy != 0).then(|| name.to_owned())
    };
    table.lines().filter_map(taken).collect()
}

/// The path without symbolic links, or the nearest directory above it that
/// exists.
fn existing(path: &Path) -> PathBuf {
    let found = path.ancestors().find_map(|path| fs::canonicalize(path).ok());
    found.unwrap_or_else(|| "/".into())
}

fn is_on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    // An administrator's PATH has these; a user's may not.
    let system = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(PathBuf::from);
    env::split_paths(&path).chain(system).any(|directory| {
        let found = fs::metadata(directory.join(program));
        found.is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    })
}

fn words(text: &str) -> Vec<String> {
    text.split_ascii_whitespace().map(str::to_owned).collect()
}

fn number(path: &str) -> Option<u64> {
    text(path).trim().parse().ok()
}

fn text(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_versions_compare() {
        let host = |release: &str| HostFacts { release: release.into(), ..HostFacts::default() };
        assert_eq!(host("6.1.0-56-cloud-amd64").kernel(), Some((6, 1)));
        assert!(host("6.10-rc1").is_kernel(6, 9));
        assert!(!host("5.10.1").is_kernel(5, 14));
        assert!(!host("").is_kernel(0, 0));
    }

    #[test]
    fn v1_controllers_are_those_on_a_hierarchy() {
        let table =
            "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t1\t1\t1\nhugetlb\t0\t1\t1\n";
        assert_eq!(v1_controllers(table), ["cpu"]);
    }

    #[test]
    fn this_host_can_be_read() {
        let facts = read(&Paths::new("/nonexistent/prefix"));
        assert_eq!(facts.roots, Path::new("/"));
        assert!(facts.kernel().is_some() && facts.roots_mount.is_some());
        assert!(facts.namespaces.contains(&"pid"));
    }
}
