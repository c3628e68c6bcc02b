//! `vserver stat` and `vserver-stat`: figures against what is known to be
//! true.

use std::process::Stdio;

use serde_json::Value;
use tests::process::Process;
use tests::{DEADLINE, Guest, Host, Tree, eventually};

on! { Busybox: [
    time_is_that_of_ended_processes_too,
    processes_and_their_memory_are_added_up,
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

/// Seconds for which a shell has worked, as it counts them itself: `times`
/// prints its own first, "0m1.23s 0m0.04s". How they divide into user mode and
/// the kernel is guessed from ticks, by cgroups in another way.
fn burn(guest: &Guest<'_>) -> f64 {
    let work = "i=0; while [ $i -lt 400000 ]; do i=$((i + 1)); done; \
                i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); echo x; done >/dev/null; times";
    let answer = guest.shell(work).ok();
    let seconds = |text: &str| -> f64 {
        let (minutes, seconds) = text.trim_end_matches('s').split_once('m').expect("a time");
        minutes.parse::<f64>().unwrap() * 60.0 + seconds.parse::<f64>().unwrap()
    };
    answer.stdout.split_whitespace().take(2).map(seconds).sum()
}

fn time_is_that_of_ended_processes_too(tree: Tree) {
    let host = Host::new();
    for users in ["private", "host"] {
        let guest = host.guest(users).tree(tree).set("security.users", users).build();
        guest.start();
        let before = row(&host, users).expect("the guest has a row");
        let truth = burn(&guest);
        let after = row(&host, users).expect("the guest has a row");
        let sum = |row: &Value| number(row, "user_seconds") + number(row, "system_seconds");
        let grown = sum(&after) - sum(&before);
        assert!(number(&after, "system_seconds") > number(&before, "system_seconds"), "{after}");
        // The session's own start and end come on top.
        let right = truth * 0.99 - 0.05..truth * 1.01 + 1.0;
        assert!(right.contains(&grown), "{truth} {before} {after}");
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
    let before = row(&host, "web").expect("a row");
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
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let kib = |key: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(key)).expect("a line");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    };
    let grown = |field| number(&after, field) - number(&before, field);
    assert_eq!(grown("virtual_bytes"), 3.0 * 1024.0 * kib("VmSize:"));
    assert!((grown("resident_bytes") / 3072.0 / kib("VmRSS:") - 1.0).abs() < 0.2, "{after}");
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
