//! Packets: what leaves has an own address as its source, what arrives as its
//! destination.
//!
//! These decide, whatever the other programs have let a socket do: an
//! implicit bind, ping sockets, a source in a control message pass those.
//!
//! Loopback addresses are nobody's outside: from one the own addresses alone
//! can be reached, and to one come packets of the own addresses alone. Programs
//! trust 127.0.0.0/8, and must not meet the neighbours there.

use core::net::Ipv6Addr;

use super::Addresses;
use super::words::{LOCALHOST, word};
use crate::bpf::traffic::{self, Way};
use crate::bpf::{Assembler, Function, Label, Program, Register, When};

/// Where a header that lies in pieces is put together on the stack.
const HEADER: i16 = -40;

/// Offsets in an IPv4 header (RFC 791): the protocol's word, addresses.
const PROTOCOL4: i16 = 8;
const SOURCE4: i16 = 12;
const DESTINATION4: i16 = 16;

/// Offsets in an IPv6 header (RFC 8200): the next header, addresses.
const NEXT6: i16 = 6;
const SOURCE6: i16 = 8;
const DESTINATION6: i16 = 24;

/// Offsets in `struct __sk_buff`: the interface that it came by, and where the part of it
/// begins and ends that lies in one piece.
const INTERFACE: i16 = 40;
const DATA: i16 = 76;
const DATA_END: i16 = 80;

/// Number of the loopback interface of every network (`LOOPBACK_IFINDEX`).
const LOOPBACK: i32 = 1;

/// For packets that sockets send or receive, which are counted in this map.
pub fn program(addresses: &Addresses, way: Way, traffic: Option<i32>) -> Program {
    use Register::{R1, R2, R6, R9};
    let mut program = Assembler::default();
    let (mut v4, mut v6, mut dropped) = (Label::default(), Label::default(), Label::default());
    if let Some(map) = traffic {
        traffic::count_of_sockets(&mut program, map, way);
    }
    program.copy(R6, R1);
    reach(&mut program, 20, &mut dropped);
    // Four bits that tell the version come first.
    program.load_u8(R2, R9, 0);
    program.and(R2, 0xf0);
    program.jump_u32(R2, When::Equal, 0x40, &mut v4);
    program.jump_u32(R2, When::Equal, 0x60, &mut v6);
    program.place(dropped);
    program.give(0);

    program.place(v4);
    judge4(&mut program, addresses, way);

    program.place(v6);
    let mut short = Label::default();
    reach(&mut program, 40, &mut short);
    judge6(&mut program, addresses, way);
    program.place(short);
    program.give(0);
    program.finish()
}

/// Has R9 hold where so much of the packet's front can be read: where it is, which takes
/// no call, or else a copy on the stack.
fn reach(program: &mut Assembler, length: i32, short: &mut Label) {
    use Register::{R0, R1, R2, R3, R4, R6, R9, R10};
    let mut reached = Label::default();
    program.load_u32(R9, R6, DATA);
    program.load_u32(R3, R6, DATA_END);
    program.copy(R2, R9);
    program.add(R2, length);
    program.jump_unless_greater(R2, R3, &mut reached);
    program.copy(R9, R10);
    program.add(R9, HEADER.into());
    program.copy(R1, R6);
    program.set(R2, 0);
    program.copy(R3, R9);
    program.set(R4, length);
    program.call(Function::LoadBytes);
    program.jump(R0, When::NotEqual, 0, short);
    program.place(reached);
}

fn judge4(program: &mut Assembler, addresses: &Addresses, way: Way) {
    use Register::{R2, R7, R8, R9};
    let (mut passed, mut inside) = (Label::default(), Label::default());
    program.load_u32(R7, R9, SOURCE4);
    program.load_u32(R8, R9, DESTINATION4);
    // Both ends on 127.0.0.0/8, or one of them.
    for end in [R7, R8] {
        program.copy(R2, end);
        program.and(R2, 0xff);
        program.jump_u32(R2, When::Equal, 127, &mut inside);
    }
    let own = addresses.v4.iter().map(|(ip, _)| *ip);
    match way {
        Way::Out => program.jump_among(R7, own, &mut passed),
        Way::In => {
            let broadcasts = addresses.broadcasts.iter().copied();
            program.jump_among(R8, own.chain(broadcasts), &mut passed);
        }
    }
    program.give(0);

    program.place(inside);
    let mut source = Label::default();
    program.jump_among(R7, addresses.all4(), &mut source);
    ping(program, &mut passed);
    program.give(0);
    program.place(source);
    program.jump_among(R8, addresses.all4(), &mut passed);
    program.give(0);
    program.place(passed);
    program.give(1);
}

/// Lets ping sockets, which no program on addresses sees, have answers of the
/// kernel itself from 127.0.0.1.
fn ping(program: &mut Assembler, passed: &mut Label) {
    use Register::{R2, R7, R8, R9};
    let mut other = Label::default();
    for end in [R7, R8] {
        program.jump_u32(end, When::NotEqual, word(LOCALHOST), &mut other);
    }
    program.load_u32(R2, R9, PROTOCOL4);
    program.and(R2, 0xff00);
    program.jump_u32(R2, When::Equal, libc::IPPROTO_ICMP << 8, passed);
    program.place(other);
}

fn judge6(program: &mut Assembler, addresses: &Addresses, way: Way) {
    use Register::{R2, R6, R9};
    let (mut passed, mut inside) = (Label::default(), Label::default());
    let ends = [SOURCE6, DESTINATION6];
    for end in ends {
        let loopback = addresses.loopback6.into_iter().chain([Ipv6Addr::LOCALHOST]);
        program.jump_among6(R9, end, loopback, &mut inside);
    }
    let own = addresses.v6.iter().map(|(ip, _)| *ip);
    let end = if way == Way::Out { SOURCE6 } else { DESTINATION6 };
    program.jump_among6(R9, end, own, &mut passed);
    program.give(0);

    program.place(inside);
    let mut source = Label::default();
    if way == Way::In {
        // For IPv4 the kernel knows that no such packet comes from outside.
        let mut here = Label::default();
        program.load_u32(R2, R6, INTERFACE);
        program.jump_u32(R2, When::Equal, LOOPBACK, &mut here);
        program.give(0);
        program.place(here);
    }
    program.jump_among6(R9, SOURCE6, addresses.all6(), &mut source);
    ping6(program, &mut passed);
    program.give(0);
    program.place(source);
    program.jump_among6(R9, DESTINATION6, addresses.all6(), &mut passed);
    program.give(0);
    program.place(passed);
    program.give(1);
}

/// The same from ::1.
fn ping6(program: &mut Assembler, passed: &mut Label) {
    use Register::{R2, R9};
    let (mut both, mut other) = (Label::default(), Label::default());
    let mut source = Label::default();
    program.jump_among6(R9, SOURCE6, [Ipv6Addr::LOCALHOST], &mut source);
    program.go(&mut other);
    program.place(source);
    program.jump_among6(R9, DESTINATION6, [Ipv6Addr::LOCALHOST], &mut both);
    program.go(&mut other);
    program.place(both);
    program.load_u8(R2, R9, NEXT6);
    program.jump_u32(R2, When::Equal, libc::IPPROTO_ICMPV6, passed);
    program.place(other);
}
