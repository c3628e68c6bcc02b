//! `[limits]` on any host: what needs no controller holds, and what the host
//! can't enforce is refused or warned of. What controllers enforce is tested
//! in `vm/inside/limits.rs`.

use std::fs;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::{DEADLINE, Host, Tree, command, eventually, machine, process};

on! { Busybox: [
    open_files_and_nice_level_hold_in_guest_and_sessions,
    what_the_host_cannot_enforce_is_refused_with_the_reason,
    a_change_is_made_in_guest_and_file_or_in_neither,
    no_level_is_won_by_renicing_pid_1,
    a_guest_that_runs_is_taken_over_whatever_the_host_lacks,
] }

fn open_files_and_nice_level_hold_in_guest_and_sessions(tree: Tree) {
    let host = Host::new();
    for (users, nice) in [("private", "7"), ("identity", "-3"), ("host", "19")] {
        let guest = host.guest(users).tree(tree).set("security.users", users).build();
        host.vserver(["config", "set", users, "limits.files", "500"]).ok();
        host.vserver(["config", "set", users, "limits.nice", nice]).ok();
        guest.start();
        // The keeper's is that of whoever has started the guest.
        let own = level(i32::try_from(std::process::id()).expect("a pid"));
        let keeper = guest.status().keeper_pid.expect("it has one");
        for (pid, whose) in [(guest.init_pid(), nice), (keeper, &own)] {
            assert_eq!(level(pid), whose, "users = {users}");
        }
        let limits = guest.exec(["cat", "/proc/self/limits"]).ok().stdout;
        let files = limits.lines().find(|line| line.starts_with("Max open files"));
        let values: Vec<_> = files.unwrap_or_default().split_whitespace().skip(3).take(2).collect();
        assert_eq!(values, ["500", "500"], "users = {users}\n{limits}");
        let stat = guest.exec(["cat", "/proc/self/stat"]).ok().stdout;
        assert_eq!(nice_in(&stat), nice, "users = {users}\n{stat}");
        guest.stop();
    }
}

