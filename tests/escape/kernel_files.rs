//! Settings and secrets of the kernel in /proc and /sys.

use crate::case::Held::{self, By, Namespaces, Unproven};
use crate::case::{Case, case};

const MASKS: Held = By(&["masks"]);

const NO_RESOURCE: Held = Unproven("needs CAP_SYS_RESOURCE, which root of this machine lacks");

/// Read-only in every mode. Written is what stands there already.
pub const WRITTEN: &[Case] = &[
    case(
        "core_pattern",
        "a program that the kernel runs at a crash",
        MASKS,
        &["rewrite", "/proc/sys/kernel/core_pattern"],
    ),
    case(
        "modprobe",
        "a program that the kernel runs for a module",
        MASKS,
        &["rewrite", "/proc/sys/kernel/modprobe"],
    )
    .needs("/proc/sys/kernel/modprobe"),
    case(
        "hotplug",
        "a program that the kernel runs for a device",
        MASKS,
        &["rewrite", "/proc/sys/kernel/hotplug"],
    )
    .needs("/proc/sys/kernel/hotplug"),
    case(
        "uevent_helper",
        "the same, in /sys, which is mounted read-only",
        Namespaces,
        &["rewrite", "/sys/kernel/uevent_helper"],
    )
    .needs("/sys/kernel/uevent_helper"),
    case(
        "binfmt_misc register",
        "a program of the guest's for a kind of file",
        MASKS,
        &["write", "/proc/sys/fs/binfmt_misc/register", "/no/such/program"],
    )
    .needs("/proc/sys/fs/binfmt_misc/register"),
    case(
        "sysrq-trigger",
        "commands to the machine; h prints help",
        MASKS,
        &["write", "/proc/sysrq-trigger", "h"],
    )
    .needs("/proc/sysrq-trigger"),
    case("vm sysctls", "memory of the machine", MASKS, &["rewrite", "/proc/sys/vm/swappiness"]),
    case(
        "fs sysctls",
        "protections of links",
        MASKS,
        &["rewrite", "/proc/sys/fs/protected_symlinks"],
    ),
    case("kernel sysctls", "what a panic does", MASKS, &["rewrite", "/proc/sys/kernel/panic"]),
    case(
        "user sysctls",
        "the limit on namespaces",
        NO_RESOURCE,
        &["rewrite", "/proc/sys/user/max_user_namespaces"],
    ),
    case(
        "irq affinity",
        "which processor serves a device",
        MASKS,
        &["rewrite", "/proc/irq/default_smp_affinity"],
    ),
    case(
        "sysfs",
        "settings of the kernel in /sys, which is mounted read-only",
        Namespaces,
        &["rewrite", "/sys/kernel/rcu_expedited"],
    ),
];

/// Unreadable or empty in every mode.
pub const READ: &[Case] = &[
    read("kcore", "/proc/kcore"),
    case("kmsg", "the kernel's messages", By(&["masks", "capabilities"]), &["read", "/proc/kmsg"]),
    read("kallsyms", "/proc/kallsyms"),
    read("keys", "/proc/keys"),
    read("key-users", "/proc/key-users"),
    read("timer_list", "/proc/timer_list"),
    read("sched_debug", "/proc/sched_debug"),
    read("slabinfo", "/proc/slabinfo"),
    read("vmallocinfo", "/proc/vmallocinfo"),
    read("pagetypeinfo", "/proc/pagetypeinfo"),
    read("kpagecount", "/proc/kpagecount"),
    read("kpageflags", "/proc/kpageflags"),
    read("interrupts", "/proc/interrupts"),
    read("acpi", "/proc/acpi"),
    read("scsi", "/proc/scsi"),
    read("driver", "/proc/driver"),
    read("firmware", "/sys/firmware"),
    read("powercap", "/sys/devices/virtual/powercap"),
];

const fn read(name: &'static str, path: &'static str) -> Case {
    case(name, "secrets of the kernel", MASKS, &["read", "{needed}"]).needs(path)
}
