//! What passes to a network of many machines, which believe what they hear of
//! addresses.
//!
//! - IPv4 (RFC 791) from the guest's addresses, of a list of protocols:
//!   nothing that makes a machine a router or takes its place (VRRP, OSPF),
//!   ICMP without redirects and router advertisements, IGMP (RFC 3376) without
//!   queries, UDP but to DHCP clients.
//! - IPv6 (RFC 8200) likewise, of the same list. Extension headers don't pass,
//!   but that of a fragment and that of multicast reports: machines look for
//!   what follows them, neighbour discovery included, and so would have to
//!   this.
//! - ARP (RFC 826), requests and replies, in which the guest speaks of its own
//!   addresses with its own hardware address, and probes for them (RFC 5227).
//! - Neighbour solicitations and advertisements (RFC 4861) from the guest's
//!   addresses, or from the link-local one that its kernel makes of its
//!   hardware address (RFC 4291, appendix A), with its own hardware address,
//!   and advertisements of these addresses alone; solicitations from no
//!   address for its own (RFC 4862).
//! - Reports of multicast groups (RFC 2710, RFC 3810, RFC 3590), without which
//!   a bridge or switch that listens for them sends nothing.
//!
//! The last two are all that passes from any other address than the guest's
//! own.

use super::{
    ADVERTISEMENT, ETHERNET, FRAME, HEADER, ICMPV6, Label, Own, Register, SOLICITATION, When,
    Writer, link_local, unless_bytes,
};

/// Where what follows the header is put.
const BODY: i16 = -104;

/// Where it is in an IPv6 packet, and behind a fragment's header.
const BEHIND: i32 = ETHERNET + 40;
const BEHIND_FRAGMENT: i32 = BEHIND + 8;

/// Protocols that pass with every content, by their assigned numbers: IPv4 and
/// IPv6 within, TCP, GRE, ESP, SCTP, UDP-Lite.
const PLAIN: [i32; 7] = [4, 6, 41, 47, 50, 132, 136];
const ICMP: i32 = 1;
const IGMP: i32 = 2;
const UDP: i32 = 17;
const FRAGMENT: i32 = 44;
const HOP_BY_HOP: i32 = 0;

/// Reports and leaves of IGMP, versions 1 to 3.
const IGMP_REPORTS: [i32; 4] = [0x12, 0x16, 0x17, 0x22];

/// Multicast reports of version 1, done, and reports of version 2.
const MLD_REPORTS: [i32; 3] = [131, 132, 143];

/// Errors of ICMPv6 and echoes.
const ICMPV6_PLAIN: [i32; 6] = [1, 2, 3, 4, 128, 129];

/// Redirects and router advertisements (RFC 792, RFC 1256).
const ICMP_OF_ROUTERS: [i32; 2] = [5, 9];

/// Ports at which clients of DHCP listen, as bytes.
const DHCP_CLIENT: [u8; 2] = 68_u16.to_be_bytes();
const DHCPV6_CLIENT: [u8; 2] = 546_u16.to_be_bytes();

/// Options of neighbour discovery: hardware address of the sender, of the
/// advertised one (RFC 4861), a random number (RFC 3971), each eight bytes long.
const SENDER: [u8; 2] = [1, 1];
const TARGET: [u8; 2] = [2, 1];
const NONCE: [u8; 2] = [14, 1];

/// Addresses for bridges themselves (IEEE 802.1Q, 8.6.3), in which they take
/// frames for the machine that they are: spanning tree, pauses, LLDP.
const BRIDGES: [u8; 4] = [0x01, 0x80, 0xc2, 0x00];

pub(super) fn bridges_own(writer: &mut Writer) {
    let mut other = Label::default();
    unless_bytes(&mut writer.program, FRAME, &BRIDGES, &mut other);
    writer.drop_here();
    writer.program.place(other);
}

