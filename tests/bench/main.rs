//! vserver, lxc and systemd-nspawn, side by side: the same Debian tree with
//! its own sysvinit, booted and stopped in turn, and the memory of what runs
//! around fifty guests. Then what it takes to see what hundreds of guests use,
//! and what addresses of guests cost.
//!
//! What is measured is in [`speed`], [`memory`], [`rc`], [`accounts`],
//! [`network`], [`storage`], [`alike`] and [`adoption`];
//! how each contender is used, at its best, is in [`contender`].

mod accounts;
mod adoption;
mod alike;
mod cgroup;
mod contender;
mod lxc;
mod memory;
mod network;
mod nspawn;
mod ours;
mod rc;
mod report;
mod speed;
mod storage;
mod wires;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use contender::Contender;
use tests::{DEADLINE, Tree, command};

/// A directory of the benchmark's own, gone when it ends.
pub struct Workshop {
    directory: PathBuf,
}

impl Workshop {
    fn new() -> Self {
        let directory = PathBuf::from(format!("/var/tmp/vserver-bench-{}", std::process::id()));
        fs::create_dir(&directory).expect("a directory can be made in /var/tmp");
        Self { directory }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// The Debian tree with two lines added to the boot: PID 1's first
    /// process writes when it runs, and so does the last script. The clock
    /// is the real one, which no namespace changes.
    fn tree(&self) -> PathBuf {
        let root = self.directory.join("tree");
        // Another part has made it.
        if root.exists() {
            return root;
        }
        fs::create_dir(&root).expect("a directory can be made");
        let mut unpack = Command::new("tar");
        unpack.args(["--numeric-owner", "-xpf"]).arg(Tree::Bookworm.archive()).arg("-C").arg(&root);
        command::run(&mut unpack, DEADLINE).ok();
        let path = root.join("etc/inittab");
        let inittab = fs::read_to_string(&path).expect("Debian's inittab");
        let first = "t0::sysinit:/bin/sh -c 'date +%s%N >/var/log/bench-pid1'\nsi::sysinit:";
        fs::write(&path, inittab.replacen("si::sysinit:", first, 1)).expect("it can be written");
        let last = root.join("etc/rc.local");
        fs::write(&last, "#!/bin/sh\ndate +%s%N >/var/log/bench-runlevel\n").expect("a file");
        let mut chmod = Command::new("chmod");
        command::run(chmod.arg("0755").arg(&last), DEADLINE).ok();
        root
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        if let Err(cause) = fs::remove_dir_all(&self.directory) {
            eprintln!("cannot remove {:?}: {cause}", self.directory);
        }
    }
}

/// How a contender is made, and how it is called on the command line.
type Entry = (&'static str, fn(&Workshop) -> Box<dyn Contender>);

const DIRECT: &str = "vserver, `boot.rc = \"direct\"`";

const ENTRIES: [Entry; 4] = [
    ("vserver", |_| Box::new(ours::Vserver::new("vserver", "written"))),
    ("direct", |_| Box::new(ours::Vserver::new(DIRECT, "direct"))),
    ("lxc", |workshop| Box::new(lxc::Lxc::new(workshop))),
    ("nspawn", |workshop| Box::new(nspawn::Nspawn::new(workshop))),
];

/// Sections of the page that can be measured alone.
type Part = (&'static str, fn(&Workshop) -> String);

const PARTS: [Part; 5] = [
    ("rc", rc),
    ("accounts", accounts),
    ("network", network),
    ("storage", storage),
    ("adoption", adoption),
];

fn adoption(_: &Workshop) -> String {
    adoption::section(&report::machine(), &adoption::measure())
}

fn rc(workshop: &Workshop) -> String {
    rc::section(&report::machine(), &rc::measure(workshop))
}

fn accounts(workshop: &Workshop) -> String {
    let (steps, peers) = accounts::measure(workshop);
    report::accounts(&steps, &peers)
}

fn network(_: &Workshop) -> String {
    report::network(&network::measure())
}

fn storage(workshop: &Workshop) -> String {
    report::storage(&storage::measure(workshop), &alike::measure(workshop))
}

fn main() {
    let wanted: Vec<_> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let workshop = Workshop::new();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/benchmarks.md");
    if let [part] = &wanted[..]
        && let Some((_, measure)) = PARTS.iter().find(|(name, _)| name == part)
    {
        let section = measure(&workshop);
        print!("{section}");
        let old = fs::read_to_string(&page).unwrap_or_default();
        let text = report::with_section(&old, &section);
        fs::write(page, text).expect("docs/benchmarks.md can be written");
        return;
    }
    let tree = workshop.tree();
    let chosen = ENTRIES
        .iter()
        .filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|word| word == name));
    let mut contenders: Vec<_> = chosen.map(|(_, new)| new(&workshop)).collect();
    let times = speed::measure(&mut contenders, &tree);
    // How a guest was booted costs no memory afterwards.
    contenders.retain(|contender| contender.name() != DIRECT);
    let memory = memory::measure(&mut contenders, &tree);
    // Guests and cgroups of theirs go before the directories they are in.
    drop(contenders);
    let mut text = report::text(&times, &memory);
    if wanted.is_empty() {
        for (_, measure) in PARTS {
            text = report::with_section(&text, &measure(&workshop));
        }
    }
    print!("{text}");
    if wanted.is_empty() {
        fs::write(page, text).expect("docs/benchmarks.md can be written");
    }
}
