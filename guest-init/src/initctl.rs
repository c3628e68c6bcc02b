//! sysvinit's request structure, as written to `/run/initctl`.
//!
//! Pure and total. Layout (sysvinit's `initreq.h`, x86-64, 384 bytes): four
//! 32-bit integers `magic`, `cmd`, `runlevel`, `sleeptime`, then 368 bytes of
//! data, for variables a list of `NAME=VALUE` ended by NUL bytes.

use shared::message::Runlevel;

/// Size of a request in bytes.
pub const SIZE: usize = 384;

const MAGIC: i32 = 0x0309_1969;
const HEAD: usize = 16;

/// What somebody wrote to the FIFO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Go to this runlevel.
    Level(Runlevel),
    /// Read inittab again (`telinit q`).
    Reload,
    /// Execute the init program again (`telinit u`).
    Reexecute,
    /// The power fails.
    PowerFail,
    /// The power fails within moments.
    PowerFailNow,
    /// The power is back.
    PowerOk,
    /// Set (or, without a value, remove) variables of the environment.
    Environment(Vec<(String, Option<String>)>),
    /// Something that needs no answer: another console.
    Ignored,
}

/// Takes the first request out of what was read so far. Bytes that belong to
/// no request are skipped, so that one stray write doesn't spoil all that
/// follow; `None` when there is no whole request left.
pub fn take(read: &mut Vec<u8>) -> Option<Request> {
    loop {
        let magic = MAGIC.to_ne_bytes();
        let start = read.windows(magic.len()).position(|four| four == magic);
        // The magic's first bytes may have come already.
        let skip = start.unwrap_or(read.len().saturating_sub(magic.len() - 1));
        read.drain(..skip);
        let request = parse(read.get(..SIZE)?);
        let length = if request.is_some() { SIZE } else { magic.len() };
        read.drain(..length);
        if request.is_some() {
            return request;
        }
    }
}

/// Reads one request; `None` for what is none.
fn parse(bytes: &[u8]) -> Option<Request> {
    if bytes.len() != SIZE || word(bytes, 0)? != MAGIC {
        return None;
    }
    Some(match word(bytes, 4)? {
        1 => level(word(bytes, 8)?)?,
        2 => Request::PowerFail,
        3 => Request::PowerFailNow,
        4 => Request::PowerOk,
        5 => Request::Ignored,
        6 => Request::Environment(variables(bytes.get(HEAD..)?, true)),
        7 => Request::Environment(variables(bytes.get(HEAD..)?, false)),
        _ => return None,
    })
}

fn word(bytes: &[u8], at: usize) -> Option<i32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    Some(i32::from_ne_bytes(four.try_into().ok()?))
}

fn level(number: i32) -> Option<Request> {
    match char::from(u8::try_from(number).ok()?) {
        'q' | 'Q' => Some(Request::Reload),
        'u' | 'U' => Some(Request::Reexecute),
        c => Runlevel::from_char(c).map(Request::Level),
    }
}

/// Variables of a set or unset request. As in sysvinit only names that begin
/// with `INIT_` are taken.
fn variables(data: &[u8], set: bool) -> Vec<(String, Option<String>)> {
    let words = data.split(|byte| *byte == 0).take_while(|word| !word.is_empty());
    words
        .filter_map(|word| core::str::from_utf8(word).ok())
        .map(|word| match (word.split_once('='), set) {
            (Some((name, value)), true) => (name.to_owned(), Some(value.to_owned())),
            (Some((name, _)), false) => (name.to_owned(), None),
            (None, _) => (word.to_owned(), None),
        })
        .filter(|(name, _)| name.starts_with("INIT_"))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request(cmd: i32, runlevel: u8, data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for word in [MAGIC, cmd, i32::from(runlevel), 0] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(data);
        bytes.resize(SIZE, 0);
        bytes
    }

    #[test]
    fn telinit_requests() {
        assert_eq!(parse(&request(1, b'0', b"")), Some(Request::Level(Runlevel::HALT)));
        assert_eq!(parse(&request(1, b's', b"")), Some(Request::Level(Runlevel::SINGLE)));
        assert_eq!(parse(&request(1, b'Q', b"")), Some(Request::Reload));
        assert_eq!(parse(&request(1, b'u', b"")), Some(Request::Reexecute));
        assert_eq!(parse(&request(1, b'x', b"")), None);
        assert_eq!(parse(&request(99, b'0', b"")), None);
    }

    #[test]
    fn shutdown_sets_init_halt() {
        let bytes = request(6, 0, b"INIT_HALT=POWEROFF\0PATH=/evil\0");
        let expected = vec![("INIT_HALT".to_owned(), Some("POWEROFF".to_owned()))];
        assert_eq!(parse(&bytes), Some(Request::Environment(expected)));
        let bytes = request(6, 0, b"INIT_HALT\0");
        assert_eq!(parse(&bytes), Some(Request::Environment(vec![("INIT_HALT".to_owned(), None)])));
    }

    #[test]
    fn a_wrong_magic_or_size_is_no_request() {
        let mut bytes = request(1, b'0', b"");
        assert_eq!(parse(&bytes[..SIZE - 1]), None);
        bytes[0] ^= 1;
        assert_eq!(parse(&bytes), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
            parse(&bytes);
        }

        #[test]
        fn a_request_is_found_behind_stray_bytes(
            stray in prop::collection::vec(0u8..3, 0..800), pieces in 1usize..7
        ) {
            let mut bytes = stray;
            bytes.extend(request(1, b'6', b""));
            bytes.extend(request(1, b'Q', b""));
            let (mut read, mut found) = (Vec::new(), Vec::new());
            for piece in bytes.chunks(bytes.len() / pieces) {
                read.extend(piece);
                found.extend(core::iter::from_fn(|| take(&mut read)));
                prop_assert!(read.len() < SIZE);
            }
            prop_assert_eq!(found, [Request::Level(Runlevel::REBOOT), Request::Reload]);
        }

        #[test]
        fn any_well_formed_head_is_read_without_panic(
            cmd in -2i32..10, level in any::<u8>(), data in prop::collection::vec(any::<u8>(), 0..368)
        ) {
            parse(&request(cmd, level, &data));
        }
    }
}
