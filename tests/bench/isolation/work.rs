//! The work that is timed, done by this same program inside a guest and on
//! the host.

use std::fs::{self, File, OpenOptions};
use std::hint::black_box;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::unistd::{self, Pid};

use crate::calls::Ends;
use crate::tree;

/// A kind of work.
pub struct Kind {
    /// Its name in the table.
    pub name: &'static str,
    /// How often it is done in a batch.
    often: u32,
    /// How many batches of it everyone does.
    pub rounds: usize,
    /// Does it once.
    once: fn(&Bench, u32),
}

/// Work as programs do it.
pub const USUAL: [Kind; 3] = [
    Kind {
        name: "system calls: some thirty of all kinds",
        often: 200,
        rounds: 400,
        once: |bench, _| bench.ends.once(),
    },
    Kind {
        name: "files: 2,000 written, listed, looked at, read, renamed, removed",
        often: 1,
        rounds: 100,
        once: |_, _| tree::once(),
    },
    Kind { name: "a process (fork, exec, wait)", often: 10, rounds: 400, once: process },
];

/// Single calls, over and over: the worst cases.
pub const SINGLE: [Kind; 6] = [
    Kind {
        name: "a system call that does nothing (getppid)",
        often: 10_000,
        rounds: 300,
        once: |_, _| {
            black_box(unistd::getppid());
        },
    },
    Kind { name: "one byte read from a file", often: 5_000, rounds: 300, once: read },
    Kind { name: "one byte written to a file", often: 2_000, rounds: 300, once: write },
    Kind {
        name: "stat of a path",
        often: 2_000,
        rounds: 300,
        once: |_, _| {
            black_box(fs::metadata(FILE).expect("the file is there"));
        },
    },
    Kind {
        name: "a file opened and closed",
        often: 1_000,
        rounds: 300,
        once: |_, _| {
            black_box(File::open(FILE).expect("the file is there"));
        },
    },
    Kind {
        name: "a file made, written, renamed and removed",
        often: 100,
        rounds: 300,
        once: |_, _| {
            fs::write(FIRST, b"content").expect("a file can be written");
            fs::rename(FIRST, SECOND).expect("a file can be renamed");
            fs::remove_file(SECOND).expect("a file can be removed");
        },
    },
];

/// All kinds; a worker is told their numbers.
pub fn all() -> impl Iterator<Item = &'static Kind> {
    USUAL.iter().chain(&SINGLE)
}

/// Argument that asks for the work.
pub const INSIDE: &str = "--inside";
/// Argument that asks for nothing.
const NOTHING: &str = "--nothing";
const FILE: &str = "/root/bench-file";
const FIRST: &str = "/root/bench-first";
const SECOND: &str = "/root/bench-second";
const LENGTH: u32 = 1 << 20;

/// What the work is done on.
struct Bench {
    file: File,
    program: PathBuf,
    ends: Ends,
}

fn read(bench: &Bench, turn: u32) {
    let mut byte = [0];
    bench.file.read_exact_at(&mut byte, (turn % LENGTH).into()).expect("a byte is read");
    black_box(byte);
}

fn write(bench: &Bench, turn: u32) {
    bench.file.write_all_at(&[1], (turn % LENGTH).into()).expect("a byte is written");
}

fn process(bench: &Bench, _turn: u32) {
    let status = Command::new(&bench.program).arg(NOTHING).status().expect("it is executed");
    assert!(status.success());
}

/// Does what the arguments ask for; `None` if they ask for the benchmark.
pub fn main(arguments: &[String]) -> Option<ExitCode> {
    if arguments.iter().any(|argument| argument == NOTHING) {
        return Some(ExitCode::SUCCESS);
    }
    let place = arguments.iter().position(|argument| argument == INSIDE)?;
    inside(Path::new(&arguments[place + 1]));
    Some(ExitCode::SUCCESS)
}

/// Nanoseconds of processor time that this process and its children have used:
/// what others do on the machine meanwhile doesn't count.
fn used() -> f64 {
    let of = |who| {
        let usage = getrusage(who).expect("an answer");
        (usage.user_time() + usage.system_time()).num_microseconds()
    };
    of(UsageWho::RUSAGE_SELF).saturating_add(of(UsageWho::RUSAGE_CHILDREN)) as f64 * 1e3
}

/// Makes all workers equal to the scheduler: each in a session of its own, as
/// one in a guest is, and so in a group of its own (sched(7), "The autogroup
/// feature"); all on one processor.
fn settle() {
    let _ = unistd::setsid();
    let own = sched_getaffinity(Pid::from_raw(0)).expect("an answer");
    let last = (0..CpuSet::count()).rev().find(|cpu| own.is_set(*cpu) == Ok(true));
    let mut only = CpuSet::new();
    only.set(last.expect("a processor")).expect("it is one");
    sched_setaffinity(Pid::from_raw(0), &only).expect("it is one of its own");
}

/// For each number of a kind of work that it reads does one batch of it, and
/// prints how many nanoseconds one turn took.
fn inside(program: &Path) {
    settle();
    fs::write(FILE, vec![0; LENGTH as usize]).expect("a file can be written");
    let file = OpenOptions::new().read(true).write(true).open(FILE).expect("it can be opened");
    let bench = Bench { file, program: program.to_owned(), ends: Ends::new() };
    let kinds: Vec<_> = all().collect();
    for line in io::stdin().lines() {
        let kind: usize = line.expect("a line").parse().expect("a number");
        let Kind { often, once, .. } = kinds[kind];
        let start = used();
        for turn in 0..*often {
            once(&bench, turn);
        }
        println!("{}", (used() - start) / f64::from(*often));
    }
}
