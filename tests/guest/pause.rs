//! `vserver pause` and `resume`: everything stands still, and goes on as if
//! nothing had been.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::{Census, DEADLINE, Guest, Host, Tree, eventually};
use vserver::control::{Client, Request};

on! { Busybox, Systemd: [a_paused_guest_stands_still] }
on! { Busybox: [
    nothing_joins_a_paused_guest,
    a_paused_guest_outlives_its_supervisor,
    a_guest_that_is_held_goes_on_without_its_supervisor,
    a_stop_thaws_first,
    only_a_guest_that_is_up_is_paused,
] }
on! { Bookworm: [a_paused_guest_reboots_from_outside] }

const MODES: [&str; 3] = ["private", "identity", "host"];

/// Starts a process that counts in a file, and a way to read it.
fn start_counting(guest: &Guest<'_>) {
    let count = "i=0; while :; do i=$((i + 1)); echo $i >/root/n.new; mv /root/n.new /root/n; \
                 sleep 0.02; done";
    guest.shell(&format!("setsid sh -c '{count}' >/dev/null 2>&1 </dev/null &")).ok();
    wait_for_more(guest, 0);
}

fn count(guest: &Guest<'_>) -> u32 {
    guest.read("/root/n").trim().parse().unwrap_or(0)
}

fn wait_for_more(guest: &Guest<'_>, than: u32) {
    eventually(DEADLINE, "the guest counts", || (count(guest) > than).then_some(()));
}

/// Time enough for dozens of steps.
fn assert_still(guest: &Guest<'_>) {
    let before = count(guest);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(count(guest), before, "the guest works while it is paused");
}

fn a_paused_guest_stands_still(tree: Tree) {
    // One boot of systemd is enough: freezing knows nothing of ids.
    let modes = if tree == Tree::Systemd { &MODES[..1] } else { &MODES };
    for users in modes {
        let host = Host::new();
        let guest = host.guest("web").tree(tree).set("security.users", users).build();
        guest.start();
        start_counting(&guest);
        guest.vserver("pause", [""; 0]).ok();
        assert_still(&guest);
        assert_eq!(guest.status().state, "paused");
        assert!(guest.is_running(), "a paused guest is no stopped one");
        guest.vserver("status", [""; 0]).ok();
        guest.vserver("pause", [""; 0]).ok().complains("already paused");

        let before = count(&guest);
        guest.vserver("resume", [""; 0]).ok();
        wait_for_more(&guest, before);
        assert_eq!(guest.status().state, "running");
        guest.exec(["true"]).ok();
        guest.vserver("resume", [""; 0]).ok().complains("isn't paused");
        guest.stop();
    }
}

fn nothing_joins_a_paused_guest(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    // A session that is there already stands still with the guest.
    let wait = "until test -e /root/go; do sleep 0.05; done; echo on >/root/on";
    let mut session = guest.command("exec", ["--", "sh", "-c", wait]);
    let mut session = session.spawn().expect("vserver runs");
    guest.wait_for_process("sleep");
    guest.vserver("pause", [""; 0]).ok();
    guest.write("/root/go", "", 0o644);
    guest.exec(["true"]).code(125).complains("guest 'web' is paused");
    guest.vserver("enter", [""; 0]).complains("vserver resume web");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(guest.read("/root/on"), "");
    guest.vserver("resume", [""; 0]).ok();
    assert!(session.wait().expect("it ends").success());
    assert_eq!(guest.read("/root/on"), "on\n");
    guest.stop();
}

fn a_paused_guest_outlives_its_supervisor(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    start_counting(&guest);
    guest.vserver("pause", [""; 0]).ok();
    let status = guest.status();
    let supervisor = status.supervisor_pid.expect("it has one");
    kill(Pid::from_raw(supervisor), Signal::SIGKILL).expect("it can be killed");
    eventually(DEADLINE, "another supervisor has it", || {
        (guest.status().supervisor_pid != Some(supervisor)).then_some(())
    });
    assert_eq!(guest.status().state, "paused");
    assert_still(&guest);
    let before = count(&guest);
    guest.vserver("resume", [""; 0]).ok();
    wait_for_more(&guest, before);
    assert_eq!(guest.status().init_pid, status.init_pid);
    eventually(DEADLINE, "it is known to be up", || {
        (guest.status().state == "running").then_some(())
    });
    guest.stop();
}

/// What stands still for a command goes on with its end, also if nobody was
/// there to hear of that.
fn a_guest_that_is_held_goes_on_without_its_supervisor(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let name = "web".parse().expect("a name");
    let found = Client::find(host.paths(), &name).expect("it can be asked");
    let (client, _) = found.expect("it runs");
    client.ask(&Request::Hold).expect("it stands still");
    guest.exec(["true"]).code(125).complains("guest 'web' is paused");
    guest.kill_supervisor();
    drop(client);
    guest.exec(["true"]).ok();
    // Whom a user has paused stays so.
    guest.vserver("pause", [""; 0]).ok();
    guest.kill_supervisor();
    guest.exec(["true"]).code(125).complains("guest 'web' is paused");
    guest.vserver("resume", [""; 0]).ok();
    guest.stop();
}

fn a_stop_thaws_first(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.write("/etc/init.d/rcK", "#!/bin/sh\necho down >/root/down\n", 0o755);
    let before = Census::take(&host);
    guest.start();
    guest.vserver("pause", [""; 0]).ok();
    guest.stop();
    assert_eq!(guest.read("/root/down"), "down\n", "its scripts ran");
    before.assert_unchanged(&host);
    // Nothing of it is left for the next boot.
    guest.start();
    guest.exec(["true"]).ok();
    guest.stop();
}

fn a_paused_guest_reboots_from_outside(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let old = guest.init_pid();
    guest.vserver("pause", [""; 0]).ok();
    guest.vserver("reboot", [""; 0]).ok();
    guest.wait_for_reboot(old);
    guest.stop();
}

fn only_a_guest_that_is_up_is_paused(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.vserver("pause", [""; 0]).code(3).complains("not running");
    host.vserver(["resume", "nobody"]).code(5);
    let until = "#!/bin/sh\nuntil test -e /root/go; do sleep 0.05; done\n";
    guest.write("/etc/init.d/rcK", until, 0o755);
    guest.start();
    let mut stopping = guest.command("stop", [""; 0]).spawn().expect("vserver runs");
    eventually(DEADLINE, "it is being stopped", || {
        (guest.status().state == "stopping").then_some(())
    });
    guest.vserver("pause", [""; 0]).code(1).complains("while it is stopping");
    guest.write("/root/go", "", 0o644);
    assert!(stopping.wait().expect("it ends").success());
}
