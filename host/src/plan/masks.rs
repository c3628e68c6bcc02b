//! What a guest doesn't see of /proc and /sys, and what it can't write
//! there, as data with a reason each.
//!
//! Most of these files the kernel protects by the uid 0 of the host alone,
//! which is the guest's own root where it has no ids of its own. They are
//! covered in all modes: what nobody needs is no place to look for mistakes
//! of the kernel.

/// A file or directory of /proc or /sys, and why a guest's access is cut.
#[derive(Clone, Copy, Debug)]
pub struct Mask {
    /// Where, relative to the guest's root.
    pub target: &'static str,
    /// Why.
    pub reason: &'static str,
}

const fn mask(target: &'static str, reason: &'static str) -> Mask {
    Mask { target, reason }
}

/// Can't be opened; a directory is empty. What a kernel doesn't have is
/// passed over.
pub const HIDDEN: [Mask; 31] = [
    mask("proc/sysrq-trigger", "commands to the whole machine, reboot among them"),
    mask("proc/kcore", "the machine's memory"),
    mask("proc/kmsg", "messages of the kernel"),
    mask("proc/kallsyms", "addresses in the kernel"),
    mask("proc/modules", "addresses in the kernel"),
    mask("proc/keys", "keys of others"),
    mask("proc/key-users", "users of others' keys"),
    mask("proc/timer_list", "timers of all processes"),
    mask("proc/timer_stats", "timers of all processes"),
    mask("proc/sched_debug", "all processes by name"),
    mask("proc/latency_stats", "where others' processes wait"),
    mask("proc/lock_stat", "what others' processes wait for"),
    mask("proc/slabinfo", "use of kernel memory, of help to exploits"),
    mask("proc/vmallocinfo", "addresses in the kernel"),
    mask("proc/pagetypeinfo", "layout of the machine's memory"),
    mask("proc/kpagecount", "the machine's memory, page by page"),
    mask("proc/kpageflags", "the machine's memory, page by page"),
    mask("proc/kpagecgroup", "the machine's memory, page by page"),
    mask("proc/interrupts", "when others type (side channel)"),
    mask("proc/acpi", "the machine's power"),
    mask("proc/scsi", "the machine's disks"),
    mask("proc/asound", "the machine's sound"),
    mask("proc/driver", "the machine's devices"),
    mask("proc/tty/driver", "the machine's serial ports, and how much went through them"),
    mask("proc/dynamic_debug", "what the kernel logs"),
    mask("sys/firmware", "the machine's firmware"),
    mask("sys/kernel/debug", "debugging of the kernel"),
    mask("sys/kernel/slab", "use of kernel memory, of help to exploits"),
    mask("sys/kernel/tracing", "tracing of the whole machine"),
    mask("sys/devices/virtual/dmi", "the machine's serial numbers"),
    mask("sys/devices/virtual/powercap", "what others compute, by its energy (side channel)"),
];

/// Covered where the guest's uid 0 is the host's: the registers and memory of
/// devices are files there that root of the host may read and map, whatever
/// capabilities it has (`pci_mmap_resource` in the kernel's
/// drivers/pci/pci-sysfs.c).
pub const REGISTERS: Mask = mask(
    "sys/devices",
    "registers and memory of the machine's devices; processors, and the interfaces and disks \
     that are there at the start, can be seen",
);

/// Read-only, with all below.
pub const READ_ONLY: [Mask; 6] = [
    mask("proc/sys", "settings of the whole machine"),
    mask("proc/irq", "which processor serves the machine's devices"),
    mask("proc/bus", "the machine's devices"),
    mask("proc/fs", "settings of the host's file systems"),
    mask("proc/mtrr", "caching of the machine's memory"),
    mask("proc/pressure", "its writers make the kernel work"),
];

/// What stays writable below /proc/sys: settings of the guest's own network
/// and IPC namespaces (namespaces(7), ipc_namespaces(7)). Not `user`, where
/// the limit on user namespaces stands.
pub const OWN_SETTINGS: [&str; 12] = [
    "net",
    "fs/mqueue",
    "kernel/auto_msgmni",
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/sem",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
    "kernel/shm_rmid_forced",
    "kernel/sem_next_id",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mask_has_a_place_and_a_reason() {
        for mask in HIDDEN.iter().chain(&READ_ONLY).chain([&REGISTERS]) {
            assert!(mask.target.starts_with("proc/") || mask.target.starts_with("sys/"));
            assert!(!mask.reason.is_empty());
        }
    }
}
