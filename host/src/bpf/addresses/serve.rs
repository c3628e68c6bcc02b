//! One TCP socket serves all addresses: what is bound to any address has
//! become one of the own ones (`bind`), and connections to the others are led
//! to it as well.
//!
//! Three programs take part. The one on bind(2) marks the socket. The one on
//! listen(2) notes every listening socket by its address and port, a marked
//! one by any address, in a map of the cgroup's own. And one for the whole
//! network (`lookup`) looks for the map that the destination belongs to, and
//! there for the socket; what listens on that very address comes first, as
//! without it.
//!
//! Several sockets may listen at one address and port (`SO_REUSEPORT`, socket(7)), and
//! the one that a map holds is out of it when it is closed. So each of them has a slot
//! of its own, up to [`SLOTS`]; connections are led to any of them, and the kernel
//! shares them out in the group (`lookup_reuseport`, net/ipv4/inet_hashtables.c).
//!
//! No program can put a UDP socket into such a map: the kernel lets those on
//! TCP's events do it, and no others that see sockets of a cgroup being made.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::connect::{SOCKET4, SOCKET6, TUPLE, release};
use super::words::{PORT, PROTOCOL, word};
use crate::bpf::{Assembler, Function, Label, Program, Register, When};

/// Descriptors of maps of a cgroup's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Maps {
    /// Which sockets are bound to any address.
    pub marks: i32,
    /// Listening sockets by [`KEY`].
    pub listeners: i32,
}

/// Size of a listening socket's key: its address in IPv6 form, and its port, above
/// which its slot stands.
pub const KEY: u32 = 20;

/// Most listening sockets of a cgroup that are noted.
pub const LISTENERS: u32 = 1024;

/// Most sockets that are noted at one address and port. Of more, these are the oldest
/// and the newest: a program that is replaced while it serves opens all of its new ones
/// and closes the old ones then.
const SLOTS: i32 = 8;

/// Most addresses of all cgroups together.
pub const ADDRESSES: u32 = 16_384;

/// What a mark says: of which families any address is meant.
const V4: i32 = 1;
const V6: i32 = 2;

/// What is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Families {
    /// An IPv4 socket.
    V4,
    /// An IPv6 socket that speaks nothing else.
    V6,
    /// An IPv6 socket that speaks both.
    Both,
}

/// The socket, in `struct bpf_sock_addr` and in `struct bpf_sock_ops`.
const BOUND: i16 = 64;
const LISTENING: i16 = 184;

/// `BPF_SK_STORAGE_GET_F_CREATE`
const CREATE: i32 = 1;

/// `BPF_ANY` and `BPF_NOEXIST`: whether something may stand there.
const REPLACE: i32 = 0;
const IF_FREE: i32 = 1;

/// `BPF_SOCK_OPS_TCP_LISTEN_CB`
const LISTEN: i32 = 11;

/// Offsets in `struct bpf_sock_ops`: the event, what is answered, the family,
/// the own address, and the own port as a number.
const EVENT: i16 = 0;
const ANSWER: i16 = 4;
const FAMILY: i16 = 20;
const OWN4: i16 = 28;
const OWN6: i16 = 48;
const OWN_PORT: i16 = 68;

/// Offsets in `struct bpf_sk_lookup`, likewise.
const WANTED_FAMILY: i16 = 8;
const WANTED_PROTOCOL: i16 = 12;
const WANTED4: i16 = 40;
const WANTED6: i16 = 44;
const WANTED_PORT: i16 = 60;

/// A key on the stack.
const ADDRESS: i16 = -24;
const LAST: i16 = -12;
const KEY_PORT: i16 = -8;

/// Any IPv4 address, in IPv6 form.
const ANY4: Ipv6Addr = Ipv4Addr::UNSPECIFIED.to_ipv6_mapped();

