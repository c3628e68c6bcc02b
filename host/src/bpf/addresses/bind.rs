//! bind(2): addresses that aren't the own ones are refused, any address
//! becomes the own one.

use core::net::Ipv4Addr;

use super::words::{IP4, IP6, Kinds, LOCALHOST, word};
use super::{Addresses, Layout};
use crate::bpf::{Assembler, Label, Program, Register, When};

/// For IPv4 sockets.
pub fn bind4(addresses: &Addresses, layout: Option<Layout>) -> Program {
    use Register::{R1, R6, R7};
    let mut program = Assembler::default();
    program.copy(R6, R1);
    program.load_u32(R7, R6, IP4);
    judge4(&mut program, addresses, layout, IP4);
    program.finish()
}

/// For IPv6 sockets, which may be bound to IPv4 addresses.
pub fn bind6(addresses: &Addresses, layout: Option<Layout>) -> Program {
    use Register::{R1, R6};
    let mut program = Assembler::default();
    let mut kinds = Kinds::default();
    let mut granted = Label::default();
    program.copy(R6, R1);
    program.jump_by_kind(R6, IP6, &mut kinds);
    program.jump_among6(R6, IP6, addresses.all6(), &mut granted);
    program.refuse(libc::EADDRNOTAVAIL);

    program.place(kinds.localhost);
    match addresses.loopback6 {
        Some(ip) => {
            program.write6(R6, IP6, ip);
            program.go(&mut granted);
        }
        None => program.refuse(libc::EADDRNOTAVAIL),
    }

    program.place(kinds.any);
    if let (Some(layout), Some(loopback), []) = (layout, addresses.loopback6, &*addresses.v6) {
        // An IPv4 address isn't one for all sockets.
        let mut alone = Label::default();
        program.jump_if_ipv6_only(layout, &mut alone);
        program.write6(R6, IP6, addresses.first6());
        program.go(&mut granted);
        program.place(alone);
        program.write6(R6, IP6, loopback);
    } else {
        program.write6(R6, IP6, addresses.first6());
    }
    program.go(&mut granted);

    program.place(kinds.mapped);
    judge4(&mut program, addresses, layout, IP6 + 12);

    // Without IPv6 addresses nothing leads there but this.
    program.place(granted);
    grant(&mut program, addresses, layout);
    program.finish()
}

/// Decides on the IPv4 address in R7, whose place in the context this is.
fn judge4(program: &mut Assembler, addresses: &Addresses, layout: Option<Layout>, at: i16) {
    use Register::{R6, R7};
    let (mut any, mut localhost, mut granted) =
        (Label::default(), Label::default(), Label::default());
    program.jump_u32(R7, When::Equal, word(Ipv4Addr::UNSPECIFIED), &mut any);
    program.jump_u32(R7, When::Equal, word(LOCALHOST), &mut localhost);
    let listed = addresses.all4().chain(addresses.broadcasts.iter().copied());
    program.jump_among(R7, listed, &mut granted);
    program.refuse(libc::EADDRNOTAVAIL);

    program.place(any);
    program.write4(R6, at, addresses.first4());
    program.go(&mut granted);

    program.place(localhost);
    program.write4(R6, at, addresses.loopback);

    program.place(granted);
    grant(program, addresses, layout);
}

/// Lets the call go on. The second bit of the result has the kernel not ask
/// for CAP_NET_BIND_SERVICE (`BPF_RET_BIND_NO_CAP_NET_BIND_SERVICE`).
fn grant(program: &mut Assembler, addresses: &Addresses, layout: Option<Layout>) {
    if let Some(root) = addresses.root {
        let mut other = Label::default();
        program.jump_unless_served(root, layout, &mut other);
        program.give(3);
        program.place(other);
    }
    program.give(1);
}
