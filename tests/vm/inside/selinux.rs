//! A host with SELinux enforcing: guests boot beside it, and with a label of it
//! by option. `run` has loaded `policy.cil`.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use tests::terminal::Terminal;
use tests::{Census, DEADLINE, Guest, Host, command, process};

/// What everything has that nobody has given a label.
const HOSTS: &str = "system_u:system_r:host_t:s0";

/// A guest's label.
const LABEL: &str = "system_u:system_r:guest_t:s0:c1";

/// That of a file which no guest with a label may open.
const SECRET: &str = "system_u:system_r:secret_t:s0";
const FORBIDDEN: &str = "/etc/forbidden";

/// All ways to map users. One guest goes through them one after another.
const MODES: [&str; 3] = ["private", "identity", "host"];

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn is_enforcing_on_this_host() {
    let enforces = fs::read_to_string("/sys/fs/selinux/enforce");
    assert_eq!(enforces.expect("SELinux is on; these tests are run by tests/vm"), "1");
    assert_eq!(label("self"), HOSTS);
    let host = Host::new();
    let answer = host.vserver(["doctor", "--json"]).ok();
    let findings: Vec<serde_json::Value> =
        serde_json::from_str(&answer.stdout).expect("findings are a list");
    let labels = findings.iter().find(|finding| finding["topic"] == "security labels");
    let labels = labels.expect("it is looked at");
    assert_eq!(labels["grade"], "ok", "{answer}");
    assert!(labels["text"].as_str().is_some_and(|text| text.contains("SELinux")), "{answer}");
}

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn a_guest_without_a_label_boots_beside_it_in_all_modes() {
    let host = Host::new();
    let guest = with_secret(&host);
    for users in MODES {
        in_mode(&host, &guest, users);
        guest.start();
        all_labelled(&host, &guest, HOSTS);
        // The control: only the label is what the file is closed to.
        guest.exec(["cat", FORBIDDEN]).ok().says("secret\n");
        guest.stop();
    }
}

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn a_guest_with_a_label_carries_it_in_all_modes() {
    let host = Host::new();
    let guest = labelled(&host, LABEL);
    for users in MODES {
        in_mode(&host, &guest, users);
        guest.start();
        all_labelled(&host, &guest, LABEL);
        guest.exec(["cat", "/proc/self/attr/current"]).ok().says(&format!("{LABEL}\0"));
        guest.exec(["cat", FORBIDDEN]).code(1).complains("Permission denied");
        guest.stop();
    }
}

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn sessions_and_later_boots_carry_it() {
    let host = Host::new();
    let guest = labelled(&host, LABEL);
    // In a guest that isn't booted, too.
    let own = ["cat", "/proc/self/attr/current"];
    guest.exec(own).ok().says(&format!("{LABEL}\0"));
    guest.start();
    let mut terminal = Terminal::open(&guest.command("enter", [""; 0]));
    terminal.type_in("cat /proc/self/attr/current; echo sta''tus $?\n");
    terminal.expect(LABEL);
    terminal.expect("status 0");
    terminal.type_in(&format!("cat {FORBIDDEN}\n"));
    terminal.expect("Permission denied");
    terminal.type_in("exit\n");
    terminal.end();
    let suexec = ["suexec", "user", "web", "--", own[0], own[1]];
    host.vserver(suexec).ok().says(&format!("{LABEL}\0"));
    let old = guest.init_pid();
    guest.exec(["reboot"]);
    guest.wait_for_reboot(old);
    all_labelled(&host, &guest, LABEL);
    guest.kill_supervisor();
    guest.exec(own).ok().says(&format!("{LABEL}\0"));
    guest.stop();
}

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn a_label_that_the_policy_lacks_or_bars_is_refused() {
    let host = Host::new();
    let guest = with_secret(&host);
    let before = Census::when_quiet(&host);
    for (label, sentence, remedy) in [
        (
            "system_u:system_r:no_such_t:s0",
            "cannot start guest 'web': setting its security label: Invalid argument (os error 22)",
            "vserver config unset web security.selinux",
        ),
        (
            "system_u:system_r:barred_t:s0",
            "cannot start guest 'web': executing guest-init: Permission denied (os error 13)",
            "nosuid_transition",
        ),
    ] {
        host.vserver(["config", "set", "web", "security.selinux", label]).ok();
        let answer = guest.vserver("start", [""; 0]).code(1).complains(sentence).complains(remedy);
        assert_eq!(answer.stderr.lines().count(), 2, "a sentence and what to do\n{answer}");
        assert!(!guest.is_running());
        guest.exec(["true"]).code(125);
        before.assert_unchanged(&host);
    }
}

fn labelled<'h>(host: &'h Host, label: &str) -> Guest<'h> {
    let guest = with_secret(host);
    host.vserver(["config", "set", guest.name(), "security.selinux", label]).ok();
    guest
}

/// A guest with the file that the policy is about.
fn with_secret(host: &Host) -> Guest<'_> {
    let guest = host.guest("web").build();
    guest.write(FORBIDDEN, "secret\n", 0o644);
    let mut set = Command::new("setfattr");
    set.args(["-n", "security.selinux", "-v", SECRET]);
    set.arg(guest.root().join(FORBIDDEN.trim_start_matches('/')));
    command::run(&mut set, DEADLINE).ok();
    guest
}

fn in_mode(host: &Host, guest: &Guest<'_>, users: &str) {
    // Shown only when the test fails.
    println!("users = {users}");
    host.vserver(["config", "set", guest.name(), "security.users", users]).ok();
}

/// As the kernel and as ps(1) have it, of PID 1 and all that it has started.
#[track_caller]
fn all_labelled(host: &Host, guest: &Guest<'_>, expected: &str) {
    let namespace = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let own = namespace(guest.init_pid());
    let ps = command::run(Command::new("ps").args(["-eo", "pid,label"]), DEADLINE).ok();
    let shown: BTreeMap<_, _> =
        ps.stdout.lines().filter_map(|line| line.trim().split_once(' ')).collect();
    let all = host.processes().into_iter().map(|process| process.pid);
    let inside: Vec<_> =
        all.filter(|pid| namespace(*pid) == own && process::is_alive(*pid)).collect();
    assert!(inside.len() > 1, "more than PID 1 runs inside");
    for pid in inside.iter().map(i32::to_string) {
        assert_eq!(label(&pid), expected, "of {pid}");
        assert_eq!(shown.get(pid.as_str()).map(|label| label.trim()), Some(expected), "{ps}");
    }
}

/// The label of a process of this host.
fn label(pid: &str) -> String {
    let label = fs::read_to_string(format!("/proc/{pid}/attr/current")).unwrap_or_default();
    label.trim_end_matches(['\0', '\n']).to_owned()
}
