//! Devices and sockets: a guest can use what is listed, and nothing else.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use tests::{Census, DEADLINE, Guest, Host, Tree, command};

on! { Busybox: [
    the_nodes_of_every_guest_work,
    a_node_that_is_not_listed_cannot_be_opened,
    nodes_cannot_be_made_even_with_the_capability,
    a_listed_device_has_its_rights_only,
    a_listed_device_may_lie_in_a_directory,
    a_device_that_the_host_lacks_is_named,
    the_hosts_own_nodes_are_out_of_reach,
] }
on! { Bookworm: [the_hook_refuses_other_families_where_doctor_finds_one] }

const MODES: [&str; 3] = ["private", "identity", "host"];

/// A device that guests don't have, and that opening does nothing to:
/// /dev/loop-control.
const FOREIGN: &str = "c 10 237";

/// Starts a guest without these layers of isolation.
fn start_without(guest: &Guest<'_>, layers: &str) {
    let mut start = guest.command("start", [""; 0]);
    start.env(vserver::variables::WITHOUT, layers);
    command::run(&mut start, DEADLINE).ok();
}

/// Makes a node in a running guest's /dev, as only the host can.
fn make_node(guest: &Guest<'_>, name: &str, numbers: &str) {
    let path = format!("/proc/{}/root/dev/{name}", guest.init_pid());
    let mut mknod = Command::new("mknod");
    mknod.args(["-m", "0666", &path]).args(numbers.split(' '));
    command::run(&mut mknod, DEADLINE).ok();
}

fn the_nodes_of_every_guest_work(tree: Tree) {
    for users in MODES {
        let host = Host::new();
        let guest = host.guest("web").tree(tree).set("security.users", users).build();
        guest.start();
        for name in ["zero", "full", "random", "urandom"] {
            let bytes = guest.exec(["head", "-c", "3", &format!("/dev/{name}")]).ok();
            assert!(!bytes.stdout.is_empty(), "users = {users}: {name}\n{bytes}");
        }
        guest.shell("echo gone >/dev/null").ok().says("");
        guest.shell("echo lost >/dev/full").complains("No space left on device");
        // This session has no terminal, which is another answer than EPERM.
        guest.shell(": </dev/tty").complains("No such device or address");
        guest.shell(": <>/dev/ptmx").ok();
        let modes = guest.exec(["stat", "-c", "%a %u:%g", "/dev/null", "/dev/tty", "/dev"]).ok();
        modes.says("666 0:0\n666 0:0\n755 0:0\n");
        guest.exec(["su", "user", "-c", "head -c 3 /dev/urandom >/dev/null"]).ok();
        guest.stop();
    }
}

fn a_node_that_is_not_listed_cannot_be_opened(tree: Tree) {
    for users in MODES {
        let host = Host::new();
        let guest = host.guest("web").tree(tree).set("security.users", users).build();
        start_without(&guest, "devices");
        make_node(&guest, "foreign", FOREIGN);
        guest.shell(": </dev/foreign").ok();
        guest.stop();

        guest.start();
        for _ in 0..2 {
            make_node(&guest, "foreign", FOREIGN);
            guest.shell(": </dev/foreign").complains("Operation not permitted");
            guest.shell(": >>/dev/foreign").complains("Operation not permitted");
            // The same after a reboot.
            let old = guest.init_pid();
            guest.exec(["reboot"]);
            guest.wait_for_reboot(old);
        }
        guest.stop();
    }
}

fn nodes_cannot_be_made_even_with_the_capability(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).set("security.users", "host");
    let guest = guest.set("security.capabilities.add", "mknod").build();
    let make = format!("mknod /dev/foreign {FOREIGN}");
    start_without(&guest, "devices,system-calls");
    guest.shell(&make).ok();
    guest.shell(": </dev/foreign").ok();
    guest.stop();

    start_without(&guest, "system-calls");
    guest.shell(&make).code(1).complains("Operation not permitted");
    guest.shell("mknod /dev/null2 c 1 3").code(1).complains("Operation not permitted");
    guest.shell("mkfifo /dev/fifo").ok();
    guest.stop();

    host.vserver(["config", "set", "web", "devices.allow", "/dev/loop-control rwm"]).ok();
    start_without(&guest, "system-calls");
    guest.shell(&make).ok();
    guest.shell(": </dev/foreign").ok();
    guest.shell("mknod /dev/null2 c 1 3").code(1).complains("Operation not permitted");
    guest.stop();
}

