//! System calls that no guest needs, as 64-bit, 32-bit and x32 programs make
//! them. Getting as far as the kernel's judgement of the arguments counts as
//! success.

use crate::case::Held::{self, By, ByWithin, Unproven};
use crate::case::{Case, case};

/// What the filter alone refuses.
const FILTER: Held = By(&["system-calls"]);

/// What needs a capability besides.
const BOTH: Held = By(&["capabilities", "system-calls"]);

/// A limit for the kernel, a filter for what the limit misses.
const NESTING: Held = ByWithin(&["nesting", "system-calls"]);

macro_rules! calls {
    ($($way:literal $held:ident $technique:literal: $($name:literal)+;)+) => {
        &[$($(case(concat!($way, " ", $name), $technique, $held, &[$way, $name]),)+)+]
    };
}

/// As 64-bit programs make them.
pub const NATIVE: &[Case] = calls! {
    "call" BOTH "mounts": "mount" "umount2" "pivot_root";
    "call" BOTH "mounts, the newer calls":
        "fsopen" "fsmount" "fspick" "open_tree" "open_tree_attr" "move_mount" "mount_setattr";
    "call" FILTER "mounts, the newer calls": "fsconfig";
    "call" BOTH "namespaces": "unshare-newns";
    "call" FILTER "namespaces": "setns" "clone-newuser" "clone-newuser-high" "clone3-newuser";
    "call" FILTER "nested user namespaces": "unshare-newuser";
    "call" FILTER "modules": "init_module" "finit_module" "delete_module";
    "call" FILTER "another kernel": "kexec_load" "kexec_file_load";
    "call" BOTH "programs in the kernel": "bpf";
    "call" FILTER "watching": "perf_event_open";
    "call" FILTER "keyrings": "add_key" "request_key" "keyctl";
    "call" BOTH "the clock": "settimeofday";
    "call" FILTER "the clock": "adjtimex" "clock_adjtime";
    "call" BOTH "swap": "swapon" "swapoff";
    "call" FILTER "quotas": "quotactl" "quotactl_fd";
    "call" FILTER "files by their numbers": "open_by_handle_at";
    "call" FILTER "stopping the kernel at a fault": "userfaultfd";
    "call" FILTER "io_uring": "io_uring_setup" "io_uring_enter" "io_uring_register";
    "call" BOTH "the kernel's messages": "syslog";
    "call" FILTER "ports of devices": "iopl" "ioperm";
    "call" BOTH "process accounting": "acct";
    "call" FILTER "calls of old": "sysfs";
    "call" FILTER "CVE-2016-7545: typing for another": "tiocsti";
    "call" FILTER "CVE-2019-7303: a request in half a register": "tiocsti-high";
    "call" FILTER "CVE-2023-1523: pasting for another": "tioclinux" "tioclinux-high";
    "call" FILTER "CVE-2017-2636: modules of line disciplines": "tiocsetd" "tiocsetd-high";
};

/// As 32-bit programs make them.
pub const COMPATIBLE: &[Case] = calls! {
    "call32" BOTH "mounts": "mount" "umount2" "pivot_root";
    "call32" BOTH "mounts, the newer calls":
        "fsopen" "fsmount" "fspick" "open_tree" "open_tree_attr" "move_mount" "mount_setattr";
    "call32" FILTER "mounts, the newer calls": "fsconfig";
    "call32" BOTH "namespaces": "unshare-newns";
    "call32" FILTER "namespaces": "setns" "clone-newuser" "clone3-newuser" "unshare-newuser";
    "call32" FILTER "modules": "init_module" "finit_module" "delete_module";
    "call32" FILTER "another kernel": "kexec_load";
    "call32" BOTH "programs in the kernel": "bpf";
    "call32" FILTER "watching": "perf_event_open";
    "call32" FILTER "keyrings": "add_key" "request_key" "keyctl";
    "call32" BOTH "the clock": "settimeofday";
    "call32" FILTER "the clock": "adjtimex" "clock_adjtime" "clock_settime64" "stime";
    "call32" BOTH "swap": "swapon" "swapoff";
    "call32" FILTER "quotas": "quotactl" "quotactl_fd";
    "call32" FILTER "files by their numbers": "open_by_handle_at";
    "call32" FILTER "stopping the kernel at a fault": "userfaultfd";
    "call32" FILTER "io_uring": "io_uring_setup" "io_uring_enter" "io_uring_register";
    "call32" BOTH "the kernel's messages": "syslog";
    "call32" FILTER "ports of devices": "iopl" "ioperm";
    "call32" BOTH "process accounting": "acct";
    "call32" FILTER "calls of old": "sysfs";
    "call32" FILTER "typing for another": "tiocsti" "tioclinux";
    "call32" FILTER "modules of line disciplines": "tiocsetd";
};

const NO_X32: Held = Unproven("this kernel answers all x32 calls with ENOSYS itself");

/// As x32 programs make them.
pub const X32: &[Case] = calls! {
    "callx32" NO_X32 "x32, whose numbers no 64-bit filter names":
        "getpid" "mount" "execve" "unshare-newuser" "io_uring_setup" "keyctl";
};

/// What a user namespace of its own would allow.
pub const WITHIN: &[Case] = &[
    case("nested user namespace", "unshare(2)", NESTING, &["call", "unshare-newuser"]),
    case("nested user namespace of 32 bits", "unshare(2)", NESTING, &["call32", "unshare-newuser"]),
    case("cloned user namespace", "clone(2)", NESTING, &["call", "clone-newuser"]),
    case("clone3", "clone3(2), whose flags no filter sees", NESTING, &["call", "clone3-newuser"]),
];

/// What root sets by calls.
pub const SETTINGS: &[Case] = &[
    case("clock", "clock_settime(2), to what it shows", BOTH, &["clock"]),
    case("hostname", "sethostname(2)", By(&["capabilities"]), &["call", "sethostname"]),
    case("domainname", "setdomainname(2)", By(&["capabilities"]), &["call", "setdomainname"]),
    case(
        "hostname of 32 bits",
        "sethostname(2)",
        By(&["capabilities"]),
        &["call32", "sethostname"],
    ),
];
