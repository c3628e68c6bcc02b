//! sendto(2) and sendmsg(2) on UDP sockets that aren't connected: as connect,
//! for one datagram. A source that a control message names (`IP_PKTINFO`) has
//! to be an own one.
//!
//! The kernel has bound such a socket to any address and a port by now, if it
//! was bound to nothing. In a search it looks like what the host has bound so,
//! and is refused as a destination; so its datagrams come from an address that
//! isn't a loopback one, where answers find it without any search.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::Addresses;
use super::connect::{choose4, choose6, lead4, lead6};
use super::words::{IP4, IP6, Kinds, LOCALHOST, PORT, SOURCE4, SOURCE6, word};
use crate::bpf::{Assembler, Label, Program, Register, When};

/// For IPv4 sockets, and IPv6 ones that send to IPv4 addresses.
pub fn send4(addresses: &Addresses) -> Program {
    use Register::{R1, R2, R6, R7, R8};
    let mut program = Assembler::default();
    let (mut source, mut choose) = (Label::default(), Label::default());
    let (mut localhost, mut passed) = (Label::default(), Label::default());
    program.copy(R6, R1);
    program.load_u32(R7, R6, IP4);
    // On a connected socket there may be a source, and no destination.
    program.load_u32(R2, R6, PORT);
    program.jump_u32(R2, When::Equal, 0, &mut source);
    if addresses.v4.is_empty() {
        lead_back(&mut program, addresses);
    } else {
        lead4(&mut program, addresses, IP4);
    }

    program.place(source);
    program.load_u32(R8, R6, SOURCE4);
    program.jump_u32(R8, When::Equal, word(Ipv4Addr::UNSPECIFIED), &mut choose);
    program.jump_u32(R8, When::Equal, word(LOCALHOST), &mut localhost);
    program.jump_among(R8, addresses.all4(), &mut passed);
    program.give(0);

    program.place(localhost);
    program.write4(R6, SOURCE4, addresses.loopback);
    program.give(1);

    program.place(choose);
    let loopback = addresses.v4.is_empty().then_some(addresses.loopback);
    choose4(&mut program, addresses, loopback);
    program.store_u32(R6, SOURCE4, R8);
    program.place(passed);
    program.give(1);
    program.finish()
}

/// Leads to the loopback address without a search. Answers go there where
/// there is no other address, and a search finds the client as bound to any
/// address.
fn lead_back(program: &mut Assembler, addresses: &Addresses) {
    use Register::{R2, R6, R7};
    let (mut inside, mut end) = (Label::default(), Label::default());
    program.jump_u32(R7, When::Equal, 0, &mut inside);
    program.copy(R2, R7);
    program.and(R2, 0xff);
    program.jump_u32(R2, When::NotEqual, 127, &mut end);
    program.place(inside);
    program.write4(R6, IP4, addresses.loopback);
    program.place(end);
}

/// For IPv6 sockets.
pub fn send6(addresses: &Addresses) -> Program {
    use Register::{R1, R2, R6};
    let mut program = Assembler::default();
    let (mut destination, mut source, mut passed) =
        (Kinds::default(), Label::default(), Label::default());
    program.copy(R6, R1);
    program.load_u32(R2, R6, PORT);
    program.jump_u32(R2, When::Equal, 0, &mut source);
    program.jump_by_kind(R6, IP6, &mut destination);
    program.place(destination.mapped);
    if let Some(loopback) = addresses.loopback6 {
        let mut inside = Label::default();
        program.jump_among6(R6, IP6, [loopback], &mut inside);
        program.go(&mut source);
        program.place(destination.any);
        program.place(destination.localhost);
        program.place(inside);
        if addresses.v6.is_empty() {
            // As in `lead_back`.
            program.write6(R6, IP6, loopback);
        } else {
            lead6(&mut program, addresses, loopback, None);
        }
    } else {
        program.go(&mut source);
        program.place(destination.any);
        program.place(destination.localhost);
        program.refuse(libc::ENETUNREACH);
    }

    program.place(source);
    let (mut choose, mut localhost) = (Label::default(), Label::default());
    program.jump_among6(R6, SOURCE6, [Ipv6Addr::UNSPECIFIED], &mut choose);
    program.jump_among6(R6, SOURCE6, [Ipv6Addr::LOCALHOST], &mut localhost);
    program.jump_among6(R6, SOURCE6, addresses.all6(), &mut passed);
    program.give(0);

    program.place(localhost);
    match addresses.loopback6 {
        Some(loopback) => {
            program.write6(R6, SOURCE6, loopback);
            program.give(1);
        }
        None => program.give(0),
    }

    program.place(choose);
    let loopback = addresses.loopback6.filter(|_| addresses.v6.is_empty());
    choose6(&mut program, addresses, loopback, &mut passed, |program, ip| {
        program.write6(R6, SOURCE6, ip);
    });
    program.place(passed);
    program.give(1);
    program.finish()
}
