//! The work that is timed, done by this same program inside a guest and on
//! the host.

use std::fs::{self, File, OpenOptions};
use std::hint::black_box;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use nix::unistd;

/// A kind of work: its name in the table, how often it is done in a batch, and
/// how it is done once.
pub type Kind = (&'static str, u32, fn(&Bench, u32));

/// All kinds.
pub const WORK: [Kind; 7] = [
    ("a system call that does nothing (getppid)", 10_000, |_, _| {
        black_box(unistd::getppid());
    }),
    ("one byte read from a file", 5_000, |bench, turn| {
        let mut byte = [0];
        bench.file.read_exact_at(&mut byte, (turn % LENGTH).into()).expect("a byte is read");
        black_box(byte);
    }),
    ("one byte written to a file", 2_000, |bench, turn| {
        bench.file.write_all_at(&[1], (turn % LENGTH).into()).expect("a byte is written");
    }),
    ("stat of a path", 2_000, |_, _| {
        black_box(fs::metadata(FILE).expect("the file is there"));
    }),
    ("a file opened and closed", 1_000, |_, _| {
        black_box(File::open(FILE).expect("the file is there"));
    }),
    ("a file made, written, renamed and removed", 100, |_, _| {
        fs::write(FIRST, b"content").expect("a file can be written");
        fs::rename(FIRST, SECOND).expect("a file can be renamed");
        fs::remove_file(SECOND).expect("a file can be removed");
    }),
    ("a process (fork, exec, wait)", 10, |bench, _| {
        let status = Command::new(&bench.program).arg(NOTHING).status().expect("it is executed");
        assert!(status.success());
    }),
];

/// Argument that asks for the work.
pub const INSIDE: &str = "--inside";
/// Argument that asks for nothing.
const NOTHING: &str = "--nothing";
const FILE: &str = "/root/bench-file";
const FIRST: &str = "/root/bench-first";
const SECOND: &str = "/root/bench-second";
const LENGTH: u32 = 1 << 20;

/// What the work is done on.
pub struct Bench {
    file: File,
    program: PathBuf,
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

/// For each number of a kind of work that it reads does one batch of it, and
/// prints how many nanoseconds one turn took.
fn inside(program: &Path) {
    fs::write(FILE, vec![0; LENGTH as usize]).expect("a file can be written");
    let file = OpenOptions::new().read(true).write(true).open(FILE).expect("it can be opened");
    let bench = Bench { file, program: program.to_owned() };
    for line in io::stdin().lines() {
        let kind: usize = line.expect("a line").parse().expect("a number");
        let (_, often, once) = WORK[kind];
        let start = Instant::now();
        for turn in 0..often {
            once(&bench, turn);
        }
        println!("{}", start.elapsed().as_secs_f64() * 1e9 / f64::from(often));
    }
}
