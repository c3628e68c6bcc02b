//! `[limits]`: how much of the host a guest may have, in the units that
//! people write.

mod amounts;
mod sets;
mod shares;
mod written;

use serde::{Deserialize, Serialize};

use super::problem::Problem;

pub use amounts::{Amount, Count, Cpus, MOST_PROCESSES, Nice, Weight, bytes, written_bytes};
pub use sets::{CpuSet, IoMax};
pub use shares::Shares;

/// `[limits]`: what is not given has the documented default, and if the host
/// can't enforce that, none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The most memory, caches included; beyond it a process is killed.
    pub memory: Option<Amount>,
    /// From here on the guest is slowed down and its memory reclaimed.
    pub memory_high: Option<Amount>,
    /// The most swap space.
    pub swap: Option<Amount>,
    /// The most processes and threads.
    pub processes: Option<Count>,
    /// The most processor time, in processors.
    pub cpus: Option<Cpus>,
    /// Its share of processors that are wanted by all.
    pub cpu_weight: Option<Weight>,
    /// Which processors.
    pub cpuset: Option<CpuSet>,
    /// The nice level of everything in it.
    pub nice: Option<Nice>,
    /// Its share of block devices.
    pub io_weight: Option<Weight>,
    /// The most traffic with block devices.
    pub io_max: Vec<IoMax>,
    /// The most space that its files take on the disk.
    pub disk: Option<Amount>,
    /// The most files and directories, where `disk` is a project quota.
    pub inodes: Option<u32>,
    /// The most open files of each process.
    pub files: Option<u32>,
    /// Is what the host can't enforce a reason not to start?
    pub required: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: None,
            memory_high: None,
            swap: None,
            processes: None,
            cpus: None,
            cpu_weight: None,
            cpuset: None,
            nice: None,
            io_weight: None,
            io_max: Vec::new(),
            disk: None,
            inodes: None,
            files: None,
            required: true,
        }
    }
}

impl Limits {
    /// What block devices are called whose traffic is limited.
    pub fn devices(&self) -> impl Iterator<Item = &str> {
        self.io_max.iter().map(|one| one.device.as_str())
    }

    /// A site-wide default for all guests gives way to what one of them says: from
    /// no more than all of its memory on it is slowed down.
    pub(super) fn lower_memory_high(&mut self) {
        if self.is_memory_high_too_high() {
            self.memory_high = self.memory;
        }
    }

    /// Would it never be reached? A size and a share can't be compared here.
    fn is_memory_high_too_high(&self) -> bool {
        match (self.memory_high, self.memory) {
            (Some(Amount::Bytes(high)), Some(Amount::Bytes(most))) => high > most,
            (Some(Amount::Percent(high)), Some(Amount::Percent(most))) => high > most,
            _ => false,
        }
    }
}

/// Less than this, and not even a small init can be started.
const LEAST_MEMORY: u64 = 4 << 20;

/// Less than this, and a guest couldn't even write its logs.
const LEAST_DISK: u64 = 1 << 20;

/// Less than this, and a guest couldn't even make its directories.
const LEAST_INODES: u32 = 100;

/// Rules that types don't express.
pub(super) fn problems(limits: &Limits) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut problem = |key: &str, text: String| found.push(Problem::new(key, text));
    for (key, amount) in
        [("limits.memory", limits.memory), ("limits.memory_high", limits.memory_high)]
    {
        if let Some(Amount::Bytes(..LEAST_MEMORY)) = amount {
            problem(key, format!("'{key}' is less than {}", written_bytes(LEAST_MEMORY)));
        }
    }
    match limits.disk {
        Some(Amount::Percent(_)) => {
            problem("limits.disk", "'limits.disk' is a size, and can't be a share".to_owned());
        }
        Some(Amount::Bytes(..LEAST_DISK)) => {
            let least = written_bytes(LEAST_DISK);
            problem("limits.disk", format!("'limits.disk' is less than {least}"));
        }
        _ => {}
    }
    if limits.is_memory_high_too_high() {
        let text = "'limits.memory_high' is more than 'limits.memory' and would never be reached";
        problem("limits.memory_high", text.to_owned());
    }
    if limits.files.is_some_and(|files| files < LEAST_FILES) {
        let text = format!("'limits.files' is less than {LEAST_FILES}, which programs need");
        problem("limits.files", text);
    }
    if limits.inodes.is_some_and(|inodes| inodes < LEAST_INODES) {
        let text = format!("'limits.inodes' is less than {LEAST_INODES}");
        problem("limits.inodes", text);
    }
    for (number, one) in limits.io_max.iter().enumerate() {
        if limits.io_max.iter().take(number).any(|other| other.device == one.device) {
            let text = format!("'{}' is listed twice", one.device.escape_debug());
            problem("limits.io_max", text);
        }
    }
    found
}

/// Fewer files than this, and boot scripts fail in odd ways.
pub const LEAST_FILES: u32 = 64;

#[cfg(test)]
mod tests;
