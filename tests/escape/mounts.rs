//! File systems of the kernel, mounted anew or uncovered.

use crate::case::Held::By;
use crate::case::{Case, case};

const BOTH: crate::case::Held = By(&["capabilities", "system-calls"]);

/// The cases of this file.
pub const CASES: &[Case] = &[
    case(
        "release agent",
        "CVE-2022-0492: a cgroup v1 hierarchy's release_agent",
        BOTH,
        &["fresh", "cgroup", "none,name={hierarchy}", "release_agent"],
    ),
    case(
        "proc anew",
        "a /proc without covers: core_pattern",
        BOTH,
        &["fresh", "proc", "", "sys/kernel/core_pattern"],
    ),
    case("sysfs anew", "a writable /sys", BOTH, &["fresh", "sysfs", "", "kernel/rcu_expedited"]),
    case(
        "binfmt_misc",
        "a program of the guest's for a kind of file",
        BOTH,
        &["fresh", "binfmt_misc", "", "register"],
    ),
    case("devtmpfs", "the host's /dev", BOTH, &["fresh", "devtmpfs", "", "null"]),
    case(
        "uncovered /proc/sys",
        "umount(2) and remounting of a cover: core_pattern",
        BOTH,
        &["uncover-rewrite", "/proc/sys", "/proc/sys/kernel/core_pattern"],
    ),
    case(
        "remounted /sys",
        "remounting the read-only /sys",
        BOTH,
        &["uncover-rewrite", "/sys", "/sys/kernel/rcu_expedited"],
    ),
];
