//! Settings of the isolation layers that are no escapes to be refused:
//! `hidepid`, resource limits, what else a caller has that stays outside,
//! labels of a host that has none.

use std::os::unix::process::CommandExt;

use tests::{Census, DEADLINE, Host, Tree, command};

on! { Busybox: [
    hidepid_hides_others_processes,
    what_is_changed_in_a_guest_that_runs_says_when_it_counts,
    sessions_have_the_limits_of_pid_1,
    the_callers_limits_stay_outside,
    a_label_of_no_module_is_refused,
    the_callers_place_in_the_queues_stays_outside,
    a_session_uses_the_processors_of_pid_1,
    a_caller_without_new_privileges_is_told_so,
    registers_of_devices_are_out_of_the_reach_of_the_hosts_uid_0,
    io_uring_starts_where_doctor_finds_sockets_judged_or_is_refused,
] }

fn what_is_changed_in_a_guest_that_runs_says_when_it_counts(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let context = guest.status().context;
    let set = |words: &[&str]| host.vserver([&["config", "set", "web"], words].concat()).ok();
    set(&["security.nesting", "true"])
        .complains("'security.nesting' counts from its next boot: vserver reboot web");
    set(&["hostname=a", "boot.environment.A=1"])
        .complains("'hostname', 'boot.environment.A' count from its next boot");
    for words in [["marks", "db"], ["description", "text"]] {
        assert_eq!(set(&words).stderr, "");
    }
    // It is still what it was.
    let other = (context + 7).to_string();
    set(&["context", &other]);
    let asked = |argument: &[&str]| {
        let mut info = host.command([""; 0]);
        info.arg0("vserver-info").args([&["web", "CONTEXT"], argument].concat());
        command::run(&mut info, DEADLINE).ok().stdout
    };
    assert_eq!(asked(&[]), format!("{context}\n"));
    assert_eq!(asked(&["1"]), format!("{context}\n"));
    guest.stop();
    assert_eq!(asked(&["1"]), format!("{other}\n"));
}

fn hidepid_hides_others_processes(tree: Tree) {
    let host = Host::new();
    for (value, visible) in [("off", true), ("invisible", false)] {
        let guest = host.guest(value).tree(tree).set("security.hidepid", value).build();
        guest.start();
        let seen = host.vserver(["suexec", "user", value, "--", "ls", "/proc"]).ok();
        let init = seen.stdout.split_whitespace().any(|name| name == "1");
        assert_eq!(init, visible, "hidepid = {value}\n{seen}");
        guest.stop();
    }
}

/// The lines of `/proc/PID/limits`, as the guest shows them.
const LIMITS: [&str; 2] = ["cat", "/proc/self/limits"];

fn sessions_have_the_limits_of_pid_1(tree: Tree) {
    let host = Host::new();
    for users in ["private", "identity", "host"] {
        let guest = host.guest(users).tree(tree).set("security.users", users).build();
        guest.start();
        let init = std::fs::read_to_string(format!("/proc/{}/limits", guest.init_pid())).unwrap();
        assert_eq!(guest.exec(LIMITS).ok().stdout, init, "users = {users}");
        for line in ["Max processes             8192 ", "Max core file size        0 "] {
            assert!(init.contains(line), "'{line}' is missing\n{init}");
        }
        guest.stop();
    }
}

fn the_callers_limits_stay_outside(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let wanted = guest.exec(LIMITS).ok().stdout;
    guest.stop();
    let program = tests::host::program();
    let script = format!(
        "ulimit -S -n 77 -u 777 -c 7 -s 1024; {0} start web && {0} exec web -- cat /proc/self/limits",
        program.display()
    );
    let mut shell = std::process::Command::new("/bin/bash");
    shell.args(["-c", &script]).env(vserver::variables::PREFIX, host.prefix());
    let found = command::run(&mut shell, DEADLINE).ok();
    assert_eq!(found.stdout, wanted);
    guest.stop();
}

