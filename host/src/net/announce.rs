//! Tells a network of many machines where a guest's addresses are, so that one
//! that has moved from another host is found at once: others keep what they
//! know of it for minutes.
//!
//! An ARP announcement (RFC 5227 §2.3) and an unsolicited neighbour
//! advertisement that overrides (RFC 4861 §7.2.6), to everybody there.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::netlink::{By, Netlink};
use crate::plan::network::Mac;
use crate::plan::{Door, Far, Link};
use crate::sys;

/// All machines on the link, and their hardware address (RFC 2464 §7).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: Mac = [0x33, 0x33, 0, 0, 0, 1];

/// Announces the addresses of a guest where others ask for them; nothing where
/// they are routed to the host.
///
/// # Errors
/// ENODEV without the interface; ENETDOWN if it is down; EPERM without
/// CAP_NET_RAW.
pub fn announce(link: &Link) -> io::Result<()> {
    let (interface, mac) = match &link.far {
        // The host answers for the guest there.
        Far::Host { proxy: Some(interface) } => (interface, None),
        Far::Host { proxy: None } => return Ok(()),
        Far::Segment { door: Door::Bridge(bridge), .. } => (bridge, Some(link.guest_mac)),
        Far::Segment { door: Door::Macvlan(macvlan), .. } => {
            (&macvlan.interface, Some(link.guest_mac))
        }
    };
    let found = Netlink::open()?.find(&By::Name(interface))?;
    let found = found.ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))?;
    let own = || Mac::try_from(found.mac.unwrap_or_default()).ok();
    // Not an Ethernet: nobody asks there.
    let Some(mac) = mac.or_else(own) else { return Ok(()) };
    link.ips().try_for_each(|ip| {
        let frame = match ip {
            IpAddr::V4(ip) => arp(mac, ip).to_vec(),
            IpAddr::V6(ip) => advertisement(mac, ip),
        };
        sys::network::send_frame(found.index, &frame)
    })
}

/// A request for the own address, to everybody.
fn arp(mac: Mac, ip: Ipv4Addr) -> [u8; 42] {
    let mut frame = [0; 42];
    frame[..6].fill(0xff);
    frame[6..12].copy_from_slice(&mac);
    // Of Ethernet (1) and IPv4, with addresses of 6 and 4 bytes.
    frame[12..22].copy_from_slice(&[0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1]);
    frame[22..28].copy_from_slice(&mac);
    frame[28..32].copy_from_slice(&ip.octets());
    frame[38..42].copy_from_slice(&ip.octets());
    frame
}

/// From the address itself, with the hardware address as its option.
fn advertisement(mac: Mac, ip: Ipv6Addr) -> Vec<u8> {
    const ICMPV6: u8 = 58;
    let mut message = vec![136, 0, 0, 0, 0x20, 0, 0, 0];
    message.extend(ip.octets());
    // In units of eight bytes.
    message.extend([2, 1]);
    message.extend(mac);
    let length = message.len() as u8;
    let pseudo = [ip.octets(), ALL_NODES.octets()].concat();
    let sum = checksum(pseudo.iter().chain(&[0, 0, 0, length, 0, 0, 0, ICMPV6]).chain(&message));
    message[2..4].copy_from_slice(&sum.to_be_bytes());

    let mut frame = [ALL_NODES_MAC, mac].concat();
    // Hop limit 255: it was not passed on by a router.
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, length, ICMPV6, 255]);
    frame.extend(ip.octets());
    frame.extend(ALL_NODES.octets());
    frame.extend(message);
    frame
}

/// The internet checksum (RFC 1071) of an even number of bytes.
fn checksum<'b>(bytes: impl Iterator<Item = &'b u8>) -> u16 {
    let sum = bytes
        .enumerate()
        .fold(0_u32, |sum, (at, byte)| sum + (u32::from(*byte) << if at % 2 == 0 { 8 } else { 0 }));
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_as_what_they_are() {
        let mac = [2, 1, 2, 3, 4, 5];
        let frame = arp(mac, Ipv4Addr::new(192, 0, 2, 10));
        assert_eq!(frame[12..14], [0x08, 0x06]);
        assert_eq!(frame[28..32], frame[38..42]);
        let frame = advertisement(mac, "2001:db8::10".parse().expect("an address"));
        assert_eq!(frame.len(), 14 + 40 + 32);
        // With its checksum in it the sum is 0.
        let pseudo = [0, 0, 0, 32, 0, 0, 0, 58];
        assert_eq!(checksum(frame[22..54].iter().chain(&pseudo).chain(&frame[54..])), 0);
    }
}
