//! `vserver usage`: what was used is known whatever happens to the guest and
//! its supervisor, and nothing is counted twice.

use std::fs;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tests::{DEADLINE, Guest, Host, Tree, eventually};

use crate::burn::{Session, burn, equip, wait_for_quiet};

on! { Busybox: [
    nothing_is_lost_and_nothing_doubled,
    a_crash_is_counted_and_a_kill_at_the_end_is_not,
    a_period_has_what_was_used_in_it,
    an_account_outlives_its_guest,
    a_session_alone_is_no_boot,
    what_nobody_looked_after_is_counted_once,
    what_nobody_looked_after_is_in_the_account_of_a_deleted_guest,
    processes_that_are_made_are_counted,
    what_was_made_is_known_without_the_keeper,
] }

fn used(host: &Host, name: &str, more: &[&str]) -> Value {
    let answer = host.vserver([&["usage", name, "--json"], more].concat()).ok();
    let all: Vec<Value> = serde_json::from_str(&answer.stdout).expect("it is JSON");
    assert_eq!(all.len(), 1, "{answer}");
    all.into_iter().next().expect("one guest")
}

fn number(used: &Value, field: &str) -> f64 {
    used[field].as_f64().unwrap_or_else(|| panic!("no {field}: {used}"))
}

/// Seconds on processors.
fn worked(used: &Value) -> f64 {
    number(used, "user_seconds") + number(used, "system_seconds")
}

fn nothing_is_lost_and_nothing_doubled(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    equip(&guest);
    guest.start();
    let now = || worked(&used(&host, "web", &[]));
    let session = Session::of(&guest, now);
    // Nobody notes it when it ends, and another one goes on.
    let before = now();
    let mut truth = session.burn(&guest, 2.0, 0.0);
    guest.kill_supervisor();
    truth += session.burn(&guest, 2.0, 0.0);
    let first = used(&host, "web", &[]);
    session.judge(worked(&first) - before, truth, 2.0, 0.0);
    // Asking again counts nothing again.
    for _ in 0..5 {
        used(&host, "web", &[]);
    }
    session.judge(now() - before, truth, 2.0, 0.0);

    // Over a reboot, which itself costs something.
    let reboot = || {
        let old = guest.init_pid();
        guest.exec(["reboot"]);
        guest.wait_for_reboot(old);
        wait_for_quiet(&guest);
    };
    let before = now();
    reboot();
    let beside = now() - before;
    // A stop is less than that.
    let with_stop = beside * 1.3;
    let before = now();
    let mut truth = session.burn(&guest, 2.0, with_stop);
    guest.kill_supervisor();
    reboot();
    truth += session.burn(&guest, 2.0, with_stop);
    session.judge(now() - before, truth, 2.0, beside);
    guest.stop();
    let last = used(&host, "web", &[]);
    session.judge(worked(&last) - before, truth, 2.0, with_stop);
    assert_eq!((number(&last, "boots"), number(&last, "crashes")), (3.0, 0.0), "{last}");
    assert!(number(&last, "uptime_seconds") >= truth, "{last}");
    assert_eq!(used(&host, "web", &[]), last, "a stopped guest uses nothing");

    // A new start goes on with it.
    guest.start();
    guest.stop();
    let more = used(&host, "web", &[]);
    assert_eq!(number(&more, "boots"), 4.0);
    assert!(worked(&more) >= worked(&last));
    // All of it was used in the last hours.
    assert_eq!(used(&host, "web", &["--since", "2h"]), more);
    assert_eq!(number(&used(&host, "web", &["--until", "2020-01-01"]), "boots"), 0.0);
    let csv = host.vserver(["usage", "--csv"]).ok();
    assert!(csv.stdout.starts_with("name,uptime_seconds,"), "{csv}");
    assert!(csv.stdout.contains("\nweb,"), "{csv}");
    host.vserver(["usage", "nobody"]).code(5).complains("there is no guest 'nobody'");
    host.vserver(["usage", "--since", "yesterday"]).code(2).complains("yesterday");
    let backwards = ["usage", "--since", "1d", "--until", "2d"];
    host.vserver(backwards).code(2).complains("ends before it begins");
}

