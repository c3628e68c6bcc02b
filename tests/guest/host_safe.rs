//! A guest doesn't change its host: not by booting, not when its root tries.

use std::os::unix::fs::PermissionsExt;

use tests::{Host, Tree, machine};

on! { Busybox: [guest_init_cannot_be_overwritten_from_inside] }
on! { Bookworm, Trixie: [
    private_ids_leave_the_host_as_it_was,
    identity_ids_leave_the_host_as_it_was,
    host_ids_leave_the_host_as_it_was,
] }
on! { Bookworm: [no_user_namespace_is_made_inside_its_own] }
on! { Busybox: [
    a_link_in_place_of_a_mount_point_is_refused,
    a_users_file_that_never_opens_holds_no_session_up,
    a_root_that_every_user_can_reach_is_refused,
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

/// On the disk the link leads to one place, under the new /dev to another:
/// what is mounted there and what is made read-only must be the same.
fn a_link_in_place_of_a_mount_point_is_refused(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).set("security.users", "host").build();
    let root = guest.root();
    std::fs::create_dir_all(root.join("dev/detour")).unwrap();
    std::fs::rename(root.join("proc"), root.join("elsewhere")).unwrap();
    std::os::unix::fs::symlink("/dev/detour/../../elsewhere", root.join("proc")).unwrap();
    let refused = guest.vserver("start", [""; 0]);
    assert_eq!(refused.code, 1, "{refused}");
    assert!(refused.stderr.contains("mounting 'proc' on '/proc'"), "{refused}");
    assert!(!guest.is_running());
}

fn a_users_file_that_never_opens_holds_no_session_up(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).set("security.users", "host").build();
    guest.start();
    guest.shell("rm -f /etc/passwd; mkfifo /etc/passwd").ok();
    let answer = guest.exec(["/bin/busybox", "grep", "CapPrm", "/proc/self/status"]);
    assert_eq!(answer.ok().stdout.trim(), "CapPrm:\t00000000b44c05ff");
    guest.shell("rm /etc/passwd").ok();
    guest.stop();
}

/// The way of CVE-2019-5736, in every mode.
fn guest_init_cannot_be_overwritten_from_inside(tree: Tree) {
    for users in ["private", "identity", "host"] {
        let host = Host::new();
        let guest = host.guest("web").tree(tree).set("security.users", users).build();
        guest.start();
        let exe = format!("/proc/{}/exe", guest.init_pid());
        let before = std::fs::read(&exe).expect("PID 1 was executed");
        for attempt in [
            "echo x >/proc/1/exe",
            "echo x >>/proc/1/exe",
            "rm /proc/1/exe",
            "chmod 0777 /proc/1/exe",
            "mount -o remount,rw /proc/1/root",
            "echo x >/proc/self/exe && exit 0; exit 1",
        ] {
            let answer = guest.shell(attempt);
            assert_ne!(answer.code, 0, "users = {users}: this was to fail\n{answer}");
        }
        let after = std::fs::read(&exe).expect("PID 1 still runs");
        assert!(before == after, "users = {users}: guest-init has changed");
        guest.stop();
    }
}

fn no_user_namespace_is_made_inside_its_own(tree: Tree) {
    let host = Host::new();
    for users in ["private", "identity"] {
        let guest = host.guest(users).tree(tree).set("security.users", users).build();
        guest.start();
        guest.shell("unshare --user true").code(1);
        guest.stop();
    }
}

/// A setuid program made inside belongs to root on the disk.
fn a_root_that_every_user_can_reach_is_refused(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let parent = guest.root().parent().expect("a root has a parent").to_owned();
    let allow = |mode| std::fs::set_permissions(&parent, PermissionsExt::from_mode(mode)).unwrap();
    allow(0o755);
    guest.vserver("start", [""; 0]).code(1).complains("chmod 0700").complains("setuid");
    assert!(!guest.is_running());
    allow(0o700);
    guest.start().stop();
}
