//! The tools with names of their own: processes and their contexts, signals,
//! single values, and their installation.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::{DEADLINE, Finished, Guest, Host, Tree, command, eventually, process};

on! { Busybox: [
    vps_says_which_context_each_process_is_in,
    vpstree_shows_a_guests_processes,
    vkill_takes_pids_as_they_are_inside,
    vkill_without_pids_means_all_of_a_context,
    vkill_hits_nothing_outside_of_the_context,
    vserver_info_answers_scripts,
    a_context_is_named_in_many_ways,
] }
on! { Busybox: [install_puts_everything_in_place_and_takes_it_away] }

/// Runs the program under a tool's name.
fn tool<const N: usize>(host: &Host, name: &str, words: [&str; N]) -> Finished {
    let place = host.prefix().join("tools");
    fs::create_dir_all(&place).expect("a directory can be made");
    let link = place.join(name);
    let _ = symlink(tests::host::program(), &link);
    let mut command = Command::new(link);
    command.args(words).env(vserver::variables::PREFIX, host.prefix());
    command::run(&mut command, DEADLINE)
}

/// A process of the guest's that only waits: its pids on the host and inside.
fn sleeper(guest: &Guest<'_>, seconds: &str) -> (i32, i32) {
    guest.shell(&format!("sleep {seconds} >/dev/null 2>&1 & :")).ok();
    let outer = eventually(DEADLINE, "a process waits inside", || {
        let found = process::processes(|directory| {
            let line = fs::read(directory.join("cmdline")).unwrap_or_default();
            line == format!("sleep\0{seconds}\0").as_bytes()
        });
        found.first().map(|process| process.pid)
    });
    let status = fs::read_to_string(format!("/proc/{outer}/status")).expect("a living process");
    let pids = status.lines().find_map(|line| line.strip_prefix("NSpid:")).expect("NSpid");
    let inner = pids.split_whitespace().next_back().and_then(|pid| pid.parse().ok());
    (outer, inner.expect("a pid"))
}

fn wait_for_end(pid: i32) {
    eventually(DEADLINE, "the process is reaped", || (!process::is_there(pid)).then_some(()));
}

fn vps_says_which_context_each_process_is_in(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let context = guest.status().context;
    let (outer, _) = sleeper(&guest, "70001");
    let own = std::process::id();
    let list = format!("{outer},{own}");
    let vps = tool(&host, "vps", ["-o", "pid,args", "-ww", "-p", &list]).ok();
    let ps =
        command::run(Command::new("ps").args(["-o", "pid,args", "-ww", "-p", &list]), DEADLINE);
    // Each line of ps with 20 columns behind the pid and its space.
    let column = |line: &str| match line.trim_start().split(' ').next() {
        Some("PID") => format!("{:<20}", "CONTEXT"),
        Some(pid) if pid == outer.to_string() => format!("{context:>5} {:<14}", "web"),
        _ => format!("{:<20}", "    0 MAIN"),
    };
    let end = ps.stdout.find("PID").expect("a title") + 4;
    let lines = ps.stdout.lines().map(|line| {
        let (before, after) = line.split_at(end);
        format!("{before}{}{after}\n", column(line))
    });
    vps.says(&lines.collect::<String>());

    tool(&host, "vps", ["-o", "comm=", "-p", "1"]).ok();
    let nothing = tool(&host, "vps", ["-p", "4194304"]).code(1);
    assert!(nothing.stdout.contains("PID CONTEXT             TTY"), "{nothing}");
    let wrong = tool(&host, "vps", ["--frobnicate"]).code(1);
    assert!(wrong.stderr.contains("unknown gnu long option"), "ps complains itself\n{wrong}");
    host.vserver(["vps", "-p", "1"]).ok();
    host.vserver(["ps", "-p", "1"]).ok();
}

fn vpstree_shows_a_guests_processes(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let whole = tool(&host, "vpstree", ["-p"]).ok();
    let init = guest.init_pid();
    assert!(whole.stdout.contains(&format!("({init})")), "{whole}");
    let own = tool(&host, "vpstree", ["--ctx", "web", "-p"]).ok();
    assert!(own.stdout.trim_start().contains(&format!("({init})")), "{own}");
    assert!(!own.stdout.contains("(1)"), "the host's PID 1 is none of the guest's\n{own}");
    let top = tool(&host, "vtop", ["-b", "-n", "1"]).ok();
    assert!(top.stdout.contains("PID"), "{top}");
}

