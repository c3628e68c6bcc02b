//! How much of the host one guest may take: from the configuration to what is
//! written to its cgroups, and what of it a host can't enforce.

mod change;
mod process;
mod remedy;
mod traffic;

use crate::cgroup::{self, Place, Setting};
use crate::config::Limits as Wanted;
use crate::config::limits::{Amount, Count, Cpus};
use crate::error::{Error, Result};
use crate::facts::Resources;

pub use change::{Lowered, Use, complete, lowered};
pub use process::{DOCUMENTED, Pair, ProcessLimits};
pub use remedy::{Lack, lack, lack_of, remedy};

/// Processes and threads of a guest that says nothing, where its cgroup can
/// count them.
///
/// The kernel holds a guest with private ids as a whole to the 8,192 of the
/// resource limit on processes ([`DOCUMENTED`]), sessions outside of the
/// guest's cgroup included. This is less, so that there is room for these
/// when the guest has made all it may.
pub const PROCESSES: Count = Count::Most(8000);

/// Memory of one that says nothing. A guest that runs away is then stopped by
/// its own limit, and not by the host's want of memory, which takes any
/// process; and the host keeps a fifth to work with.
pub const MEMORY: Amount = Amount::Percent(80);

/// Likewise swap space, or a guest at its limit on memory would fill all.
pub const SWAP: Amount = Amount::Percent(50);

/// Microseconds over which processor time is measured (the kernel's own
/// default for `cpu.max`).
const PERIOD: u64 = 100_000;

/// The limits of one guest, as a host can enforce them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// What is written to its cgroups, in this order.
    pub settings: Vec<Setting>,
    /// The nice level of its processes.
    pub nice: Option<i8>,
    /// The resource limits of its processes.
    pub process: ProcessLimits,
    /// Is what the host can't enforce a reason not to start?
    pub required: bool,
    /// What is configured and not enforced, and why.
    pub warnings: Vec<String>,
}

impl Limits {
    /// What is set for a key: the text in the kernel's file.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.settings.iter().find(|one| one.key == key).map(|one| one.value.as_str())
    }
}

/// Decides what is enforced. A default that the host can't enforce is left
/// out; what is configured is an error then, or a warning where the
/// configuration says so.
///
/// # Errors
/// What can't be enforced, why, and the remedy.
pub fn plan(wanted: &Wanted, host: &Resources) -> Result<Limits> {
    let mut plan = Limits {
        required: wanted.required,
        nice: wanted.nice.map(|nice| nice.get()),
        process: ProcessLimits::documented(wanted.files.map(u64::from)),
        ..Limits::default()
    };
    let mut refused = Vec::new();
    for (key, found) in rows(wanted, host) {
        match found {
            Ok(setting) => match lack_of(host, &setting) {
                None => plan.settings.push(setting),
                Some(lack) if setting.is_needed => {
                    let (text, hint) = remedy(host, lack, &[setting.controller]);
                    refused.push((key, text, hint));
                }
                // A default.
                Some(_) => {}
            },
            Err((text, hint)) => refused.push((key, text, hint)),
        }
    }
    if let Some((text, hint)) = wanted.files.and_then(|files| too_many_files(files.into(), host)) {
        refused.push(("files", text, hint));
    }
    let text =
        |(key, why, _): &(&str, String, String)| format!("limits.{key} can't be enforced: {why}");
    if !wanted.required {
        plan.warnings.extend(refused.iter().map(text));
        return Ok(plan);
    }
    match refused.first() {
        None => Ok(plan),
        Some(first) => {
            let all: Vec<String> = refused.iter().map(text).collect();
            let less = "or start without it: limits.required = false";
            Err(Error::new(all.join("; ")).hint(format!("{}; {less}", first.2)))
        }
    }
}

/// What to do when a guest's unit, or a slice around it, leaves it none of its
/// processors: that is ENXIO at a start.
pub const OTHER_PROCESSORS: &str = "the guest's unit or slice leaves it other processors \
    (systemctl show --property=AllowedCPUs vserver@NAME); give it some of those, or change that";

/// What is said when it leaves some of them, or none and they aren't required.
pub fn fewer_processors(setting: &Setting) -> String {
    format!(
        "limits.{} is '{}', and the guest's unit or slice leaves it fewer of these ('vserver \
         limits' shows which)",
        setting.key, setting.value
    )
}

