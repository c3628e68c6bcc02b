//! Addresses as a configuration writes them: a guest's own, and others'.

use core::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An address of a guest's, written `ADDRESS` or `ADDRESS/BITS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    /// The address itself.
    pub ip: IpAddr,
    /// Bits of the network it lies in: all of them when not written.
    pub bits: u8,
}

impl Address {
    /// Does this address lie in its network?
    pub fn is_beside(self, other: IpAddr) -> bool {
        // Bits behind the network's; all of an address can't be shifted out.
        match (self.ip, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let rest = 32_u32.saturating_sub(self.bits.into());
                (own.to_bits() ^ other.to_bits()).checked_shr(rest).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let rest = 128_u32.saturating_sub(self.bits.into());
                (own.to_bits() ^ other.to_bits()).checked_shr(rest).unwrap_or(0) == 0
            }
            _ => false,
        }
    }

    /// A single address: 32 or 128 bits.
    pub fn is_single(self) -> bool {
        self.bits == longest(self.ip)
    }
}

/// Bits in an address of this family.
fn longest(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

/// Why no guest can have this address; `None` for one that it can have.
fn reserved(ip: IpAddr) -> Option<&'static str> {
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    let mapped = matches!(ip, IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some());
    match () {
        () if ip.is_unspecified() => Some("stands for every address"),
        () if ip.is_loopback() => Some("is a loopback address, which every guest has"),
        () if ip.is_multicast() => Some("is a group's address"),
        () if broadcast => Some("is everybody's address"),
        () if link_local => Some("is good for one link only, and given by the kernel"),
        () if mapped => Some("is an IPv4 address in IPv6 form"),
        () => None,
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shown = text.escape_debug();
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let ip: IpAddr = address.parse().map_err(|_| {
            format!(
                "an address is written like \"192.0.2.10\" or \"2001:db8::10\", not \"{shown}\""
            )
        })?;
        let most = longest(ip);
        // "+8" and "08" are numbers for Rust, and nobody else.
        let number = |bits: &str| -> Option<u8> {
            let bits: u8 = bits.parse().ok().filter(|n: &u8| n.to_string() == bits)?;
            (1..=most).contains(&bits).then_some(bits)
        };
        let bits = bits.map_or(Some(most), number).ok_or_else(|| {
            format!(
                "after the '/' stands the length of the network, 1 to {most}, not as in \"{shown}\""
            )
        })?;
        match reserved(ip) {
            Some(why) => Err(format!("no guest can have the address {ip}: it {why}")),
            None => Ok(Self { ip, bits }),
        }
    }
}

impl TryFrom<String> for Address {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.to_string()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_single() {
            write!(f, "{}", self.ip)
        } else {
            write!(f, "{}/{}", self.ip, self.bits)
        }
    }
}

/// Another machine's address: a gateway, a name server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Machine(pub IpAddr);

impl TryFrom<String> for Machine {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let ip: IpAddr = text.parse().map_err(|_| {
            format!(
                "a machine's address is written like \"192.0.2.1\" or \"2001:db8::1\", not \"{}\"",
                text.escape_debug()
            )
        })?;
        let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
        if ip.is_unspecified() || ip.is_multicast() || broadcast {
            return Err(format!("{ip} is no single machine's address"));
        }
        Ok(Self(ip))
    }
}

impl From<Machine> for String {
    fn from(machine: Machine) -> Self {
        machine.0.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_are_what_people_write() {
        for (text, shown) in [
            ("192.0.2.10", "192.0.2.10"),
            ("192.0.2.10/32", "192.0.2.10"),
            ("192.0.2.10/24", "192.0.2.10/24"),
            ("2001:DB8:0::10/128", "2001:db8::10"),
            ("2001:db8::10/64", "2001:db8::10/64"),
        ] {
            let address: Address = text.parse().expect(text);
            assert_eq!(address.to_string(), shown);
        }
        for wrong in [
            "",
            "web",
            "192.0.2",
            "192.0.2.010",
            "192.0.2.1/",
            "192.0.2.1/33",
            "192.0.2.1/0",
            "192.0.2.1/+8",
            "192.0.2.1/08",
            "2001:db8::1/129",
            "2001:db8::1%eth0",
            " 192.0.2.1",
            "0.0.0.0",
            "::",
            "127.0.0.1",
            "::1",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
            "169.254.1.1",
            "fe80::1",
            "::ffff:192.0.2.1",
        ] {
            assert!(wrong.parse::<Address>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn networks_hold_what_begins_alike() {
        for (address, other, beside) in [
            ("192.0.2.10/24", "192.0.2.1", true),
            ("192.0.2.10/24", "192.0.3.1", false),
            ("192.0.2.10", "192.0.2.10", true),
            ("192.0.2.10", "192.0.2.1", false),
            ("2001:db8::10/64", "2001:db8::1", true),
            ("2001:db8::10/64", "2001:db8:0:1::1", false),
            ("2001:db8::10/64", "192.0.2.1", false),
        ] {
            let address: Address = address.parse().expect(address);
            let other = other.parse().expect(other);
            assert_eq!(address.is_beside(other), beside, "{address} {other}");
        }
    }

    #[test]
    fn machines_have_plain_addresses() {
        for (text, right) in [
            ("192.0.2.1", true),
            ("fe80::1", true),
            ("127.0.0.1", true),
            ("192.0.2.1/24", false),
            ("ns.example.org", false),
            ("0.0.0.0", false),
            ("224.0.0.1", false),
            ("ff02::1", false),
            ("255.255.255.255", false),
        ] {
            assert_eq!(Machine::try_from(text.to_owned()).is_ok(), right, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(ip: IpAddr, bits in 1..=128_u8) {
            let text = format!("{ip}/{}", bits.min(longest(ip)));
            if let Ok(address) = text.parse::<Address>() {
                prop_assert_eq!(address.to_string().parse(), Ok(address));
            }
        }
    }
}
