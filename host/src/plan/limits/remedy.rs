//! Why controllers can't be used, and what to do about that.

use crate::cgroup::Setting;
use crate::facts::Resources;

/// What keeps a controller from guests' cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lack {
    /// There is no cgroup v2.
    NoHierarchy,
    /// A hierarchy of version 1 has it.
    OnVersion1,
    /// The kernel doesn't have it.
    Unknown,
    /// The root cgroup has it and hasn't enabled it.
    NotEnabled,
    /// It is there, without this file.
    NoFile(&'static str),
}

/// What keeps this limit from guests' cgroups, if anything does.
pub fn lack_of(host: &Resources, setting: &Setting) -> Option<Lack> {
    let no_file =
        || host.missing_files.contains(setting.file).then_some(Lack::NoFile(setting.file));
    lack(host, setting.controller).or_else(no_file)
}

/// What keeps this controller from guests' cgroups, if anything does.
pub fn lack(host: &Resources, controller: &str) -> Option<Lack> {
    // What is io here was blkio there.
    let before = if controller == "io" { "blkio" } else { controller };
    let has = |list: &[String], wanted: &str| list.iter().any(|name| name == wanted);
    if host.cgroup.is_none() {
        Some(Lack::NoHierarchy)
    } else if has(&host.enabled, controller) {
        None
    } else if has(&host.controllers, controller) {
        Some(Lack::NotEnabled)
    } else if has(&host.v1_controllers, before) {
        Some(Lack::OnVersion1)
    } else {
        Some(Lack::Unknown)
    }
}

/// A reason, said of these controllers, and the remedy.
///
/// systemd decides itself what the root cgroup enables, by what its units ask
/// for (systemd.resource-control(5)), and takes back what others have written
/// there; so it is asked, by properties that change nothing else.
pub fn remedy(host: &Resources, lack: Lack, controllers: &[&str]) -> (String, String) {
    let names = controllers.join(", ");
    let several = if controllers.len() > 1 { "s" } else { "" };
    let mount = host.cgroup.as_ref().map(|mount| mount.display().to_string()).unwrap_or_default();
    match lack {
        Lack::NoHierarchy => (
            "no cgroup v2 hierarchy is mounted".to_owned(),
            "mount it: mount -t cgroup2 cgroup2 /sys/fs/cgroup".to_owned(),
        ),
        Lack::OnVersion1 => (
            format!("this host has the controller{several} {names} on cgroup v1"),
            "boot with cgroup_no_v1=all".to_owned(),
        ),
        Lack::Unknown => (
            format!("this kernel has no controller{several} {names}"),
            "use a kernel that has it, as distributions' kernels do".to_owned(),
        ),
        Lack::NoFile(file) => (
            format!("this kernel has no '{file}'"),
            format!("use a kernel that has it: {}", of(file)),
        ),
        Lack::NotEnabled => {
            let why = format!("the root cgroup hasn't enabled the controller{several} {names}");
            let words: Vec<String> = if host.has_systemd {
                controllers.iter().map(|name| property(host, name)).collect()
            } else {
                controllers.iter().map(|name| format!("+{name}")).collect()
            };
            let words = words.join(" ");
            let hint = match host.has_systemd {
                true => format!("systemctl set-property system.slice {words}"),
                false => format!("echo {words} >{mount}/cgroup.subtree_control"),
            };
            (why, format!("enable it: {hint}"))
        }
    }
}

/// How a kernel is built, or booted, that has this file.
fn of(file: &str) -> &'static str {
    match file {
        "cpu.max" => "CONFIG_CFS_BANDWIDTH",
        "cpu.weight" => "CONFIG_FAIR_GROUP_SCHED",
        "io.max" => "CONFIG_BLK_DEV_THROTTLING",
        _ => "CONFIG_SWAP, and booted without swapaccount=0",
    }
}

/// What a unit is given that shall have a controller.
fn property(host: &Resources, controller: &str) -> String {
    match controller {
        "cpu" => "CPUWeight=100".to_owned(),
        "cpuset" => format!("AllowedCPUs=0-{}", host.processors.last().copied().unwrap_or(0)),
        "io" => "IOAccounting=yes".to_owned(),
        "pids" => "TasksAccounting=yes".to_owned(),
        _ => "MemoryAccounting=yes".to_owned(),
    }
}
