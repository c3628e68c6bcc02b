//! connect(2): the source is an own address, and 127.0.0.1 leads to the own
//! services.
//!
//! What listens on any address has been bound to one own address, and isn't
//! found at 127.0.0.1. Its clients expect that it is, so they are led to that
//! address where nothing listens on the loopback one. What the host listens
//! with on any address would be found there too, and isn't the cgroup's.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::Addresses;
use super::words::{IP4, IP6, Kinds, PORT, PROTOCOL, mask, word};
use crate::bpf::{Assembler, Function, Label, Program, Register, When};

/// `struct sockaddr_in6` on the stack, of which sockaddr_in is as much as it
/// needs.
const NAME: i16 = -32;

/// `struct bpf_sock_tuple` on the stack.
pub(super) const TUPLE: i16 = -72;

/// Offsets in `struct bpf_sock`.
pub(super) const SOCKET4: i16 = 24;
pub(super) const SOCKET6: i16 = 28;

/// For IPv4 sockets.
pub fn connect4(addresses: &Addresses) -> Program {
    use Register::{R1, R6, R7, R8};
    let mut program = Assembler::default();
    program.copy(R6, R1);
    program.load_u32(R7, R6, IP4);
    lead4(&mut program, addresses, IP4);
    choose4(&mut program, addresses, Some(addresses.loopback));
    program.put_u32(NAME, libc::AF_INET);
    program.store_u32(Register::R10, NAME + 4, R8);
    program.put_u32(NAME + 8, 0);
    program.put_u32(NAME + 12, 0);
    bind(&mut program, 16);
    program.finish()
}

/// For IPv6 sockets.
pub fn connect6(addresses: &Addresses) -> Program {
    use Register::{R1, R6, R8, R10};
    let mut program = Assembler::default();
    let (mut kinds, mut inside, mut bound) = (Kinds::default(), Label::default(), Label::default());
    program.copy(R6, R1);
    program.put_u32(NAME, libc::AF_INET6);
    program.put_u32(NAME + 4, 0);
    program.put_u32(NAME + 24, 0);
    program.jump_by_kind(R6, IP6, &mut kinds);
    if let Some(loopback) = addresses.loopback6 {
        program.jump_among6(R6, IP6, [loopback], &mut inside);
    }
    let put = |program: &mut Assembler, ip| program.put6(NAME + 8, ip);
    choose6(&mut program, addresses, addresses.loopback6, &mut bound, put);

    program.place(kinds.any);
    program.place(kinds.localhost);
    program.place(inside);
    match addresses.loopback6 {
        Some(loopback) => {
            // Without IPv6 addresses, what listens for both families has an
            // IPv4 one.
            let mut v4 = Label::default();
            let otherwise = addresses.v6.is_empty().then_some(&mut v4);
            lead6(&mut program, addresses, loopback, otherwise);
            choose6(&mut program, addresses, Some(loopback), &mut bound, put);
            program.place(v4);
            program.write6(R6, IP6, Ipv4Addr::LOCALHOST.to_ipv6_mapped());
        }
        None => program.write6(R6, IP6, Ipv4Addr::LOCALHOST.to_ipv6_mapped()),
    }

    program.place(kinds.mapped);
    program.load_u32(Register::R7, R6, IP6 + 12);
    lead4(&mut program, addresses, IP6 + 12);
    choose4(&mut program, addresses, Some(addresses.loopback));
    program.put6(NAME + 8, Ipv4Addr::UNSPECIFIED.to_ipv6_mapped());
    program.store_u32(R10, NAME + 20, R8);

    program.place(bound);
    bind(&mut program, 28);
    program.finish()
}

