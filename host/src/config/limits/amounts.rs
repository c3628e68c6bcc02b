//! Values of one number: sizes, counts, shares.

use core::fmt;
use std::str::FromStr;

/// Bytes of memory or of swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// So many.
    Bytes(u64),
    /// A share of what the host has.
    Percent(u8),
    /// No limit.
    Max,
}

/// A number of processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// At most so many.
    Most(u32),
    /// No limit.
    Max,
}

/// The kernel's own limit on `pids.max` (`PID_MAX_LIMIT`, linux/threads.h): it
/// refuses more.
pub const MOST_PROCESSES: u32 = 4_194_304;

/// With fewer no boot script could run anything.
const LEAST_PROCESSES: u32 = 3;

/// Processor time, in processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cpus {
    /// So many thousandths.
    Thousandths(u32),
    /// No limit.
    Max,
}

/// A share, 1 to 10000, where 100 is what everybody has who says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight(u16);

/// A nice level, -20 (first) to 19 (last).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nice(i8);

impl Weight {
    /// The number.
    pub fn get(self) -> u16 {
        self.0
    }
}

impl Nice {
    /// The number.
    pub fn get(self) -> i8 {
        self.0
    }
}

const UNITS: [(&str, u64); 4] = [("T", 1 << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)];

/// Reads "512M", "1.5G", "4096": K, M, G, T are powers of 1024, also written
/// KiB and so on.
pub fn bytes(text: &str) -> Option<u64> {
    let number = text.strip_suffix("iB").unwrap_or(text);
    let unit = UNITS.iter().find(|(letter, _)| number.ends_with(letter));
    let (number, unit) = match unit {
        Some((letter, unit)) => (number.get(..number.len() - letter.len())?, *unit),
        None if number == text => (number, 1),
        // "5iB".
        None => return None,
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(part) || part.len() > 6 {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let scale = 10u64.pow(u32::try_from(part.len()).ok()?);
    let part: u64 = if part.is_empty() { 0 } else { part.parse().ok()? };
    whole.checked_mul(unit)?.checked_add(unit * part / scale)
}

/// The shortest exact form of a size.
pub fn written_bytes(bytes: u64) -> String {
    let unit = UNITS.iter().find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit));
    unit.map_or(bytes.to_string(), |(letter, unit)| format!("{}{letter}", bytes / unit))
}

impl FromStr for Amount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let amount = match text.strip_suffix('%') {
            _ if text == "max" => Some(Self::Max),
            Some(share) => {
                share.parse().ok().filter(|share| (1..=100).contains(share)).map(Self::Percent)
            }
            None => bytes(text).map(Self::Bytes),
        };
        amount.ok_or_else(|| {
            format!("a size is written like \"512M\", \"1.5G\", \"50%\" (of the host's) or \"max\", not \"{}\"", text.escape_debug())
        })
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => f.write_str(&written_bytes(*bytes)),
            Self::Percent(share) => write!(f, "{share}%"),
            Self::Max => f.write_str("max"),
        }
    }
}

impl FromStr for Count {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self::Max);
        }
        match text.parse::<u64>().map(u32::try_from) {
            Ok(Ok(..LEAST_PROCESSES)) => Err(format!(
                "{text} processes are too few: a guest has a first one, a boot script and a \
                 command in that, {LEAST_PROCESSES} at least"
            )),
            Ok(Ok(count @ ..=MOST_PROCESSES)) => Ok(Self::Most(count)),
            Ok(_) => Err(format!(
                "Linux has no more than {MOST_PROCESSES} processes: write \"max\" for no limit"
            )),
            Err(_) => Err(format!(
                "a number of processes is {LEAST_PROCESSES} or more, or \"max\", not \"{}\"",
                text.escape_debug()
            )),
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Most(count) => write!(f, "{count}"),
            Self::Max => f.write_str("max"),
        }
    }
}

impl FromStr for Cpus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let cpus = match text {
            "max" => Some(Self::Max),
            text => {
                let number: Option<f64> = text.parse().ok();
                // The kernel takes no less than a millisecond of every tenth
                // of a second.
                let number = number.filter(|number| (0.01..=65_536.0).contains(number));
                number.map(|number| Self::Thousandths((number * 1000.0).round() as u32))
            }
        };
        cpus.ok_or_else(|| {
            format!("processor time is a number of processors, 0.01 or more, like 1.5, or \"max\", not \"{}\"", text.escape_debug())
        })
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Thousandths(number) => write!(f, "{}", f64::from(*number) / 1000.0),
            Self::Max => f.write_str("max"),
        }
    }
}

impl FromStr for Weight {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let weight = text.parse().ok().filter(|weight| (1..=10_000).contains(weight));
        weight.map(Self).ok_or_else(|| {
            format!(
                "a weight is a number from 1 to 10000 (100 is usual), not \"{}\"",
                text.escape_debug()
            )
        })
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl FromStr for Nice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let nice = text.parse().ok().filter(|nice| (-20..=19).contains(nice));
        nice.map(Self).ok_or_else(|| {
            format!("a nice level is a number from -20 to 19, not \"{}\"", text.escape_debug())
        })
    }
}

impl fmt::Display for Nice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
