//! A guest whose PID 1 is its own systemd: what it is told, and what it tells.

use std::fs;
use std::time::Duration;

use tests::{DEADLINE, Guest, Host, Tree, eventually};

on! { Systemd, SystemdTrixie: [
    systemd_is_up_when_start_returns,
    all_its_units_are_up_in_every_mode,
] }
on! { SystemdTrixie: [tmp_is_mounted_where_systemd_wants_it] }
on! { Systemd: [
    it_is_found_without_sbin_init,
    its_machine_id_is_its_own_and_stays,
    what_it_says_outlives_a_supervisor,
    only_its_pid_1_says_that_it_is_up,
    it_is_stopped_while_it_boots,
    what_ignores_sigterm_is_left_to_it,
    all_is_stopped_that_has_just_been_started,
] }

/// A unit that the boot waits for, until a file is there.
const GATE: &str = "[Unit]\nBefore=multi-user.target\n\
    [Service]\nType=oneshot\nTimeoutStopSec=5\n\
    ExecStart=/bin/sh -c 'until [ -e /run/open ]; do sleep 0.1; done'\n\
    [Install]\nWantedBy=multi-user.target\n";

/// A guest whose boot waits.
pub(crate) fn gated(host: &Host, tree: Tree) -> Guest<'_> {
    let guest = host.guest("web").tree(tree).build();
    guest.shell("systemctl mask getty.target").ok();
    guest.write("/etc/systemd/system/gate.service", GATE, 0o644);
    guest.shell("systemctl enable gate.service").ok();
    guest
}

/// Starts it without waiting, and waits for its gate.
pub(crate) fn start_to_the_gate(guest: &Guest<'_>) {
    guest.vserver("start", ["--no-wait"]).ok();
    eventually(DEADLINE, "the boot has come to its gate", || {
        let state = guest.shell("systemctl show -P ActiveState gate.service");
        (state.stdout.trim() == "activating").then_some(())
    });
    assert_eq!(guest.status().state, "booting");
}

fn open(guest: &Guest<'_>) {
    guest.shell("touch /run/open").ok();
    eventually(DEADLINE, "the guest is up", || (guest.status().state == "running").then_some(()));
    guest.shell("systemctl is-system-running").ok().says("running\n");
}

fn systemd_is_up_when_start_returns(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    guest.shell("systemctl is-system-running").ok().says("running\n");
    guest.exec(["cat", "/run/host/container-manager"]).ok().says("vserver\n");
    guest.exec(["systemd-detect-virt", "--container"]).ok().says("container-other\n");
    let first = guest.init_pid();
    guest.vserver("reboot", [""; 0]).ok();
    assert_ne!(guest.init_pid(), first);
    guest.shell("systemctl is-system-running").ok().says("running\n");
    guest.stop();
}

/// As Debian's package `systemd` is without `systemd-sysv`.
fn it_is_found_without_sbin_init(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    fs::remove_file(guest.root().join("usr/sbin/init")).expect("it is there");
    guest.start();
    guest.wait_for_systemd();
    let style = guest.vserver("status", [""; 0]).ok();
    assert!(style.stdout.contains("init (/usr/lib/systemd/systemd is systemd"), "{style}");
    let init = guest.init_pid();
    guest.vserver("reboot", [""; 0]).ok();
    assert_ne!(guest.init_pid(), init);
    guest.vserver("stop", ["--no-kill"]).ok();
    // Where the files say how to boot, it lies there for others.
    guest.write("/etc/inittab", "id:2:initdefault:\n", 0o644);
    guest.start();
    let style = guest.vserver("status", [""; 0]).ok();
    assert!(style.stdout.contains("sysv (/etc/inittab has sysvinit's form"), "{style}");
    guest.stop();
}

/// With the default set of capabilities.
fn all_its_units_are_up_in_every_mode(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    for users in ["private", "identity", "host"] {
        host.vserver(["config", "set", guest.name(), "security.users", users]).ok();
        guest.start();
        guest.wait_for_systemd();
        let init = guest.init_pid();
        guest.exec(["systemctl", "reboot"]);
        guest.wait_for_reboot(init);
        guest.wait_for_systemd();
        guest.exec(["systemctl", "poweroff"]);
        guest.wait_until_stopped();
    }
}

/// What its `tmp.mount` would do, it may not.
fn tmp_is_mounted_where_systemd_wants_it(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let kind = |guest: &Guest<'_>| {
        let end = guest.exec(["findmnt", "-n", "-o", "FSTYPE,OPTIONS", "/tmp"]);
        end.stdout
    };
    guest.start();
    let mounted = kind(&guest);
    assert!(mounted.starts_with("tmpfs rw,nosuid,nodev"), "{mounted:?}");
    guest.exec(["stat", "-c", "%a %u", "/tmp"]).ok().says("1777 0\n");
    guest.stop();
    guest.shell("systemctl mask tmp.mount").ok();
    guest.start();
    assert_eq!(kind(&guest), "");
    guest.stop();
}

