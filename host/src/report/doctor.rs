//! What follows from a host's facts: what works, what works in part, what is
//! missing, and the remedy. Pure.

use serde::Serialize;

use super::{status, table};
use crate::facts::{HostFacts, NAMESPACES};
use crate::plan::limits::PROCESSES;

/// How good a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// All of it works.
    Ok,
    /// Guests run, but something can't be done.
    Limited,
    /// Guests can't run.
    Missing,
}

impl Grade {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Limited => "limited",
            Self::Missing => "missing",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub topic: &'static str,
    /// How it is.
    pub grade: Grade,
    /// What was found.
    pub text: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

/// Capabilities without which no guest can be started.
const NEEDED: [&str; 11] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_KILL",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_ADMIN",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
];

/// Besides, on a host: what makes the nodes of guests' /dev. A guest that has
/// guests lends them its own.
const NEEDED_ON_HOSTS: [&str; 1] = ["CAP_MKNOD"];

/// Controllers that limits need.
const CONTROLLERS: [&str; 4] = ["cpu", "io", "memory", "pids"];

/// From which kernel on a file system can be mounted with mapped ids
/// (mount_setattr(2), "ID-mapped mounts").
const IDMAPPED: [(&str, (u32, u32)); 9] = [
    ("ext4", (5, 12)),
    ("xfs", (5, 12)),
    ("vfat", (5, 12)),
    ("btrfs", (5, 15)),
    ("f2fs", (5, 18)),
    ("erofs", (5, 19)),
    ("squashfs", (6, 2)),
    ("tmpfs", (6, 3)),
    ("ceph", (6, 7)),
];

/// Judges a host, the most important things first.
pub fn judge(host: &HostFacts) -> Vec<Finding> {
    let mut findings = vec![root(host), capabilities(host), kernel(host), namespaces(host)];
    findings.extend([cgroup(host), cgroup_kill(host), controllers(host)]);
    findings.push(sockets(host));
    findings.extend([user_namespaces(host), roots(host), idmapped(host), space(host)]);
    findings.extend([processes(host), bombs(host), inotify(host)]);
    findings.extend([copy(host), debootstrap(host), supervision(host), logs(host)]);
    findings
}

/// Can guests run?
pub fn is_able(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.grade != Grade::Missing)
}

/// The findings as a table, with the answer below.
pub fn text(findings: &[Finding]) -> String {
    let rows = findings.iter().map(|finding| {
        let remedy = finding.remedy.as_ref().map(|remedy| format!("; {remedy}"));
        let text = format!("{}{}", finding.text, remedy.unwrap_or_default());
        [finding.grade.name().to_owned(), finding.topic.to_owned(), text]
    });
    let answer = match is_able(findings) {
        true => "This host can run guests.",
        false => "This host can't run guests: see what is missing above.",
    };
    format!("{}\n{answer}\n", table(["STATE", "WHAT", "FOUND"], rows))
}

/// The findings as JSON: an array of topic, grade, text and remedy.
pub fn json(findings: &[Finding]) -> String {
    status::json(&findings)
}

fn ok(topic: &'static str, text: impl Into<String>) -> Finding {
    Finding { topic, grade: Grade::Ok, text: text.into(), remedy: None }
}

fn limited(topic: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding { grade: Grade::Limited, remedy: Some(remedy.into()), ..ok(topic, text) }
}

fn missing(topic: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding { grade: Grade::Missing, remedy: Some(remedy.into()), ..ok(topic, text) }
}

fn root(host: &HostFacts) -> Finding {
    match host.is_root {
        true => ok("root", "vserver runs as root"),
        false => missing("root", "vserver doesn't run as root", "use sudo or become root"),
    }
}

fn capabilities(host: &HostFacts) -> Finding {
    let topic = "capabilities";
    let lacks = |name: &&str| !host.capabilities.contains(*name);
    let on_hosts = NEEDED_ON_HOSTS.into_iter().filter(|_| !host.is_guest);
    let lacking: Vec<_> = NEEDED.into_iter().chain(on_hosts).filter(lacks).collect();
    if !lacking.is_empty() {
        let remedy = "give them to the session or the container that vserver runs in";
        return missing(topic, format!("without {}", lacking.join(" ")), remedy);
    }
    match lacks(&"CAP_SYS_RESOURCE") {
        true => limited(
            topic,
            "all that are needed, but not CAP_SYS_RESOURCE",
            "guests' resource limits can't exceed the host session's",
        ),
        false => ok(topic, "all that are needed"),
    }
}

