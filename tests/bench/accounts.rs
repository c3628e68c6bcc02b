//! What it takes to see what all guests use: `vserver stat` beside `lxc-ls
//! --fancy` and systemd-cgtop, with up to 300 guests, each of which has a few
//! idle processes.
//!
//! The guests of each are added in three steps. With every step of vserver's
//! the guests that there are lose processes, so that all together have as many
//! as before: what grows is the number of guests alone. In the last step they
//! lose most: what shrinks is the number of processes alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::sys::time::TimeValLike;
use nix::unistd::Pid;
use tests::{DEADLINE, Host, Tree, command, eventually, process};

use crate::Workshop;
use crate::contender::{Contender, copy_tree};
use crate::lxc::Lxc;

/// Guests, and idle processes of each.
pub const STEPS: [(usize, usize); 4] = [(100, 12), (200, 6), (300, 4), (300, 1)];

/// Guests that are started side by side.
const TOGETHER: usize = 10;

/// Within this time, that many.
const PATIENCE: Duration = Duration::from_secs(180);

/// How often each command is run.
const ROUNDS: usize = 7;

/// What one command took: the clock's and the processors' milliseconds.
#[derive(Clone, Copy)]
pub struct Took {
    /// Median by the clock.
    pub clock: f64,
    /// Median on processors, children included.
    pub processor: f64,
}

/// One step of vserver's.
pub struct Step {
    /// How many guests ran.
    pub guests: usize,
    /// How many idle processes each had.
    pub idle: usize,
    /// How many processes there were on the machine.
    pub all: u64,
    /// `vserver stat`.
    pub stat: Took,
}

/// One step of lxc's.
pub struct Peers {
    /// How many guests ran.
    pub guests: usize,
    /// `lxc-ls --fancy`.
    pub lxc_ls: Took,
    /// `systemd-cgtop --batch --iterations=1`.
    pub cgtop: Took,
    /// How many of lxc's cgroups that showed.
    pub shown: usize,
}

/// Measures both, one after the other.
pub fn measure(workshop: &Workshop) -> (Vec<Step>, Vec<Peers>) {
    let tree = tree(workshop);
    (ours(&tree), peers(workshop, &tree))
}

fn ours(tree: &Path) -> Vec<Step> {
    let host = Host::new();
    let mut running = 0;
    let mut steps = Vec::new();
    for (guests, idle) in STEPS {
        shrink(&host, running, idle);
        let new: Vec<String> = (running..guests).map(|number| format!("a{number}")).collect();
        for names in new.chunks(TOGETHER) {
            build(&host, names, tree, idle);
            let mut start = host.command(["start"]);
            command::run(start.args(names), PATIENCE).ok();
        }
        running = guests;
        let (mut all, mut whole) = (0, 0);
        eventually(DEADLINE, "all guests have their processes", || {
            let answer = host.vserver(["stat", "--json"]).ok();
            let rows: Vec<serde_json::Value> = serde_json::from_str(&answer.stdout).ok()?;
            let number = |row: &serde_json::Value| row["processes"].as_u64().unwrap_or(0);
            all = rows.iter().map(number).sum();
            // PID 1 and the idle ones.
            whole = rows.iter().filter(|row| number(row) == idle as u64 + 1).count();
            (whole >= guests).then_some(())
        });
        let stat = took(|| host.command(["stat"]));
        eprintln!("vserver, {guests} guests, {all} processes: {:.0} ms", stat.clock);
        steps.push(Step { guests, idle, all, stat });
    }
    let mut stop = host.command(["stop", "--all", "--timeout", "20"]);
    command::run(&mut stop, PATIENCE);
    steps
}

/// Builds guests out of hard links, two at a time.
fn build(host: &Host, names: &[String], tree: &Path, idle: usize) {
    let one = |name: &String| {
        host.vserver(["build", name, "--method", "skeleton"]).ok();
        let root = host.paths().roots_dir().join(name);
        fs::remove_dir_all(&root).expect("the skeleton can be removed");
        copy_tree(tree, &root);
        fs::write(root.join("etc/init.d/rcS"), script(idle)).expect("a file can be written");
    };
    thread::scope(|scope| {
        for half in names.chunks(names.len().div_ceil(2).max(1)) {
            scope.spawn(move || half.iter().for_each(one));
        }
    });
}

