//! A host with AppArmor enforcing: guests boot beside it, and under a profile
//! of it by option. `run` has loaded the profile.

use std::fs;
use std::process::Command;

use tests::terminal::Terminal;
use tests::{DEADLINE, Guest, Host, Tree, command, process};

/// The name of the profile, and how the kernel shows it (apparmor(7)).
const PROFILE: &str = "vserver-guest";
const ENFORCED: &str = "vserver-guest (enforce)";

/// What it denies, there for everyone in a guest.
const FORBIDDEN: &str = "/srv/forbidden";

/// All ways to map users. One guest goes through them one after another.
const MODES: [&str; 3] = ["private", "identity", "host"];

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn is_enforcing_on_this_host() {
    let loaded = fs::read_to_string("/sys/kernel/security/apparmor/profiles");
    let loaded = loaded.expect("AppArmor is on; these tests are run by tests/vm");
    assert!(loaded.lines().any(|line| line == ENFORCED), "{loaded}");
    command::run(Command::new("aa-status").arg("--enabled"), DEADLINE).ok();
    command::run(Command::new("aa-status").arg("--enforced"), DEADLINE).ok().says("1\n");
}

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn busybox_boots_beside_it_in_all_modes() {
    let host = Host::new();
    let guest = host.guest("web").build();
    for users in MODES {
        in_mode(&host, &guest, users);
        guest.start();
        guest.exec(["cat", "/proc/1/comm"]).ok().says("guest-init\n");
        assert_eq!(label(guest.init_pid()), "unconfined", "without the option, the host's");
        guest.stop();
    }
}

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn busybox_carries_its_profile_in_all_modes() {
    let host = Host::new();
    let guest = confined(&host, Tree::Busybox);
    for users in MODES {
        in_mode(&host, &guest, users);
        guest.start();
        carries_its_profile(&host, &guest);
        guest.stop();
    }
    assert_eq!(guest.read(FORBIDDEN), "secret\n");
}

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn debian_boots_beside_it_and_under_a_profile() {
    boots_beside_it_and_under_a_profile(Tree::Bookworm);
}

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn systemd_boots_beside_it_and_under_a_profile() {
    boots_beside_it_and_under_a_profile(Tree::Systemd);
}

/// As it is built, then under a profile in the other modes. Building and
/// booting a distribution takes long here, so one guest does it all.
fn boots_beside_it_and_under_a_profile(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.write(FORBIDDEN, "secret\n", 0o644);
    guest.start();
    wait_for_services(&guest);
    all_labelled(&host, &guest, "unconfined");
    guest.exec(["cat", FORBIDDEN]).ok().says("secret\n");
    guest.stop();
    host.vserver(["config", "set", guest.name(), "security.apparmor", PROFILE]).ok();
    for users in ["identity", "host"] {
        in_mode(&host, &guest, users);
        guest.start();
        wait_for_services(&guest);
        carries_its_profile(&host, &guest);
        guest.stop();
    }
    assert_eq!(guest.read(FORBIDDEN), "secret\n");
}

fn wait_for_services(guest: &Guest<'_>) {
    if guest.tree() == Tree::Systemd {
        guest.wait_for_systemd();
    }
    guest.wait_for_process("cron");
    guest.wait_for_process("sshd");
}

fn carries_its_profile(host: &Host, guest: &Guest<'_>) {
    all_labelled(host, guest, ENFORCED);
    guest.exec(["cat", "/proc/self/attr/current"]).ok().says(&format!("{ENFORCED}\n"));
    guest.exec(["cat", FORBIDDEN]).code(1).complains("Permission denied");
    guest.shell(&format!("echo changed >{FORBIDDEN}")).complains("Permission denied");
}

fn all_labelled(host: &Host, guest: &Guest<'_>, expected: &str) {
    let labels = labels(host, guest);
    assert!(labels.len() > 1, "more than PID 1 runs inside: {labels:?}");
    for (process, label) in labels {
        assert_eq!(label, expected, "of {process}");
    }
}

fn in_mode(host: &Host, guest: &Guest<'_>, users: &str) {
    // Shown only when the test fails.
    println!("users = {users}");
    host.vserver(["config", "set", guest.name(), "security.users", users]).ok();
}

/// The file can be read where nothing denies it, so the profile is what does.
#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn denies_nothing_to_a_guest_without_a_profile() {
    let host = Host::new();
    let guest = host.guest("web").build();
    guest.write(FORBIDDEN, "secret\n", 0o644);
    guest.start();
    guest.exec(["cat", FORBIDDEN]).ok().says("secret\n");
    guest.exec(["cat", "/proc/self/attr/current"]).ok().says("unconfined\n");
    guest.stop();
}

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn holds_sessions_of_enter_and_of_users() {
    let host = Host::new();
    let guest = confined(&host, Tree::Busybox);
    guest.start();
    let mut terminal = Terminal::open(&guest.command("enter", [""; 0]));
    terminal.type_in("cat /proc/self/attr/current; echo sta''tus $?\n");
    terminal.expect(ENFORCED);
    terminal.expect("status 0");
    terminal.type_in(&format!("cat {FORBIDDEN}\n"));
    terminal.expect("Permission denied");
    terminal.type_in("exit\n");
    terminal.end();
    let mine = ["suexec", "user", "web", "--", "cat", "/proc/self/attr/current"];
    host.vserver(mine).ok().says(&format!("{ENFORCED}\n"));
    guest.stop();
}

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn holds_after_a_reboot_and_under_the_next_supervisor() {
    let host = Host::new();
    let guest = confined(&host, Tree::Busybox);
    guest.start();
    let old = guest.init_pid();
    guest.exec(["reboot"]);
    let status = guest.wait_for_reboot(old);
    assert_eq!(label(guest.init_pid()), ENFORCED);
    let supervisor = status.supervisor_pid.expect("a running guest has a supervisor");
    command::run(Command::new("kill").args(["-KILL", &supervisor.to_string()]), DEADLINE).ok();
    guest.exec(["cat", "/proc/self/attr/current"]).ok().says(&format!("{ENFORCED}\n"));
    guest.stop();
}

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn a_profile_that_is_not_loaded_is_refused() {
    let host = Host::new();
    let guest = host.guest("web").set("security.apparmor", "no-such-profile").build();
    let answer = guest.vserver("start", [""; 0]).code(1).complains("no-such-profile");
    assert_eq!(answer.stderr.lines().count(), 2, "a sentence and what to do\n{answer}");
    assert!(!guest.is_running());
}

/// A guest under the profile, with the file that this denies.
fn confined(host: &Host, tree: Tree) -> Guest<'_> {
    let guest = host.guest("web").tree(tree).set("security.apparmor", PROFILE).build();
    guest.write(FORBIDDEN, "secret\n", 0o644);
    guest
}

/// The processes that have the guest's PID namespace, and their labels.
fn labels(host: &Host, guest: &Guest<'_>) -> Vec<(String, String)> {
    let namespace = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let own = namespace(guest.init_pid());
    let all = host.processes().into_iter();
    let inside = all.filter(|process| namespace(process.pid) == own);
    inside
        .filter(|process| process::is_alive(process.pid))
        .map(|process| (format!("{} {}", process.pid, process.comm), label(process.pid)))
        .collect()
}

/// The AppArmor label of a process of this host.
fn label(pid: i32) -> String {
    let label = fs::read_to_string(format!("/proc/{pid}/attr/current")).unwrap_or_default();
    label.trim_end().to_owned()
}
