//! What isolation costs: the same work in a guest and in a guest without the
//! system call filter, each beside the host in the very same tree (chroot(8)),
//! in turn: another tree has another page cache. Everything is timed inside,
//! so that entering doesn't count, and by processor time.

mod calls;
mod figures;
mod tree;
mod work;

use std::env;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};

use tests::{DEADLINE, Guest, Host, Tree, command, executable};

use figures::{CONTENDERS, Figures};

/// The modes of `security.users`.
const MODES: [&str; 3] = ["private", "identity", "host"];

/// What a session in a guest has as variables.
const SURROUNDINGS: [(&str, &str); 7] = [
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("TERM", "xterm"),
    ("HOME", "/root"),
    ("SHELL", "/bin/bash"),
    ("USER", "root"),
    ("LOGNAME", "root"),
    ("container", "vserver"),
];

/// Bytes of the disk; sparse.
const DISK: u64 = 3 << 30;

/// Where this program lies in each tree.
const PROGRAM: &str = "/root/work";

/// Has all trees on one ext4 with a journal. Without a journal, as many virtual
/// machines have it, ext4 spends most of its time looking for inodes that
/// weren't removed in the last minute (`recently_deleted` in the kernel's
/// fs/ext4/ialloc.c). The mount goes with the installation.
fn put_on_a_disk_of_its_own(host: &Host) {
    let image = host.prefix().join("disk");
    let roots = host.paths().roots_dir();
    fs::create_dir_all(&roots).expect("a directory can be made");
    let file = File::create(&image).and_then(|file| file.set_len(DISK));
    file.expect("a file can be made");
    let mut mkfs = Command::new("mkfs.ext4");
    // All at once: nothing is to be done beside the measurement.
    mkfs.args(["-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"]).arg(&image);
    command::run(&mut mkfs, DEADLINE).ok();
    let mut mount = Command::new("mount");
    command::run(mount.args(["-o", "loop"]).arg(&image).arg(&roots), DEADLINE).ok();
}

/// A tree with this program in it.
fn built<'a>(host: &'a Host, name: &str) -> Guest<'a> {
    let guest = host.guest(name).tree(Tree::Bookworm).build();
    let own = env::current_exe().expect("this program has a path");
    executable::copy(own, guest.root().join("root/work"));
    guest
}

/// A worker on the host, with the guest's tree as its root. Like one in the
/// guest it finds /proc there, which every program of Rust reads as it starts,
/// and no more variables than that. The mount goes with its namespace.
fn outside(guest: &Guest<'_>) -> Worker {
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--", "sh", "-c"]);
    unshare.arg("mount --bind /proc \"$1/proc\" && exec chroot \"$@\"").arg("sh");
    unshare.arg(guest.root()).env_clear().envs(SURROUNDINGS);
    Worker::new(unshare)
}

fn inside(guest: &Guest<'_>) -> Worker {
    Worker::new(guest.command("exec", ["--"]))
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

/// Has all do the same in turn, each in another place every round.
fn measure(workers: &mut [Worker; CONTENDERS], kind: usize, rounds: usize) -> Figures {
    let mut measured = Vec::new();
    for round in 0..=rounds {
        let mut times = [0.0; CONTENDERS];
        for place in 0..CONTENDERS {
            let one = (round + place) % CONTENDERS;
            times[one] = workers[one].batch(kind);
        }
        // The first round warms the caches.
        if round > 0 {
            measured.push(times);
        }
    }
    Figures::of(&measured)
}

/// All kinds of work in one mode.
fn in_mode(host: &Host, mode: &str, bare: &Guest<'_>, guest: &Guest<'_>) -> Vec<Figures> {
    for guest in [bare, guest] {
        host.vserver(["config", "set", guest.name(), "security.users", mode]).ok();
    }
    bare.start_without("system-calls");
    guest.start();
    let mut workers = [outside(bare), inside(bare), outside(guest), inside(guest)];
    let figures = work::all()
        .enumerate()
        .map(|(number, kind)| {
            eprintln!("{mode}: {}", kind.name);
            measure(&mut workers, number, kind.rounds)
        })
        .collect();
    workers.into_iter().for_each(Worker::end);
    bare.stop();
    guest.stop();
    figures
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().collect();
    if let Some(code) = work::main(&arguments) {
        return code;
    }
    let host = Host::new();
    put_on_a_disk_of_its_own(&host);
    let (bare, guest) = (built(&host, "unfiltered"), built(&host, "guest"));
    let modes = MODES.map(|mode| (mode, in_mode(&host, mode, &bare, &guest)));
    let page = figures::page(&modes);
    print!("{page}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/isolation-cost.md");
    fs::write(path, page).expect("docs/isolation-cost.md can be written");
    ExitCode::SUCCESS
}