fn its_machine_id_is_its_own_and_stays(tree: Tree) {
    let host = Host::new();
    let [web, db] = ["web", "db"].map(|name| host.guest(name).tree(tree).build());
    let ids = [&web, &db].map(|guest| {
        // As templates are made (machine-id(5), "First Boot Semantics").
        guest.write("/etc/machine-id", "", 0o444);
        guest.start();
        guest.read("/etc/machine-id")
    });
    assert_ne!(ids[0], ids[1]);
    let told = web.exec(["cat", "/run/host/container-uuid"]).ok();
    assert_eq!(told.stdout.replace('-', ""), ids[0]);
    assert_ne!(fs::read_to_string("/etc/machine-id").unwrap_or_default(), ids[0]);
    web.stop();
    web.write("/etc/machine-id", "", 0o444);
    web.start();
    assert_eq!(web.read("/etc/machine-id"), ids[0]);
    web.stop();
    db.stop();
}

fn what_it_says_outlives_a_supervisor(tree: Tree) {
    let host = Host::new();
    let guest = gated(&host, tree);
    start_to_the_gate(&guest);
    let init = guest.init_pid();
    guest.kill_supervisor();
    // Said while nobody is there to hear it.
    guest.shell("touch /run/open").ok();
    guest.shell("systemctl is-system-running --wait").ok();
    guest.vserver("start", [""; 0]).ok();
    assert_eq!((guest.status().state.as_str(), guest.init_pid()), ("running", init));
    // And noted: the next one knows it, too.
    guest.kill_supervisor();
    guest.vserver("start", [""; 0]).ok();
    assert_eq!(guest.status().state, "running");
    guest.stop();
}

fn only_its_pid_1_says_that_it_is_up(tree: Tree) {
    let host = Host::new();
    let guest = gated(&host, tree);
    start_to_the_gate(&guest);
    guest.shell("NOTIFY_SOCKET=/run/host/notify systemd-notify --ready").ok();
    // A status of the next one is answered after that has been read.
    assert_eq!(guest.status().state, "booting");
    assert_eq!(guest.status().state, "booting");
    open(&guest);
    guest.stop();
}

fn it_is_stopped_while_it_boots(tree: Tree) {
    let host = Host::new();
    let guest = gated(&host, tree);
    start_to_the_gate(&guest);
    guest.stop();
    assert!(!guest.log().contains("killing"), "{}", guest.log());
}

/// What doesn't end is waited for, and killed, by the guest's systemd.
fn what_ignores_sigterm_is_left_to_it(tree: Tree) {
    const DEAF: &str = "[Service]\n\
        ExecStart=/bin/sh -c 'trap \"\" TERM; touch /run/deaf; while :; do sleep 1; done'\n\
        [Install]\nWantedBy=multi-user.target\n";
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.shell("mkdir -p /etc/systemd/system.conf.d").ok();
    guest.write(
        "/etc/systemd/system.conf.d/stop.conf",
        "[Manager]\nDefaultTimeoutStopSec=4s\n",
        0o644,
    );
    guest.write("/etc/systemd/system/deaf.service", DEAF, 0o644);
    guest.shell("systemctl enable deaf.service").ok();
    let start = || {
        guest.start();
        eventually(DEADLINE, "it is deaf", || {
            (guest.exec(["test", "-e", "/run/deaf"]).code == 0).then_some(())
        });
    };
    start();
    let stop = guest.vserver("stop", ["--no-kill"]).ok();
    assert!(stop.took >= Duration::from_secs(4), "{stop}");
    // An order without a time has systemd's own, twice its usual 90 s and more.
    start();
    guest.vserver("stop", [""; 0]).ok();
    assert!(events(&guest).contains("to shut down (power-off), within 360s"), "{}", events(&guest));
    // One that is configured counts.
    host.vserver(["config", "set", guest.name(), "boot.kill_grace", "1s"]).ok();
    host.vserver(["config", "set", guest.name(), "boot.stop_timeout", "1s"]).ok();
    start();
    guest.vserver("stop", ["--no-kill"]).code(1).complains("has not shut down in time");
    guest.wait_until_stopped();
    assert!(!events(&guest).contains("killing"), "{}", events(&guest));
}

fn events(guest: &Guest<'_>) -> String {
    let name = guest.name().parse().expect("it is a name");
    fs::read_to_string(guest.host().paths().supervisor_log(&name)).expect("there is a log")
}

/// A signal that comes before systemd listens for it is lost.
fn all_is_stopped_that_has_just_been_started(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    for _ in 0..5 {
        guest.vserver("start", ["--no-wait"]).ok();
        guest.stop();
    }
}
