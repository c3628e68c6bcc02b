//! How long the rc scripts of a boot take: the same Debian tree under its own
//! sysvinit, and under guest-init, which starts them itself or has Debian's
//! `rc` do it. Scripts of servers are added that wait and compute a little,
//! some for others, in the order that insserv has found of their headers.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tests::{DEADLINE, Host, Median, command, eventually, executable};

use crate::Workshop;
use crate::contender::copy_tree;

/// Times that each way boots, in turn with the others.
const ROUNDS: usize = 15;

/// A server, which waits and computes a little when it is started.
struct Server {
    name: String,
    /// What it is started after.
    after: &'static str,
    /// How long it waits, in milliseconds.
    wait: u32,
    /// How many rounds of the shell it computes.
    rounds: u32,
}

/// As on a machine with a database, mail and a web server: most of a start is
/// waiting, for a disk, for a socket, for what has been forked.
const CHAINS: [(&str, &str, u32, u32); 12] = [
    ("b-log", "", 100, 2000),
    ("b-names", "b-log", 200, 2000),
    ("b-time", "b-log", 150, 1000),
    ("b-cache", "b-log", 100, 1000),
    ("b-database", "b-log", 500, 10_000),
    ("b-directory", "b-log", 300, 5000),
    ("b-mail", "b-names b-directory", 300, 5000),
    ("b-filter", "b-names", 400, 10_000),
    ("b-web", "b-names b-database b-cache", 200, 5000),
    ("b-jobs", "b-database", 150, 2000),
    ("b-monitor", "b-log", 150, 2000),
    ("b-backup", "b-time", 100, 1000),
];

fn chains() -> Vec<Server> {
    let server = |(name, after, wait, rounds): (&str, &'static str, u32, u32)| Server {
        name: name.to_owned(),
        after,
        wait,
        rounds,
    };
    CHAINS.into_iter().map(server).collect()
}

/// As many that wait for nothing: what runs at a time is all that counts.
fn independent() -> Vec<Server> {
    let server =
        |number| Server { name: format!("b-{number:02}"), after: "", wait: 300, rounds: 1000 };
    (1..=24).map(server).collect()
}

