//! What copies of a guest cost: the time of a clone beside lxc's and
//! systemd-nspawn's, and the memory of many like guests with files of their own
//! and over a shared base.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::fs::{Advice, fadvise};
use tests::{DEADLINE, Host, Median, command, eventually, process};

use crate::Workshop;
use crate::contender::{Contender, copy_tree};
use crate::lxc::Lxc;

/// Times that each way of cloning is measured, in turn with the others.
pub const ROUNDS: usize = 7;

/// How many like guests run at once.
pub const GUESTS: usize = 20;

/// Longest time of one command.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long one way to clone took, in milliseconds.
pub struct Clone {
    /// Which.
    pub name: &'static str,
    /// The median.
    pub took: f64,
}

/// What many guests take, in MiB a guest.
pub struct Shared {
    /// As what their files lie there.
    pub name: &'static str,
    /// Proportional set size of all processes inside.
    pub processes: f64,
    /// Pages of their files that are in memory.
    pub files: f64,
}

/// Measures both.
pub fn measure(workshop: &Workshop) -> (Vec<Clone>, Vec<Shared>) {
    let tree = workshop.tree();
    (clones(workshop, &tree), vec![shared(&tree, false), shared(&tree, true)])
}

/// A host with a guest of this tree, and a snapshot of it.
fn golden(tree: &Path) -> Host {
    let host = Host::new();
    host.vserver(["build", "golden", "--method", "skeleton"]).ok();
    let root = host.paths().roots_dir().join("golden");
    fs::remove_dir_all(&root).expect("the skeleton can be removed");
    copy_tree(tree, &root);
    host.vserver(["snapshot", "create", "golden", "v1"]).ok();
    host
}

const OVERLAY: [&str; 4] = ["--snapshot", "v1", "--storage", "overlay"];

/// Its name, the command that makes a copy, and what removes it again.
type Way<'a> = (&'static str, Box<dyn Fn() -> Command + 'a>, Box<dyn Fn() + 'a>);

fn clones(workshop: &Workshop, tree: &Path) -> Vec<Clone> {
    let host = golden(tree);
    let mut lxc = Lxc::new(workshop);
    lxc.prepare("golden", tree);
    let nspawn = workshop.path().join("nspawn-clone");
    let ours = |name: &str, more: &[&str]| {
        let mut command = host.command(["clone", "golden", name]);
        command.args(more);
        command
    };
    let remove = |name: &str| drop(host.vserver(["delete", name, "--yes"]).ok());
    let ways: Vec<Way<'_>> = vec![
        (
            "`vserver clone`, a directory",
            Box::new(|| ours("copy", &[])),
            Box::new(|| remove("copy")),
        ),
        (
            "`vserver clone --storage image`",
            Box::new(|| ours("image", &["--storage", "image", "--size", "1G"])),
            Box::new(|| remove("image")),
        ),
        (
            "`vserver clone --storage overlay`",
            Box::new(|| ours("over", &OVERLAY)),
            Box::new(|| remove("over")),
        ),
        (
            "`lxc-copy`, a directory",
            Box::new(|| lxc.copy("golden", "copy", false)),
            Box::new(|| lxc.destroy("copy")),
        ),
        (
            "`lxc-copy --snapshot`, an overlay",
            Box::new(|| lxc.copy("golden", "over", true)),
            Box::new(|| lxc.destroy("over")),
        ),
        (
            "`systemd-nspawn --template`, a directory, and its `true`",
            Box::new(|| {
                let mut command = Command::new("systemd-nspawn");
                command.args(["--quiet", "--register=no", "--keep-unit", "--template"]).arg(tree);
                command.arg("--directory").arg(&nspawn).args(["--as-pid2", "/bin/true"]);
                command
            }),
            Box::new(|| fs::remove_dir_all(&nspawn).expect("it is there")),
        ),
    ];
    let mut took: Vec<Vec<f64>> = ways.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        for ((name, make, remove), took) in ways.iter().zip(&mut took) {
            rustix::fs::sync();
            let start = Instant::now();
            command::run(&mut make(), PATIENCE).ok();
            took.push(start.elapsed().as_secs_f64() * 1000.0);
            eprintln!("{name}: {:.0} ms", took.last().copied().unwrap_or_default());
            remove();
        }
    }
    let median = |all: Vec<f64>| Median::of(all.into_iter()).value;
    ways.iter().zip(took).map(|((name, ..), all)| Clone { name, took: median(all) }).collect()
}

/// Boots like guests, with files of their own or over one base.
fn shared(tree: &Path, is_over: bool) -> Shared {
    let host = golden(tree);
    let names: Vec<String> = (0..GUESTS).map(|number| format!("g{number}")).collect();
    for name in &names {
        let more: &[&str] = if is_over { &OVERLAY } else { &[] };
        let mut clone = host.command(["clone", "golden", name]);
        command::run(clone.args(more), PATIENCE).ok();
    }
    let roots = host.paths().roots_dir();
    // What was written is in memory as well.
    rustix::fs::sync();
    each_file(&roots, &mut |path| {
        if let Ok(file) = fs::File::open(path) {
            let _ = fadvise(&file, 0, None, Advice::DontNeed);
        }
    });
    let before = resident(&roots);
    for names in names.chunks(5) {
        command::run(host.command(["start"]).args(names), PATIENCE).ok();
    }
    let inside: Vec<i32> = eventually(DEADLINE, "all have their processes", || {
        let all = host.processes();
        let inside = all.iter().filter(|process| !is_ours(&process.comm)).map(|one| one.pid);
        let inside: Vec<i32> = inside.collect();
        let servers = all.iter().filter(|process| process.comm == "sshd").count();
        (servers >= GUESTS).then_some(inside)
    });
    let pages: u64 = inside.iter().map(|pid| process::pss(*pid)).sum();
    let files = resident(&roots).saturating_sub(before);
    let each = |bytes: u64| bytes as f64 / GUESTS as f64 / 1_048_576.0;
    let shared = Shared {
        name: if is_over { "over one base" } else { "a directory each" },
        processes: each(pages),
        files: each(files),
    };
    eprintln!("{}: {:.1} MiB, files {:.1} MiB", shared.name, shared.processes, shared.files);
    command::run(host.command(["stop", "--all", "--timeout", "20"]).args([""; 0]), PATIENCE);
    shared
}

/// vserver's own, which is measured elsewhere.
fn is_ours(comm: &str) -> bool {
    ["vserver", "vserver-keeper", "guest-init"].contains(&comm)
}

/// Bytes of all files below a directory that are in memory (fincore(1)).
fn resident(directory: &Path) -> u64 {
    let mut files = Vec::new();
    each_file(directory, &mut |path| files.push(path.to_owned()));
    let of = |files: &[std::path::PathBuf]| {
        let mut fincore = Command::new("fincore");
        fincore.args(["--bytes", "--noheadings", "--output", "RES", "--"]).args(files);
        let shown = command::run(&mut fincore, PATIENCE).stdout;
        shown.lines().filter_map(|line| line.trim().parse::<u64>().ok()).sum::<u64>()
    };
    files.chunks(2000).map(of).sum()
}

fn each_file(directory: &Path, visit: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => each_file(&entry.path(), visit),
            Ok(kind) if kind.is_file() => visit(&entry.path()),
            _ => {}
        }
    }
}
