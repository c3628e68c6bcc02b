//! Attributes of cgroups, of both versions, as LXC and util-vserver name
//! them. Pure.

use super::values::{UNLIMITED, bytes, fine, missing, number, one_more, ours, size, unknown};
use super::{Outcome, Setting, Theirs};

/// Attributes that are understood, for the documentation.
pub(super) const OURS: &str = "limits.memory, memory_high, swap, processes, cpus, cpu_weight, \
                               cpuset, io_weight, io_max; devices.allow";
/// What is to be known of them.
pub(super) const NOTE: &str = "memory.limit_in_bytes, memory.max, memory.high, memory.memsw.\
     limit_in_bytes, memory.swap.max, pids.max, cpu.shares, cpu.weight, cpu.cfs_quota_us, cpu.max, \
     cpuset.cpus, blkio.weight, io.weight, blkio.throttle.*, io.max, devices.allow; no others";

/// What becomes of the attribute that is left of a key when `prefix` is taken
/// away.
pub(super) fn attribute(theirs: Theirs<'_>, setting: &Setting, prefix: &str) -> Outcome {
    let name = setting.key.strip_prefix(prefix).unwrap_or(&setting.key);
    let value = setting.value.trim();
    let other = |name: &str| theirs.value(&format!("{prefix}{name}"));
    match name {
        "memory.limit_in_bytes" | "memory.max" => memory("limits.memory", setting),
        "memory.high" => memory("limits.memory_high", setting),
        "memory.swap.max" => memory("limits.swap", setting),
        "memory.memsw.limit_in_bytes" => {
            let memory = other("memory.limit_in_bytes").and_then(bytes);
            match (bytes(value), memory) {
                (Some(all), _) if all >= UNLIMITED => fine("that is no limit"),
                (Some(all), Some(memory)) if all >= memory => size("limits.swap", all - memory),
                _ => missing("it is a sum with the memory's limit: set 'limits.swap' instead"),
            }
        }
        "pids.max" => number("limits.processes", value),
        "cpuset.cpus" => ours("limits.cpuset", value),
        "cpuset.mems" => {
            missing("memory nodes can't be chosen; 'limits.cpuset' chooses processors")
        }
        "cpu.shares" => scaled("limits.cpu_weight", setting, 1024, 100),
        "cpu.weight" => number("limits.cpu_weight", value),
        "blkio.weight" | "blkio.bfq.weight" => scaled("limits.io_weight", setting, 500, 100),
        "io.weight" | "io.bfq.weight" => {
            number("limits.io_weight", value.strip_prefix("default ").unwrap_or(value))
        }
        "cpu.cfs_quota_us" => quota(setting, value, other("cpu.cfs_period_us").unwrap_or("100000")),
        "cpu.cfs_period_us" => fine("it goes with 'cpu.cfs_quota_us'"),
        "cpu.max" => match value.split_once(' ').unwrap_or((value, "100000")) {
            ("max", _) => fine("that is no limit"),
            (most, period) => quota(setting, most, period),
        },
        "blkio.throttle.read_bps_device" => rate(setting, "rbps"),
        "blkio.throttle.write_bps_device" => rate(setting, "wbps"),
        "blkio.throttle.read_iops_device" => rate(setting, "riops"),
        "blkio.throttle.write_iops_device" => rate(setting, "wiops"),
        "io.max" => one_more("limits.io_max", value),
        "devices.deny" => fine("a guest may use its own devices and 'devices.allow' only"),
        "devices.allow" => device(setting),
        _ => missing("vserver sets no such attribute; docs/limits.md lists what can be limited"),
    }
}

fn memory(key: &'static str, setting: &Setting) -> Outcome {
    match bytes(&setting.value) {
        Some(bytes) if bytes >= UNLIMITED => fine("that is no limit"),
        Some(bytes) => size(key, bytes),
        None if ["max", "-1"].contains(&setting.value.trim()) => ours(key, "max"),
        None => unknown(setting),
    }
}

/// A weight for which `usual` is what everybody has, in ours.
pub(super) fn scaled(key: &'static str, setting: &Setting, usual: u64, own: u64) -> Outcome {
    let weight = setting.value.trim().parse::<u64>().ok().and_then(|had| had.checked_mul(own));
    match weight {
        Some(weight) => {
            let weight = (weight / usual).clamp(1, 10_000);
            ours(key, i64::try_from(weight).unwrap_or(100))
        }
        None => unknown(setting),
    }
}

/// So much processor time of each period, in microseconds.
fn quota(setting: &Setting, most: &str, period: &str) -> Outcome {
    match (most.trim().parse::<f64>(), period.trim().parse::<f64>()) {
        (Ok(most), _) if most < 0.0 => fine("that is no limit"),
        (Ok(most), Ok(period)) if period > 0.0 => cpus(most / period),
        _ => unknown(setting),
    }
}

/// So many processors.
pub(super) fn cpus(number: f64) -> Outcome {
    ours("limits.cpus", (number * 1000.0).round() / 1000.0)
}

/// A line `8:0 1048576`.
fn rate(setting: &Setting, rate: &str) -> Outcome {
    match setting.value.trim().split_once(' ') {
        Some((device, most)) => {
            one_more("limits.io_max", format!("{device} {rate}={}", most.trim()))
        }
        None => unknown(setting),
    }
}

/// Nodes by their numbers (Documentation/admin-guide/devices.txt).
const NODES: [(&str, &str); 4] = [
    ("10:229", "/dev/fuse"),
    ("10:200", "/dev/net/tun"),
    ("10:232", "/dev/kvm"),
    ("1:11", "/dev/kmsg"),
];

/// Nodes that every guest has.
const OWN: [&str; 11] =
    ["1:3", "1:5", "1:7", "1:8", "1:9", "5:0", "5:1", "5:2", "136:*", "254:0", "4:0"];

/// A line `c 10:229 rwm`.
fn device(setting: &Setting) -> Outcome {
    let words: Vec<&str> = setting.value.split_ascii_whitespace().collect();
    let (numbers, rights) = match words.as_slice() {
        [_, numbers, rights] => (*numbers, *rights),
        _ => return unknown(setting),
    };
    if OWN.contains(&numbers) {
        return fine("every guest has it");
    }
    if numbers == "*:*" && rights == "m" {
        return fine(
            "a node can be made with 'security.users = \"host\"' only, and used by \
                     'devices.allow' only",
        );
    }
    let usable: String = rights.chars().filter(|right| "rw".contains(*right)).collect();
    match NODES.iter().find(|(known, _)| *known == numbers) {
        Some((_, node)) if !usable.is_empty() => {
            one_more("devices.allow", format!("{node} {usable}"))
        }
        _ => missing("name the node by its path in 'devices.allow', such as \"/dev/fuse rw\""),
    }
}
