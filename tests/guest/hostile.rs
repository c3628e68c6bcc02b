//! A root in the guest that has taken PID 1's place at the link to the
//! supervisor: whatever it says there, the host goes on as if it hadn't.

use std::path::Path;
use std::thread;
use std::time::Duration;

use tests::process::anonymous;
use tests::{Census, DEADLINE, Guest, Host, Tree, eventually, executable};

on! { Busybox: [
    garbage_on_the_link,
    oversized_messages,
    truncated_messages,
    a_flood_of_messages,
    stages_out_of_order,
    an_empty_message,
    a_closed_link,
    descriptors_on_the_link,
    descriptors_to_the_notify_socket,
    a_pid_1_that_never_reads,
    a_guest_that_says_it_stops_can_be_paused,
] }

/// The attacker, in the virtual machine of tests/vm as well.
fn attacker() -> &'static str {
    let built = env!("CARGO_BIN_EXE_attacker");
    if Path::new(built).exists() { built } else { "/payload/attacker" }
}

fn guest<'a>(host: &'a Host, tree: Tree) -> Guest<'a> {
    let guest = host.guest("web").tree(tree).build();
    executable::copy(attacker(), guest.root().join("attacker"));
    let inittab = guest.read("/etc/inittab") + "\n::respawn:/attacker link\n";
    guest.write("/etc/inittab", &inittab, 0o644);
    guest
}

/// Has the attacker do its work, if the kernel lets it.
fn attack(guest: &Guest<'_>, how: &str) {
    // One that is interrupted outside of a system call is none that can be used.
    eventually(DEADLINE, "PID 1 leaves its end of the link to its children", || {
        (guest.exec(["/attacker", "bequeath-link"]).code == 0).then_some(())
    });
    guest.write("/go", how, 0o644);
    let said = eventually(DEADLINE, "the attacker is at it", || {
        std::fs::read_to_string(guest.root().join("at-it")).ok()
    });
    // On newer kernels it keeps descriptors away (SO_PASSRIGHTS, Linux 6.16).
    let refused = how == "descriptors" && said.contains("Operation not permitted");
    assert!(said == "at it" || refused, "{how}: {said}");
}

/// It is at it no more, with the next boot.
fn disarm(guest: &Guest<'_>) {
    for file in ["go", "at-it"] {
        std::fs::remove_file(guest.root().join(file)).expect("it is there");
    }
}

/// Seconds of processor time that a process has used.
fn worked(pid: i32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: f64 = fields.skip(11).take(2).map(|field| field.parse::<f64>().unwrap()).sum();
    ticks / 100.0
}

/// Less than anybody waits for a supervisor that doesn't answer.
const SOON: f64 = 10.0;

/// Until a message that waited behind others has been met.
const WHILE: Duration = Duration::from_secs(8);

/// What the host still does while the guest is at it.
fn resists(tree: Tree, how: &str) {
    let host = Host::new();
    let other = host.guest("db").tree(tree).build();
    other.start();
    // What it boots is there, or has ended.
    other.wait_for_process("busybox");
    eventually(DEADLINE, "it has booted", || {
        other.log().trim_end().ends_with("once: ran").then_some(())
    });
    let guest = guest(&host, tree);
    let before = Census::take(&host);
    guest.start();
    let supervisor = guest.status().supervisor_pid.expect("it has one");
    let memory = anonymous(supervisor);
    attack(&guest, how);
    thread::sleep(if how == "notify-descriptors" { WHILE } else { Duration::from_secs(2) });
    let worked_before = worked(supervisor);
    thread::sleep(Duration::from_secs(2));
    let load = (worked(supervisor) - worked_before) / 2.0;
    assert!(load < 0.1, "{how}: the supervisor uses {load} of a processor");
    let grown = anonymous(supervisor).saturating_sub(memory);
    assert!(grown < 1 << 20, "{how}: the supervisor has grown by {grown} bytes");
    for answer in [host.vserver(["list"]), guest.vserver("status", [""; 0])] {
        assert!(answer.took.as_secs_f64() < SOON, "{how}: {answer}");
        assert!(answer.stdout.contains("web"), "{how}: {answer}");
    }
    assert_eq!(guest.status().supervisor_pid, Some(supervisor), "{how}: it lives");
    // The next one meets the same.
    guest.kill_supervisor();
    guest.vserver("usage", [""; 0]).ok();
    let stop = guest.vserver("stop", ["--timeout", "2"]).ok();
    assert!(stop.took.as_secs_f64() < 2.0 + 3.0 + SOON, "{how}: {stop}");
    assert!(!guest.is_running());
    before.assert_unchanged(&host);
    assert_eq!(other.status().state, "running");
    disarm(&guest);
    guest.start().stop();
    other.stop();
}

fn garbage_on_the_link(tree: Tree) {
    resists(tree, "garbage");
}

fn oversized_messages(tree: Tree) {
    resists(tree, "oversized");
}

fn truncated_messages(tree: Tree) {
    resists(tree, "truncated");
}

fn a_flood_of_messages(tree: Tree) {
    resists(tree, "flood");
}

fn stages_out_of_order(tree: Tree) {
    resists(tree, "stages");
}

fn an_empty_message(tree: Tree) {
    resists(tree, "empty");
}

fn a_closed_link(tree: Tree) {
    resists(tree, "close");
}

fn descriptors_on_the_link(tree: Tree) {
    resists(tree, "descriptors");
}

fn descriptors_to_the_notify_socket(tree: Tree) {
    resists(tree, "notify-descriptors");
}

fn a_pid_1_that_never_reads(tree: Tree) {
    resists(tree, "mute");
}

fn a_guest_that_says_it_stops_can_be_paused(tree: Tree) {
    let host = Host::new();
    let guest = guest(&host, tree);
    guest.start();
    attack(&guest, "stages");
    eventually(DEADLINE, "it says that it stops", || {
        (guest.status().state == "stopping").then_some(())
    });
    guest.vserver("pause", [""; 0]).ok();
    assert_eq!(guest.status().state, "paused");
    guest.vserver("resume", [""; 0]).ok();
    guest.vserver("stop", ["--timeout", "1"]).ok();
    assert!(!guest.is_running());
}