const INITTAB: &str = "::sysinit:/etc/init.d/rcS\n";

fn script(idle: usize) -> String {
    format!(
        "#!/bin/sh\nfor i in $(seq {idle}); do sleep 100000 </dev/null >/dev/null 2>&1 & done\n"
    )
}

/// Ends idle processes of guests that have more than so many.
fn shrink(host: &Host, guests: usize, idle: usize) {
    let top = host.cgroups().into_iter().next();
    for number in 0..guests {
        let guest = top.as_deref().expect("guests have cgroups").join(format!("a{number}"));
        let mut sleeping = Vec::new();
        processes(&guest, &mut sleeping);
        sleeping.retain(|pid| process::read(*pid).is_some_and(|found| found.comm == "sleep"));
        for pid in sleeping.iter().skip(idle) {
            kill(Pid::from_raw(*pid), Signal::SIGKILL).expect("a process of a guest");
        }
    }
}

fn processes(cgroup: &Path, found: &mut Vec<i32>) {
    let own = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    found.extend(own.lines().filter_map(|line| line.parse::<i32>().ok()));
    for entry in fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            processes(&entry.path(), found);
        }
    }
}

fn peers(workshop: &Workshop, tree: &Path) -> Vec<Peers> {
    let mut lxc = Lxc::new(workshop);
    let mut running = 0;
    let mut steps = Vec::new();
    for guests in [100, 200, 300] {
        for number in running..guests {
            let guest = format!("a{number}");
            lxc.prepare(&guest, tree);
            lxc.start(&guest);
        }
        running = guests;
        let lxc_ls = took(|| lxc.list());
        let cgtop = || {
            let mut cgtop = Command::new("systemd-cgtop");
            cgtop.args(["--batch", "--iterations=1", "--depth=3"]);
            cgtop
        };
        let shown = command::run(&mut cgtop(), DEADLINE).ok();
        let shown = shown.stdout.lines().filter(|line| line.contains(lxc.prefix())).count();
        let cgtop = took(cgtop);
        eprintln!("lxc, {guests} guests: {:.0} and {:.0} ms", lxc_ls.clock, cgtop.clock);
        steps.push(Peers { guests, lxc_ls, cgtop, shown });
    }
    steps
}

/// The tree of the busybox guests, unpacked, with as many idle processes as
/// there are in vserver's guests when there are 300.
fn tree(workshop: &Workshop) -> PathBuf {
    let (archive, root) = (Tree::Busybox.archive(), workshop.path().join("busybox"));
    fs::create_dir(&root).expect("a directory can be made");
    let mut unpack = Command::new("tar");
    unpack.args(["--numeric-owner", "-xpf"]).arg(archive).arg("-C").arg(&root);
    command::run(&mut unpack, DEADLINE).ok();
    fs::write(root.join("etc/inittab"), INITTAB).expect("a file can be written");
    fs::write(root.join("etc/init.d/rcS"), script(STEPS[2].1)).expect("a file can be written");
    root
}

fn took(command: impl Fn() -> Command) -> Took {
    let on_processors = || {
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("it can be asked");
        (usage.user_time() + usage.system_time()).num_microseconds() as f64 / 1000.0
    };
    let once = || {
        let (start, before) = (Instant::now(), on_processors());
        command::run(&mut command(), PATIENCE).ok();
        (start.elapsed().as_secs_f64() * 1000.0, on_processors() - before)
    };
    // The first round warms the caches.
    once();
    let (mut clock, mut processor): (Vec<f64>, Vec<f64>) = (0..ROUNDS).map(|_| once()).unzip();
    let median = |series: &mut Vec<f64>| {
        series.sort_by(f64::total_cmp);
        series[series.len() / 2]
    };
    Took { clock: median(&mut clock), processor: median(&mut processor) }
}
