//! Addresses as programs see them: words of 32 bits, whose bytes lie in
//! memory as they do in packets.

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::bpf::{Assembler, Function, Label, Register, When};

/// Offsets in `struct bpf_sock_addr` (linux/bpf.h).
pub const IP4: i16 = 4;
/// Of four words.
pub const IP6: i16 = 8;
/// In network order.
pub const PORT: i16 = 24;
/// As `IPPROTO_…`.
pub const PROTOCOL: i16 = 36;
/// Of a message's source.
pub const SOURCE4: i16 = 40;
/// Of four words.
pub const SOURCE6: i16 = 44;

/// 127.0.0.1
pub const LOCALHOST: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// The third word of an IPv4 address in IPv6 form, ::ffff:0:0.
const MAPPED: i32 = i32::from_le_bytes([0, 0, 0xff, 0xff]);

/// The last word of ::1.
const ONE: i32 = i32::from_le_bytes([0, 0, 0, 1]);

/// An IPv4 address as a word.
pub fn word(ip: Ipv4Addr) -> i32 {
    i32::from_le_bytes(ip.octets())
}

/// An IPv6 address as words.
pub fn words(ip: Ipv6Addr) -> [i32; 4] {
    let bits = ip.to_bits();
    [96, 64, 32, 0].map(|shift| ((bits >> shift) as u32).swap_bytes().cast_signed())
}

/// The first so many bits of an IPv4 address, and no others.
pub fn mask(bits: u8) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - u32::from(bits.min(32))).unwrap_or(0))
}

/// The same for IPv6.
pub fn mask6(bits: u8) -> Ipv6Addr {
    Ipv6Addr::from_bits(u128::MAX.checked_shl(128 - u32::from(bits.min(128))).unwrap_or(0))
}

/// What kind of IPv6 address it is.
#[derive(Debug, Default)]
pub struct Kinds {
    /// An IPv4 address in IPv6 form. R7 holds its word.
    pub mapped: Label,
    /// ::
    pub any: Label,
    /// ::1
    pub localhost: Label,
}

impl Assembler {
    /// Goes to the label if the register holds one of these addresses.
    pub fn jump_among(
        &mut self,
        register: Register,
        addresses: impl IntoIterator<Item = Ipv4Addr>,
        label: &mut Label,
    ) {
        for ip in addresses {
            self.jump_u32(register, When::Equal, word(ip), label);
        }
    }

    /// Goes to the label if the words there are one of these addresses. Uses
    /// R2.
    pub fn jump_among6(
        &mut self,
        base: Register,
        offset: i16,
        addresses: impl IntoIterator<Item = Ipv6Addr>,
        label: &mut Label,
    ) {
        for ip in addresses {
            self.jump_in6(base, offset, ip, 128, label);
        }
    }

    /// Goes to the label if the words there begin as the address does in so
    /// many bits. Uses R2.
    pub fn jump_in6(
        &mut self,
        base: Register,
        offset: i16,
        ip: Ipv6Addr,
        bits: u8,
        label: &mut Label,
    ) {
        let mut next = Label::default();
        let masks = words(mask6(bits));
        for ((at, word), mask) in (offset..).step_by(4).zip(words(ip)).zip(masks) {
            if mask == 0 {
                break;
            }
            self.load_u32(Register::R2, base, at);
            if mask != -1 {
                self.and(Register::R2, mask);
            }
            self.jump_u32(Register::R2, When::NotEqual, word & mask, &mut next);
        }
        self.go(label);
        self.place(next);
    }

    /// Goes to where this kind of address is dealt with; goes on if it is
    /// none of them. Uses R2 and R7.
    pub fn jump_by_kind(&mut self, base: Register, offset: i16, kinds: &mut Kinds) {
        use Register::{R2, R7};
        let mut other = Label::default();
        let mut zeros = Label::default();
        self.load_u32(R7, base, offset + 12);
        for at in [offset, offset + 4] {
            self.load_u32(R2, base, at);
            self.jump_u32(R2, When::NotEqual, 0, &mut other);
        }
        self.load_u32(R2, base, offset + 8);
        self.jump_u32(R2, When::Equal, 0, &mut zeros);
        self.jump_u32(R2, When::Equal, MAPPED, &mut kinds.mapped);
        self.go(&mut other);
        self.place(zeros);
        self.jump_u32(R7, When::Equal, 0, &mut kinds.any);
        self.jump_u32(R7, When::Equal, ONE, &mut kinds.localhost);
        self.place(other);
    }

    /// Writes an IPv4 address into the context. Uses R7, which holds it then.
    pub fn write4(&mut self, base: Register, offset: i16, ip: Ipv4Addr) {
        self.set(Register::R7, word(ip));
        self.store_u32(base, offset, Register::R7);
    }

    /// Writes an IPv6 address into the context. Uses R2.
    pub fn write6(&mut self, base: Register, offset: i16, ip: Ipv6Addr) {
        for (at, word) in (offset..).step_by(4).zip(words(ip)) {
            self.set(Register::R2, word);
            self.store_u32(base, at, Register::R2);
        }
    }

    /// Puts an IPv6 address on the stack.
    pub fn put6(&mut self, offset: i16, ip: Ipv6Addr) {
        for (at, word) in (offset..).step_by(4).zip(words(ip)) {
            self.put_u32(at, word);
        }
    }

    /// Ends with this result.
    pub fn give(&mut self, result: i32) {
        self.set(Register::R0, result);
        self.exit();
    }

    /// Refuses the call, which answers with this error.
    pub fn refuse(&mut self, errno: i32) {
        self.set(Register::R1, -errno);
        self.call(Function::SetAnswer);
        self.give(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_lie_in_memory_as_in_packets() {
        assert_eq!(word(Ipv4Addr::new(192, 0, 2, 10)).to_le_bytes(), [192, 0, 2, 10]);
        let ip = Ipv6Addr::from_bits(0x2001_0db8_0000_0000_0000_0000_0000_0010);
        assert_eq!(words(ip).map(i32::to_le_bytes).concat(), ip.octets());
    }

    #[test]
    fn masks_have_so_many_bits() {
        for bits in 0..=32_u8 {
            assert_eq!(mask(bits).to_bits().leading_ones(), u32::from(bits));
            assert_eq!(mask(bits).to_bits().count_ones(), u32::from(bits));
        }
        for bits in 0..=128_u8 {
            assert_eq!(mask6(bits).to_bits().leading_ones(), u32::from(bits));
            assert_eq!(mask6(bits).to_bits().count_ones(), u32::from(bits));
        }
    }
}