fn vkill_takes_pids_as_they_are_inside(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let (outer, inner) = sleeper(&guest, "70002");
    let inside = inner.to_string();
    tool(&host, "vkill", ["--xid", "web", "-s", "0", &inside]).ok().says("");
    assert!(process::is_alive(outer));
    tool(&host, "vkill", ["-c", "web", &inside]).ok().says("");
    wait_for_end(outer);
    tool(&host, "vkill", ["-c", "web", &inside]).code(1).complains("No such process");

    let (outer, _) = sleeper(&guest, "70003");
    tool(&host, "vkill", ["-s", "SIGKILL", "--", &outer.to_string()]).ok().says("");
    wait_for_end(outer);
    assert!(guest.is_running());
}

fn vkill_without_pids_means_all_of_a_context(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let other = host.guest("db").tree(tree).build();
    guest.start();
    other.start();
    let (first, _) = sleeper(&guest, "70004");
    let (second, _) = sleeper(&guest, "70005");
    let (third, _) = sleeper(&other, "70006");
    let init = guest.init_pid();
    tool(&host, "vkill", ["-c", "web", "-s", "KILL", "--", "-1"]).ok().says("");
    wait_for_end(first);
    wait_for_end(second);
    assert!(process::is_alive(init) && process::is_alive(third));
    tool(&host, "vkill", ["-c", "web", "-s", "KILL"]).ok().says("");
    wait_for_end(init);
    assert!(process::is_alive(third), "the other guest is untouched");
}

fn vkill_hits_nothing_outside_of_the_context(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let mut outside = Command::new("sleep").arg("70007").spawn().expect("sleep runs");
    let pid = outside.id().cast_signed();
    tool(&host, "vkill", ["-c", "web", &pid.to_string()]).code(1).complains("No such process");
    tool(&host, "vkill", ["-c", "1", "1"]).code(1).complains("can signal none");
    tool(&host, "vkill", ["-c", "0"]).code(1);
    tool(&host, "vkill", ["1"]).code(1);
    tool(&host, "vkill", ["-c", "nobody"]).code(1).complains("vkill: there is no guest 'nobody'");
    host.configure("down", "context = 2000\n");
    tool(&host, "vkill", ["-c", "down"]).code(1).complains("vkill: guest 'down' is not running");
    tool(&host, "vkill", ["down"]).code(1).complains("'-c web'");
    tool(&host, "vkill", []).code(1).complains("No pid specified");
    tool(&host, "vkill", ["-s", "FROB", "4"]).code(1);
    assert!(process::is_alive(pid));
    tool(&host, "vkill", ["-c", "MAIN", &pid.to_string()]).ok();
    outside.wait().expect("it ends");
}

