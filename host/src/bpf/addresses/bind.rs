//! bind(2): addresses that aren't the own ones are refused, any address
//! becomes the own one. With [`Maps`] a TCP socket that is bound to any
//! address serves the others, too (`serve`).

use core::net::{Ipv4Addr, Ipv6Addr};

use super::serve::{Families, Maps};
use super::words::{IP4, IP6, Kinds, LOCALHOST, word};
use super::{Addresses, Layout};
use crate::bpf::{Assembler, Label, Program, Register, When};

/// What the programs go by.
#[derive(Clone, Copy)]
struct Rules<'a> {
    addresses: &'a Addresses,
    layout: Option<Layout>,
    maps: Option<Maps>,
}

/// For IPv4 sockets.
pub fn bind4(addresses: &Addresses, layout: Option<Layout>, maps: Option<Maps>) -> Program {
    use Register::{R1, R6, R7};
    let mut program = Assembler::default();
    program.copy(R6, R1);
    if let Some(maps) = maps {
        program.unmark(maps);
    }
    program.load_u32(R7, R6, IP4);
    judge4(&mut program, Rules { addresses, layout, maps }, IP4);
    program.finish()
}

/// For IPv6 sockets, which may be bound to IPv4 addresses.
pub fn bind6(addresses: &Addresses, layout: Option<Layout>, maps: Option<Maps>) -> Program {
    use Register::{R1, R6};
    let rules = Rules { addresses, layout, maps };
    let mut program = Assembler::default();
    let mut kinds = Kinds::default();
    let mut granted = Label::default();
    program.copy(R6, R1);
    if let Some(maps) = maps {
        program.unmark(maps);
    }
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
    any6(&mut program, rules);
    program.go(&mut granted);

    program.place(kinds.mapped);
    judge4(&mut program, rules, IP6 + 12);

    // Without IPv6 addresses nothing leads there but this.
    program.place(granted);
    grant(&mut program, rules);
    program.finish()
}

/// Makes `::` what it means.
fn any6(program: &mut Assembler, rules: Rules<'_>) {
    let Rules { addresses, layout, maps } = rules;
    let (mut alone, mut narrow, mut end) = (Label::default(), Label::default(), Label::default());
    if let Some(layout) = layout {
        program.jump_if_ipv6_only(layout, &mut alone);
    }
    if let Some(maps) = maps {
        program.jump_unless_servable(&mut narrow);
        match layout {
            // An IPv4 address it can keep, if only the loopback one, and speak both;
            // an IPv6 one would have the kernel make it a socket for IPv6 alone
            // (__inet6_bind, net/ipv6/af_inet6.c).
            Some(_) => {
                let v6 = addresses.v6.iter().map(|(ip, _)| *ip);
                program.serve(maps, Families::Both, others4(addresses), v6);
                program.write6(Register::R6, IP6, addresses.first4().to_ipv6_mapped());
                program.go(&mut end);
            }
            None => program.serve(maps, Families::V6, [], others6(addresses)),
        }
    }
    program.place(narrow);
    program.write6(Register::R6, IP6, addresses.first6());
    program.go(&mut end);

    program.place(alone);
    if layout.is_some() {
        if let Some(maps) = maps {
            let mut narrow = Label::default();
            program.jump_unless_servable(&mut narrow);
            program.serve(maps, Families::V6, [], others6(addresses));
            program.place(narrow);
        }
        // An IPv4 address isn't one for all sockets.
        let loopback = addresses.loopback6.filter(|_| addresses.v6.is_empty());
        program.write6(Register::R6, IP6, loopback.unwrap_or_else(|| addresses.first6()));
    }
    program.place(end);
}

/// Addresses but the first, which the kernel looks after itself. Nobody else
/// listens on a loopback address.
fn others4(addresses: &Addresses) -> impl Iterator<Item = Ipv4Addr> {
    addresses.v4.iter().skip(1).map(|(ip, _)| *ip)
}

/// The same for IPv6.
fn others6(addresses: &Addresses) -> impl Iterator<Item = Ipv6Addr> {
    addresses.v6.iter().skip(1).map(|(ip, _)| *ip)
}

/// Decides on the IPv4 address in R7, whose place in the context this is. Any
/// address in IPv6 form means those of IPv4 alone.
fn judge4(program: &mut Assembler, rules: Rules<'_>, at: i16) {
    use Register::{R6, R7};
    let addresses = rules.addresses;
    let (mut any, mut localhost, mut granted) =
        (Label::default(), Label::default(), Label::default());
    program.jump_u32(R7, When::Equal, word(Ipv4Addr::UNSPECIFIED), &mut any);
    program.jump_u32(R7, When::Equal, word(LOCALHOST), &mut localhost);
    let listed = addresses.all4().chain(addresses.broadcasts.iter().copied());
    program.jump_among(R7, listed, &mut granted);
    program.refuse(libc::EADDRNOTAVAIL);

    program.place(any);
    if let Some(maps) = rules.maps {
        let mut alone = Label::default();
        program.jump_unless_servable(&mut alone);
        program.serve(maps, Families::V4, others4(addresses), []);
        program.place(alone);
    }
    program.write4(R6, at, addresses.first4());
    program.go(&mut granted);

    program.place(localhost);
    program.write4(R6, at, addresses.loopback);

    program.place(granted);
    grant(program, rules);
}

/// Lets the call go on. The second bit of the result has the kernel not ask
/// for CAP_NET_BIND_SERVICE (`BPF_RET_BIND_NO_CAP_NET_BIND_SERVICE`).
fn grant(program: &mut Assembler, rules: Rules<'_>) {
    if let Some(root) = rules.addresses.root {
        let mut other = Label::default();
        program.jump_unless_served(root, rules.layout, &mut other);
        program.give(3);
        program.place(other);
    }
    program.give(1);
}