/// Binds the socket to the address on the stack, unless the socket is bound
/// already, which the kernel answers with EINVAL.
fn bind(program: &mut Assembler, length: i32) {
    use Register::{R0, R1, R2, R3, R6, R10};
    let mut done = Label::default();
    program.copy(R1, R6);
    program.copy(R2, R10);
    program.add(R2, NAME.into());
    program.set(R3, length);
    program.call(Function::Bind);
    program.jump(R0, When::Equal, 0, &mut done);
    program.jump(R0, When::Equal, -libc::EINVAL, &mut done);
    program.copy(R1, R0);
    program.call(Function::SetAnswer);
    program.give(0);
    program.place(done);
    program.give(1);
}

/// Leads what goes to a loopback address to the own services. The destination
/// is in R7, and at this place in the context.
pub(super) fn lead4(program: &mut Assembler, addresses: &Addresses, at: i16) {
    use Register::{R0, R2, R6, R7, R8, R9, R10};
    let (mut inside, mut end) = (Label::default(), Label::default());
    let (mut loopback, mut refused) = (Label::default(), Label::default());
    program.jump_u32(R7, When::Equal, 0, &mut inside);
    program.copy(R2, R7);
    program.and(R2, 0xff);
    program.jump_u32(R2, When::NotEqual, 127, &mut end);
    program.place(inside);

    // The tuple: the peer's address and the own one, the peer's port and the
    // own one.
    program.put_u32(TUPLE, 0);
    program.load_u32(R9, R6, PORT);
    program.shift_left(R9, 16);
    program.store_u32(R10, TUPLE + 8, R9);
    let mut searches = vec![(addresses.loopback, Label::default())];
    searches.extend(addresses.v4.first().map(|(ip, _)| (*ip, Label::default())));
    program.set(R8, 0);
    for (ip, found) in &mut searches {
        program.put_u32(TUPLE + 4, word(*ip));
        look_up(program, 12, |program, end| {
            // Does anything of the host's listen on any address, and so here
            // as well? What has another address is the own, led here (`serve`).
            program.load_u32(R7, R0, SOCKET4);
            release(program);
            program.jump_u32(R7, When::NotEqual, 0, found);
            program.set(R8, 1);
            program.go(end);
        });
    }
    program.jump(R8, When::NotEqual, 0, &mut refused);
    program.go(&mut loopback);
    program.place(refused);
    program.refuse(libc::ECONNREFUSED);

    let mut searches = searches.into_iter();
    if let Some((_, found)) = searches.next() {
        program.place(found);
    }
    program.place(loopback);
    program.write4(R6, at, addresses.loopback);
    program.go(&mut end);
    for (ip, found) in searches {
        program.place(found);
        program.write4(R6, at, ip);
    }
    program.place(end);
}

/// The same for IPv6. If nothing of IPv6 listens there, it goes to the label
/// that is given.
pub(super) fn lead6(
    program: &mut Assembler,
    addresses: &Addresses,
    loopback: Ipv6Addr,
    otherwise: Option<&mut Label>,
) {
    use Register::{R0, R6, R7, R8, R9, R10};
    for at in 0..4 {
        program.put_u32(TUPLE + 4 * at, 0);
    }
    program.load_u32(R9, R6, PORT);
    program.shift_left(R9, 16);
    program.store_u32(R10, TUPLE + 32, R9);
    let mut searches = vec![(loopback, Label::default())];
    searches.extend(addresses.v6.first().map(|(ip, _)| (*ip, Label::default())));
    let (mut refused, mut own, mut end) = (Label::default(), Label::default(), Label::default());
    program.set(R8, 0);
    for (ip, found) in &mut searches {
        program.put6(TUPLE + 16, *ip);
        look_up(program, 36, |program, end| {
            // All words at once: 0 of any address.
            let mut any = Label::default();
            program.set(R7, 0);
            program.jump_among6(R0, SOCKET6, [Ipv6Addr::UNSPECIFIED], &mut any);
            program.set(R7, 1);
            program.place(any);
            release(program);
            program.jump_u32(R7, When::NotEqual, 0, found);
            program.set(R8, 1);
            program.go(end);
        });
    }
    if let Some(otherwise) = otherwise {
        program.go(otherwise);
    }
    program.jump(R8, When::NotEqual, 0, &mut refused);
    program.go(&mut own);
    program.place(refused);
    program.refuse(libc::ECONNREFUSED);

    let mut searches = searches.into_iter();
    if let Some((_, found)) = searches.next() {
        program.place(found);
    }
    program.place(own);
    program.write6(R6, IP6, loopback);
    program.go(&mut end);
    for (ip, found) in searches {
        program.place(found);
        program.write6(R6, IP6, ip);
    }
    program.place(end);
}

