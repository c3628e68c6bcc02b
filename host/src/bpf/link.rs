//! The filter of a guest's link (`BPF_PROG_TYPE_SCHED_CLS`): what arrives on
//! the host's end, hence what the guest may send.
//!
//! It is a list of what passes; all else is dropped: other protocols, VLAN
//! tags, other hardware addresses, and any source that isn't the guest's.
//!
//! - IPv4 (RFC 791) and IPv6 (RFC 8200) from the guest's addresses. Every
//!   fragment has the source in its own header.
//! - ARP (RFC 826) in which the guest speaks of its own addresses.
//! - From the link-local address that the guest's kernel makes of its hardware
//!   address (RFC 4291, appendix A): neighbour solicitations and
//!   advertisements (RFC 4861) and nothing else, no router advertisements or
//!   redirects, and not behind extension headers.
//!
//! What the host's neighbour table learns of them stays with this link.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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

/// The filter for a guest with this hardware address and these addresses.
pub fn filter(mac: [u8; 6], addresses: &[IpAddr]) -> Program {
    use Register::{R1, R2, R6};
    let mut v4 = Vec::new();
    let mut v6 = Vec::new();
    for address in addresses {
        match address {
            IpAddr::V4(ip) => v4.push(*ip),
            IpAddr::V6(ip) => v6.push(*ip),
        }
    }
    let mut writer = Writer::default();
    writer.program.copy(R6, R1);
    writer.program.load_u32(R2, R6, VLAN_PRESENT);
    writer.program.jump(R2, When::NotEqual, 0, &mut writer.drop);
    writer.load(0, FRAME, ETHERNET);
    unless_bytes(&mut writer.program, FRAME + 6, &mac, &mut writer.drop);
    writer.if_type(IPV4, |writer| writer.ipv4(&v4));
    writer.if_type(IPV6, |writer| writer.ipv6(mac, &v6));
    writer.if_type(ARP, |writer| writer.arp(mac, &v4));
    writer.finish()
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
        use Register::{R0, R1, R2, R3, R4, R6, R10};
        self.program.copy(R1, R6);
        self.program.set(R2, from);
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

    fn drop_here(&mut self) {
        self.program.go(&mut self.drop);
    }

    fn ipv4(&mut self, own: &[Ipv4Addr]) {
        self.load(ETHERNET, HEADER, 20);
        for address in own {
            self.pass_if_bytes(HEADER + 12, &address.octets());
        }
        self.drop_here();
    }

    fn ipv6(&mut self, mac: [u8; 6], own: &[Ipv6Addr]) {
        use Register::{R2, R10};
        if own.is_empty() {
            return self.drop_here();
        }
        self.load(ETHERNET, HEADER, 40);
        for address in own {
            self.pass_if_bytes(HEADER + 8, &address.octets());
        }
        let link_local = link_local(mac).octets();
        unless_bytes(&mut self.program, HEADER + 8, &link_local, &mut self.drop);
        self.program.load_u8(R2, R10, HEADER + 6);
        self.program.jump_u32(R2, When::NotEqual, ICMPV6, &mut self.drop);
        self.load(ETHERNET + 40, HEADER, 2);
        self.program.load_u8(R2, R10, HEADER);
        self.program.jump_u32(R2, When::Equal, SOLICITATION, &mut self.pass);
        self.program.jump_u32(R2, When::Equal, ADVERTISEMENT, &mut self.pass);
        self.drop_here();
    }

    /// Hardware type, protocol and lengths first, then the operation, who
    /// speaks (hardware address, address), and of whom.
    fn arp(&mut self, mac: [u8; 6], own: &[Ipv4Addr]) {
        self.load(ETHERNET, HEADER, 28);
        unless_bytes(&mut self.program, HEADER, &[0, 1, 8, 0, 6, 4], &mut self.drop);
        unless_bytes(&mut self.program, HEADER + 8, &mac, &mut self.drop);
        for address in own {
            self.pass_if_bytes(HEADER + 14, &address.octets());
        }
        self.drop_here();
    }

    fn finish(mut self) -> Program {
        use Register::R0;
        self.program.place(self.drop);
        self.program.set(R0, DROP);
        self.program.exit();
        self.program.place(self.pass);
        self.program.set(R0, PASS);
        self.program.exit();
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
#[path = "link_tests.rs"]
mod tests;