fn kernel(host: &HostFacts) -> Finding {
    let release = host.release.as_str();
    if host.is_kernel(6, 1) {
        ok("kernel", release)
    } else if host.is_kernel(5, 14) {
        limited("kernel", format!("{release} is older than those tested"), "use 6.1 or newer")
    } else {
        missing("kernel", format!("{release} is too old"), "use 6.1 or newer")
    }
}

fn namespaces(host: &HostFacts) -> Finding {
    let lacks = |name: &&str| !host.namespaces.contains(name);
    let lacking: Vec<_> = NAMESPACES.into_iter().filter(lacks).collect();
    match lacking.as_slice() {
        [] => ok("namespaces", host.namespaces.join(" ")),
        lacking => missing(
            "namespaces",
            format!("without {}", lacking.join(" ")),
            "use a kernel that has all of them, as distributions' kernels do",
        ),
    }
}

fn cgroup(host: &HostFacts) -> Finding {
    match &host.cgroup {
        Some(mount) => {
            let form = if host.v1_controllers.is_empty() { "unified" } else { "hybrid" };
            ok("cgroup v2", format!("{form}, mounted on {}", mount.display()))
        }
        None => missing(
            "cgroup v2",
            "not mounted",
            "mount it: mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified",
        ),
    }
}

/// cgroup.kill is as old as Linux 5.14, starting in a cgroup as 5.7.
fn cgroup_kill(host: &HostFacts) -> Finding {
    match host.is_kernel(5, 14) {
        true => ok("cgroup calls", "start in a cgroup, kill one as a whole"),
        false => missing("cgroup calls", "the kernel can't kill a cgroup", "use 6.1 or newer"),
    }
}

fn controllers(host: &HostFacts) -> Finding {
    let topic = "limits";
    let lacks = |name: &&str| !host.controllers.iter().any(|has| has == name);
    let lacking: Vec<_> = CONTROLLERS.into_iter().filter(lacks).collect();
    if lacking.is_empty() {
        return ok(topic, format!("enforced by {}", CONTROLLERS.join(" ")));
    }
    let on_v1 = lacking.iter().any(|name| host.v1_controllers.iter().any(|has| has == name));
    let remedy = match on_v1 {
        true => "they are on cgroup v1; boot with cgroup_no_v1=all",
        false => "use a kernel that has them",
    };
    limited(topic, format!("not enforced by {}", lacking.join(" ")), remedy)
}

fn sockets(host: &HostFacts) -> Finding {
    match host.filters_sockets {
        true => {
            ok("socket families", "those of guests are filtered by the kernel's security hooks")
        }
        false => limited(
            "socket families",
            "filtered by system call only, so 32-bit programs in guests can't use socketcall(2)",
            "use Linux 6.0 or newer, not locked down, with bpf in its parameter lsm=",
        ),
    }
}

fn user_namespaces(host: &HostFacts) -> Finding {
    let topic = "user namespaces";
    match host.max_user_namespaces {
        Some(0) => missing(topic, "none are allowed", "sysctl user.max_user_namespaces=65536"),
        Some(few @ ..64) => {
            limited(topic, format!("at most {few}"), "sysctl user.max_user_namespaces=65536")
        }
        Some(many) => ok(topic, format!("at most {many} for each user")),
        None => missing(topic, "the kernel has none", "use a kernel that has them"),
    }
}

fn roots(host: &HostFacts) -> Finding {
    let (topic, roots) = ("guests' roots", host.roots.display());
    let Some(mount) = &host.roots_mount else {
        return limited(topic, format!("the mount of {roots} is unknown"), "look at findmnt(8)");
    };
    let set = |option: &&&str| mount.has(option);
    let grave: Vec<_> = ["ro", "noexec"].iter().filter(set).copied().collect();
    let light: Vec<_> = ["nosuid"].iter().filter(set).copied().collect();
    let remount = || format!("remount {} without it", mount.point.display());
    if !grave.is_empty() {
        missing(topic, format!("{roots} is mounted {}", grave.join(", ")), remount())
    } else if !light.is_empty() {
        limited(topic, format!("{roots} is mounted nosuid, sudo can't work inside"), remount())
    } else {
        ok(topic, format!("{} on {roots}", mount.kind))
    }
}

