//! Flags of contexts and networks, as util-vserver wrote them. Pure.

use super::values::{fine, missing};
use super::{Outcome, Setting, Theirs};

/// Flags: their name, whether vserver does what they meant, and how.
const FLAGS: [(&str, bool, &str); 40] = [
    ("lock", true, "no guest leaves its context"),
    ("sched", true, "every guest is one for the scheduler, 'limits.cpu_weight' its share"),
    ("nproc", true, "'limits.processes' counts the whole guest"),
    ("private", false, "the host's root can enter every guest"),
    ("fakeinit", true, "every guest has a PID 1"),
    ("info_init", true, "every guest has a PID 1"),
    ("hideinfo", true, "a guest doesn't see others"),
    ("hide_vinfo", true, "a guest doesn't see others"),
    ("ulimit", true, "limits count for the whole guest"),
    ("namespace", true, "every guest has its own mounts"),
    ("minit", false, "see 'boot.style', or give the program as 'boot.command'"),
    ("sched_hard", true, "'limits.cpus' is a limit, 'limits.cpu_weight' a share"),
    ("sched_prio", true, "'limits.cpus' is a limit, 'limits.cpu_weight' a share"),
    ("sched_pause", false, "'vserver pause' stops a guest that runs"),
    ("virt_mem", false, "a guest sees the host's memory in /proc/meminfo"),
    ("virt_uptime", true, "every guest has its own uptime"),
    ("virt_cpu", false, "a guest sees the host's processors in /proc/cpuinfo"),
    ("virt_load", false, "a guest sees the host's load"),
    ("virt_time", false, "a guest has the host's time of the day"),
    ("hide_mount", true, "a guest sees its own mounts only"),
    ("hide_netif", true, "a guest sees its own interfaces only"),
    ("state_setup", true, "vserver keeps a guest's state"),
    ("state_init", true, "vserver keeps a guest's state"),
    ("state_admin", true, "vserver keeps a guest's state"),
    ("sc_helper", true, "a supervisor sees what becomes of a guest"),
    ("reboot_kill", true, "'reboot' in a guest ends all of it"),
    ("persistent", false, "a guest ends with its PID 1"),
    ("fork_rss", false, "'limits.memory' counts all memory of a guest"),
    ("prolific", false, "'limits.processes' is for all guests alike"),
    ("igneg_nice", false, "raising a nice level fails in a guest, with an error"),
    ("igneg_ionice", false, "raising a priority fails in a guest, with an error"),
    ("default", true, "these are every guest's"),
    ("secure", true, "these are every guest's"),
    ("single_ip", true, "the first address is the source of what names none"),
    ("lback_remap", true, "every guest has its own 127.0.0.1"),
    ("lback_allow", true, "every guest has its own 127.0.0.1"),
    ("hide_lback", true, "every guest has its own 127.0.0.1"),
    ("none", true, "there is no flag in it"),
    ("", true, "there is no flag in it"),
    ("0", true, "there is no flag in it"),
];

/// What becomes of a flag.
pub(super) fn flag(_: Theirs<'_>, setting: &Setting) -> Outcome {
    let lower = setting.value.to_ascii_lowercase();
    let (is_on, bare) = match lower.strip_prefix(['!', '~']) {
        Some(bare) => (false, bare),
        None => (true, &*lower),
    };
    let bare = bare.strip_prefix("vxf_").or_else(|| bare.strip_prefix("nxf_")).unwrap_or(bare);
    match FLAGS.iter().find(|(name, _, _)| *name == bare) {
        None => missing("there is no such flag"),
        Some((_, true, how)) if is_on => fine(*how),
        Some((_, false, why)) if is_on => missing(*why),
        Some((_, true, how)) => missing(format!("it can't be taken away: {how}")),
        Some((_, false, _)) => fine("no guest has it"),
    }
}
