//! socket(2): TCP, UDP and ping only.
//!
//! Raw sockets make packets by themselves; MPTCP and SCTP take up addresses
//! that no bind or connect has named.

use crate::bpf::{Assembler, Label, Program, Register, When};

/// Offsets in `struct bpf_sock` (linux/bpf.h).
const TYPE: i16 = 8;
const PROTOCOL: i16 = 12;

/// Types with their protocols.
const ALLOWED: [(i32, i32); 4] = [
    (libc::SOCK_STREAM, libc::IPPROTO_TCP),
    (libc::SOCK_DGRAM, libc::IPPROTO_UDP),
    (libc::SOCK_DGRAM, libc::IPPROTO_ICMP),
    (libc::SOCK_DGRAM, libc::IPPROTO_ICMPV6),
];

/// Raw sockets get EPERM, as without CAP_NET_RAW; the others EPROTONOSUPPORT,
/// as from a kernel that doesn't have them: what tries MPTCP goes on with TCP.
pub fn filter() -> Program {
    use Register::{R1, R2, R3};
    let mut program = Assembler::default();
    program.load_u32(R2, R1, TYPE);
    program.load_u32(R3, R1, PROTOCOL);
    for (kind, protocol) in ALLOWED {
        let mut next = Label::default();
        program.jump_u32(R2, When::NotEqual, kind, &mut next);
        program.jump_u32(R3, When::NotEqual, protocol, &mut next);
        program.give(1);
        program.place(next);
    }
    let mut raw = Label::default();
    program.jump_u32(R2, When::Equal, libc::SOCK_RAW, &mut raw);
    program.refuse(libc::EPROTONOSUPPORT);
    program.place(raw);
    program.give(0);
    program.finish()
}
