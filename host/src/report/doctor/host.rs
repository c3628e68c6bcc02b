//! What the kernel and the session give: root, capabilities, namespaces.

use super::{Finding, limited, missing, ok};
use crate::facts::{HostFacts, NAMESPACES};

/// Capabilities without which no guest can be started.
pub(super) const NEEDED: [&str; 11] = [
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
pub(super) const NEEDED_ON_HOSTS: [&str; 1] = ["CAP_MKNOD"];

pub(super) fn root(host: &HostFacts) -> Finding {
    match host.is_root {
        true => ok("root", "vserver runs as root"),
        false => missing("root", "vserver doesn't run as root", "use sudo or become root"),
    }
}

pub(super) fn capabilities(host: &HostFacts) -> Finding {
    let topic = "capabilities";
    let lacks = |name: &&str| !host.capabilities.contains(*name);
    let on_hosts = NEEDED_ON_HOSTS.into_iter().filter(|_| !host.resources.is_guest);
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

pub(super) fn kernel(host: &HostFacts) -> Finding {
    let release = host.release.as_str();
    if host.is_kernel(6, 1) {
        ok("kernel", release)
    } else if host.is_kernel(5, 14) {
        limited("kernel", format!("{release} is older than those tested"), "use 6.1 or newer")
    } else {
        missing("kernel", format!("{release} is too old"), "use 6.1 or newer")
    }
}

pub(super) fn namespaces(host: &HostFacts) -> Finding {
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

pub(super) fn user_namespaces(host: &HostFacts) -> Finding {
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

pub(super) fn sockets(host: &HostFacts) -> Finding {
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

/// Modules for `security.apparmor` and `security.selinux`.
pub(super) fn labels(host: &HostFacts) -> Finding {
    let topic = "security labels";
    match (host.labels.selinux, host.labels.apparmor) {
        (Some(true), _) => ok(topic, "SELinux enforces its policy; guests can have labels of it"),
        (Some(false), _) => limited(
            topic,
            "SELinux is permissive: guests can have labels of it, and nothing is refused",
            "setenforce 1",
        ),
        (None, true) => ok(topic, "AppArmor is active; guests can have profiles of it"),
        (None, false) => limited(
            topic,
            "guests can have none: neither AppArmor nor SELinux is active",
            "add security=apparmor or security=selinux to the kernel's parameters",
        ),
    }
}

pub(super) fn processes(host: &HostFacts) -> Finding {
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

pub(super) fn process_records(host: &HostFacts) -> Finding {
    let topic = "process accounting";
    match host.resources.records_processes {
        // Inside a guest it is refused (acct(2)).
        true if host.resources.is_guest => limited(
            topic,
            "not for guests of a guest",
            "give the guest itself accounting.processes: theirs are recorded with its own",
        ),
        true => ok(topic, "the kernel can record guests' processes"),
        false => limited(
            topic,
            "the kernel has none, so guests with accounting.processes can't be started",
            "use a kernel with CONFIG_BSD_PROCESS_ACCT_V3, as distributions' kernels have it",
        ),
    }
}

pub(super) fn inotify(host: &HostFacts) -> Finding {
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
