//! What copies of a guest cost: the time of a clone beside lxc's and
//! systemd-nspawn's.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tests::{Host, Median, command};

use crate::Workshop;
use crate::contender::{Contender, copy_tree};
use crate::lxc::Lxc;

/// Times that each way of cloning is measured, in turn with the others.
pub const ROUNDS: usize = 7;

/// Longest time of one command.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// How long one way to clone took, in milliseconds.
pub struct Clone {
    /// Which.
    pub name: &'static str,
    /// The median.
    pub took: f64,
}

/// A host with a guest of this tree, and a snapshot of it.
pub fn golden(tree: &Path) -> Host {
    let host = Host::new();
    host.vserver(["build", "golden", "--method", "skeleton"]).ok();
    let root = host.paths().roots_dir().join("golden");
    fs::remove_dir_all(&root).expect("the skeleton can be removed");
    copy_tree(tree, &root);
    host.vserver(["snapshot", "create", "golden", "v1"]).ok();
    host
}

/// Options of a clone over that.
pub const OVERLAY: [&str; 4] = ["--snapshot", "v1", "--storage", "overlay"];

/// Its name, the command that makes a copy, and what removes it again.
type Way<'a> = (&'static str, Box<dyn Fn() -> Command + 'a>, Box<dyn Fn() + 'a>);

/// Makes copies, each way in turn.
pub fn measure(workshop: &Workshop) -> Vec<Clone> {
    let tree = &workshop.tree();
    let host = golden(tree);
    let mut lxc = Lxc::new(workshop);
    lxc.prepare("golden", tree);
    let nspawn = workshop.path().join("nspawn-clone");
    let key = workshop.path().join("key");
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
        (
            "`ssh-keygen -t rsa`, which each of vserver's has done",
            Box::new(|| {
                let mut command = Command::new("ssh-keygen");
                command.args(["-q", "-N", "", "-t", "rsa", "-f"]).arg(&key);
                command
            }),
            Box::new(|| {
                for key in [key.clone(), key.with_extension("pub")] {
                    fs::remove_file(key).expect("it was made");
                }
            }),
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
