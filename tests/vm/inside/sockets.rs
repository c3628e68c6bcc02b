//! A kernel with BPF among its security modules: there the family of a socket
//! is judged where the kernel makes it, however it was asked for.

use tests::{Guest, Host, executable};

/// The program of tests/attacker.
const ATTACKER: &str = "/payload/attacker";

/// AF_ALG and AF_VSOCK, each way that there is.
const FORBIDDEN: [[&str; 2]; 8] = [
    ["call", "socket-alg"],
    ["call32", "socket-alg"],
    ["call32", "socketcall-alg"],
    ["call", "socket-vsock"],
    ["call", "socket-vsock-high"],
    ["call", "socketpair-vsock"],
    ["call32", "socket-vsock"],
    ["call32", "socketcall-vsock"],
];

/// What 32-bit programs use.
const ALLOWED: [[&str; 2]; 2] = [["call32", "socketcall-unix"], ["call32", "socketcall-inet"]];

/// By io_uring: AF_ALG, AF_VSOCK; AF_UNIX, AF_INET.
const FORBIDDEN_RINGS: [[&str; 2]; 2] = [["ring-socket", "38"], ["ring-socket", "40"]];
const ALLOWED_RINGS: [[&str; 2]; 2] = [["ring-socket", "1"], ["ring-socket", "2"]];

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn of_forbidden_families_are_refused_and_of_others_made() {
    let host = Host::new();
    let guest = guest(&host, "false");
    guest.start();
    refused(&guest, &FORBIDDEN);
    made(&guest, &ALLOWED);
    refused(&guest, &FORBIDDEN_RINGS);
    guest.stop();
}

/// The filter of system calls left out, what is refused is refused by the
/// program on the guest's cgroup; that left out too, nothing is.
#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn are_judged_without_the_filter_of_system_calls() {
    let host = Host::new();
    let guest = guest(&host, "false");
    guest.start_without("system-calls");
    refused(&guest, &FORBIDDEN);
    made(&guest, &ALLOWED);
    guest.stop();
    guest.start_without("system-calls,devices");
    for [how, call] in FORBIDDEN {
        guest.exec(["/attacker", how, call]).ok();
    }
    guest.stop();
}

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn are_judged_when_io_uring_makes_them() {
    let host = Host::new();
    let guest = guest(&host, "true");
    guest.start();
    refused(&guest, &FORBIDDEN_RINGS);
    made(&guest, &ALLOWED_RINGS);
    refused(&guest, &FORBIDDEN);
    guest.stop();
}

fn guest<'a>(host: &'a Host, io_uring: &str) -> Guest<'a> {
    let guest = host.guest("web").set("security.io_uring", io_uring).build();
    executable::copy(ATTACKER, guest.root().join("attacker"));
    guest
}

#[track_caller]
fn refused(guest: &Guest<'_>, attempts: &[[&str; 2]]) {
    for [how, call] in attempts {
        let answer = guest.exec(["/attacker", how, call]).code(1);
        assert!(answer.stdout.starts_with("refused: "), "{answer}");
    }
}

/// Not only tried: the kernel has returned a descriptor.
#[track_caller]
fn made(guest: &Guest<'_>, attempts: &[[&str; 2]]) {
    for [how, call] in attempts {
        let answer = guest.exec(["/attacker", how, call]).ok();
        assert!(answer.stdout.contains(" returned "), "{answer}");
    }
}