fn a_listed_device_has_its_rights_only(tree: Tree) {
    for users in MODES {
        let host = Host::new();
        let guest = host.guest("web").tree(tree).set("security.users", users);
        let guest = guest.set("devices.allow", "/dev/loop-control r").build();
        guest.start();
        guest.shell(": </dev/loop-control").ok();
        guest.shell(": >>/dev/loop-control").complains("Operation not permitted");
        guest.shell(": <>/dev/loop-control").complains("Operation not permitted");
        guest.stop();
    }
}

fn a_listed_device_may_lie_in_a_directory(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).set("devices.allow", "/dev/net/tun").build();
    guest.start();
    let node = fs::metadata("/dev/net/tun").expect("this host has /dev/net/tun");
    let expected = format!("{:o} 0:0\n755 0:0\n", node.mode() & 0o777);
    guest.exec(["stat", "-c", "%a %u:%g", "/dev/net/tun", "/dev/net"]).ok().says(&expected);
    guest.shell(": <>/dev/net/tun").ok();
    guest.stop();
}

fn a_device_that_the_host_lacks_is_named(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let before = Census::after_a_boot(&guest);
    for (device, cause) in [
        ("/dev/no-such-device", "No such file or directory"),
        ("/dev/shm2/none rw", "No such file or directory"),
        ("/dev/net", "No such device"),
    ] {
        host.vserver(["config", "set", "web", "devices.allow", device]).ok();
        let start = guest.vserver("start", [""; 0]).code(1);
        let path = device.split(' ').next().unwrap_or_default();
        start.complains("'web'").complains(path).complains(cause).complains("devices.allow");
        before.assert_unchanged(&host);
    }
}

fn the_hosts_own_nodes_are_out_of_reach(tree: Tree) {
    let mode = || fs::metadata("/dev/null").expect("/dev/null").mode();
    let before = mode();
    for users in MODES {
        let host = Host::new();
        let guest = host.guest("web").tree(tree).set("security.users", users).build();
        guest.start();
        guest.shell("chmod 0640 /dev/null").ok();
        assert_eq!(mode(), before, "users = {users}: the guest has changed the host's /dev/null");
        guest.stop();
    }
}

/// Prints what socket(2) says of a family (AF_VSOCK is 40 in linux/socket.h,
/// AF_ALG 38): two ways to make a socket.
const SOCKETS: &str = r#"
    for my $family (1, 2, 10, 16, 38, 40, 21, 30) {
        my $made = socket(my $socket, $family, $family == 16 ? 3 : 1, 0);
        printf "%d %s\n", $family, $made ? "made" : $!{EPERM} ? "refused" : "unknown";
    }
"#;

/// Where the kernel has no hook for it, doctor has to say so, and nothing is
/// shown but that guests start: the virtual machine's tests show the rest.
fn the_hook_refuses_other_families_where_doctor_finds_one(tree: Tree) {
    let doctor = Host::new().vserver(["doctor"]).ok();
    let has_hook = doctor.stdout.contains("filtered by the kernel's security hooks");
    let says_no = doctor.stdout.contains("filtered by system call only");
    assert!(has_hook != says_no, "doctor says whether sockets are filtered\n{doctor}");
    for users in MODES {
        let host = Host::new();
        let guest = host.guest("web").tree(tree).set("security.users", users).build();
        if !has_hook {
            // Then it is the system call filter that refuses them.
            guest.start().stop();
            continue;
        }
        start_without(&guest, "devices,system-calls");
        let made = guest.exec(["perl", "-MErrno", "-e", SOCKETS]).ok();
        assert!(made.stdout.contains("40 made\n"), "AF_VSOCK is there without the layer\n{made}");
        assert!(!made.stdout.contains("refused"), "{made}");
        guest.stop();

        start_without(&guest, "system-calls");
        let made = guest.exec(["perl", "-MErrno", "-e", SOCKETS]).ok();
        let listed = [1, 2, 10, 16].map(|family| format!("{family} made\n")).concat();
        let others = [38, 40, 21, 30].map(|family| format!("{family} refused\n")).concat();
        made.says(&(listed + &others));
        guest.stop();
    }
}