/// This machine has neither module. Where AppArmor is active the profile is
/// what is missing, and a label for SELinux is nothing that it understands;
/// that profiles work is a test of the virtual machine.
fn a_label_of_no_module_is_refused(tree: Tree) {
    let selinux = std::path::Path::new("/sys/fs/selinux/enforce").exists();
    assert!(!selinux, "SELinux is active here: this test is for hosts without it");
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let before = Census::after_a_boot(&guest);
    for (key, label, module) in [
        ("security.apparmor", "no-such-profile", "AppArmor has to be active"),
        ("security.selinux", "system_u:system_r:guest_t:s0", "SELinux has to be active"),
    ] {
        host.vserver(["config", "set", "web", key, label]).ok();
        let refused = guest.vserver("start", [""; 0]).code(1);
        refused
            .complains("cannot start guest 'web': setting its security label")
            .complains(module)
            .complains(&format!("vserver config unset web {key}"));
        assert!(!guest.is_running());
        // Neither does a session in a guest that doesn't run go without.
        guest.exec(["true"]).code(125);
        before.assert_unchanged(&host);
        host.vserver(["config", "unset", "web", key]).ok();
        guest.start().stop();
    }
}

/// What a process shows of its place in the queues, of the OOM killer's score
/// and of its execution domain.
fn standing(pid: i32) -> String {
    let text = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
    let pid_text = pid.to_string();
    let tool = |words: &[&str]| {
        let mut tool = std::process::Command::new(words[0]);
        let said = command::run(tool.args(&words[1..]).arg(&pid_text), DEADLINE).ok().stdout;
        said.replace(&format!("pid {pid}'s"), "")
    };
    [
        text("oom_score_adj"),
        text("personality"),
        tool(&["chrt", "-p"]),
        tool(&["ionice", "-p"]),
        tool(&["taskset", "-p"]),
        tool(&["ps", "-o", "ni=", "-p"]),
    ]
    .concat()
}

/// Neither a worse nor a better place than others; a better one takes
/// privileges that not every machine has.
fn the_callers_place_in_the_queues_stays_outside(tree: Tree) {
    const CALLER: &str = "echo 300 >/proc/self/oom_score_adj; exec chrt --batch 0 nice -n 7 \
                          ionice -c 3 setarch -R \"$@\"";
    let host = Host::new();
    for users in ["private", "identity", "host"] {
        let guest = host.guest(users).tree(tree).set("security.users", users).build();
        guest.start();
        let plain = standing(guest.init_pid());
        assert!(plain.contains("SCHED_OTHER") && plain.contains("none: prio"), "{plain}");
        assert!(plain.starts_with("0\n00000000\n"), "{plain}");
        guest.stop();

        let caller = |words: &[&str]| {
            let mut shell = std::process::Command::new("/bin/sh");
            shell.args(["-c", CALLER, "sh"]).arg(tests::host::program()).args(words);
            shell.env(vserver::variables::PREFIX, host.prefix());
            shell
        };
        command::run(&mut caller(&["start", users]), DEADLINE).ok();
        assert_eq!(standing(guest.init_pid()), plain, "PID 1, users = {users}");
        // The control: the caller itself is another one.
        let control = caller(&["exec", users, "--", "sleep", "7201"]).spawn();
        let mut control = control.expect("a shell");
        guest.wait_for_process("sleep");
        let inside = guest.process("sleep").expect("it runs inside");
        let outside = standing(i32::try_from(control.id()).expect("a pid"));
        assert!(outside.starts_with("300\n00040000\n"), "{outside}");
        assert!(outside.contains("SCHED_BATCH") && outside.contains("idle"), "{outside}");
        assert_eq!(standing(inside), plain, "a session, users = {users}");
        guest.stop();
        let _ = control.wait();
    }
}

