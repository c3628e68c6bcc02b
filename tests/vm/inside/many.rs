//! Many guests as units: started and stopped at once, and what each costs.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{self, Write};

use tests::{DEADLINE, Tree, eventually, process};

use crate::units::{Guest, Machine, read, run, systemctl, vserver};

/// How many there are, unless `$VSERVER_TEST_GUESTS` says it.
const GUESTS: u64 = 20;

/// What looks after a guest takes no more than this in KiB, in the mean, besides a
/// guard where systemd needs one, which is only shown. It is a bound for what runs
/// away, with few guests, which share less, and any build.
const LIMIT: u64 = 1500;

/// The same with [`MANY`], of a release build.
const LIMIT_OF_MANY: u64 = 640;

/// So many are many.
const MANY: u64 = 50;

fn wanted() -> u64 {
    let asked = env::var("VSERVER_TEST_GUESTS").ok();
    asked.map_or(GUESTS, |asked| asked.parse().expect("a number of guests"))
}

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn they_are_started_and_stopped_at_once() {
    let machine = Machine::new();
    let first = machine.guest("storm", Tree::Busybox);
    let names: Vec<String> = (0..wanted()).map(|number| format!("storm{number}")).collect();
    let copy = |(number, name): (usize, &String)| {
        run("cp", &["-a", "/var/lib/vservers/storm", &format!("/var/lib/vservers/{name}")]).ok();
        let config = format!("/etc/vservers/{name}.toml");
        fs::write(config, format!("context = {}\n", 2000 + number)).expect("it can be written");
        Guest::made(name)
    };
    let guests: Vec<_> = names.iter().enumerate().map(copy).collect();
    drop(first);
    let words: Vec<&str> = names.iter().map(String::as_str).collect();
    vserver(&[&["enable"], words.as_slice()].concat()).ok();
    systemctl(&["start", "vservers.target"]).ok();
    for guest in &guests {
        assert_eq!(guest.show("ActiveState"), "active");
    }
    let pids: Vec<i32> = guests.iter().map(|guest| guest.pid("init_pid")).collect();
    are_small(&guests, "started");
    lose_supervisors(&guests);
    are_small(&guests, "taken over");
    systemctl(&["stop", "vservers.target"]).ok();
    for (guest, pid) in guests.iter().zip(pids) {
        guest.ends();
        assert_eq!(guest.show("Result"), "success");
        assert!(!process::is_alive(pid));
    }
    vserver(&[&["disable"], words.as_slice()].concat()).ok();
}

/// All at once; supervisors that have taken guests over know as much of them.
fn lose_supervisors(guests: &[Guest]) {
    let before: Vec<_> = guests.iter().map(|guest| guest.show("MainPID")).collect();
    run("kill", &[&["-9".to_owned()], before.as_slice()].concat()).ok();
    for (guest, before) in guests.iter().zip(&before) {
        eventually(DEADLINE, "systemd has another main process", || {
            let now = guest.show("MainPID");
            (now != *before && now != "0").then_some(())
        });
        vserver(&["exec", guest.name(), "--", "true"]).ok();
    }
}

/// All that the unit has, but for the guest itself: its supervisor, the guard of
/// that where there is one, its keeper, and PID 1.
#[track_caller]
fn are_small(guests: &[Guest], how: &str) {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for guest in guests {
        let unit = format!("/sys/fs/cgroup/vserver.slice/{}/supervisor/cgroup.procs", guest.unit());
        let status = guest.status();
        let mut add = |who, pid: &str| {
            let pid = pid.parse().unwrap_or_else(|_| panic!("'{pid}' is no pid: {status}"));
            *sums.entry(who).or_default() += process::pss(pid) / 1024;
        };
        let main = status["supervisor_pid"].to_string();
        for pid in read(&unit).lines() {
            add(if pid == main { "supervisor" } else { "guard" }, pid);
        }
        add("keeper", &status["keeper_pid"].to_string());
        add("guest-init", &status["init_pid"].to_string());
    }
    let count = guests.len() as u64;
    let each = sums.iter().map(|(who, sum)| format!("{who} {}, ", sum / count));
    let guard = sums.get("guard").copied().unwrap_or_default() / count;
    let all = sums.values().sum::<u64>() / count;
    let text = format!("{how}: {}in all {all} KiB PSS at {count} guests", each.collect::<String>());
    // Shown also when nothing fails.
    let _ = writeln!(io::stdout(), "machine: {text}");
    let limit = if count < MANY { LIMIT } else { LIMIT_OF_MANY };
    assert!(all - guard <= limit, "{text}, at most {limit} without the guard");
}
