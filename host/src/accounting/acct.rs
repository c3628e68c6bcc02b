//! Records of the kernel's process accounting, version 3 (acct(5),
//! `struct acct_v3` in linux/acct.h). Pure: bytes in, numbers out.

use std::time::Duration;

/// Bytes of a record.
pub const RECORD: usize = 64;

/// `ac_version`.
const VERSION: u8 = 3;

/// In `ac_version`: written on a machine whose numbers begin with their
/// highest byte (`ACCT_BYTEORDER`).
const BIG_ENDIAN: u8 = 0x80;

/// Length of a tick: records count in `AHZ`, a hundredth of a second whatever
/// the kernel's own clock.
const TICK: Duration = Duration::from_millis(10);

/// One process that has ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Record {
    /// Its last name, without what follows the first NUL. It chooses it
    /// itself.
    pub command: [u8; 16],
    /// Its real uid on the host.
    pub uid: u32,
    /// Its pid, as its guest saw it.
    pub pid: u32,
    /// When it began, in seconds since 1970.
    pub began: u32,
    /// From its beginning to its end.
    pub elapsed: Duration,
    /// Its time in user mode, whole ticks.
    pub user: Duration,
    /// Its time in the kernel, whole ticks.
    pub system: Duration,
}

/// Reads one record; `None` if it is of another version, or no record.
pub fn parse(bytes: &[u8; RECORD]) -> Option<Record> {
    let version = bytes[1];
    if version & !BIG_ENDIAN != VERSION {
        return None;
    }
    let numbers = Numbers { bytes, is_big: version & BIG_ENDIAN != 0 };
    let mut command = [0; 16];
    for (to, from) in command.iter_mut().zip(bytes[48..].iter().take_while(|byte| **byte != 0)) {
        *to = *from;
    }
    Some(Record {
        command,
        uid: numbers.long(8),
        pid: numbers.long(16),
        began: numbers.long(24),
        elapsed: elapsed(f32::from_bits(numbers.long(28))),
        user: time(numbers.short(32)),
        system: time(numbers.short(34)),
    })
}

struct Numbers<'b> {
    bytes: &'b [u8; RECORD],
    is_big: bool,
}

impl Numbers<'_> {
    fn short(&self, at: usize) -> u16 {
        let bytes = [self.bytes[at], self.bytes[at + 1]];
        if self.is_big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    }

    fn long(&self, at: usize) -> u32 {
        let (first, second) = (u32::from(self.short(at)), u32::from(self.short(at + 2)));
        if self.is_big { first << 16 | second } else { second << 16 | first }
    }
}

/// `comp_t`: 13 bits to be multiplied by a power of 8, in the upper 3.
fn ticks(compressed: u16) -> u64 {
    u64::from(compressed & 0x1fff) << (3 * (compressed >> 13))
}

fn time(compressed: u16) -> Duration {
    // At most 8191 << 21 ticks.
    TICK * u32::try_from(ticks(compressed)).unwrap_or(u32::MAX)
}

/// A time in ticks as a number with a fraction; what is no time is none.
fn elapsed(ticks: f32) -> Duration {
    Duration::try_from_secs_f64(f64::from(ticks) * TICK.as_secs_f64()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What Linux 6.18 wrote for `sh -c 'sleep 0.2; exit 3'`, but for times
    /// and ids.
    fn record(is_big: bool) -> [u8; RECORD] {
        let mut bytes = [0; RECORD];
        let mut put = |at: usize, width: usize, value: u32| {
            let (big, little) = (value.to_be_bytes(), value.to_le_bytes());
            let value = if is_big { &big[4 - width..] } else { &little[..width] };
            bytes[at..at + width].copy_from_slice(value);
        };
        put(8, 4, 1_879_048_225);
        put(16, 4, 6);
        put(24, 4, 1_795_731_767);
        put(28, 4, 20_f32.to_bits());
        put(32, 2, 1 << 13 | 2);
        put(34, 2, 5);
        bytes[1] = if is_big { 0x83 } else { 3 };
        bytes[48..52].copy_from_slice(b"sh\0x");
        bytes
    }

    #[test]
    fn fields_are_where_the_kernel_puts_them() {
        for is_big in [false, true] {
            let found = parse(&record(is_big)).unwrap();
            assert_eq!(&found.command, b"sh\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
            assert_eq!((found.uid, found.pid, found.began), (1_879_048_225, 6, 1_795_731_767));
            assert_eq!(found.elapsed, Duration::from_millis(200));
            assert_eq!(found.user, Duration::from_millis(160));
            assert_eq!(found.system, Duration::from_millis(50));
        }
    }

    #[test]
    fn other_versions_are_no_records() {
        let mut bytes = record(false);
        for version in (0..=255).filter(|version| version & 0x7f != 3) {
            bytes[1] = version;
            assert_eq!(parse(&bytes), None);
        }
    }

    #[test]
    fn a_time_that_is_none_is_none() {
        for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1.0] {
            assert_eq!(elapsed(odd), Duration::ZERO);
        }
        assert!(elapsed(f32::MAX) <= Duration::MAX);
    }

    /// `encode_comp_t` of the kernel (kernel/acct.c), as acct(5) describes
    /// the format: divided by 8 until 13 bits are enough, rounded.
    fn compressed(mut value: u64) -> u16 {
        let (mut exponent, mut rounds_up) = (0, false);
        while value > 0x1fff {
            rounds_up = value & 4 != 0;
            value >>= 3;
            exponent += 1;
        }
        value += u64::from(rounds_up);
        if value > 0x1fff {
            value >>= 3;
            exponent += 1;
        }
        exponent << 13 | u16::try_from(value).unwrap()
    }

    proptest! {
        #[test]
        fn ticks_come_back_as_exactly_as_the_form_allows(value in 0..8191_u64 << 21) {
            let found = ticks(compressed(value));
            // 13 bits, of which 3 may have been lost to the last division.
            prop_assert!(found.abs_diff(value) <= value / 1023, "{value} {found}");
            if value <= 0x1fff {
                prop_assert_eq!(found, value);
            }
        }

        #[test]
        fn no_bytes_make_it_fail(bytes in proptest::collection::vec(any::<u8>(), RECORD)) {
            let mut bytes: [u8; RECORD] = bytes.try_into().unwrap();
            bytes[1] = bytes[1] & BIG_ENDIAN | VERSION;
            let found = parse(&bytes).unwrap();
            let end = found.command.iter().position(|byte| *byte == 0).unwrap_or(16);
            prop_assert!(found.command[end..].iter().all(|byte| *byte == 0));
            prop_assert_eq!(&found.command[..end], &bytes[48..48 + end]);
        }
    }
}
