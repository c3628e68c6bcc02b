//! `[limits]` on any host: what needs no controller holds, and what the host
//! can't enforce is refused or warned of. What controllers enforce is tested
//! in `vm/inside/limits.rs`.

use tests::{Host, Tree, machine};

on! { Busybox: [
    open_files_and_nice_level_hold_in_guest_and_sessions,
    what_the_host_cannot_enforce_is_refused_with_the_reason,
] }

fn open_files_and_nice_level_hold_in_guest_and_sessions(tree: Tree) {
    let host = Host::new();
    for (users, nice) in [("private", "7"), ("identity", "-3"), ("host", "19")] {
        let guest = host.guest(users).tree(tree).set("security.users", users).build();
        host.vserver(["config", "set", users, "limits.files", "500"]).ok();
        host.vserver(["config", "set", users, "limits.nice", nice]).ok();
        guest.start();
        for (pid, whose) in [(guest.init_pid(), nice), (guest.status().keeper_pid.unwrap(), "0")] {
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
    nice_in(&std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs")).to_owned()
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
    let enabled = std::fs::read_to_string(machine::cgroup_root().join("cgroup.subtree_control"));
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
