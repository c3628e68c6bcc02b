//! The filter of a guest's link (`BPF_PROG_TYPE_SCHED_CLS`): what arrives on
//! the host's end, hence what the guest may send.
//!
//! It is a list of what passes; all else is dropped: other protocols, VLAN
//! tags, other hardware addresses, and any source that isn't the guest's. What
//! passes of each protocol depends on who hears it: the host alone
//! (`routed`), or a network of many machines (`segment`).

mod routed;
mod segment;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::traffic::{self, Way};
use super::{Assembler, Function, Label, Program, Register, When};

/// Drops the packet (`TC_ACT_SHOT`, linux/pkt_cls.h).
const DROP: i32 = 2;

/// Leaves the packet to the next filter, or lets it pass (`TC_ACT_UNSPEC`).
const PASS: i32 = -1;

/// Offset of `vlan_present` in `struct __sk_buff` (linux/bpf.h): the tag that
/// was taken off the packet's front.
const VLAN_PRESENT: i16 = 20;

/// Bytes of an Ethernet header.
const ETHERNET: i32 = 14;

/// Where the Ethernet header is put, below the end of the stack. Its source
/// and type begin at even places, four and two bytes wide at most.
const FRAME: i16 = -16;

/// Where the next header is put.
const HEADER: i16 = -64;

/// Types of Ethernet frames (RFC 9542), as bytes.
const IPV4: [u8; 2] = [0x08, 0x00];
const ARP: [u8; 2] = [0x08, 0x06];
const IPV6: [u8; 2] = [0x86, 0xdd];

/// `ICMPv6` as a next header, and the two messages that neighbours need.
const ICMPV6: i32 = 58;
const SOLICITATION: i32 = 135;
const ADVERTISEMENT: i32 = 136;

/// Who hears what the guest sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The host, which passes it on.
    Routed,
    /// Every machine of a network.
    Segment,
}

/// What becomes of a packet that passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It goes on where it has arrived.
    Stay,
    /// It leaves by the interface of this number.
    Leave(u32),
}

/// The filter for a guest with this hardware address and these addresses. What
/// it sends is counted in the map `traffic`, before it is judged.
pub fn filter(
    kind: Kind,
    mac: [u8; 6],
    addresses: &[IpAddr],
    then: Then,
    traffic: Option<i32>,
) -> Program {
    use Register::{R1, R2, R6};
    let mut own = Own { mac, v4: Vec::new(), v6: Vec::new() };
    for address in addresses {
        match address {
            IpAddr::V4(ip) => own.v4.push(*ip),
            IpAddr::V6(ip) => own.v6.push(*ip),
        }
    }
    let mut writer = Writer::default();
    if let Some(map) = traffic {
        traffic::count(&mut writer.program, map, Way::Out);
    }
    writer.program.copy(R6, R1);
    writer.program.load_u32(R2, R6, VLAN_PRESENT);
    writer.program.jump(R2, When::NotEqual, 0, &mut writer.drop);
    writer.load(0, FRAME, ETHERNET);
    unless_bytes(&mut writer.program, FRAME + 6, &mac, &mut writer.drop);
    match kind {
        Kind::Routed => {
            writer.if_type(IPV4, |writer| routed::ipv4(writer, &own));
            writer.if_type(IPV6, |writer| routed::ipv6(writer, &own));
            writer.if_type(ARP, |writer| routed::arp(writer, &own));
        }
        Kind::Segment => {
            segment::bridges_own(&mut writer);
            writer.if_type(IPV4, |writer| segment::ipv4(writer, &own));
            writer.if_type(IPV6, |writer| segment::ipv6(writer, &own));
            writer.if_type(ARP, |writer| segment::arp(writer, &own));
        }
    }
    writer.finish(then)
}

/// Sends everything out by the interface of this number, counted in the map
/// `traffic`.
pub fn carry(interface: u32, traffic: Option<i32>) -> Program {
    let mut program = Assembler::default();
    if let Some(map) = traffic {
        traffic::count(&mut program, map, Way::Out);
    }
    leave(&mut program, interface);
    program.finish()
}

