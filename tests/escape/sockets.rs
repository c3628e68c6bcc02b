//! Families of sockets beside those that a guest needs.

use crate::case::Held::{self, By};
use crate::case::{Case, case};

/// The filter sees the family, and so does a program on the cgroup.
const BOTH: Held = By(&["system-calls", "devices"]);

const FAMILIES: &[Case] = &[
    case("vsock", "past the machine, to what runs it", BOTH, &["call", "socket-vsock"]),
    case(
        "vsock in half a register",
        "the kernel takes the lower half",
        BOTH,
        &["call", "socket-vsock-high"],
    ),
    case("vsock of 32 bits", "socket(2)", BOTH, &["call32", "socket-vsock"]),
    case("vsock by socketcall", "the family lies in memory", BOTH, &["call32", "socketcall-vsock"]),
    case("a pair of vsocks", "socketpair(2)", BOTH, &["call", "socketpair-vsock"]),
    case("llc", "a protocol that few look at", BOTH, &["call", "socket-llc"]),
    case(
        "xdp",
        "packets past the network",
        By(&["system-calls", "devices", "capabilities"]),
        &["call", "socket-xdp"],
    ),
    case("alg", "ciphers of the kernel", By(&["system-calls"]), &["call", "socket-alg"]),
    case("key", "keys of IPsec", By(&["system-calls"]), &["call", "socket-key"]),
    case("tipc", "CVE-2021-43267", By(&["system-calls"]), &["call", "socket-tipc"]),
    case("can", "a bus of vehicles", By(&["system-calls"]), &["call", "socket-can"]),
];

tests_of!(FAMILIES);