fn a_session_uses_the_processors_of_pid_1(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let init = guest.init_pid().to_string();
    let mut pin = std::process::Command::new("taskset");
    command::run(pin.args(["-p", "1", &init]), DEADLINE).ok();
    let words = ["grep", "Cpus_allowed_list", "/proc/self/status"];
    guest.exec(words).ok().says("Cpus_allowed_list:\t0\n");
    guest.stop();
    // The administrator's own choice for the whole guest.
    let mut start = std::process::Command::new("taskset");
    start.arg("1").arg(tests::host::program()).args(["start", "web"]);
    command::run(start.env(vserver::variables::PREFIX, host.prefix()), DEADLINE).ok();
    guest.exec(words).ok().says("Cpus_allowed_list:\t0\n");
}

fn a_caller_without_new_privileges_is_told_so(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let exec = ["exec", "web", "--", "grep", "NoNewPrivs", "/proc/self/status"];
    let plain = host.vserver(exec).ok();
    assert_eq!((plain.stdout.as_str(), plain.stderr.as_str()), ("NoNewPrivs:\t0\n", ""));
    let mut bare = std::process::Command::new("setpriv");
    bare.arg("--no-new-privs").arg(tests::host::program()).args(exec);
    let said = command::run(bare.env(vserver::variables::PREFIX, host.prefix()), DEADLINE).ok();
    said.complains("warning: ").complains("su, sudo and other setuid programs fail");
}

/// Root of the host may read and map what lies there. Disks on the bus are
/// seen all the same.
fn registers_of_devices_are_out_of_the_reach_of_the_hosts_uid_0(tree: Tree) {
    let devices = std::fs::read_dir("/sys/devices").expect("/sys is mounted").flatten();
    let is_bus = |path: &std::path::PathBuf| path.to_string_lossy().contains("/pci");
    let bus = devices.map(|entry| entry.path()).find(is_bus).expect("this machine has a PCI bus");
    let host = Host::new();
    let list = format!("find {} -name config -o -name 'resource*' | wc -l", bus.display());
    let disks =
        "for disk in /sys/block/*; do echo $disk $(cat $disk/size); done; ls /sys/class/net/*/mtu";
    let mut here = std::process::Command::new("/bin/sh");
    let here = command::run(here.args(["-c", "ls /sys/block"]), DEADLINE).ok().stdout;
    for (users, is_covered) in [("private", false), ("identity", true), ("host", true)] {
        let guest = host.guest(users).tree(tree).set("security.users", users).build();
        guest.start();
        let seen = guest.shell(&list).ok();
        assert_eq!(seen.trimmed() == "0", is_covered, "users = {users}\n{seen}");
        let shown = guest.shell(disks).ok();
        assert!(shown.stderr.is_empty(), "a link leads nowhere\n{shown}");
        assert!(here.lines().all(|disk| shown.stdout.contains(disk)), "{shown}");
        guest.shell(&format!("touch {}/x", bus.display())).complains("Read-only file system");
        // Nor does anything of a bus that comes later lie outside of the cover.
        let kind = guest.shell("grep -c ' /sys/devices tmpfs ro' /proc/mounts");
        assert_eq!(kind.trimmed() == "1", is_covered, "users = {users}\n{kind}");
        guest.stop();
        let effective = host.vserver(["config", "show", users, "--effective"]).ok();
        assert_eq!(effective.stdout.contains("/sys/devices: "), is_covered, "{effective}");
        // The control: without covers they are there.
        let mut start = guest.command("start", [""; 0]);
        command::run(start.env("VSERVER_WITHOUT", "masks"), DEADLINE).ok();
        assert_ne!(guest.shell(&list).ok().trimmed(), "0");
        guest.stop();
    }
}

fn io_uring_starts_where_doctor_finds_sockets_judged_or_is_refused(tree: Tree) {
    let host = Host::new();
    let judged = host.vserver(["doctor", "--json"]).stdout;
    let findings: serde_json::Value = serde_json::from_str(&judged).expect("doctor's JSON");
    let all = findings.as_array().expect("a list of findings");
    let judged = all.iter().any(|f| f["topic"] == "socket families" && f["grade"] == "ok");
    let guest = host.guest("web").tree(tree).set("security.io_uring", "true").build();
    if judged {
        guest.start().stop();
    } else {
        guest.vserver("start", [""; 0]).code(1).complains("io_uring");
        assert!(!guest.is_running());
    }
}
