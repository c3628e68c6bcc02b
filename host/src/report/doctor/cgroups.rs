//! What limits guests: cgroups and their controllers, resource limits.

use std::collections::BTreeMap;

use super::{Finding, limited, missing, ok};
use crate::facts::HostFacts;
use crate::plan::limits::{Lack, PROCESSES, ProcessLimits, lack, remedy};

pub(super) fn cgroup(host: &HostFacts) -> Finding {
    match &host.resources.cgroup {
        Some(mount) => {
            let form = if host.resources.v1_controllers.is_empty() { "unified" } else { "hybrid" };
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
pub(super) fn cgroup_kill(host: &HostFacts) -> Finding {
    match host.is_kernel(5, 14) {
        true => ok("cgroup calls", "start in a cgroup, kill one as a whole"),
        false => missing("cgroup calls", "the kernel can't kill a cgroup", "use 6.1 or newer"),
    }
}

/// Controllers that limits need.
pub(super) const CONTROLLERS: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];

/// What the root cgroup has enabled counts: what it only has can't be used
/// below it.
pub(super) fn controllers(host: &HostFacts) -> Finding {
    let topic = "limits";
    let resources = &host.resources;
    let mut has = Vec::new();
    let mut lacks: BTreeMap<Lack, Vec<&str>> = BTreeMap::new();
    for name in CONTROLLERS {
        match lack(resources, name) {
            None => has.push(name),
            Some(why) => lacks.entry(why).or_default().push(name),
        }
    }
    for file in &resources.missing_files {
        lacks.insert(Lack::NoFile(file), Vec::new());
    }
    let reasons = lacks.iter().map(|(why, names)| remedy(resources, *why, names));
    let (why, remedies): (Vec<String>, Vec<String>) = reasons.unzip();
    let enforced = match has.as_slice() {
        [] => "none are enforced".to_owned(),
        has => format!("enforced by {}", has.join(", ")),
    };
    match why.as_slice() {
        [] => ok(topic, enforced),
        why => limited(topic, format!("{enforced}; {}", why.join("; ")), remedies.join("; ")),
    }
}

/// Processes of one guest: its cgroup bounds them, or only the resource limit.
pub(super) fn bombs(host: &HostFacts) -> Finding {
    let topic = "guests' processes";
    match lack(&host.resources, "pids") {
        None => ok(
            topic,
            format!("at most {PROCESSES} in each guest where limits.processes isn't given"),
        ),
        Some(why) => limited(
            topic,
            "any number for root in guests with users = identity or host",
            remedy(&host.resources, why, &["pids"]).1,
        ),
    }
}

/// What this host can't give of the documented resource limits.
pub(super) fn resource_limits(host: &HostFacts) -> Finding {
    let own = host.resources.own_limits.as_deref().and_then(ProcessLimits::parse);
    let short = own.map(|own| ProcessLimits::documented(None).shortfalls(&own)).unwrap_or_default();
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