/// Looks for a socket by the tuple on the stack, by the protocol that the
/// context tells; what is to be done with one in R0 goes to the label in the
/// end. Sockets of other protocols have no ports.
fn look_up(
    program: &mut Assembler,
    length: i32,
    mut found: impl FnMut(&mut Assembler, &mut Label),
) {
    use Register::{R0, R1, R2, R3, R4, R5, R6, R10};
    let mut end = Label::default();
    for (protocol, function) in
        [(libc::IPPROTO_TCP, Function::LookUpTcp), (libc::IPPROTO_UDP, Function::LookUpUdp)]
    {
        let mut next = Label::default();
        program.load_u32(R2, R6, PROTOCOL);
        program.jump_u32(R2, When::NotEqual, protocol, &mut next);
        program.copy(R1, R6);
        program.copy(R2, R10);
        program.add(R2, TUPLE.into());
        program.set(R3, length);
        // The socket's own network namespace (`BPF_F_CURRENT_NETNS`).
        program.set(R4, -1);
        program.set(R5, 0);
        program.call(function);
        program.jump(R0, When::Equal, 0, &mut end);
        found(program, &mut end);
        program.place(next);
    }
    program.place(end);
}

/// Gives the socket in R0 back.
pub(super) fn release(program: &mut Assembler) {
    program.copy(Register::R1, Register::R0);
    program.call(Function::Release);
}

/// Chooses a source for the destination in R7, as R8: on the network that the
/// destination lies in, else the first one. Refuses the call if there is
/// none. A loopback address is one for itself alone.
pub(super) fn choose4(program: &mut Assembler, addresses: &Addresses, loopback: Option<Ipv4Addr>) {
    use Register::{R2, R7, R8};
    let mut chosen = Label::default();
    let loopback = loopback.map(|ip| (ip, 32));
    for (ip, bits) in loopback.iter().chain(&addresses.v4) {
        let mut next = Label::default();
        program.copy(R2, R7);
        program.and(R2, word(mask(*bits)));
        program.jump_u32(R2, When::NotEqual, word(*ip & mask(*bits)), &mut next);
        program.set(R8, word(*ip));
        program.go(&mut chosen);
        program.place(next);
    }
    match addresses.v4.first() {
        Some((ip, _)) => {
            program.set(R8, word(*ip));
            program.go(&mut chosen);
        }
        None => program.refuse(libc::ENETUNREACH),
    }
    program.place(chosen);
}

/// Chooses a source for the IPv6 destination in the same way, does with it
/// what is wanted, and goes to the label.
pub(super) fn choose6(
    program: &mut Assembler,
    addresses: &Addresses,
    loopback: Option<Ipv6Addr>,
    chosen: &mut Label,
    put: impl Fn(&mut Assembler, Ipv6Addr),
) {
    let loopback = loopback.map(|ip| (ip, 128));
    for (ip, bits) in loopback.into_iter().chain(addresses.v6.iter().copied()) {
        let (mut here, mut next) = (Label::default(), Label::default());
        program.jump_in6(Register::R6, IP6, ip, bits, &mut here);
        program.go(&mut next);
        program.place(here);
        put(program, ip);
        program.go(chosen);
        program.place(next);
    }
    match addresses.v6.first() {
        Some((ip, _)) => {
            put(program, *ip);
            program.go(chosen);
        }
        None => program.refuse(libc::ENETUNREACH),
    }
}