/// How a guest boots, its configuration, and how long that took.
struct Way {
    /// For the page.
    name: &'static str,
    setting: [&'static str; 2],
    /// Milliseconds from the command to the end of the last script.
    took: Vec<f64>,
}

/// The ways to boot, on the same host.
pub struct Series {
    /// For the page.
    name: &'static str,
    ways: Vec<Way>,
}

/// Processes for each processor that compute all the time, on a host that is busy.
const BUSY: usize = 5;

/// Boots the tree with each set of servers in each way, in turn.
pub fn measure(workshop: &Workshop) -> Vec<Series> {
    let tree = workshop.tree();
    vec![
        series("12 that need others", &chains(), &tree, 0),
        series("24 that need none", &independent(), &tree, 0),
        series("12 that need others, busy host", &chains(), &tree, BUSY),
    ]
}

fn series(name: &'static str, servers: &[Server], tree: &Path, busy: usize) -> Series {
    let way = |name, setting| Way { name, setting, took: Vec::new() };
    let mut ways = vec![
        way("its own sysvinit (`boot.style = \"init\"`)", ["boot.style", "init"]),
        way("guest-init, scripts by Debian's `rc`", ["boot.rc", "written"]),
        way("guest-init, scripts by itself (`boot.rc = \"direct\"`)", ["boot.rc", "direct"]),
    ];
    let host = Host::new();
    let names: Vec<String> = (0..ways.len()).map(|number| format!("rc{number}")).collect();
    for (name, way) in names.iter().zip(&ways) {
        host.vserver(["build", name, "--method", "skeleton"]).ok();
        let [key, value] = way.setting;
        host.vserver(["config", "set", name, key, value]).ok();
        let root = host.paths().roots_dir().join(name);
        fs::remove_dir_all(&root).expect("the skeleton can be removed");
        copy_tree(tree, &root);
        furnish(&root, servers);
    }
    let _load = Load::new(busy);
    for round in 0..=ROUNDS {
        for (guest, way) in names.iter().zip(&mut ways) {
            let took = once(&host, guest, servers);
            eprintln!("{name}, {}: {took:.0} ms", way.name);
            // The first round warms the caches.
            if round > 0 {
                way.took.push(took);
            }
        }
    }
    Series { name, ways }
}

/// Processes that compute, until it is dropped.
struct Load(Vec<Child>);

impl Load {
    fn new(each: usize) -> Self {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let compute = |_| {
            let mut shell = Command::new("sh");
            shell.args(["-c", "while :; do :; done"]).spawn().expect("a shell can be run")
        };
        Self((0..each * processors).map(compute).collect())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn once(host: &Host, name: &str, servers: &[Server]) -> f64 {
    let log = host.paths().roots_dir().join(name).join("var/log");
    for mark in fs::read_dir(&log).expect("a Debian tree").flatten() {
        if mark.file_name().to_string_lossy().starts_with("rc-") {
            fs::remove_file(mark.path()).expect("it is there");
        }
    }
    let start = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    host.vserver(["start", "--no-wait", name]).ok();
    // `rc.local`, which Debian has last, and all others: the same result.
    let end = eventually(DEADLINE, "all scripts have ended", || {
        let ends = servers.iter().map(|Server { name, .. }| mark(&log.join(format!("rc-{name}"))));
        let last = mark(&log.join("bench-runlevel"))?;
        ends.collect::<Option<Vec<_>>>()?.into_iter().chain([last]).max()
    });
    assert_order(&log, servers);
    fs::remove_file(log.join("bench-runlevel")).expect("it is there");
    host.vserver(["stop", "--no-kill", name]).ok();
    (end - start).as_secs_f64() * 1000.0
}

/// Each server has been started after those that it needs had ended.
fn assert_order(log: &Path, servers: &[Server]) {
    let time = |server: &str, end: &str| {
        let path: PathBuf = log.join(format!("rc-{server}{end}"));
        mark(&path).unwrap_or_else(|| panic!("{path:?} says nothing"))
    };
    for Server { name, after, .. } in servers {
        for before in after.split_whitespace() {
            assert!(time(before, "") <= time(name, "-begun"), "{name} before {before}");
        }
    }
}

fn mark(path: &Path) -> Option<Duration> {
    fs::read_to_string(path).ok()?.trim().parse().ok().map(Duration::from_nanos)
}

/// Adds the servers' scripts to a tree, as their packages would.
fn furnish(tree: &Path, servers: &[Server]) {
    for Server { name, after, wait, rounds } in servers {
        let script = format!(
            "#!/bin/sh\n\
             ### BEGIN INIT INFO\n\
             # Provides:          {name}\n\
             # Required-Start:    $remote_fs {after}\n\
             # Required-Stop:     $remote_fs {after}\n\
             # Default-Start:     2 3 4 5\n\
             # Default-Stop:      0 1 6\n\
             # Short-Description: a server\n\
             ### END INIT INFO\n\
             [ \"$1\" = start ] || exit 0\n\
             date +%s%N >/var/log/rc-{name}-begun\n\
             i=0\n\
             while [ $i -lt {rounds} ]; do i=$((i + 1)); done\n\
             sleep {}.{:03}\n\
             date +%s%N >/var/log/rc-{name}\n",
            wait / 1000,
            wait % 1000
        );
        let path = tree.join("etc/init.d").join(name);
        executable::write(&path, script, 0o755);
    }
    let mut insserv = Command::new("chroot");
    let names = servers.iter().map(|server| &server.name);
    command::run(insserv.arg(tree).arg("insserv").args(names), DEADLINE).ok();
}

/// The section of the page.
pub fn section(machine: &str, all: &[Series]) -> String {
    let mut section = format!(
        "## rc scripts\n\n\
         {machine}\n\n\
         The Debian tree with scripts of servers more: 12, of which each waits 100 to 500 ms and\n\
         computes a little, and of which in a chain of what they need (insserv's `.depend.start`)\n\
         the longest are 800 ms of waiting; 24 that need nothing but the file systems, of 300 ms\n\
         each; and the first 12 while {BUSY} processes for each processor of the host compute. From\n\
         the start command to the end of the last script, {ROUNDS} rounds in which the ways take\n\
         turns; after each it is looked at that every script has run, and none before those that it\n\
         needs. Ratios are to the guest's own init in the same round, medians; below 1, guest-init\n\
         is faster. In brackets: where that median lies with 95 % certainty.\n\n\
         | servers | | ms | ratio |\n|---|---|---|---|\n"
    );
    for Series { name, ways } in all {
        let own = ways.first().map_or(&[][..], |way| &way.took);
        for way in ways {
            let ratio = Median::of(way.took.iter().zip(own).map(|(took, own)| took / own));
            let took = Median::of(way.took.iter().copied()).value;
            let _ = writeln!(section, "| {name} | {} | {took:.0} | {ratio} |", way.name);
        }
    }
    section
}