fn a_crash_is_counted_and_a_kill_at_the_end_is_not(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let old = guest.init_pid();
    kill(Pid::from_raw(old), Signal::SIGKILL).expect("PID 1 can be killed");
    guest.wait_for_reboot(old);
    guest.shell("trap '' TERM; sleep 1000 >/dev/null 2>&1 </dev/null &").ok();
    guest.vserver("stop", ["--timeout", "1"]).ok();
    let used = used(&host, "web", &[]);
    assert_eq!((number(&used, "boots"), number(&used, "crashes")), (2.0, 1.0), "{used}");
}

/// The first boot was a day ago, as far as the account's files say.
fn a_period_has_what_was_used_in_it(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    fork(&guest, 300);
    guest.stop();
    let first = used(&host, "web", &[]);
    for name in ["web.json", "web.history"] {
        let file = host.paths().usage_dir().join(name);
        let Ok(text) = fs::read_to_string(&file) else { continue };
        let lines = text.lines().map(|line| {
            let mut line: Value = serde_json::from_str(line).expect("it is JSON");
            let hour = if name == "web.json" { &mut line["hour"] } else { &mut line };
            hour["start"] = (hour["start"].as_u64().expect("a time") - 86_400).into();
            format!("{line}\n")
        });
        fs::write(&file, lines.collect::<String>()).expect("it can be written");
    }
    guest.start();
    fork(&guest, 200);
    guest.stop();
    let all = used(&host, "web", &[]);
    let until = used(&host, "web", &["--until", "20h"]);
    let since = used(&host, "web", &["--since", "20h"]);
    assert_eq!(until, first);
    assert!(number(&since, "processes_started") >= 200.0, "{since}");
    for field in ["boots", "processes_started"] {
        let both = number(&until, field) + number(&since, field);
        assert_eq!(both, number(&all, field), "{field}");
    }
    assert_eq!(number(&until, "boots"), 1.0);
    // Both ends, by dates as well: an hour counts where it begins.
    assert_eq!(used(&host, "web", &["--since", "2d", "--until", "20h"]), first);
    assert_eq!(used(&host, "web", &["--since", "2020-01-01", "--until", "2100-01-01"]), all);
    assert_eq!(number(&used(&host, "web", &["--since", "20h", "--until", "10h"]), "boots"), 0.0);
    let csv = host.vserver(["usage", "web", "--until", "20h", "--csv"]).ok();
    let uptime = csv.stdout.lines().nth(1).and_then(|row| row.split(',').nth(1)).map(str::to_owned);
    let uptime = uptime.and_then(|it| it.parse::<f64>().ok()).expect("a row with seconds");
    assert!((uptime - number(&first, "uptime_seconds")).abs() < 0.01, "{csv}");
}

fn an_account_outlives_its_guest(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    assert_eq!(number(&used(&host, "web", &[]), "boots"), 0.0, "it has never run");
    guest.start();
    guest.stop();
    let before = used(&host, "web", &[]);
    host.vserver(["delete", "web", "--yes"]).ok();
    assert_eq!(used(&host, "web", &[]), before);
}

fn a_session_alone_is_no_boot(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    equip(&guest);
    let truth = burn(&guest, 10.0);
    eventually(DEADLINE, "its context is closed", || {
        (guest.status().state == "stopped").then_some(())
    });
    let used = used(&host, "web", &[]);
    // The session itself is in it.
    assert!((worked(&used) / truth - 1.0).abs() < 0.01, "{truth} {used}");
    assert_eq!(number(&used, "boots"), 0.0, "{used}");
}

fn what_nobody_looked_after_is_counted_once(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    equip(&guest);
    guest.start();
    let now = || worked(&used(&host, "web", &[]));
    wait_for_quiet(&guest);
    guest.stop();
    // The first one takes longer than those after it.
    let first = now();
    guest.start();
    wait_for_quiet(&guest);
    let boot = now() - first;
    let session = Session::of(&guest, now);
    let before = now();
    let mut truth = session.burn(&guest, 2.0, boot);
    now();
    truth += session.burn(&guest, 2.0, boot);
    let status = guest.status();
    for pid in [status.supervisor_pid, status.keeper_pid, status.init_pid] {
        kill(Pid::from_raw(pid.expect("it has one")), Signal::SIGKILL).expect("it can be killed");
    }
    // One of a boot before, which couldn't be removed, was noted in its time.
    let outer = host.cgroups().into_iter().find(|it| it.join("guest-1").is_dir());
    let older = outer.expect("the guest's cgroup").join("guest-0");
    fs::create_dir(older).expect("a cgroup can be made");
    // The next start removes what is left, and has a look at it before.
    guest.start();
    wait_for_quiet(&guest);
    session.judge(now() - before, truth, 2.0, boot);
    guest.stop();
    assert_eq!(number(&used(&host, "web", &[]), "boots"), 3.0);
}

