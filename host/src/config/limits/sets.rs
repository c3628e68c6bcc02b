//! Values of several numbers: sets of processors, rates of traffic.

use core::fmt;
use std::collections::BTreeSet;
use std::str::FromStr;

use super::amounts::{bytes, written_bytes};

/// Numbers of processors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuSet(BTreeSet<u16>);

/// Traffic with one block device, a second; `None` for any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IoMax {
    /// A path, or two numbers "8:0".
    pub device: String,
    /// Keys of the kernel's `io.max` and their values, in its order.
    pub rates: Vec<(&'static str, u64)>,
}

impl CpuSet {
    /// The processors.
    pub fn numbers(&self) -> &BTreeSet<u16> {
        &self.0
    }
}

/// More than any kernel has (`CONFIG_NR_CPUS`).
const PROCESSORS: u16 = 8192;

impl FromStr for CpuSet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number =
            |text: &str| text.trim().parse::<u16>().ok().filter(|number| *number < PROCESSORS);
        let mut all = BTreeSet::new();
        for part in text.split(',') {
            let range = match part.split_once('-') {
                Some((first, last)) => number(first).zip(number(last)),
                None => number(part).map(|only| (only, only)),
            };
            match range {
                Some((first, last)) if first <= last => all.extend(first..=last),
                _ => {
                    return Err(format!(
                        "processors are written like \"0-3,5\", not \"{}\"",
                        text.escape_debug()
                    ));
                }
            }
        }
        Ok(Self(all))
    }
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ranges: Vec<(u16, u16)> = Vec::new();
        for number in &self.0 {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == *number => *last = *number,
                _ => ranges.push((*number, *number)),
            }
        }
        let ranges: Vec<String> = ranges
            .iter()
            .map(|(first, last)| match first == last {
                true => first.to_string(),
                false => format!("{first}-{last}"),
            })
            .collect();
        f.write_str(&ranges.join(","))
    }
}

/// The keys of the kernel's `io.max`, and whether they count bytes.
const RATES: [(&str, bool); 4] =
    [("rbps", true), ("wbps", true), ("riops", false), ("wiops", false)];

impl FromStr for IoMax {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "traffic is written like \"/dev/sda rbps=50M wbps=20M riops=500 wiops=500\" (a second; one of these at least), not \"{}\"",
                text.escape_debug()
            )
        };
        let mut words = text.split_ascii_whitespace();
        let device = words.next().unwrap_or_default();
        let numbers = |(major, minor): (&str, &str)| {
            major.parse::<u32>().is_ok() && minor.parse::<u32>().is_ok()
        };
        if !device.starts_with('/') && !device.split_once(':').is_some_and(numbers)
            || device.contains(char::is_control)
        {
            return Err(wrong());
        }
        let mut given = [None; RATES.len()];
        for word in words {
            let (key, value) = word.split_once('=').ok_or_else(wrong)?;
            let known = RATES.iter().position(|(known, _)| *known == key).ok_or_else(wrong)?;
            let counts_bytes = RATES.get(known).is_some_and(|(_, bytes)| *bytes);
            let value = if counts_bytes { bytes(value) } else { value.parse().ok() };
            let value = value.filter(|value| *value > 0).ok_or_else(wrong)?;
            match given.get_mut(known) {
                Some(slot @ None) => *slot = Some(value),
                _ => return Err(wrong()),
            }
        }
        let rates: Vec<_> =
            RATES.iter().zip(given).filter_map(|((key, _), value)| Some((*key, value?))).collect();
        if rates.is_empty() {
            return Err(wrong());
        }
        Ok(Self { device: device.to_owned(), rates })
    }
}

impl fmt::Display for IoMax {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.device)?;
        for (key, value) in &self.rates {
            match RATES.contains(&(key, true)) {
                true => write!(f, " {key}={}", written_bytes(*value))?,
                false => write!(f, " {key}={value}")?,
            }
        }
        Ok(())
    }
}