/// Sends the packet out by an interface, and ends. One that has gone or is
/// down drops it.
fn leave(program: &mut Assembler, interface: u32) {
    use Register::{R1, R2};
    program.set(R1, interface.cast_signed());
    program.set(R2, 0);
    program.call(Function::Redirect);
    program.exit();
}

/// What is the guest's.
struct Own {
    mac: [u8; 6],
    v4: Vec<Ipv4Addr>,
    v6: Vec<Ipv6Addr>,
}

/// The link-local address that a kernel makes of a hardware address.
fn link_local(mac: [u8; 6]) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.map(u16::from);
    Ipv6Addr::new(0xfe80, 0, 0, 0, (a ^ 2) << 8 | b, c << 8 | 0xff, 0xfe00 | d, e << 8 | f)
}

/// The program as it grows, and the two places where it ends.
#[derive(Default)]
struct Writer {
    program: Assembler,
    pass: Label,
    drop: Label,
}

impl Writer {
    /// Copies a part of the packet to the stack; drops what is shorter.
    fn load(&mut self, from: i32, to: i16, length: i32) {
        self.program.set(Register::R2, from);
        self.load_from_r2(to, length);
    }

    /// The same, from the place that R2 holds.
    fn load_from_r2(&mut self, to: i16, length: i32) {
        use Register::{R0, R1, R3, R4, R6, R10};
        self.program.copy(R1, R6);
        self.program.copy(R3, R10);
        self.program.add(R3, to.into());
        self.program.set(R4, length);
        self.program.call(Function::LoadBytes);
        self.program.jump(R0, When::NotEqual, 0, &mut self.drop);
    }

    /// Writes what holds for frames of this type.
    fn if_type(&mut self, kind: [u8; 2], write: impl FnOnce(&mut Self)) {
        let mut other = Label::default();
        unless_bytes(&mut self.program, FRAME + 12, &kind, &mut other);
        write(self);
        self.program.place(other);
    }

    /// Passes if these bytes are at this place.
    fn pass_if_bytes(&mut self, at: i16, bytes: &[u8]) {
        let mut other = Label::default();
        unless_bytes(&mut self.program, at, bytes, &mut other);
        self.program.go(&mut self.pass);
        self.program.place(other);
    }

    /// Drops a packet whose header isn't of the version that the frame's type
    /// tells, and so has its source elsewhere.
    fn drop_unless_version(&mut self, version: i32) {
        use Register::{R2, R10};
        self.program.load_u8(R2, R10, HEADER);
        self.program.and(R2, 0xf0);
        self.program.jump_u32(R2, When::NotEqual, version << 4, &mut self.drop);
    }

    fn drop_here(&mut self) {
        self.program.go(&mut self.drop);
    }

    /// Goes to the label if these bytes are at this place.
    fn go_if_bytes(&mut self, at: i16, bytes: &[u8], label: &mut Label) {
        let mut other = Label::default();
        unless_bytes(&mut self.program, at, bytes, &mut other);
        self.program.go(label);
        self.program.place(other);
    }

    /// Passes if the byte at this place of the stack is one of these.
    fn pass_if_one_of(&mut self, at: i16, numbers: &[i32]) {
        use Register::{R2, R10};
        self.program.load_u8(R2, R10, at);
        for number in numbers {
            self.program.jump_u32(R2, When::Equal, *number, &mut self.pass);
        }
    }

    fn finish(mut self, then: Then) -> Program {
        use Register::R0;
        self.program.place(self.drop);
        self.program.set(R0, DROP);
        self.program.exit();
        self.program.place(self.pass);
        match then {
            Then::Stay => {
                self.program.set(R0, PASS);
                self.program.exit();
            }
            Then::Leave(interface) => leave(&mut self.program, interface),
        }
        self.program.finish()
    }
}

/// Goes to the label unless these bytes, an even number, are at this place of
/// the stack, an even one.
fn unless_bytes(program: &mut Assembler, at: i16, bytes: &[u8], label: &mut Label) {
    use Register::{R2, R10};
    for (place, part) in (at..).step_by(2).zip(bytes.as_chunks().0) {
        program.load_u16(R2, R10, place);
        program.jump_u32(R2, When::NotEqual, u16::from_le_bytes(*part).into(), label);
    }
}

#[cfg(test)]
mod tests;
