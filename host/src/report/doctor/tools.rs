//! What of other programs is there to work with.

use super::{Finding, limited, ok};
use crate::facts::HostFacts;

pub(super) fn copy(host: &HostFacts) -> Finding {
    match host.tools.contains(&"dpkg-query") {
        true => ok("build: copy", "dpkg-query lists this host's packages"),
        false => limited(
            "build: copy",
            "this host has no dpkg-query",
            "only Debian and its kin can be copied; use --method template",
        ),
    }
}

pub(super) fn debootstrap(host: &HostFacts) -> Finding {
    match ["mmdebstrap", "debootstrap"].into_iter().find(|tool| host.tools.contains(tool)) {
        Some(tool) => ok("build: debootstrap", format!("by {tool}")),
        None => limited(
            "build: debootstrap",
            "neither mmdebstrap nor debootstrap is installed",
            "apt install mmdebstrap",
        ),
    }
}

pub(super) fn supervision(host: &HostFacts) -> Finding {
    match host.resources.has_systemd {
        true => ok("init", "systemd"),
        false => ok("init", "not systemd; 'start' puts supervisors in the background"),
    }
}

pub(super) fn logs(host: &HostFacts) -> Finding {
    match host.has_journal {
        true => ok("logs", "in the journal and /var/log/vserver"),
        false => ok("logs", "in /var/log/vserver; there is no journal"),
    }
}
