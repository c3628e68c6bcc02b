//! Traffic with block devices, as lines of the kernel's `io.max`. Pure.

use crate::cgroup::{Place, Setting};
use crate::config::limits::IoMax;
use crate::facts::Resources;

/// A line for each disk that is named, or why there is none and what to do. A disk
/// may have several names, and stands for its partitions, too; the kernel keeps one
/// line of it: then each rate is the smallest that is given.
pub(super) fn settings(
    wanted: &[IoMax],
    host: &Resources,
) -> Vec<Result<Setting, (String, String)>> {
    let mut disks: Vec<(&str, Vec<(&'static str, u64)>)> = Vec::new();
    let mut all = Vec::new();
    for one in wanted {
        let why = match host.devices.get(&one.device) {
            Some(Ok(numbers)) => {
                match disks.iter_mut().find(|(known, _)| known == numbers) {
                    Some((_, rates)) => lower(rates, &one.rates),
                    None => disks.push((numbers, one.rates.clone())),
                }
                continue;
            }
            Some(Err(why)) => why.clone(),
            None => format!("'{}' is unknown", one.device),
        };
        all.push(Err((why, "see lsblk(8)".to_owned())));
    }
    all.extend(disks.iter().map(|(numbers, rates)| Ok(line(numbers, rates, true))));
    all
}

/// Lets these hold as well.
fn lower(rates: &mut Vec<(&'static str, u64)>, others: &[(&'static str, u64)]) {
    for (key, other) in others {
        match rates.iter_mut().find(|(known, _)| known == key) {
            Some((_, rate)) => *rate = (*rate).min(*other),
            None => rates.push((*key, *other)),
        }
    }
}

/// A line, with all keys, as the kernel writes it.
pub(super) fn line(device: &str, rates: &[(&str, u64)], is_needed: bool) -> Setting {
    let rate = |key: &str| {
        let found = rates.iter().find(|(given, _)| *given == key);
        format!("{key}={}", found.map_or("max".to_owned(), |(_, rate)| rate.to_string()))
    };
    let rates = ["rbps", "wbps", "riops", "wiops"].map(rate).join(" ");
    Setting {
        key: "io_max",
        controller: "io",
        place: Place::Limited,
        file: "io.max",
        value: format!("{device} {rates}"),
        is_needed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(wanted: &[&str]) -> Vec<String> {
        let disk = |name: &str, numbers: &str| (name.to_owned(), Ok(numbers.to_owned()));
        let host = Resources {
            devices: [disk("/dev/sda", "8:0"), disk("/", "8:0"), disk("/dev/sdb", "8:16")].into(),
            ..Resources::default()
        };
        let wanted: Vec<IoMax> = wanted.iter().map(|text| text.parse().unwrap()).collect();
        let all = settings(&wanted, &host).into_iter();
        all.map(|one| one.map_or_else(|(why, _)| why, |setting| setting.value)).collect()
    }

    #[test]
    fn all_that_is_said_of_one_disk_holds() {
        assert_eq!(
            lines(&["/dev/sda rbps=9 wbps=5", "/dev/sdb riops=1", "/ wbps=7 rbps=3 wiops=2"]),
            ["8:0 rbps=3 wbps=5 riops=max wiops=2", "8:16 rbps=max wbps=max riops=1 wiops=max"]
        );
        let other = ["/ wbps=7 rbps=3 wiops=2", "/dev/sda rbps=9 wbps=5"];
        assert_eq!(lines(&other), ["8:0 rbps=3 wbps=5 riops=max wiops=2"]);
        assert_eq!(lines(&["/dev/sdc rbps=1"]), ["'/dev/sdc' is unknown"]);
    }
}
