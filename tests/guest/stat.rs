//! `vserver stat` and `vserver-stat`: figures against what is known to be
//! true.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;
use tests::process::Process;
use tests::{DEADLINE, Host, Tree, command, eventually};

use crate::burn::{Session, equip};

on! { Busybox: [
    time_is_that_of_ended_processes_too,
    processes_and_their_memory_are_added_up,
    each_process_is_looked_at_once,
    the_table_is_the_old_one,
    a_watched_table_comes_again,
] }

fn row(host: &Host, name: &str) -> Option<Value> {
    let answer = host.vserver(["stat", "--json"]).ok();
    let rows: Vec<Value> = serde_json::from_str(&answer.stdout).expect("it is JSON");
    rows.into_iter().find(|row| row["name"] == name)
}

fn number(row: &Value, field: &str) -> f64 {
    row[field].as_f64().unwrap_or_else(|| panic!("no {field}: {row}"))
}

fn time_is_that_of_ended_processes_too(tree: Tree) {
    let host = Host::new();
    for users in ["private", "host"] {
        let guest = host.guest(users).tree(tree).set("security.users", users).build();
        equip(&guest);
        guest.start();
        let now = || row(&host, users).expect("the guest has a row");
        let sum = |row: &Value| number(row, "user_seconds") + number(row, "system_seconds");
        let session = Session::of(&guest, || sum(&now()));
        let before = now();
        let truth = session.burn(&guest, 1.0, 0.0);
        let after = now();
        assert!(number(&after, "system_seconds") > number(&before, "system_seconds"), "{after}");
        session.judge(sum(&after) - sum(&before), truth, 1.0, 0.0);
        assert!(number(&after, "uptime_seconds") > number(&before, "uptime_seconds"));
        guest.stop();
        assert!(row(&host, users).is_none(), "a stopped guest has no processes");
    }
}

fn processes_and_their_memory_are_added_up(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    // What init keeps alive; 'start' doesn't wait for it.
    guest.wait_for_process("busybox");
    let before = eventually(DEADLINE, "the last processes of its boot have ended", || {
        row(&host, "web").filter(|row| number(row, "processes") <= 2.0)
    });
    let main = number(&row(&host, "root server").expect("the host has a row"), "processes");
    guest.shell("for i in 1 2 3; do sleep 1000 >/dev/null 2>&1 </dev/null & done").ok();
    // The shell's children are smaller until they have become what they are.
    let after = eventually(DEADLINE, "all three are there", || {
        let sleeping = |process: &&Process| process.comm == "sleep";
        let there = host.processes().iter().filter(sleeping).count() == 3;
        there.then(|| row(&host, "web").expect("a row"))
    });
    assert_eq!(number(&after, "processes"), number(&before, "processes") + 3.0);
    assert_eq!(after["context"], guest.status().context);
    // The host's are others: those of parallel tests come and go.
    let now = number(&row(&host, "root server").expect("a row"), "processes");
    assert!(main > 0.0 && now > 0.0);
    let pid = guest.process("sleep").expect("it runs");
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let kib = |key: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(key)).expect("a line");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    };
    let grown = |field| number(&after, field) - number(&before, field);
    assert_eq!(grown("virtual_bytes"), 3.0 * 1024.0 * kib("VmSize:"));
    assert!((grown("resident_bytes") / 3072.0 / kib("VmRSS:") - 1.0).abs() < 0.2, "{after}");
    // By the names that scripts know as well.
    assert_eq!(grown("vsz_bytes"), grown("virtual_bytes"));
    assert_eq!(grown("rss_bytes"), grown("resident_bytes"));
    for (micros, seconds) in [("user_usec", "user_seconds"), ("system_usec", "system_seconds")] {
        assert_eq!(number(&after, micros) / 1e6, number(&after, seconds), "{after}");
    }
}

/// However many guests there are: by the files that it opens.
fn each_process_is_looked_at_once(tree: Tree) {
    let host = Host::new();
    let trace = host.prefix().join("trace");
    let mut guests = Vec::new();
    for number in [3, 6] {
        while guests.len() < number {
            let name = format!("web{}", guests.len());
            let guest = host.guest(&name).tree(tree).build();
            guest.start();
            guests.push(guest);
        }
        let stat = host.command(["stat"]);
        let mut strace = Command::new("strace");
        strace.args(["--follow-forks", "--trace=openat", "--output"]).arg(&trace);
        strace.arg(stat.get_program()).args(stat.get_args());
        strace.envs(stat.get_envs().filter_map(|(key, value)| Some((key, value?))));
        command::run(&mut strace, DEADLINE).ok();
        let trace = fs::read_to_string(&trace).expect("strace has written it");
        let opened: Vec<_> = trace.lines().filter_map(|line| line.split('"').nth(1)).collect();
        assert_eq!(opened.iter().filter(|path| **path == "/proc").count(), 1, "{trace}");
        let mut times: BTreeMap<i32, u32> = BTreeMap::new();
        let pid = |path: &str| path.strip_prefix("/proc/")?.strip_suffix("/stat")?.parse().ok();
        for pid in opened.iter().filter_map(|path| pid(path)) {
            *times.entry(pid).or_insert(0) += 1;
        }
        let more: Vec<_> = times.iter().filter(|(_, times)| **times != 1).collect();
        assert!(more.is_empty(), "{number} guests: {more:?}");
        for guest in &guests {
            assert!(times.contains_key(&guest.init_pid()), "{}: {times:?}", guest.name());
        }
    }
}

fn the_table_is_the_old_one(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).set("description", "a shop").build();
    guest.start();
    let context = guest.status().context.to_string();
    let old = host.vserver(["vserver-stat"]).ok();
    let lines: Vec<&str> = old.stdout.lines().collect();
    assert_eq!(lines[0], "CTX   PROC    VSZ    RSS  userTIME   sysTIME    UPTIME NAME");
    assert!(lines[1].starts_with("0    ") && lines[1].ends_with(" root server"), "{old}");
    let web = lines.iter().find(|line| line.starts_with(&context)).expect("the guest's line");
    assert_eq!(web.split_whitespace().last(), Some("web"));
    assert_eq!(web.split_whitespace().count(), 8, "{old}");

    let more = host.vserver(["stat", "--columns", "memory,received", "--sort", "name"]).ok();
    let heading = more.stdout.lines().next().unwrap_or_default();
    assert!(heading.contains("    UPTIME  MEMORY RECEIVED NAME"), "{more}");
    assert!(heading.ends_with(" DESCRIPTION") && more.stdout.contains(" a shop\n"), "{more}");
    host.vserver(["stat", "--sort", "nonsense"]).code(2).complains("nonsense");
    host.vserver(["vserver-stat", "--columns", "nonsense"]).code(1).complains("nonsense");
}

fn a_watched_table_comes_again(tree: Tree) {
    use std::io::{BufRead, BufReader};
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let mut watch = host.command(["stat", "--watch=0.2"]);
    let mut watch = watch.stdout(Stdio::piped()).spawn().expect("vserver runs");
    let lines = BufReader::new(watch.stdout.take().expect("a pipe")).lines();
    let headings = lines.map_while(Result::ok).filter(|line| line.starts_with("CTX ")).take(3);
    assert_eq!(headings.count(), 3);
    // Nobody reads it any more.
    assert!(watch.wait().expect("it ends").success());
    host.vserver(["stat", "--watch=0"]).code(2).complains("0.1");
}