fn idmapped(host: &HostFacts) -> Finding {
    let topic = "id mapping";
    let kind = host.roots_mount.as_ref().map_or("unknown", |mount| mount.kind.as_str());
    let since = IDMAPPED.iter().find(|(known, _)| *known == kind).map(|(_, since)| *since);
    let remedy = "keep guests on ext4, xfs or btrfs, or set security.users = \"identity\"";
    match since {
        Some((major, minor)) if host.is_kernel(major, minor) => {
            ok(topic, format!("{kind} maps ids since {major}.{minor} (by version, not tried)"))
        }
        Some((major, minor)) => {
            limited(topic, format!("{kind} maps ids only since {major}.{minor}"), remedy)
        }
        None => limited(topic, format!("{kind} isn't known to map ids"), remedy),
    }
}

fn space(host: &HostFacts) -> Finding {
    let topic = "disk space";
    let Some(bytes) = host.free_bytes else {
        return limited(topic, "unknown", "look at df(1)");
    };
    let mebibytes = bytes / (1024 * 1024);
    let text = match mebibytes {
        0..10_240 => format!("{mebibytes} MiB free"),
        _ => format!("{} GiB free", mebibytes / 1024),
    };
    match mebibytes {
        0..1024 => limited(topic, text, "a distribution takes 200 MiB to 2 GiB"),
        _ => ok(topic, text),
    }
}

fn processes(host: &HostFacts) -> Finding {
    match host.pid_max {
        Some(few @ ..16_384) => limited(
            "processes",
            format!("at most {few} on this host, all guests included"),
            "sysctl kernel.pid_max=4194304",
        ),
        Some(many) => ok("processes", format!("at most {many} on this host, all guests included")),
        None => limited("processes", "kernel.pid_max is unknown", "mount /proc"),
    }
}

/// Processes of one guest: its cgroup bounds them, or only the resource limit.
fn bombs(host: &HostFacts) -> Finding {
    let topic = "guests' processes";
    let has = |list: &[String]| list.iter().any(|name| name == "pids");
    if host.bounds_processes {
        return ok(topic, format!("at most {PROCESSES} in each guest"));
    }
    let remedy = match (&host.cgroup, has(&host.controllers)) {
        (Some(mount), true) => {
            format!("echo +pids >{}/cgroup.subtree_control", mount.display())
        }
        _ if has(&host.v1_controllers) => {
            "the pids controller is on cgroup v1; boot with cgroup_no_v1=all".to_owned()
        }
        _ => "use a kernel that has the pids controller".to_owned(),
    };
    limited(topic, "any number for root in guests with users = identity or host", remedy)
}

fn inotify(host: &HostFacts) -> Finding {
    match host.max_inotify_instances {
        Some(few @ ..64) => limited(
            "inotify",
            format!("at most {few} instances for each guest"),
            "sysctl fs.inotify.max_user_instances=128",
        ),
        Some(many) => ok(
            "inotify",
            format!(
                "at most {many} instances for each guest; all with users = \"host\" share the \
                 host's root's"
            ),
        ),
        None => limited("inotify", "the kernel has none", "use a kernel that has it"),
    }
}

/// What this host can't give of the documented resource limits: a limit's
/// title, the hard value wanted and the one had; `None` is infinity.
pub fn resource_limits(short: &[(&str, Option<u64>, u64)]) -> Finding {
    if short.is_empty() {
        return ok("resource limits", "as documented");
    }
    let low = short.iter().map(|(title, wanted, had)| {
        let wanted = wanted.map_or("unlimited".to_owned(), |wanted| wanted.to_string());
        format!("{} {had} instead of {wanted}", title.to_lowercase())
    });
    let low: Vec<String> = low.collect();
    limited(
        "resource limits",
        low.join(", "),
        "give vserver CAP_SYS_RESOURCE, or logins inside that ask for more are refused",
    )
}

fn copy(host: &HostFacts) -> Finding {
    match host.tools.contains(&"dpkg-query") {
        true => ok("build: copy", "dpkg-query lists this host's packages"),
        false => limited(
            "build: copy",
            "this host has no dpkg-query",
            "only Debian and its kin can be copied; use --method template",
        ),
    }
}

fn debootstrap(host: &HostFacts) -> Finding {
    match ["mmdebstrap", "debootstrap"].into_iter().find(|tool| host.tools.contains(tool)) {
        Some(tool) => ok("build: debootstrap", format!("by {tool}")),
        None => limited(
            "build: debootstrap",
            "neither mmdebstrap nor debootstrap is installed",
            "apt install mmdebstrap",
        ),
    }
}

