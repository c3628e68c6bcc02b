//! What isolation costs: the same work in a guest, in a guest without the
//! system call filter, and on the host in the same directory (chroot(8)), in
//! turn. Everything is timed inside, so that entering doesn't count.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use tests::{DEADLINE, Guest, Host, Tree, command};
use vserver::variables;

/// Rounds in which the contenders take turns.
const ROUNDS: usize = 11;

/// Names of the workloads, and what the shell does.
const WORK: [(&str, &str); 3] = [
    (
        "800,000 system calls (read and write of one byte)",
        "dd if=/root/zeros of=/root/copy bs=1 count=400000 conv=notrunc 2>/dev/null",
    ),
    (
        "500 processes (fork, exec, wait)",
        "i=0; while [ $i -lt 500 ]; do /bin/true; i=$((i + 1)); done",
    ),
    (
        "files (a tree of some thousand copied and removed)",
        "cp -a /usr/share /root/tree && rm -r /root/tree",
    ),
];

/// Nanoseconds of one run.
fn measure(run: impl Fn(&str) -> command::Finished, work: &str) -> f64 {
    let timed = format!("s=$(date +%s%N); {work}; e=$(date +%s%N); echo $((e - s))");
    let answer = run(&timed);
    answer.stdout.trim().parse().unwrap_or_else(|_| panic!("no time\n{answer}"))
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn prepared<'a>(host: &'a Host, name: &str, without: &str) -> Guest<'a> {
    let guest = host.guest(name).tree(Tree::Bookworm).build();
    fs::write(guest.root().join("root/zeros"), vec![0; 1 << 20]).expect("a file can be written");
    let mut start = guest.command("start", [""; 0]);
    command::run(start.env(variables::WITHOUT, without), DEADLINE).ok();
    guest
}

fn main() {
    let host = Host::new();
    let guest = prepared(&host, "guest", "");
    let bare = prepared(&host, "unfiltered", "system-calls");
    // A tree of its own: the page cache is to be as warm for all.
    let tree = host.guest("tree").tree(Tree::Bookworm).build();
    fs::write(tree.root().join("root/zeros"), vec![0; 1 << 20]).expect("a file can be written");
    let on_host = |line: &str| {
        let mut chroot = Command::new("chroot");
        command::run(chroot.arg(tree.root()).args(["/bin/sh", "-c", line]), DEADLINE)
    };
    let mut page = format!(
        "# What isolation costs\n\nWritten by `tests/bench/run isolation`: medians of {ROUNDS} rounds in which the three take\n\
         turns, on one Debian bookworm tree each, with the default configuration. Above 1: the\n\
         guest is faster.\n\n\
         | work | host, ms | guest : host | guest without filter : host | filter alone |\n\
         |---|---|---|---|---|\n"
    );
    for (name, work) in WORK {
        let mut times = [Vec::new(), Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            times[0].push(measure(on_host, work));
            times[1].push(measure(|line| guest.shell(line), work));
            times[2].push(measure(|line| bare.shell(line), work));
        }
        let [host, guest, bare] = times.map(median);
        let _ = writeln!(
            page,
            "| {name} | {:.0} | {:.3} | {:.3} | {:+.1} % |",
            host / 1e6,
            host / guest,
            host / bare,
            (guest / bare - 1.0) * 100.0
        );
    }
    print!("{page}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/isolation-cost.md");
    fs::write(path, page).expect("docs/isolation-cost.md can be written");
}
