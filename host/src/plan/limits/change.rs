//! What speaks against a change of a running guest's limits. Pure.

use super::traffic::line;
use crate::cgroup::{Place, Setting};

/// What a guest uses now of what can't be taken from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Use {
    /// Bytes of memory, without what the kernel can drop at any time.
    pub memory: Option<u64>,
    /// Bytes of swap space.
    pub swap: Option<u64>,
    /// Processes and threads.
    pub processes: Option<u64>,
}

/// A limit that would be below what is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lowered {
    /// The limit's key.
    pub key: &'static str,
    /// What it would be.
    pub limit: u64,
    /// What is used.
    pub used: u64,
}

impl Use {
    /// Reads the files of a guest's cgroup; `text` gives the content of one,
    /// by its name. Of memory, caches of files and what the kernel calls
    /// reclaimable don't count: lowering the limit drops them.
    pub fn read(text: impl Fn(&str) -> Option<String>) -> Self {
        let number = |file: &str| text(file)?.trim().parse::<u64>().ok();
        let stat = text("memory.stat").unwrap_or_default();
        let droppable = ["active_file", "inactive_file", "slab_reclaimable"];
        let lines = stat.lines().filter_map(|line| line.split_once(' '));
        let droppable = lines
            .filter(|(key, _)| droppable.contains(key))
            .filter_map(|(_, value)| value.trim().parse().ok())
            .fold(0, u64::saturating_add);
        Self {
            memory: number("memory.current").map(|all| all.saturating_sub(droppable)),
            swap: number("memory.swap.current"),
            processes: number("pids.current"),
        }
    }
}

/// Which of these settings would take away what is used.
pub fn lowered<'s>(settings: impl IntoIterator<Item = &'s Setting>, now: &Use) -> Vec<Lowered> {
    let below = settings.into_iter().filter_map(|setting| {
        let limit = setting.value.parse().ok()?;
        let used = match setting.key {
            "memory" => now.memory,
            "swap" => now.swap,
            "processes" if setting.place == Place::Limited => now.processes,
            _ => None,
        }?;
        (used > limit).then_some(Lowered { key: setting.key, limit, used })
    });
    below.collect()
}

/// Settings that undo limits: what a guest has without any.
const NONE: [(&str, &str, Place, &str, &str); 6] = [
    ("memory_high", "memory", Place::Limited, "memory.high", "max"),
    ("cpus", "cpu", Place::Limited, "cpu.max", "max 100000"),
    ("cpu_weight", "cpu", Place::Weighed, "cpu.weight", "100"),
    ("cpuset", "cpuset", Place::Limited, "cpuset.cpus", ""),
    ("io_weight", "io", Place::Weighed, "io.weight", "default 100"),
    ("io_weight", "io", Place::Weighed, "io.bfq.weight", "100"),
];

/// These settings, and those that undo all other limits of a running guest.
/// `traffic_now` is the text of its `io.max`.
pub fn complete(settings: &[Setting], traffic_now: &str) -> Vec<Setting> {
    let mut all = settings.to_vec();
    for (key, controller, place, file, value) in NONE {
        if settings.iter().all(|one| one.file != file) {
            let value = value.to_owned();
            all.push(Setting { key, controller, place, file, value, is_needed: false });
        }
    }
    let devices = traffic_now.lines().filter_map(|line| line.split_once(' '));
    for (device, _) in devices {
        let is_limited =
            |one: &Setting| one.file == "io.max" && one.value.split(' ').next() == Some(device);
        if !settings.iter().any(is_limited) {
            all.push(line(device, &[], false));
        }
    }
    all
}
