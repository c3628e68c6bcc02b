//! The memory of many like guests, with files of their own and over a shared
//! base, beside lxc's and systemd-nspawn's.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{Advice, fadvise};
use tests::process::Process;
use tests::{DEADLINE, command, eventually, process};

use crate::Workshop;
use crate::contender::Contender;
use crate::lxc::Lxc;
use crate::nspawn::Nspawn;
use crate::storage::{OVERLAY, PATIENCE, golden};

/// How many like guests run at once.
pub const GUESTS: usize = 20;

/// What many guests take, in MiB a guest.
pub struct Alike {
    /// Whose they are, and as what their files lie there.
    pub name: &'static str,
    /// Proportional set size of all processes inside but PID 1.
    pub processes: f64,
    /// Pages of their files that are in memory.
    pub files: f64,
}

/// Measures all of them.
pub fn measure(workshop: &Workshop) -> Vec<Alike> {
    let tree = workshop.tree();
    vec![
        ours(&tree, false),
        ours(&tree, true),
        of_lxc(workshop, &tree, false),
        of_lxc(workshop, &tree, true),
        of_nspawn(workshop, &tree),
    ]
}

fn names() -> Vec<String> {
    (0..GUESTS).map(|number| format!("g{number}")).collect()
}

fn ours(tree: &Path, is_over: bool) -> Alike {
    let host = golden(tree);
    let names = names();
    for name in &names {
        let more: &[&str] = if is_over { &OVERLAY } else { &[] };
        let mut clone = host.command(["clone", "golden", name]);
        command::run(clone.args(more), PATIENCE).ok();
    }
    let name = if is_over { "vserver, over one base" } else { "vserver, a directory each" };
    let alike = look(name, &host.paths().roots_dir(), || {
        for names in names.chunks(5) {
            command::run(host.command(["start"]).args(names), PATIENCE).ok();
        }
        || {
            let mut inside = host.processes();
            inside.retain(|process| !is_ours(&process.comm));
            inside
        }
    });
    command::run(&mut host.command(["stop", "--all", "--timeout", "20"]), PATIENCE);
    alike
}

fn of_lxc(workshop: &Workshop, tree: &Path, is_over: bool) -> Alike {
    let mut lxc = Lxc::new(workshop);
    if !lxc.root("golden").exists() {
        lxc.prepare("golden", tree);
    }
    let names = names();
    for name in &names {
        command::run(&mut lxc.copy("golden", name, is_over), PATIENCE).ok();
    }
    let name = if is_over { "lxc, snapshots over one" } else { "lxc, a directory each" };
    let files = workshop.path().join("lxc");
    let alike = with_contender(name, &files, &mut lxc);
    for name in &names {
        lxc.destroy(name);
    }
    alike
}

fn of_nspawn(workshop: &Workshop, tree: &Path) -> Alike {
    let mut nspawn = Nspawn::new(workshop);
    let files = workshop.path().join("nspawn");
    fs::create_dir_all(&files).expect("a directory can be made");
    for name in names() {
        let mut copy = Command::new("cp");
        command::run(copy.arg("-a").arg(tree).arg(nspawn.root(&name)), PATIENCE).ok();
    }
    with_contender("systemd-nspawn, a directory each", &files, &mut nspawn)
}

/// Starts those that are prepared, and stops them.
fn with_contender(name: &'static str, files: &Path, contender: &mut dyn Contender) -> Alike {
    let names = names();
    let namespace = |process: &Path| fs::read_link(process.join("ns/pid")).ok();
    let alike = look(name, files, || {
        for name in &names {
            contender.start(name);
        }
        let helpers: Vec<i32> = names.iter().flat_map(|name| contender.helpers(name)).collect();
        let own = namespace(Path::new("/proc/self"));
        let of_helpers =
            helpers.iter().map(|pid| namespace(&PathBuf::from(format!("/proc/{pid}"))));
        let guests: BTreeSet<_> = of_helpers.filter(|one| *one != own).flatten().collect();
        move || {
            let mut inside =
                process::processes(|one| namespace(one).is_some_and(|one| guests.contains(&one)));
            inside.retain(|process| !helpers.contains(&process.pid));
            inside
        }
    });
    for name in &names {
        contender.stop(name);
    }
    alike
}

/// Looks at what `start` has started, which says what runs inside. What was
/// written before is in memory as well, and is let go of first.
fn look<F: Fn() -> Vec<Process>>(
    name: &'static str,
    files: &Path,
    start: impl FnOnce() -> F,
) -> Alike {
    rustix::fs::sync();
    each_file(files, &mut |path| {
        if let Ok(file) = fs::File::open(path) {
            let _ = fadvise(&file, 0, None, Advice::DontNeed);
        }
    });
    let before = resident(files);
    let inside = start();
    let inside = eventually(DEADLINE, "all have their processes", || {
        let all = inside();
        let servers = all.iter().filter(|process| process.comm == "sshd").count();
        (servers >= GUESTS).then_some(all)
    });
    let pages: u64 = inside.iter().filter_map(|process| process::pss_if_there(process.pid)).sum();
    let files = resident(files).saturating_sub(before);
    let each = |bytes: u64| bytes as f64 / GUESTS as f64 / 1_048_576.0;
    let alike = Alike { name, processes: each(pages), files: each(files) };
    eprintln!("{name}: {:.1} MiB, files {:.1} MiB", alike.processes, alike.files);
    alike
}

/// vserver's own, which is measured elsewhere.
fn is_ours(comm: &str) -> bool {
    ["vserver", "vserver-keeper", "guest-init"].contains(&comm)
}

/// Bytes of all files below a directory that are in memory (fincore(1)).
fn resident(directory: &Path) -> u64 {
    let mut files = Vec::new();
    each_file(directory, &mut |path| files.push(path.to_owned()));
    let of = |files: &[PathBuf]| {
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