type Row = (&'static str, Result<Setting, (String, String)>);

/// Everything that is wanted, defaults included.
fn rows(wanted: &Wanted, host: &Resources) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut push = |key, controller, place, file, value: String, is_needed| {
        rows.push((key, Ok(Setting { key, controller, place, file, value, is_needed })));
    };
    let limited = Place::Limited;
    // Before the hard limit, which kills.
    if let Some(high) = wanted.memory_high {
        push("memory_high", "memory", limited, "memory.high", amount(high, host.memory), true);
    }
    let memory = wanted.memory.unwrap_or(MEMORY);
    if memory == Amount::Max || host.memory > 0 {
        let is_needed = wanted.memory.is_some();
        push("memory", "memory", limited, "memory.max", amount(memory, host.memory), is_needed);
    }
    let (swap, is_needed) = (wanted.swap.unwrap_or(SWAP), wanted.swap.is_some());
    push("swap", "memory", limited, "memory.swap.max", amount(swap, host.swap), is_needed);
    let (count, is_needed) = (wanted.processes.unwrap_or(PROCESSES), wanted.processes.is_some());
    push("processes", "pids", limited, "pids.max", count.to_string(), is_needed);
    let inside = match count {
        Count::Most(most) => (u64::from(most) - cgroup::reserve(most.into())).to_string(),
        Count::Max => count.to_string(),
    };
    push("processes", "pids", Place::Inside, "pids.max", inside, false);
    if let Some(cpus) = wanted.cpus {
        let quota = match cpus {
            Cpus::Thousandths(number) => (u64::from(number) * PERIOD / 1000).to_string(),
            Cpus::Max => "max".to_owned(),
        };
        push("cpus", "cpu", limited, "cpu.max", format!("{quota} {PERIOD}"), true);
    }
    let shares = wanted.shares();
    if let Some(weight) = shares.cpu {
        let is_given = wanted.cpu_weight.is_some();
        let key = if is_given { "cpu_weight" } else { "nice" };
        push(key, "cpu", Place::Weighed, "cpu.weight", weight.to_string(), is_given);
    }
    if let Some(set) = &wanted.cpuset {
        push("cpuset", "cpuset", limited, "cpuset.cpus", set.to_string(), true);
    }
    if let Some(weight) = shares.io {
        for file in &host.io_weights {
            let value = match *file {
                // BFQ's go to 1000 only.
                "io.bfq.weight" => weight.min(1000).to_string(),
                _ => format!("default {weight}"),
            };
            push("io_weight", "io", Place::Weighed, file, value, true);
        }
    }
    let traffic = traffic::settings(&wanted.io_max, host);
    rows.extend(traffic.into_iter().map(|found| ("io_max", found)));
    if let Some(set) = &wanted.cpuset
        && let Some(absent) = set.numbers().difference(&host.processors).next()
    {
        let hint = "see /sys/devices/system/cpu/online".to_owned();
        rows.retain(|(key, _)| *key != "cpuset");
        rows.push(("cpuset", Err((format!("this host has no processor {absent}"), hint))));
    }
    if wanted.io_weight.is_some() && host.io_weights.is_empty() {
        let text = "no block device of this host heeds weights".to_owned();
        let hint = "give one the scheduler bfq, or switch io.cost.qos on (docs/limits.md)";
        rows.push(("io_weight", Err((text, hint.to_owned()))));
    }
    rows
}

/// In bytes, as the kernel writes them.
fn amount(amount: Amount, whole: u64) -> String {
    match amount {
        Amount::Bytes(bytes) => bytes.to_string(),
        Amount::Percent(share) => (whole / 100 * u64::from(share)).to_string(),
        Amount::Max => "max".to_owned(),
    }
}

fn too_many_files(files: u64, host: &Resources) -> Option<(String, String)> {
    if files > host.most_files {
        let hint = format!("sysctl fs.nr_open={files}");
        return Some((format!("this kernel allows at most {}", host.most_files), hint));
    }
    let own = host.own_files.filter(|own| files > *own)?;
    let hint = "give vserver CAP_SYS_RESOURCE, or a higher limit of its own".to_owned();
    Some((format!("vserver itself has at most {own} and may not raise that"), hint))
}

#[cfg(test)]
mod tests;