pub(super) fn ipv4(writer: &mut Writer, own: &Own) {
    use Register::{R2, R7, R8, R10};
    /// The lower 13 bits of bytes 6 and 7, as read by this machine.
    const OFFSET: i32 = u16::from_le_bytes([0x1f, 0xff]) as i32;
    writer.load(ETHERNET, HEADER, 20);
    writer.drop_unless_version(4);
    let mut own_source = Label::default();
    for address in &own.v4 {
        writer.go_if_bytes(HEADER + 12, &address.octets(), &mut own_source);
    }
    writer.drop_here();
    writer.program.place(own_source);
    writer.program.load_u8(R8, R10, HEADER + 9);
    for protocol in PLAIN {
        writer.program.jump_u32(R8, When::Equal, protocol, &mut writer.pass);
    }
    // What is not at the front of a packet that was cut is only data.
    let (mut known, mut front) = (Label::default(), Label::default());
    for protocol in [ICMP, IGMP, UDP] {
        writer.program.jump_u32(R8, When::Equal, protocol, &mut known);
    }
    writer.drop_here();
    writer.program.place(known);
    writer.program.load_u16(R2, R10, HEADER + 6);
    writer.program.and(R2, OFFSET);
    writer.program.jump_u32(R2, When::Equal, 0, &mut front);
    writer.pass_here();
    writer.program.place(front);
    // The header's length in words of four bytes, five at least.
    writer.program.load_u8(R7, R10, HEADER);
    writer.program.and(R7, 15);
    writer.program.jump_u32(R7, When::Less, 5, &mut writer.drop);
    writer.program.shift_left(R7, 2);
    writer.program.add(R7, ETHERNET);
    writer.program.copy(R2, R7);
    writer.load_from_r2(BODY, 4);
    writer.if_protocol(UDP, |writer| writer.pass_unless_to(DHCP_CLIENT));
    writer.if_protocol(IGMP, |writer| {
        writer.pass_if_one_of(BODY, &IGMP_REPORTS);
        writer.drop_here();
    });
    writer.program.load_u8(R2, R10, BODY);
    for kind in ICMP_OF_ROUTERS {
        writer.program.jump_u32(R2, When::Equal, kind, &mut writer.drop);
    }
    writer.pass_here();
}

pub(super) fn ipv6(writer: &mut Writer, own: &Own) {
    use Register::{R8, R10};
    if own.v6.is_empty() {
        return writer.drop_here();
    }
    writer.load(ETHERNET, HEADER, 40);
    writer.drop_unless_version(6);
    writer.program.load_u8(R8, R10, HEADER + 6);
    let (mut own_source, mut local, mut nobody) =
        (Label::default(), Label::default(), Label::default());
    for address in &own.v6 {
        writer.go_if_bytes(HEADER + 8, &address.octets(), &mut own_source);
    }
    writer.go_if_bytes(HEADER + 8, &link_local(own.mac).octets(), &mut local);
    writer.go_if_bytes(HEADER + 8, &[0; 16], &mut nobody);
    writer.drop_here();

    writer.program.place(own_source);
    writer.if_protocol(FRAGMENT, fragment);
    writer.if_protocol(ICMPV6, |writer| {
        writer.load(BEHIND, BODY, 4);
        writer.pass_if_one_of(BODY, &ICMPV6_PLAIN);
        neighbours(writer, own);
    });
    plain_or_udp(writer, BEHIND);

    writer.program.place(local);
    writer.if_protocol(HOP_BY_HOP, report);
    writer.program.jump_u32(R8, When::NotEqual, ICMPV6, &mut writer.drop);
    writer.load(BEHIND, BODY, 4);
    neighbours(writer, own);

    writer.program.place(nobody);
    writer.if_protocol(HOP_BY_HOP, report);
    writer.program.jump_u32(R8, When::NotEqual, ICMPV6, &mut writer.drop);
    is_free(writer, own);
}

/// A fragment: only data unless it is the first one. No messages of neighbour
/// discovery (RFC 6980).
fn fragment(writer: &mut Writer) {
    use Register::{R2, R8, R10};
    /// The upper 13 bits of bytes 2 and 3, as read by this machine.
    const OFFSET: i32 = u16::from_le_bytes([0xff, 0xf8]) as i32;
    writer.load(BEHIND, BODY, 8);
    writer.program.load_u8(R8, R10, BODY);
    writer.program.load_u16(R2, R10, BODY + 2);
    let mut front = Label::default();
    writer.program.and(R2, OFFSET);
    writer.program.jump_u32(R2, When::Equal, 0, &mut front);
    writer.pass_here();
    writer.program.place(front);
    writer.if_protocol(ICMPV6, |writer| {
        writer.load(BEHIND_FRAGMENT, BODY, 4);
        writer.pass_if_one_of(BODY, &ICMPV6_PLAIN);
        writer.drop_here();
    });
    plain_or_udp(writer, BEHIND_FRAGMENT);
}

/// What R8 names passes if it is one of [`PLAIN`], or UDP but to clients of
/// DHCP.
fn plain_or_udp(writer: &mut Writer, at: i32) {
    use Register::R8;
    for protocol in PLAIN {
        writer.program.jump_u32(R8, When::Equal, protocol, &mut writer.pass);
    }
    writer.program.jump_u32(R8, When::NotEqual, UDP, &mut writer.drop);
    writer.load(at, BODY, 4);
    writer.pass_unless_to(DHCPV6_CLIENT);
}

