//! Many commands at once, about the same guests: each ends as documented, and
//! what is left is what there should be.

use std::fs;
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use tests::{Census, DEADLINE, Host, Tree, command, eventually, random};

on! { Busybox: [commands_in_each_others_way_leave_a_whole_installation] }

/// Processes at a time, and commands of each.
const PROCESSES: usize = 16;
const COMMANDS: usize = 12;

const ARCHIVE: &str = "ARCHIVE";

/// Stands for the name that it isn't called with.
const OTHER: &str = "OTHER";

const VERBS: &[&[&str]] = &[
    &["start"],
    &["start", "--no-wait"],
    &["stop", "--timeout", "1"],
    &["restart", "--timeout", "1"],
    &["reboot", "--no-wait"],
    &["status", "--json"],
    &["pause"],
    &["resume"],
    &["delete", "--yes"],
    &["rename", OTHER],
    &["clone", OTHER],
    &["snapshot", "create", "then"],
    &["snapshot", "restore", "then", "--yes"],
    &["build", "--method", "template", "--from", ARCHIVE],
    &["config", "set", "hostname", "other"],
];

/// As documented in vserver(8); 2 would be a mistake of this test.
const CODES: &[i32] = &[0, 1, 3, 5];

fn commands_in_each_others_way_leave_a_whole_installation(tree: Tree) {
    let host = Host::new();
    let neighbour = host.guest("db").tree(tree).build();
    neighbour.start();
    // `start` waits neither for what init keeps alive nor for what it runs beside.
    eventually(DEADLINE, "its last process is there, and no other", || {
        let all = host.processes();
        let stays = all.iter().any(|process| process.arguments.contains(&"100000".to_owned()));
        let passes = all.iter().any(|process| ["once", "touch"].contains(&&*process.comm));
        (stays && !passes).then_some(())
    });
    let (before, init) = (Census::take(&host), neighbour.init_pid());
    thread::scope(|scope| {
        let storm = |_| {
            let (mut random, host) = (random(), &host);
            scope.spawn(move || {
                for _ in 0..COMMANDS {
                    let verb = random.choice(VERBS).expect("there are some");
                    run(host, tree, verb, random.choice(["one", "two"]).expect("there are some"));
                }
            })
        };
        let storms: Vec<_> = (0..PROCESSES).map(storm).collect();
        // A start waits for a guest that another command has paused while it boots.
        while !storms.iter().all(ScopedJoinHandle::is_finished) {
            for name in ["one", "two"] {
                host.vserver(["resume", name]);
            }
            thread::sleep(Duration::from_secs(1));
        }
    });
    host.vserver(["list", "--json"]).ok();
    for name in ["one", "two"] {
        // Nothing half: neither a file without its directory nor the reverse.
        let name = name.parse().expect("a name");
        let paths = host.paths();
        let (file, root) = (paths.config(&name).exists(), paths.root(&name).exists());
        assert_eq!(file, root, "{name}: its configuration, its root directory");
        if !file {
            run(&host, tree, &["build", "--method", "template", "--from", ARCHIVE], name.as_str());
        }
        host.vserver(["resume", name.as_str()]);
        host.vserver(["start", name.as_str()]).ok();
        host.vserver(["stop", name.as_str()]).ok();
        host.vserver(["delete", "--yes", name.as_str()]).ok();
    }
    assert_eq!(neighbour.init_pid(), init, "the other guest has noticed nothing");
    before.assert_unchanged(&host);
    let left = fs::read_dir(host.paths().roots_dir()).expect("it can be read");
    let left: Vec<_> = left.flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["db"], "in the directory of guests");
    neighbour.stop();
}

fn run(host: &Host, tree: Tree, verb: &[&str], name: &str) {
    let archive = tree.archive();
    let (head, tail) = verb.split_at(if ["config", "snapshot"].contains(&verb[0]) { 2 } else { 1 });
    let mut line = host.command(head);
    line.arg(name);
    for word in tail {
        match *word {
            ARCHIVE => line.arg(&archive),
            OTHER => line.arg(if name == "one" { "two" } else { "one" }),
            word => line.arg(word),
        };
    }
    let end = command::run(&mut line, DEADLINE);
    assert!(CODES.contains(&end.code), "{end}");
    assert!(!end.stderr.contains("panicked"), "{end}");
    // A stopped guest's status is told by its code alone.
    let is_said = verb[0] == "status" || end.stderr.contains("vserver: ");
    assert!(end.code == 0 || is_said, "{end}");
}