fn supervision(host: &HostFacts) -> Finding {
    match host.has_systemd {
        true => ok("init", "systemd"),
        false => ok("init", "not systemd; 'start' puts supervisors in the background"),
    }
}

fn logs(host: &HostFacts) -> Finding {
    match host.has_journal {
        true => ok("logs", "in the journal and /var/log/vserver"),
        false => ok("logs", "in /var/log/vserver; there is no journal"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Mount;

    /// A host on which everything works.
    fn good() -> HostFacts {
        let every = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let capabilities = NEEDED.iter().chain(&NEEDED_ON_HOSTS).chain(&["CAP_SYS_RESOURCE"]);
        HostFacts {
            is_root: true,
            is_guest: false,
            capabilities: capabilities.map(|name| (*name).to_owned()).collect(),
            release: "6.12.1-amd64".into(),
            namespaces: NAMESPACES.to_vec(),
            filters_sockets: true,
            cgroup: Some("/sys/fs/cgroup".into()),
            controllers: every(&CONTROLLERS),
            bounds_processes: true,
            v1_controllers: Vec::new(),
            roots: "/var/lib/vservers".into(),
            roots_mount: Some(Mount {
                root: "/".into(),
                point: "/".into(),
                options: every(&["rw"]),
                kind: "ext4".into(),
            }),
            free_bytes: Some(50 << 30),
            max_user_namespaces: Some(100_000),
            max_inotify_instances: Some(128),
            pid_max: Some(4_194_304),
            tools: vec!["mmdebstrap", "dpkg-query"],
            has_systemd: true,
            has_journal: true,
        }
    }

    #[track_caller]
    fn expect(topic: &str, grade: Grade, change: impl FnOnce(&mut HostFacts)) {
        let mut host = good();
        change(&mut host);
        let findings = judge(&host);
        let found = findings.iter().find(|finding| finding.topic == topic).expect(topic);
        assert_eq!(found.grade, grade, "{found:?}");
        assert_eq!(found.remedy.is_some(), grade != Grade::Ok, "{found:?}");
        assert_eq!(is_able(&findings), grade != Grade::Missing);
    }

    #[test]
    fn a_good_host_has_nothing_to_mend() {
        let findings = judge(&good());
        assert!(findings.iter().all(|finding| finding.grade == Grade::Ok), "{findings:?}");
        assert!(text(&findings).ends_with("This host can run guests.\n"));
    }

    #[test]
    fn what_is_missing_is_named() {
        use Grade::{Limited, Missing, Ok};
        expect("root", Missing, |host| host.is_root = false);
        expect("capabilities", Missing, |host| {
            host.capabilities.remove("CAP_SYS_ADMIN");
        });
        expect("capabilities", Missing, |host| {
            host.capabilities.remove("CAP_MKNOD");
        });
        expect("capabilities", Ok, |host| {
            host.capabilities.remove("CAP_MKNOD");
            host.is_guest = true;
        });
        expect("capabilities", Limited, |host| {
            host.capabilities.remove("CAP_SYS_RESOURCE");
        });
        expect("kernel", Limited, |host| host.release = "5.15.0".into());
        expect("namespaces", Missing, |host| host.namespaces.retain(|name| *name != "time"));
        expect("cgroup v2", Missing, |host| host.cgroup = None);
        expect("socket families", Limited, |host| host.filters_sockets = false);
        expect("limits", Limited, |host| host.controllers.clear());
        expect("guests' processes", Limited, |host| host.bounds_processes = false);
        expect("user namespaces", Missing, |host| host.max_user_namespaces = Some(0));
        expect("id mapping", Limited, |host| {
            host.roots_mount.as_mut().unwrap().kind = "zfs".into()
        });
        expect("guests' roots", Missing, |host| {
            host.roots_mount.as_mut().unwrap().options.push("noexec".into());
        });
        expect("disk space", Limited, |host| host.free_bytes = Some(1 << 20));
        expect("build: debootstrap", Limited, |host| host.tools.clear());
    }

    #[test]
    fn nothing_known_is_nothing_possible() {
        let findings = judge(&HostFacts::default());
        assert!(!is_able(&findings));
        let json: serde_json::Value = serde_json::from_str(&json(&findings)).unwrap();
        assert_eq!(json[0]["grade"], "missing");
    }
}
