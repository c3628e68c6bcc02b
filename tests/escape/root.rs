//! Out of the root directory.

use crate::case::Held::{By, OwnRoot};
use crate::case::{Case, case};

/// The cases of this file.
pub const CASES: &[Case] = &[
    case(
        "chroot twice",
        "chroot(2) below the current directory, then '..'",
        OwnRoot,
        &["chroot-twice", "{canary}"],
    ),
    case(
        "chroot and a descriptor",
        "fchdir(2) to a directory outside the inner root",
        OwnRoot,
        &["chroot-descriptor", "{canary}"],
    ),
    case(
        "open by handle",
        "shocker: a file by the number of its inode",
        By(&["system-calls"]),
        &["open-by-handle", "{handle}"],
    ),
    case(
        "leaked descriptors",
        "CVE-2024-21626: descriptors and current directories in /proc",
        OwnRoot,
        &["descriptors", "{canary}"],
    ),
    case(
        "roots of processes",
        "/proc/PID/root of everybody in sight",
        OwnRoot,
        &["roots", "{canary}"],
    ),
];
