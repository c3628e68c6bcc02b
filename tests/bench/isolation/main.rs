//! What isolation costs: the same work in a guest and in a guest without the
//! system call filter, each beside the host in the very same tree (chroot(8)),
//! in turn: another tree has another page cache. Everything is timed inside,
//! so that entering doesn't count.

mod work;

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};

use tests::{DEADLINE, Guest, Host, Tree, command};
use vserver::variables;

use work::WORK;

/// Batches of each kind of work, in which the contenders take turns.
const ROUNDS: usize = 300;

/// Where this program lies in each tree.
const PROGRAM: &str = "/root/work";

fn started<'a>(host: &'a Host, name: &str, without: &str) -> Guest<'a> {
    let guest = host.guest(name).tree(Tree::Bookworm).build();
    let own = env::current_exe().expect("this program has a path");
    fs::copy(own, guest.root().join("root/work")).expect("a program can be copied");
    let mut start = guest.command("start", [""; 0]);
    command::run(start.env(variables::WITHOUT, without), DEADLINE).ok();
    guest
}

/// A contender's program, which does a batch of work when it is told to.
struct Worker {
    process: Child,
    orders: ChildStdin,
    times: Lines<BufReader<ChildStdout>>,
}

impl Worker {
    fn new(mut command: Command) -> Self {
        command.args([PROGRAM, work::INSIDE, PROGRAM]);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("the program can be started");
        let orders = process.stdin.take().expect("a pipe");
        let times = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        Self { process, orders, times }
    }

    /// Nanoseconds for one turn.
    fn batch(&mut self, kind: usize) -> f64 {
        writeln!(self.orders, "{kind}").expect("it can be told");
        let time = self.times.next().expect("an answer").expect("a line");
        time.parse().expect("a number")
    }

    fn end(self) {
        let Self { mut process, orders, .. } = self;
        drop(orders);
        assert!(process.wait().expect("it ends").success());
    }
}

/// What was measured of one kind of work: nanoseconds on the host, and
/// medians of what the batches of one round say of each other.
struct Row {
    host: f64,
    bare: f64,
    guest: f64,
    filter: f64,
}

/// The four, in this order: the host in the tree of the guest without filter,
/// that guest, the host in the other's tree, the other.
const CONTENDERS: usize = 4;

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// Has all do the same in turn, each in another place every round.
fn measure(workers: &mut [Worker; CONTENDERS], kind: usize) -> Row {
    let mut rounds = Vec::new();
    for round in 0..=ROUNDS {
        let mut times = [0.0; CONTENDERS];
        for place in 0..CONTENDERS {
            let one = (round + place) % CONTENDERS;
            times[one] = workers[one].batch(kind);
        }
        // The first round warms the caches.
        if round > 0 {
            rounds.push(times);
        }
    }
    let of = |value: fn(&[f64; CONTENDERS]) -> f64| median(rounds.iter().map(value));
    Row {
        host: of(|[host, ..]| *host),
        bare: of(|[host, bare, ..]| host / bare),
        guest: of(|[.., host, guest]| host / guest),
        filter: of(|[one, bare, other, guest]| (guest - other) - (bare - one)),
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().collect();
    if let Some(code) = work::main(&arguments) {
        return code;
    }
    let host = Host::new();
    let guest = started(&host, "guest", "");
    let bare = started(&host, "unfiltered", "system-calls");
    let inside = |guest: &Guest<'_>| Worker::new(guest.command("exec", ["--"]));
    let outside = |guest: &Guest<'_>| {
        let mut chroot = Command::new("chroot");
        chroot.arg(guest.root());
        Worker::new(chroot)
    };
    let mut workers = [outside(&bare), inside(&bare), outside(&guest), inside(&guest)];
    let rows: Vec<Row> = (0..WORK.len())
        .map(|kind| {
            eprintln!("{}", WORK[kind].0);
            measure(&mut workers, kind)
        })
        .collect();
    workers.into_iter().for_each(Worker::end);
    let page = page(&rows);
    print!("{page}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/isolation-cost.md");
    fs::write(path, page).expect("docs/isolation-cost.md can be written");
    ExitCode::SUCCESS
}

fn page(rows: &[Row]) -> String {
    let mut page = format!(
        "# What isolation costs\n\n\
         Written by `tests/bench/run isolation`. A guest without the system call filter and one\n\
         with it, each beside the host in the same Debian bookworm tree, take turns, batch by batch\n\
         of some milliseconds, {ROUNDS} times, with the default configuration. Ratios are host to guest\n\
         in the same round, medians; above 1, the guest is faster.\n\n\
         - **all but the filter**: namespaces, ids of its own on an idmapped mount, covers, device\n  \
           filter, cgroups.\n\
         - **filter alone**: what the kernel's entry for filtered processes adds to a call. Calls\n  \
           that are let through whatever their arguments aren't looked at by the filter itself:\n  \
           the kernel keeps a list of them (`seccomp_cache_prepare` in its kernel/seccomp.c).\n\n\
         | work | host, ns | all but the filter | guest | filter alone, ns |\n\
         |---|---|---|---|---|\n"
    );
    for ((name, ..), row) in WORK.iter().zip(rows) {
        let _ = writeln!(
            page,
            "| {name} | {:.0} | {:.3} | {:.3} | {:+.0} |",
            row.host, row.bare, row.guest, row.filter
        );
    }
    page
}