/// When a socket begins to listen: notes it.
pub fn listen(maps: Maps) -> Program {
    use Register::{R0, R1, R2, R3, R4, R6, R7, R8, R9};
    let mut program = Assembler::default();
    let (mut end, mut unmarked) = (Label::default(), Label::default());
    program.copy(R6, R1);
    // No opinion, on events that ask for one.
    program.set(R2, -1);
    program.store_u32(R6, ANSWER, R2);
    program.load_u32(R2, R6, EVENT);
    program.jump_u32(R2, When::NotEqual, LISTEN, &mut end);
    program.load_u32(R9, R6, OWN_PORT);
    program.load_u64(R2, R6, LISTENING);
    program.jump(R2, When::Equal, 0, &mut end);
    program.map(R1, maps.marks);
    program.set(R3, 0);
    program.set(R4, 0);
    program.call(Function::Mark);
    program.jump(R0, When::Equal, 0, &mut unmarked);
    program.load_u32(R7, R0, 0);
    program.jump_u32(R7, When::Equal, 0, &mut unmarked);
    for (family, any) in [(V4, ANY4), (V6, Ipv6Addr::UNSPECIFIED)] {
        let mut other = Label::default();
        program.copy(R8, R7);
        program.and(R8, family);
        program.jump(R8, When::Equal, 0, &mut other);
        program.put6(ADDRESS, any);
        note(&mut program, maps);
        program.place(other);
    }
    program.give(1);

    program.place(unmarked);
    own_key(&mut program, FAMILY, OWN4, OWN6);
    note(&mut program, maps);
    program.place(end);
    program.give(1);
    program.finish()
}

/// Puts the socket into the map, in the first slot that is free, or else in the place
/// of the last one. It may be full; then it is found as any socket is. The port is in
/// R9.
fn note(program: &mut Assembler, maps: Maps) {
    use Register::{R0, R1, R2, R3, R4, R6, R10};
    let mut noted = Label::default();
    for slot in 0..SLOTS {
        put_port(program, slot);
        program.copy(R1, R6);
        program.map(R2, maps.listeners);
        program.copy(R3, R10);
        program.add(R3, ADDRESS.into());
        program.set(R4, if slot + 1 < SLOTS { IF_FREE } else { REPLACE });
        program.call(Function::PutSocket);
        program.jump(R0, When::Equal, 0, &mut noted);
    }
    program.place(noted);
}

/// Puts the port in R9 and this slot into the key. Uses R2.
fn put_port(program: &mut Assembler, slot: i32) {
    use Register::{R2, R9, R10};
    program.copy(R2, R9);
    program.add(R2, slot << 16);
    program.store_u32(R10, KEY_PORT, R2);
}

/// For the network: leads connections to the sockets that are bound to any
/// address. `directory` is the descriptor of the map of all such maps, by
/// address.
pub fn lookup(directory: i32) -> Program {
    use Register::{R0, R1, R2, R3, R6, R7, R8, R9};
    let mut program = Assembler::default();
    let (mut end, mut own, mut v6) = (Label::default(), Label::default(), Label::default());
    let (mut search, mut found) = (Label::default(), Label::default());
    program.copy(R6, R1);
    program.load_u32(R2, R6, WANTED_PROTOCOL);
    program.jump_u32(R2, When::NotEqual, libc::IPPROTO_TCP, &mut end);
    program.load_u32(R9, R6, WANTED_PORT);
    own_key(&mut program, WANTED_FAMILY, WANTED4, WANTED6);
    find(&mut program, |program| program.map(R1, directory));
    program.jump(R0, When::Equal, 0, &mut end);
    program.copy(R7, R0);
    find_in_slots(&mut program, R7, &mut own);

    program.load_u32(R2, R6, WANTED_FAMILY);
    program.jump_u32(R2, When::Equal, libc::AF_INET6, &mut v6);
    program.put6(ADDRESS, ANY4);
    program.go(&mut search);
    program.place(v6);
    program.put6(ADDRESS, Ipv6Addr::UNSPECIFIED);
    program.place(search);
    find_in_slots(&mut program, R7, &mut found);
    program.go(&mut end);

    program.place(found);
    program.copy(R8, R0);
    program.copy(R1, R6);
    program.copy(R2, R8);
    program.set(R3, 0);
    program.call(Function::Assign);
    program.copy(R0, R8);

    program.place(own);
    release(&mut program);
    program.place(end);
    // SK_PASS
    program.give(1);
    program.finish()
}

/// Looks the key up with each slot in the map in that register; goes to the label with
/// the socket that is found.
fn find_in_slots(program: &mut Assembler, map: Register, found: &mut Label) {
    use Register::{R0, R1};
    for slot in 0..SLOTS {
        put_port(program, slot);
        find(program, |program| program.copy(R1, map));
        program.jump(R0, When::NotEqual, 0, found);
    }
}

/// Looks the key up in the map that is put into R1.
fn find(program: &mut Assembler, map: impl FnOnce(&mut Assembler)) {
    use Register::{R2, R10};
    map(program);
    program.copy(R2, R10);
    program.add(R2, ADDRESS.into());
    program.call(Function::Find);
}

