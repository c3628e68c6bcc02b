//! A guest doesn't change its host: not by booting, not when its root tries.

use tests::{Host, Tree, machine};

on! { Bookworm, Trixie: [
    private_ids_leave_the_host_as_it_was,
    identity_ids_leave_the_host_as_it_was,
    host_ids_leave_the_host_as_it_was,
] }

/// What root inside tries; each line has to fail or to stay inside. Setting
/// the clock would hurt the whole machine, so it is set to what it shows, and
/// must be refused.
const ATTEMPTS: &str = "
    echo '|/bin/false' >/proc/sys/kernel/core_pattern
    echo 13 >/proc/sys/vm/swappiness
    echo 2 >/proc/sys/fs/protected_regular
    echo 77777 >/proc/sys/fs/file-max
    echo 77 >/proc/sys/kernel/panic
    echo changed >/proc/sys/kernel/modprobe
    echo 0 >/proc/sys/kernel/randomize_va_space
    echo h >/proc/sysrq-trigger
    echo 1 >/proc/irq/default_smp_affinity
    echo madvise >/sys/kernel/mm/transparent_hugepage/enabled
    mount -o remount,rw /proc/sys
    mount -o remount,rw /sys
    sysctl -w net.ipv4.ip_forward=1
    sysctl -p /etc/sysctl.conf
    hostname changed-by-a-guest
    date -s \"@$(date +%s)\" && exit 9
    mknod /tmp/disk b 254 0 && head -c 1 /tmp/disk
    swapoff -a
    dmesg -C
    true";

fn private_ids_leave_the_host_as_it_was(tree: Tree) {
    leaves_the_host_as_it_was(tree, "private");
}

fn identity_ids_leave_the_host_as_it_was(tree: Tree) {
    leaves_the_host_as_it_was(tree, "identity");
}

fn host_ids_leave_the_host_as_it_was(tree: Tree) {
    leaves_the_host_as_it_was(tree, "host");
}

fn leaves_the_host_as_it_was(tree: Tree, users: &str) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).set("security.users", users).build();
    let (sysctls, files) = (machine::sysctls(), machine::system_files());
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname");
    guest.start();
    guest.shell(ATTEMPTS).ok();
    guest.stop();
    let now = machine::sysctls();
    // A failure of this test is not to be one of all that follow.
    machine::restore_sysctls(&sysctls, &now);
    machine::assert_same("the host's sysctls", &sysctls, &now);
    machine::assert_same("the host's system", &files, &machine::system_files());
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/hostname").ok(), name.ok());
}
