//! What this host has to share out, and with what it can be limited.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use caps::{CapSet, Capability};

use crate::cgroup;

use super::{is_in_user_namespace, number, text, v1_controllers, words};

/// What limits depend on.
#[derive(Clone, Debug, Default)]
pub struct Resources {
    /// What tells this host from others: its machine-id(5), else its name.
    pub machine: String,
    /// Bytes of memory; 0 when that isn't known.
    pub memory: u64,
    /// Bytes of swap space.
    pub swap: u64,
    /// Numbers of the processors that are switched on.
    pub processors: BTreeSet<u16>,
    /// Is this host a guest itself?
    pub is_guest: bool,
    /// Where the cgroup v2 hierarchy is mounted.
    pub cgroup: Option<PathBuf>,
    /// Controllers of that hierarchy.
    pub controllers: Vec<String>,
    /// Those that its root has enabled for cgroups below it.
    pub enabled: Vec<String>,
    /// Files of limits that the kernel lacks, of controllers that are enabled.
    pub missing_files: BTreeSet<&'static str>,
    /// Controllers that v1 hierarchies have taken.
    pub v1_controllers: Vec<String>,
    /// Files by which a cgroup's share of block devices is set, of those that
    /// some device heeds.
    pub io_weights: Vec<&'static str>,
    /// The most open files that a process can be allowed (`fs.nr_open`).
    pub most_files: u64,
    /// How many of those this process can allow another one; `None` for all.
    pub own_files: Option<u64>,
    /// The text of `/proc/self/limits`, where this process may not raise its
    /// own.
    pub own_limits: Option<String>,
    /// Can the kernel record processes that end (acct(5))?
    pub records_processes: bool,
    /// Does systemd run as this host's init?
    pub has_systemd: bool,
    /// Numbers of block devices by what they are called in a configuration,
    /// or why they have none.
    pub devices: BTreeMap<String, Result<String, String>>,
}

impl Resources {
    /// What systemd hands to a unit: all that there is (`Delegate=`,
    /// systemd.resource-control(5)).
    pub fn is_delegated(&mut self) {
        self.enabled.clone_from(&self.controllers);
    }
}

/// Reads everything; also the numbers of these block devices.
pub fn read<'d>(devices: impl IntoIterator<Item = &'d str>) -> Resources {
    let memory = text("/proc/meminfo");
    let mount = cgroup::find_mount().ok();
    let list =
        |file: &str| words(&mount.as_ref().map(|at| text(at.join(file))).unwrap_or_default());
    let may_raise = caps::has_cap(None, CapSet::Effective, Capability::CAP_SYS_RESOURCE);
    let own_limits = (!may_raise.unwrap_or(false)).then(|| text("/proc/self/limits"));
    Resources {
        machine: machine(),
        memory: kibibytes(&memory, "MemTotal:"),
        swap: kibibytes(&memory, "SwapTotal:"),
        processors: text("/sys/devices/system/cpu/online")
            .trim()
            .parse::<crate::config::limits::CpuSet>()
            .map(|set| set.numbers().clone())
            .unwrap_or_default(),
        is_guest: is_in_user_namespace(),
        controllers: list("cgroup.controllers"),
        missing_files: missing_files(mount.as_deref(), &list("cgroup.subtree_control")),
        enabled: list("cgroup.subtree_control"),
        v1_controllers: v1_controllers(&text("/proc/cgroups")),
        io_weights: io_weights(mount.as_deref()),
        most_files: number("/proc/sys/fs/nr_open").unwrap_or(1 << 20),
        own_files: own_limits.as_deref().and_then(hard_files),
        own_limits,
        // There with CONFIG_BSD_PROCESS_ACCT alone (kernel/acct.c).
        records_processes: Path::new("/proc/sys/kernel/acct").exists(),
        // sd_booted(3).
        has_systemd: Path::new("/run/systemd/system").is_dir(),
        devices: devices.into_iter().map(|name| (name.to_owned(), block_device(name))).collect(),
        cgroup: mount,
    }
}

/// Files of limits that depend on how the kernel was built or booted
/// (`CONFIG_CFS_BANDWIDTH`, `CONFIG_FAIR_GROUP_SCHED`, `CONFIG_BLK_DEV_THROTTLING`,
/// `CONFIG_SWAP` and `swapaccount=`), each with its controller.
const OPTIONAL: [(&str, &str); 4] =
    [("cpu", "cpu.max"), ("cpu", "cpu.weight"), ("io", "io.max"), ("memory", "memory.swap.max")];

