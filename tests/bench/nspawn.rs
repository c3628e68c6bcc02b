//! systemd-nspawn with the guest's own sysvinit, without systemd's help on
//! the host: a process a guest, which waits in the foreground.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tests::place::Place;
use tests::{DEADLINE, command, eventually, process};

use crate::Workshop;
use crate::contender::{Contender, copy_tree};

/// The contender.
pub struct Nspawn {
    directory: PathBuf,
    running: BTreeMap<String, (Child, Place)>,
}

impl Nspawn {
    /// Keeps its guests below the workshop.
    pub fn new(workshop: &Workshop) -> Self {
        Self { directory: workshop.path().join("nspawn"), running: BTreeMap::new() }
    }

    fn init(&self, guest: &str) -> Option<i32> {
        let (nspawn, _) = self.running.get(guest)?;
        let children = process::children(nspawn.id().cast_signed());
        children.into_iter().find(|pid| process::read(*pid).is_some_and(|init| init.comm == "init"))
    }
}

impl Contender for Nspawn {
    fn name(&self) -> &str {
        "systemd-nspawn"
    }

    fn prepare(&mut self, guest: &str, tree: &Path) {
        copy_tree(tree, &self.root(guest));
    }

    fn root(&self, guest: &str) -> PathBuf {
        self.directory.join(guest)
    }

    fn start(&mut self, guest: &str) {
        // A cgroup of its own each: nspawn's are called the same in all.
        let place = Place::new();
        let mut nspawn = place.command("systemd-nspawn");
        nspawn.args(["--register=no", "--keep-unit", "--quiet", "--private-network"]);
        nspawn.args(["--resolv-conf=off", "--timezone=off", "--console=pipe"]);
        nspawn.arg("--directory").arg(self.root(guest)).arg("/sbin/init");
        nspawn.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = nspawn.spawn().expect("sh can be run");
        self.running.insert(guest.to_owned(), (child, place));
    }

    fn stop(&mut self, guest: &str) {
        let init = self.init(guest).expect("the guest's PID 1").to_string();
        let mut poweroff = Command::new("nsenter");
        poweroff.args(["--target", &init, "--all", "/sbin/poweroff"]);
        command::run(&mut poweroff, DEADLINE);
        let (mut nspawn, _place) = self.running.remove(guest).expect("a guest that was started");
        nspawn.wait().expect("a child can be waited for");
    }

    fn helpers(&self, guest: &str) -> Vec<i32> {
        let init = eventually(DEADLINE, "the guest's PID 1 is there", || self.init(guest));
        let nspawn = self.running.get(guest).map(|(child, _)| child.id().cast_signed());
        nspawn.into_iter().chain([init]).collect()
    }
}
