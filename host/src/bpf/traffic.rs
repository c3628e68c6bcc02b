//! Counts bytes of packets, in a map of four numbers: received, sent, and what
//! of these was IPv6.
//!
//! On a guest's link the packets are frames, with their 14 bytes of Ethernet;
//! on the host's own stack those of its sockets, which begin with the IP
//! header, and what stays on the host isn't traffic. A packet that is cut into
//! several later on (GSO) is counted before, with one header. Whoever judges a
//! packet counts it first: two programs for each would take twice as long to
//! get into.

use super::{Assembler, Label, Program, Register, When};

/// How many numbers there are.
pub const NUMBERS: usize = 4;

/// Offsets in `struct __sk_buff` (linux/bpf.h).
const LENGTH: i16 = 0;
const PROTOCOL: i16 = 16;
const INTERFACE: i16 = 40;

/// ETH_P_IPV6, as it lies there: in network order.
const IPV6: i32 = 0x86dd_u16.swap_bytes() as i32;

/// Number of the loopback interface of every network (`LOOPBACK_IFINDEX`).
const LOOPBACK: i32 = 1;

/// Let other programs decide (`TC_ACT_UNSPEC`).
const GO_ON: i32 = -1;

/// Which way a packet goes, from where the guest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the guest.
    In,
    /// From it.
    Out,
}

/// For an interface: counts and decides nothing.
pub fn link(map: i32, way: Way) -> Program {
    let mut program = Assembler::default();
    count(&mut program, map, way);
    program.give(GO_ON);
    program.finish()
}

/// Has a program count what passes an interface. The context stays in R1.
pub(super) fn count(program: &mut Assembler, map: i32, way: Way) {
    use Register::{R1, R2, R3, R4};
    let at = if way == Way::In { 0 } else { 8 };
    let mut other = Label::default();
    program.load_u32(R3, R1, LENGTH);
    program.load_u32(R4, R1, PROTOCOL);
    program.value_of(R2, map);
    program.count(R2, at, R3);
    program.jump_u32(R4, When::NotEqual, IPV6, &mut other);
    program.count(R2, 16 + at, R3);
    program.place(other);
}

/// The same of packets of sockets, of which those that stay on the host are
/// left out.
pub(super) fn count_of_sockets(program: &mut Assembler, map: i32, way: Way) {
    use Register::{R1, R2};
    let mut inside = Label::default();
    program.load_u32(R2, R1, INTERFACE);
    program.jump_u32(R2, When::Equal, LOOPBACK, &mut inside);
    count(program, map, way);
    program.place(inside);
}