/// Those that aren't there: every cgroup below the root has the files of what the root
/// has enabled. Where there is none yet nothing is known.
fn missing_files(mount: Option<&Path>, enabled: &[String]) -> BTreeSet<&'static str> {
    let entries = mount.and_then(|mount| fs::read_dir(mount).ok()).into_iter().flatten().flatten();
    let mut below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let Some(below) = below.next().map(|entry| entry.path()) else { return BTreeSet::new() };
    let is_enabled = |controller| enabled.iter().any(|name| name == controller);
    let all = OPTIONAL.into_iter().filter(|(controller, _)| is_enabled(*controller));
    all.map(|(_, file)| file).filter(|file| !below.join(file).exists()).collect()
}

fn machine() -> String {
    match text("/etc/machine-id").trim() {
        "" => text("/proc/sys/kernel/hostname").trim().to_owned(),
        id => id.to_owned(),
    }
}

/// A line of `/proc/meminfo` (proc_meminfo(5)), in bytes.
fn kibibytes(table: &str, title: &str) -> u64 {
    let value = table.lines().find_map(|line| line.strip_prefix(title));
    let value = value.and_then(|value| value.split_ascii_whitespace().next()?.parse::<u64>().ok());
    value.unwrap_or(0).saturating_mul(1024)
}

/// The hard limit on open files in the text of `/proc/PID/limits`.
fn hard_files(table: &str) -> Option<u64> {
    let line = table.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// A device heeds weights if it has the BFQ scheduler (`io.bfq.weight`), or
/// the root cgroup has switched them on for it (cgroup v2 kernel doc,
/// `io.cost.qos`).
fn io_weights(mount: Option<&Path>) -> Vec<&'static str> {
    let costs = mount.map(|mount| text(mount.join("io.cost.qos"))).unwrap_or_default();
    let devices = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let is_bfq = |device: PathBuf| text(device.join("queue/scheduler")).contains("[bfq]");
    let mut files = Vec::new();
    if costs.contains("enable=1") {
        files.push("io.weight");
    }
    if devices.map(|device| device.path()).any(is_bfq) {
        files.push("io.bfq.weight");
    }
    files
}

/// The numbers of a block device, as the kernel's `io.max` takes them: of the
/// node, or of the disk that the path lies on. Limits are those of whole
/// disks.
///
/// # Errors
/// Why there are none, in words.
fn block_device(named: &str) -> Result<String, String> {
    let numbers = if named.starts_with('/') {
        let found =
            fs::metadata(named).map_err(|error| format!("cannot look at '{named}': {error}"))?;
        let device = if found.file_type().is_block_device() { found.rdev() } else { found.dev() };
        format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device))
    } else {
        named.to_owned()
    };
    let entry = Path::new("/sys/dev/block").join(&numbers);
    let Ok(directory) = fs::canonicalize(&entry) else {
        return Err(format!("'{named}' is no block device and lies on none"));
    };
    if directory.join("partition").exists() {
        let disk = directory.parent().map(|disk| text(disk.join("dev"))).unwrap_or_default();
        return Ok(disk.trim().to_owned());
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_tables_are_read() {
        assert_eq!(kibibytes("MemTotal:  2048 kB\nSwapTotal: 4 kB\n", "SwapTotal:"), 4096);
        assert_eq!(kibibytes("", "MemTotal:"), 0);
        let limits = "Max open files            1024                 4096                 files\n";
        assert_eq!(hard_files(limits), Some(4096));
        assert_eq!(hard_files("Max open files  1024  unlimited  files\n"), None);
    }

    #[test]
    fn files_that_the_kernel_lacks_are_found() {
        let mount = tempfile::tempdir().unwrap();
        let missing = |enabled: &[&str]| {
            let enabled: Vec<_> = enabled.iter().map(|name| (*name).to_owned()).collect();
            missing_files(Some(mount.path()), &enabled).into_iter().collect::<Vec<_>>()
        };
        assert!(missing(&["memory", "cpu"]).is_empty(), "nothing is known");
        let below = mount.path().join("init.scope");
        fs::create_dir(&below).unwrap();
        fs::write(below.join("cpu.weight"), "100\n").unwrap();
        assert_eq!(missing(&["memory", "cpu"]), ["cpu.max", "memory.swap.max"]);
        assert_eq!(missing(&["pids"]), [""; 0]);
    }

    #[test]
    fn this_host_has_memory_and_processors() {
        let resources = read([]);
        assert!(resources.memory > 0 && !resources.processors.is_empty(), "{resources:?}");
    }

    #[test]
    fn what_is_no_block_device_is_said() {
        for named in ["/dev/null", "/proc", "/nonexistent", "65535:65535"] {
            assert!(block_device(named).is_err(), "{named}");
        }
    }
}