/// The nice level of a process, field 19 of `/proc/PID/stat`.
fn level(pid: i32) -> String {
    nice_in(&fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs")).to_owned()
}

fn nice_in(stat: &str) -> &str {
    let fields = stat.rsplit_once(')').map(|(_, fields)| fields).unwrap_or_default();
    fields.split_whitespace().nth(16).unwrap_or_default()
}

fn what_the_host_cannot_enforce_is_refused_with_the_reason(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    // On no host.
    let (key, value) = ("limits.io_max", "/proc wbps=1M");
    host.vserver(["config", "set", "web", key, value]).ok();
    guest
        .vserver("start", [""; 0])
        .code(1)
        .complains("cannot start guest 'web': limits.io_max can't be enforced")
        .complains("limits.required = false");
    assert!(!guest.is_running());
    host.vserver(["config", "set", "web", "limits.required", "false"]).ok();
    guest.vserver("start", [""; 0]).ok().complains("limits.io_max can't be enforced");
    guest.stop();
    host.vserver(["config", "unset", "web", key]).ok();
    host.vserver(["config", "set", "web", "limits.required", "true"]).ok();
    // Where the root cgroup enables no controller of memory, a limit on it.
    host.vserver(["config", "set", "web", "limits.memory", "64M"]).ok();
    let enabled = fs::read_to_string(machine::cgroup_root().join("cgroup.subtree_control"));
    if enabled.is_ok_and(|enabled| enabled.split_whitespace().any(|name| name == "memory")) {
        guest.start().stop();
    } else {
        let start = guest.vserver("start", [""; 0]).code(1);
        start
            .complains("limits.memory can't be enforced")
            .complains("the controller memory")
            .complains("hint: ");
    }
}

fn a_change_is_made_in_guest_and_file_or_in_neither(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let file =
        || fs::read_to_string(host.prefix().join("etc/vservers/web.toml")).expect("it has one");
    // One that is stopped has only its file.
    guest.vserver("limits", ["files=2000", "nice=3"]).ok();
    guest.start();
    guest.shell("setsid sleep 10000 >/dev/null 2>&1 </dev/null &").ok();
    guest.wait_for_process("sleep");
    let sleeper = guest.process("sleep").expect("it sleeps");
    let mut renice = Command::new("renice");
    command::run(renice.args(["-n", "7", "-p", &sleeper.to_string()]), DEADLINE).ok();
    assert_eq!((level(guest.init_pid()), level(sleeper)), ("3".to_owned(), "7".to_owned()));

    let before = file();
    guest.vserver("limits", ["nice=6", "files=99999999"]).code(1).complains("limits.files");
    guest.vserver("limits", ["nice=6", "colour=red"]).code(2).complains("limits are: memory");
    guest.vserver("limits", ["nice=6", "limits.nice=7"]).code(2).complains("'nice' is given twice");
    guest.vserver("limits", ["nice=60"]).code(2).complains("from -20 to 19");
    guest.vserver("limits", ["nice=6", "--dry-run"]).ok();
    assert_eq!((file(), level(guest.init_pid())), (before, "3".to_owned()));

    // The last of two changes is refused by the kernel: the first is undone.
    if !may_change_files() {
        let before = file();
        let answer = guest.vserver("limits", ["nice=6", "files=1500"]).code(4);
        answer.complains("cannot set limits.files").complains("CAP_SYS_RESOURCE");
        assert_eq!(file(), before);
        assert_eq!((level(guest.init_pid()), level(sleeper)), ("3".to_owned(), "7".to_owned()));
        assert_eq!(open_files(sleeper), "2000");
    }
    guest.vserver("limits", ["nice=6"]).ok();
    assert!(file().contains("\nnice = 6\n"), "{}", file());
    // A level that a program has given itself stays relative to the others.
    assert_eq!((level(guest.init_pid()), level(sleeper)), ("6".to_owned(), "10".to_owned()));
    assert_eq!(nice_in(&guest.exec(["cat", "/proc/self/stat"]).ok().stdout), "6");
    let shown = guest.vserver("limits", [""; 0]).ok();
    let row = |key: &str| {
        let line = shown.stdout.lines().find(|line| line.split(' ').next() == Some(key));
        line.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!((row("nice"), row("files")), ("nice 6 6 - -".into(), "files 2000 2000 - -".into()));

    guest.vserver("limits", ["nice="]).ok();
    assert_eq!((level(guest.init_pid()), level(sleeper)), ("0".to_owned(), "4".to_owned()));
    assert!(!file().contains("\nnice = "), "{}", file());
    guest.stop();
    guest.vserver("limits", ["--apply"]).code(3);
    host.vserver(["limits", "db"]).code(5);
}

/// A guest's root may renice PID 1, down the line only. What that has is no measure for
/// a change.
fn no_level_is_won_by_renicing_pid_1(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).set("limits.nice", "3").build();
    guest.start();
    guest.shell("setsid sleep 10000 >/dev/null 2>&1 </dev/null &").ok();
    guest.wait_for_process("sleep");
    let levels = || {
        let sleeper = guest.process("sleep").expect("it sleeps");
        [level(guest.init_pid()), level(sleeper)]
    };
    let renice = |level: &str| {
        let mut renice = Command::new("renice");
        let pid = guest.init_pid().to_string();
        command::run(renice.args(["-n", level, "-p", &pid]), DEADLINE).ok();
    };
    renice("19");
    assert_eq!(levels(), ["19", "3"]);
    guest.vserver("limits", ["--apply"]).ok();
    assert_eq!(levels(), ["19", "3"], "nothing has changed");
    guest.vserver("limits", ["nice=5"]).ok();
    assert_eq!(levels(), ["19", "5"]);
    let shown = guest.vserver("limits", [""; 0]).ok();
    let row = shown.stdout.lines().find(|line| line.starts_with("nice ")).unwrap_or_default();
    assert_eq!(row.split_whitespace().collect::<Vec<_>>(), ["nice", "5", "5", "-", "-"]);
    guest.vserver("limits", ["nice=-2"]).ok();
    assert_eq!(levels(), ["12", "-2"]);
    // What was noted is lost: a level that is wanted is still no less.
    fs::remove_file(host.prefix().join("run/vserver/web/nice")).expect("it was noted");
    fs::remove_file(host.prefix().join("run/vserver/web/configuration.toml")).expect("there");
    guest.vserver("limits", ["nice=4"]).ok();
    assert_eq!(levels(), ["12", "4"]);
    guest.stop();
}

/// May this machine's root change limits of processes with ids of their own
/// (prlimit(2))? Where it may, the virtual machine's tests show that it does.
fn may_change_files() -> bool {
    const SYS_RESOURCE: u32 = 24;
    let status = fs::read_to_string("/proc/self/status").expect("this process runs");
    let bits = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = bits.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    bits.is_some_and(|bits| bits >> SYS_RESOURCE & 1 == 1)
}

/// The hard limit of a process.
fn open_files(pid: i32) -> String {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("it runs");
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    line.and_then(|line| line.split_whitespace().nth(1)).unwrap_or_default().to_owned()
}

/// A disk may be gone meanwhile.
fn a_guest_that_runs_is_taken_over_whatever_the_host_lacks(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    host.vserver(["config", "set", "web", "limits.io_max", "/proc wbps=1M"]).ok();
    let supervisor = guest.status().supervisor_pid.expect("a running guest has one");
    kill(Pid::from_raw(supervisor), Signal::SIGKILL).expect("it can be killed");
    let dead = || (!process::is_alive(supervisor)).then_some(());
    eventually(DEADLINE, "the supervisor is dead", dead);
    guest.stop();
    assert!(!guest.is_running());
    guest.vserver("start", [""; 0]).code(1).complains("limits.io_max can't be enforced");
}