fn what_nobody_looked_after_is_in_the_account_of_a_deleted_guest(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    equip(&guest);
    guest.start();
    let now = || worked(&used(&host, "web", &[]));
    let session = Session::of(&guest, now);
    let before = now();
    let truth = session.burn(&guest, 1.0, 0.0);
    guest.kill_all();
    host.vserver(["delete", "web", "--yes"]).ok();
    session.judge(now() - before, truth, 1.0, 0.0);
}

fn made(host: &Host, name: &str) -> f64 {
    number(&used(host, name, &[]), "processes_started")
}

fn fork(guest: &Guest<'_>, times: u32) {
    let line = format!("i=0; while [ $i -lt {times} ]; do (:); i=$((i + 1)); done");
    guest.shell(&line).ok();
}

/// Against the truth: so many, and the session's own command; a thread is none.
fn processes_that_are_made_are_counted(tree: Tree) {
    let host = Host::new();
    let (web, db) = (host.guest("web").tree(tree).build(), host.guest("db").tree(tree).build());
    web.start();
    db.start();
    let made = |name: &str| made(&host, name);
    wait_for_quiet(&web);
    wait_for_quiet(&db);
    let (before, others) = (made("web"), made("db"));
    fork(&web, 1000);
    let session = made("web") - before - 1000.0;
    assert!((1.0..=10.0).contains(&session), "{session}");
    // Nobody needs to look after it, and each boot goes on with it.
    web.kill_supervisor();
    let before = made("web");
    fork(&web, 300);
    assert_eq!(made("web") - before, 300.0 + session);
    let old = web.init_pid();
    web.exec(["reboot"]);
    web.wait_for_reboot(old);
    wait_for_quiet(&web);
    let before = made("web");
    fork(&web, 200);
    assert_eq!(made("web") - before, 200.0 + session);
    // The other one's are its own, and go on without the one that came first.
    assert_eq!(made("db"), others);
    web.stop();
    assert!(made("web") >= before + 200.0 + session);
    fork(&db, 100);
    assert_eq!(made("db"), others + 100.0 + session);
    db.stop();
}

/// Has a process a descriptor of a map of eBPF programs?
fn has_map(pid: i32) -> bool {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs");
    let mut targets = descriptors.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    targets.any(|target| target == Path::new("anon_inode:bpf-map"))
}

/// By the supervisor that has started the guest, and by one that has taken over.
fn what_was_made_is_known_without_the_keeper(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let mut least = 0.0;
    for is_another in [false, true] {
        if is_another {
            guest.kill_supervisor();
            guest.start();
        }
        fork(&guest, 200);
        least += 200.0;
        let status = guest.status();
        let (init, keeper) = (guest.init_pid(), status.keeper_pid.expect("it has one"));
        // What the keeper alone has held the kernel may forget a moment later.
        let supervisor = status.supervisor_pid.expect("it has one");
        assert!(has_map(supervisor), "the supervisor doesn't hold the number");
        kill(Pid::from_raw(keeper), Signal::SIGKILL).expect("it can be killed");
        eventually(DEADLINE, "there is another keeper", || {
            (guest.status().keeper_pid != Some(keeper)).then_some(())
        });
        assert_eq!(guest.init_pid(), init);
        // It counts on.
        fork(&guest, 200);
        least += 200.0;
        let made = made(&host, "web");
        assert!(made >= least, "{made} {least}");
    }
    // Nor without both, but for what was made before anybody has come.
    let status = guest.status();
    for pid in [status.supervisor_pid, status.keeper_pid] {
        let pid = Pid::from_raw(pid.expect("it has one"));
        kill(pid, Signal::SIGKILL).expect("it can be killed");
    }
    guest.shell("true").ok();
    let before = made(&host, "web");
    fork(&guest, 200);
    let more = made(&host, "web") - before;
    assert!((200.0..=210.0).contains(&more), "{more}");
    guest.stop();
}