fn vserver_info_answers_scripts(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let context = guest.status().context.to_string();
    let info = |words: [&str; 2]| tool(&host, "vserver-info", words);
    let line = |value: &str| format!("{value}\n");
    info(["web", "RUNNING"]).code(1).says("");
    info(["web", "CONTEXT"]).code(1).says("");
    tool(&host, "vserver-info", ["web", "CONTEXT", "1"]).ok().says(&line(&context));
    guest.start();
    let init = guest.init_pid().to_string();
    info(["web", "RUNNING"]).ok().says("1\n");
    tool(&host, "vserver-info", ["-q", "web", "RUNNING"]).ok().says("");
    info(["web", "CONTEXT"]).ok().says(&line(&context));
    info([&context, "NAME"]).ok().says("web\n");
    info(["web", "VDIR"]).ok().says(&line(&guest.root().display().to_string()));
    info(["web", "INITPID"]).ok().says(&line(&init));
    info([&init, "INITPID_PID"]).ok().says(&line(&init));
    for tag in ["XID", "NID", "TAG"] {
        info([&init, tag]).ok().says(&line(&context));
        info(["1", tag]).ok().says("0\n");
    }
    tool(&host, "vserver-info", ["web", "UTS", "nodename"]).ok().says("web\n");
    info(["-", "APIVER"]).ok().says("0x00020308\n");
    for (xid, kind) in [("0", "main"), ("1", "watch"), ("42", "static"), ("49152", "dynamic")] {
        info([xid, "XIDTYPE"]).ok().says(&line(kind));
    }
    info(["web-1.x", "CANONIFY"]).ok().says("web1x\n");
    tool(&host, "vserver-info", ["-", "FEATURE", "namespace"]).ok().says("");
    tool(&host, "vserver-info", ["-", "FEATURE", "frob"]).code(1).says("");
    for tag in ["VERIFYCAP", "VERIFYPROC"] {
        info(["-", tag]).ok().says("");
    }
    for (subject, tag) in [("nobody", "CONTEXT"), ("4194304", "XID"), ("web", "APPDIR")] {
        let none = info([subject, tag]).code(1).says("");
        assert_eq!(none.stderr, "", "no text\n{none}");
    }
    let tags = tool(&host, "vserver-info", ["-l"]).ok();
    assert!(tags.stdout.lines().any(|line| line.starts_with("XIDTYPE")), "{tags}");
    info(["-", "FROB"]).code(1).complains("there is no tag 'FROB'");
}

fn a_context_is_named_in_many_ways(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let context = guest.status().context.to_string();
    for name in ["web", ":web", &context] {
        tool(&host, "vkill", ["--xid", name, "-s", "0", "1"]).ok();
    }
    tool(&host, "vserver-info", ["self", "XID"]).ok().says("0\n");
    tool(&host, "vserver-info", ["MAIN", "INITPID"]).ok().says("1\n");
}

fn install_puts_everything_in_place_and_takes_it_away(_: Tree) {
    let host = Host::new();
    let prefix = host.prefix().join("usr/local");
    let dry = host.vserver(["install", "--dry-run"]).ok();
    assert!(!prefix.exists(), "nothing is done\n{dry}");
    let done = host.vserver(["install"]).ok();
    assert_eq!(dry.stdout, done.stdout);
    let bin = prefix.join("bin");
    for name in ["vps", "vpstree", "vtop", "vkill", "vserver-info"] {
        assert_eq!(fs::read_link(bin.join(name)).expect("a link"), Path::new("vserver"));
        let version = command::run(Command::new(bin.join(name)).arg("--version"), DEADLINE).ok();
        assert!(version.stdout.starts_with(&format!("{name} ")), "{version}");
    }
    let reducecap = bin.join("reducecap");
    let capabilities = command::run(Command::new("getcap").arg(&reducecap), DEADLINE).ok();
    assert!(capabilities.stdout.ends_with(" cap_setpcap=ep\n"), "{capabilities}");
    let meta = fs::symlink_metadata(&reducecap).expect("it is there");
    assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777), (0, 0, 0o755));
    for page in ["man8/vserver.8", "man8/reducecap.8", "man8/vkill.8", "man5/vserver.toml.5"] {
        assert!(prefix.join("share/man").join(page).is_file(), "{page}");
    }
    assert!(prefix.join("share/doc/vserver/limits.md").is_file());
    // Again: an upgrade. Then with somebody else's file in the way.
    host.vserver(["install"]).ok();
    let page = prefix.join("share/man/man8/vps.8");
    let list = prefix.join("share/vserver/installed");
    let text = fs::read_to_string(&list).expect("the list");
    fs::write(&list, text.replace("share/man/man8/vps.8\n", "")).expect("it can be written");
    fs::write(&page, "theirs").expect("it can be written");
    host.vserver(["install"]).code(1).complains("man8/vps.8' would be overwritten");
    assert_eq!(fs::read_to_string(&page).expect("still there"), "theirs");
    host.vserver(["install", "--remove"]).ok();
    assert_eq!(below(&prefix), [page]);
}

/// Every file below a directory.
fn below(directory: &Path) -> Vec<PathBuf> {
    let mut find = Command::new("find");
    let found = command::run(find.arg(directory).args(["-not", "-type", "d"]), DEADLINE).ok();
    found.stdout.lines().map(PathBuf::from).collect()
}
