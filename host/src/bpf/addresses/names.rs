//! What getsockname(2), getpeername(2), accept(2) and recvmsg(2) tell: the own
//! loopback address is shown as 127.0.0.1, or ::1.

use core::net::Ipv6Addr;

use super::Addresses;
use super::words::{IP4, IP6, LOCALHOST, word};
use crate::bpf::{Assembler, Label, Program, Register, When};

/// For IPv4 sockets.
pub fn name4(addresses: &Addresses) -> Program {
    use Register::{R1, R6, R7};
    let mut program = Assembler::default();
    let mut end = Label::default();
    program.copy(R6, R1);
    program.load_u32(R7, R6, IP4);
    program.jump_u32(R7, When::NotEqual, word(addresses.loopback), &mut end);
    program.write4(R6, IP4, LOCALHOST);
    program.place(end);
    program.give(1);
    program.finish()
}

/// For IPv6 sockets.
pub fn name6(addresses: &Addresses) -> Program {
    use Register::{R1, R6};
    let mut program = Assembler::default();
    let (mut mapped, mut own) = (Label::default(), Label::default());
    program.copy(R6, R1);
    program.jump_among6(R6, IP6, [addresses.loopback.to_ipv6_mapped()], &mut mapped);
    if addresses.loopback6.is_some() {
        program.jump_among6(R6, IP6, addresses.loopback6, &mut own);
    }
    program.give(1);
    program.place(mapped);
    program.write4(R6, IP6 + 12, LOCALHOST);
    program.give(1);
    if addresses.loopback6.is_some() {
        program.place(own);
        program.write6(R6, IP6, Ipv6Addr::LOCALHOST);
        program.give(1);
    }
    program.finish()
}
