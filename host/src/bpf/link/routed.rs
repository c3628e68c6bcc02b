//! What passes to the host that routes a guest's packets.
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

use super::{
    ADVERTISEMENT, ETHERNET, HEADER, ICMPV6, Own, Register, SOLICITATION, When, Writer, link_local,
    unless_bytes,
};

pub(super) fn ipv4(writer: &mut Writer, own: &Own) {
    writer.load(ETHERNET, HEADER, 20);
    writer.drop_unless_version(4);
    for address in &own.v4 {
        writer.pass_if_bytes(HEADER + 12, &address.octets());
    }
    writer.drop_here();
}

pub(super) fn ipv6(writer: &mut Writer, own: &Own) {
    use Register::{R2, R10};
    if own.v6.is_empty() {
        return writer.drop_here();
    }
    writer.load(ETHERNET, HEADER, 40);
    writer.drop_unless_version(6);
    for address in &own.v6 {
        writer.pass_if_bytes(HEADER + 8, &address.octets());
    }
    let link_local = link_local(own.mac).octets();
    unless_bytes(&mut writer.program, HEADER + 8, &link_local, &mut writer.drop);
    writer.program.load_u8(R2, R10, HEADER + 6);
    writer.program.jump_u32(R2, When::NotEqual, ICMPV6, &mut writer.drop);
    writer.load(ETHERNET + 40, HEADER, 2);
    writer.pass_if_one_of(HEADER, &[SOLICITATION, ADVERTISEMENT]);
    writer.drop_here();
}

/// Hardware type, protocol and lengths first, then the operation, who speaks
/// (hardware address, address), and of whom.
pub(super) fn arp(writer: &mut Writer, own: &Own) {
    writer.load(ETHERNET, HEADER, 28);
    unless_bytes(&mut writer.program, HEADER, &[0, 1, 8, 0, 6, 4], &mut writer.drop);
    unless_bytes(&mut writer.program, HEADER + 8, &own.mac, &mut writer.drop);
    for address in &own.v4 {
        writer.pass_if_bytes(HEADER + 14, &address.octets());
    }
    writer.drop_here();
}
