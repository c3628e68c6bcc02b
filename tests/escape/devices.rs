//! Device nodes made inside: mknod(2) is refused, and without that opening.

use crate::case::Held::{self, By};
use crate::case::{Case, case};

const BOTH: Held = By(&["capabilities", "devices"]);

/// The cases of this file.
pub const CASES: &[Case] = &[
    case(
        "block device",
        "a disk of the host's, read raw",
        BOTH,
        &["node", "b", "7", "{loop}", "{secret}"],
    ),
    case("mem", "the machine's memory", BOTH, &["node", "c", "1", "1", ""]),
    case("port", "ports of the machine's devices", BOTH, &["node", "c", "1", "4", ""]),
    case("kmsg", "the kernel's messages", BOTH, &["node", "c", "1", "11", ""]),
    case("console", "the host's console", BOTH, &["node", "c", "5", "1", ""]),
    case("terminal", "the host's first terminal", BOTH, &["node", "c", "4", "1", ""]),
    case("loop-control", "block devices out of files", BOTH, &["node", "c", "10", "237", ""]),
    case("fuse", "file systems of the guest's own making", BOTH, &["node", "c", "10", "229", ""]),
    case("kvm", "virtual machines", BOTH, &["node", "c", "10", "232", ""]),
    case("tun", "network interfaces", BOTH, &["node", "c", "10", "200", ""]),
    case("uinput", "keys and mice", BOTH, &["node", "c", "10", "223", ""]),
    case(
        "random generator",
        "a device without a number of its own",
        BOTH,
        &["node", "c", "10", "183", ""],
    ),
];
