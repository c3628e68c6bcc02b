//! vserver itself, with everything at its defaults but what is compared.

use std::fs;
use std::path::{Path, PathBuf};

use tests::Host;

use crate::contender::{Contender, copy_tree};

/// The contender.
pub struct Vserver {
    host: Host,
    name: &'static str,
    rc: &'static str,
}

impl Vserver {
    /// An installation of its own, whose guests have `boot.rc = rc`.
    pub fn new(name: &'static str, rc: &'static str) -> Self {
        Self { host: Host::new(), name, rc }
    }

    fn status(&self, guest: &str) -> serde_json::Value {
        let answer = self.host.vserver(["status", guest, "--json"]);
        serde_json::from_str(&answer.stdout).unwrap_or_else(|_| panic!("no status\n{answer}"))
    }
}

impl Contender for Vserver {
    fn name(&self) -> &str {
        self.name
    }

    fn prepare(&mut self, guest: &str, tree: &Path) {
        self.host.vserver(["build", guest, "--method", "skeleton"]).ok();
        self.host.vserver(["config", "set", guest, "boot.rc", self.rc]).ok();
        let root = self.root(guest);
        fs::remove_dir_all(&root).expect("the skeleton can be removed");
        copy_tree(tree, &root);
    }

    fn root(&self, guest: &str) -> PathBuf {
        self.host.paths().roots_dir().join(guest)
    }

    fn start(&mut self, guest: &str) {
        self.host.vserver(["start", "--no-wait", guest]).ok();
    }

    fn stop(&mut self, guest: &str) {
        self.host.vserver(["stop", "--no-kill", guest]).ok();
    }

    fn helpers(&self, guest: &str) -> Vec<i32> {
        let status = self.status(guest);
        let pid = |field: &str| status[field].as_i64().and_then(|pid| i32::try_from(pid).ok());
        ["supervisor_pid", "keeper_pid", "init_pid"].into_iter().filter_map(pid).collect()
    }
}
