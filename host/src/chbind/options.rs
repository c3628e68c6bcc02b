//! Addresses as they are given on the command line.
//!
//! Pure.

use core::net::{IpAddr, Ipv4Addr};
use core::str::FromStr;

/// What an option names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// An address, and how many bits of it tell its network.
    Address(IpAddr, u8),
    /// All addresses of this interface.
    Device(String),
}

/// Longest name of an interface (netdevice(7), `IFNAMSIZ`).
const LONGEST_NAME: usize = 15;

impl FromStr for Given {
    type Err = String;

    /// Reads `ADDRESS`, `ADDRESS/BITS`, `ADDRESS/MASK` or an interface's name.
    fn from_str(text: &str) -> Result<Self, String> {
        let shown = text.escape_debug();
        let (address, rest) = match text.split_once('/') {
            Some((address, rest)) => (address, Some(rest)),
            None => (text, None),
        };
        let Ok(ip) = address.parse::<IpAddr>() else {
            let is_name = (1..=LONGEST_NAME).contains(&text.len())
                && !text.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control());
            let looks_numeric =
                text.contains(':') || text.starts_with(|c: char| c.is_ascii_digit());
            return if is_name && !looks_numeric {
                Ok(Self::Device(text.to_owned()))
            } else {
                Err(format!("'{shown}' is neither an address nor the name of an interface"))
            };
        };
        if ip.is_unspecified() || ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST) {
            return Err(format!("{ip} is no address of a single host"));
        }
        if matches!(ip, IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some()) {
            return Err(format!("{ip} is an IPv4 address in IPv6 form; write it as IPv4"));
        }
        let most = if ip.is_ipv4() { 32 } else { 128 };
        let bits = match rest {
            None => Some(most),
            Some(rest) => rest.parse().ok().or_else(|| mask(ip, rest)),
        };
        match bits.filter(|bits| (1..=most).contains(bits)) {
            Some(bits) => Ok(Self::Address(ip, bits)),
            None => Err(format!("'{shown}' has no network of 1 to {most} bits behind the '/'")),
        }
    }
}

/// A network's mask in the form of an address, as bits.
fn mask(ip: IpAddr, text: &str) -> Option<u8> {
    let mask = text.parse::<Ipv4Addr>().ok().filter(|_| ip.is_ipv4())?.to_bits();
    (mask.leading_ones() == mask.count_ones()).then_some(mask.count_ones() as u8)
}

/// The broadcast address of the network that an address is in, if it has one.
pub fn broadcast(ip: Ipv4Addr, bits: u8) -> Option<Ipv4Addr> {
    let host = u32::MAX.checked_shr(bits.into())?;
    (bits < 31).then(|| Ipv4Addr::from_bits(ip.to_bits() | host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_masks_and_interfaces_are_read() {
        let ip = |text: &str| text.parse::<IpAddr>().expect(text);
        for (text, read) in [
            ("192.0.2.1", Given::Address(ip("192.0.2.1"), 32)),
            ("192.0.2.1/24", Given::Address(ip("192.0.2.1"), 24)),
            ("192.0.2.1/255.255.255.0", Given::Address(ip("192.0.2.1"), 24)),
            ("127.0.0.1", Given::Address(ip("127.0.0.1"), 32)),
            ("2001:db8::1", Given::Address(ip("2001:db8::1"), 128)),
            ("2001:db8::1/64", Given::Address(ip("2001:db8::1"), 64)),
            ("eth0", Given::Device("eth0".to_owned())),
            ("br-1.5@x", Given::Device("br-1.5@x".to_owned())),
        ] {
            assert_eq!(text.parse(), Ok(read), "{text}");
        }
        for wrong in [
            "",
            "192.0.2.1/33",
            "192.0.2.1/0",
            "192.0.2.1/255.0.255.0",
            "192.0.2.1/",
            "192.0.2.256",
            "0.0.0.0",
            "::",
            "255.255.255.255",
            "224.0.0.1",
            "::ffff:192.0.2.1",
            "2001:db8::1/129",
            "2001:db8::1/255.255.255.0",
            "2001:db8::g",
            "an-interface-too-long",
            "eth 0",
        ] {
            assert!(wrong.parse::<Given>().is_err(), "{wrong:?} was taken");
        }
    }

    #[test]
    fn networks_have_broadcast_addresses() {
        let ip = Ipv4Addr::new(192, 0, 2, 77);
        assert_eq!(broadcast(ip, 24), Some(Ipv4Addr::new(192, 0, 2, 255)));
        assert_eq!(broadcast(ip, 30), Some(Ipv4Addr::new(192, 0, 2, 79)));
        assert_eq!(broadcast(ip, 31), None);
        assert_eq!(broadcast(ip, 32), None);
    }
}
