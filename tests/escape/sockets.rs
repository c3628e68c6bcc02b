//! Families of sockets beside those that a guest needs. The filter sees the
//! family, and so does a program on the cgroup. Where the kernel takes no such
//! program, the filter refuses the one call whose family it can't see.

use crate::case::Held::Families;
use crate::case::{Case, case};

/// The cases of this file.
pub const CASES: &[Case] = &[
    case("vsock", "past the machine, to what runs it", Families, &["call", "socket-vsock"]),
    case(
        "vsock in half a register",
        "the kernel takes the lower half",
        Families,
        &["call", "socket-vsock-high"],
    ),
    case("vsock of 32 bits", "socket(2)", Families, &["call32", "socket-vsock"]),
    case(
        "vsock by socketcall",
        "the family lies in memory",
        Families,
        &["call32", "socketcall-vsock"],
    ),
    case("a pair of vsocks", "socketpair(2)", Families, &["call", "socketpair-vsock"]),
    case("llc", "a protocol that few look at", Families, &["call", "socket-llc"]),
    case("xdp", "packets past the network", Families, &["call", "socket-xdp"]),
    case("alg", "ciphers of the kernel", Families, &["call", "socket-alg"]),
    case("key", "keys of IPsec", Families, &["call", "socket-key"]),
    case("tipc", "CVE-2021-43267", Families, &["call", "socket-tipc"]),
    case("can", "a bus of vehicles", Families, &["call", "socket-can"]),
];