/// A report of multicast groups behind an option for routers.
fn report(writer: &mut Writer) {
    writer.load(BEHIND, BODY, 8);
    // What follows, and that nothing of the options does.
    unless_bytes(&mut writer.program, BODY, &[ICMPV6 as u8, 0], &mut writer.drop);
    writer.load(BEHIND + 8, BODY, 4);
    writer.pass_if_one_of(BODY, &MLD_REPORTS);
    writer.drop_here();
}

/// Solicitations, and advertisements of the guest's own addresses; the type is
/// at [`BODY`] already.
fn neighbours(writer: &mut Writer, own: &Own) {
    use Register::{R2, R10};
    let (mut solicitation, mut of_own) = (Label::default(), Label::default());
    writer.program.load_u8(R2, R10, BODY);
    writer.program.jump_u32(R2, When::Equal, SOLICITATION, &mut solicitation);
    writer.program.jump_u32(R2, When::NotEqual, ADVERTISEMENT, &mut writer.drop);
    writer.load(BEHIND, BODY, 24);
    go_if_own_target(writer, own, &mut of_own);
    writer.drop_here();
    writer.program.place(of_own);
    option(writer, &[(TARGET, Some(own.mac))]);
    writer.program.place(solicitation);
    option(writer, &[(SENDER, Some(own.mac)), (NONCE, None)]);
}

/// The question whether anybody has one of the guest's own addresses.
fn is_free(writer: &mut Writer, own: &Own) {
    use Register::{R2, R10};
    writer.load(BEHIND, BODY, 24);
    writer.program.load_u8(R2, R10, BODY);
    writer.program.jump_u32(R2, When::NotEqual, SOLICITATION, &mut writer.drop);
    let mut of_own = Label::default();
    go_if_own_target(writer, own, &mut of_own);
    writer.drop_here();
    writer.program.place(of_own);
    option(writer, &[(NONCE, None)]);
}

/// Whom a message of neighbour discovery is about.
fn go_if_own_target(writer: &mut Writer, own: &Own, label: &mut Label) {
    for address in own.v6.iter().copied().chain([link_local(own.mac)]) {
        writer.go_if_bytes(BODY + 8, &address.octets(), label);
    }
}

/// Passes a message of 24 bytes that has no option behind it, or one of these,
/// with this hardware address in it.
fn option(writer: &mut Writer, known: &[([u8; 2], Option<[u8; 6]>)]) {
    const LENGTH: i16 = HEADER + 4;
    writer.pass_if_bytes(LENGTH, &24_u16.to_be_bytes());
    unless_bytes(&mut writer.program, LENGTH, &32_u16.to_be_bytes(), &mut writer.drop);
    writer.load(BEHIND + 24, BODY, 8);
    for (kind, mac) in known {
        let mac = mac.as_ref().map_or(&[][..], |mac| &mac[..]);
        writer.pass_if_bytes(BODY, &[&kind[..], mac].concat());
    }
    writer.drop_here();
}

pub(super) fn arp(writer: &mut Writer, own: &Own) {
    let (mut request, mut speaks) = (Label::default(), Label::default());
    writer.load(ETHERNET, HEADER, 28);
    unless_bytes(&mut writer.program, HEADER, &[0, 1, 8, 0, 6, 4], &mut writer.drop);
    unless_bytes(&mut writer.program, HEADER + 8, &own.mac, &mut writer.drop);
    writer.go_if_bytes(HEADER + 6, &[0, 1], &mut request);
    unless_bytes(&mut writer.program, HEADER + 6, &[0, 2], &mut writer.drop);
    writer.program.go(&mut speaks);
    writer.program.place(request);
    let mut not_a_probe = Label::default();
    unless_bytes(&mut writer.program, HEADER + 14, &[0; 4], &mut not_a_probe);
    for address in &own.v4 {
        writer.pass_if_bytes(HEADER + 24, &address.octets());
    }
    writer.drop_here();
    writer.program.place(not_a_probe);
    writer.program.place(speaks);
    for address in &own.v4 {
        writer.pass_if_bytes(HEADER + 14, &address.octets());
    }
    writer.drop_here();
}

impl Writer {
    fn pass_here(&mut self) {
        self.program.go(&mut self.pass);
    }

    /// Writes what holds if R8 is this protocol.
    fn if_protocol(&mut self, number: i32, write: impl FnOnce(&mut Self)) {
        let mut other = Label::default();
        self.program.jump_u32(Register::R8, When::NotEqual, number, &mut other);
        write(self);
        self.program.place(other);
    }

    /// Passes a UDP datagram whose ports are at [`BODY`], unless it is for
    /// this one.
    fn pass_unless_to(&mut self, port: [u8; 2]) {
        let mut other = Label::default();
        unless_bytes(&mut self.program, BODY + 2, &port, &mut other);
        self.drop_here();
        self.program.place(other);
        self.pass_here();
    }
}

#[cfg(test)]
#[path = "segment_tests.rs"]
mod tests;