/// Puts the address that the context in R6 tells into the key.
fn own_key(program: &mut Assembler, family: i16, v4: i16, v6: i16) {
    use Register::{R2, R6, R10};
    let (mut is_v6, mut end) = (Label::default(), Label::default());
    program.load_u32(R2, R6, family);
    program.jump_u32(R2, When::Equal, libc::AF_INET6, &mut is_v6);
    program.put6(ADDRESS, ANY4);
    program.load_u32(R2, R6, v4);
    program.store_u32(R10, LAST, R2);
    program.go(&mut end);
    program.place(is_v6);
    for at in [0, 4, 8, 12] {
        program.load_u32(R2, R6, v6 + at);
        program.store_u32(R10, ADDRESS + at, R2);
    }
    program.place(end);
}

impl Assembler {
    /// Forgets what the socket that is bound was bound to before. Keeps R6
    /// and what follows.
    pub(super) fn unmark(&mut self, maps: Maps) {
        use Register::{R1, R2, R6};
        self.map(R1, maps.marks);
        self.load_u64(R2, R6, BOUND);
        self.call(Function::Unmark);
    }

    /// Goes to the label unless this is a TCP socket that is bound to a port
    /// of the caller's choice. Of one that the kernel chooses it isn't known
    /// whether it is free on all addresses.
    pub(super) fn jump_unless_servable(&mut self, label: &mut Label) {
        use Register::{R2, R6};
        self.load_u32(R2, R6, PROTOCOL);
        self.jump_u32(R2, When::NotEqual, libc::IPPROTO_TCP, label);
        self.load_u32(R2, R6, PORT);
        self.jump_u32(R2, When::Equal, 0, label);
    }

    /// Marks the socket that is bound, so that it serves all addresses; or
    /// refuses the call as the kernel does if something listens at one of
    /// these and that port. Keeps R6.
    pub(super) fn serve(
        &mut self,
        maps: Maps,
        families: Families,
        v4: impl IntoIterator<Item = Ipv4Addr>,
        v6: impl IntoIterator<Item = Ipv6Addr>,
    ) {
        use Register::{R0, R1, R2, R3, R4, R6, R9, R10};
        let (mut taken, mut unmarked, mut end) =
            (Label::default(), Label::default(), Label::default());
        self.load_u32(R9, R6, PORT);
        self.shift_left(R9, 16);
        self.put_u32(TUPLE, 0);
        self.store_u32(R10, TUPLE + 8, R9);
        for ip in v4 {
            self.put_u32(TUPLE + 4, word(ip));
            self.jump_if_listened(12, &mut taken, |program, same| {
                program.load_u32(R2, R0, SOCKET4);
                program.jump_u32(R2, When::Equal, word(ip), same);
            });
        }
        self.put6(TUPLE, Ipv6Addr::UNSPECIFIED);
        self.store_u32(R10, TUPLE + 32, R9);
        for ip in v6 {
            self.put6(TUPLE + 16, ip);
            self.jump_if_listened(36, &mut taken, |program, same| {
                program.jump_among6(R0, SOCKET6, [ip], same);
            });
        }
        self.map(R1, maps.marks);
        self.load_u64(R2, R6, BOUND);
        self.set(R3, 0);
        self.set(R4, CREATE);
        self.call(Function::Mark);
        self.jump(R0, When::Equal, 0, &mut unmarked);
        let mark = match families {
            Families::V4 => V4,
            Families::V6 => V6,
            Families::Both => V4 | V6,
        };
        self.set(R2, mark);
        self.store_u32(R0, 0, R2);
        self.go(&mut end);
        self.place(taken);
        self.refuse(libc::EADDRINUSE);
        self.place(unmarked);
        self.place(end);
    }

    /// Goes to the label if what a search by the tuple on the stack finds is
    /// the same as what is meant.
    fn jump_if_listened(
        &mut self,
        length: i32,
        taken: &mut Label,
        is_same: impl FnOnce(&mut Self, &mut Label),
    ) {
        use Register::{R0, R1, R2, R3, R4, R5, R6, R7, R10};
        let (mut nothing, mut same) = (Label::default(), Label::default());
        self.copy(R1, R6);
        self.copy(R2, R10);
        self.add(R2, TUPLE.into());
        self.set(R3, length);
        // The socket's own network namespace (`BPF_F_CURRENT_NETNS`).
        self.set(R4, -1);
        self.set(R5, 0);
        self.call(Function::LookUpTcp);
        self.jump(R0, When::Equal, 0, &mut nothing);
        self.set(R7, 1);
        is_same(self, &mut same);
        self.set(R7, 0);
        self.place(same);
        release(self);
        self.jump(R7, When::NotEqual, 0, taken);
        self.place(nothing);
    }
}
