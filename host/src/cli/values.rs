//! Parsers of single values on the command line.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use shared::name::{ContextError, ContextId, GuestName};

use super::order;
use crate::config::Address;
use crate::copying::Place;

/// A guest's name that is not a verb: `vserver VERB NAME` and `vserver NAME
/// VERB` must stay distinguishable.
pub(super) fn guest(text: &str) -> Result<GuestName, String> {
    let name: GuestName = text.parse().map_err(|error| format!("{error}"))?;
    if order::is_reserved(text) {
        return Err(format!("'{text}' is a verb of vserver, no guest can have this name"));
    }
    Ok(name)
}

/// `GUEST:PATH` or a path of the host's, of any bytes.
pub(super) fn place() -> impl TypedValueParser<Value = Place> {
    OsStringValueParser::new().try_map(|word| Place::parse(&word, guest))
}

/// A path that a configuration can name.
pub(super) fn text_path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().try_map(|word| match word.into_string() {
        Ok(text) => Ok(PathBuf::from(text)),
        Err(_) => Err("a configuration can't name it: it is no UTF-8"),
    })
}

/// A host's name for ssh, which could be taken for an option.
pub(super) fn ssh_host(text: &str) -> Result<String, String> {
    let is_one = |c: char| !c.is_whitespace() && !c.is_control();
    if text.is_empty() || text.starts_with('-') || !text.chars().all(is_one) {
        return Err("a host is written HOST or USER@HOST".to_owned());
    }
    Ok(text.to_owned())
}

fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true if !text.is_empty() => format!("'{text}' is too large"),
        _ => format!("'{text}' is no number"),
    })
}

/// So many of something.
pub(super) fn count(text: &str) -> Result<usize, String> {
    number(text)
}

/// A process; below 1 several of a context.
pub(super) fn pid(text: &str) -> Result<i32, String> {
    text.parse().map_err(|_| {
        format!("'{text}' is no pid; what runs in a context is named by '-c', such as '-c web'")
    })
}

/// A guest's fixed context number.
pub(super) fn context(text: &str) -> Result<ContextId, String> {
    number::<u32>(text)?.try_into().map_err(|error: ContextError| error.to_string())
}

/// An address as util-vserver's `--interface` has it: `[SUFFIX=][DEV:]IP`, with
/// `/MASK` or `/LEN`.
pub(super) fn interface(text: &str) -> Result<Address, String> {
    let text = text.split_once('=').map_or(text, |(_, rest)| rest);
    let (ip, mask) = text.split_once('/').map_or((text, None), |(ip, mask)| (ip, Some(mask)));
    // An IPv6 address has colons of its own.
    let ip = match (ip.parse::<IpAddr>(), ip.split_once(':')) {
        (Err(_), Some((_, rest))) => rest,
        _ => ip,
    };
    let length = |mask: &str| match mask.parse::<Ipv4Addr>().map(Ipv4Addr::to_bits) {
        Ok(bits) if bits.leading_ones() + bits.trailing_zeros() >= 32 => {
            Ok(bits.leading_ones().to_string())
        }
        Ok(_) => Err(format!("'{mask}' is no mask of a network")),
        Err(_) => Ok(mask.to_owned()),
    };
    // What is routed to a guest stands alone.
    if let Some(length) = mask.map(length).transpose()? {
        format!("{ip}/{length}").parse::<Address>()?;
    }
    ip.parse()
}

/// By how much ids are shifted: not at all, or beyond those of a guest.
pub(super) fn shift(text: &str) -> Result<u32, String> {
    const IDS: u32 = 65_536;
    let number: u32 = number(text)?;
    if number == 0 || (IDS..u32::MAX - IDS).contains(&number) {
        return Ok(number);
    }
    Err(format!("owners are shifted by 0, or by {IDS} and more"))
}

/// Seconds ("90", "0.5"), or a duration with units ("1m 30s").
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let parsed = match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => humantime::parse_duration(text).ok(),
    };
    parsed.ok_or_else(|| "a duration is written like '90', '90s' or '1m 30s'".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_is_called_so() {
        assert_eq!(context("abc"), Err("'abc' is no number".to_owned()));
        assert_eq!(context(""), Err("'' is no number".to_owned()));
        assert_eq!(
            count("99999999999999999999"),
            Err("'99999999999999999999' is too large".into())
        );
        assert!(pid("tiny").is_err_and(|text| text.contains("'-c web'")));
        assert_eq!((pid("-1"), count("5")), (Ok(-1), Ok(5)));
    }

    #[test]
    fn old_interfaces_are_addresses() {
        for (old, new) in [
            ("192.0.2.10", "192.0.2.10"),
            ("eth0:192.0.2.10/24", "192.0.2.10"),
            ("1=eth0:192.0.2.10/255.255.255.0", "192.0.2.10"),
            ("nodev:192.0.2.10/255.255.255.255", "192.0.2.10"),
            ("2001:db8::10/64", "2001:db8::10"),
            ("0=eth0:2001:db8::10", "2001:db8::10"),
        ] {
            assert_eq!(interface(old), new.parse(), "{old}");
            assert!(interface(old).is_ok(), "{old}");
        }
        for bad in ["", "eth0", "eth0:", "192.0.2.10/255.0.255.0", "eth0:127.0.0.1", "192.0.2.1/33"]
        {
            assert!(interface(bad).is_err(), "{bad} was taken");
        }
    }
}
