//! lxc-start, a daemon a guest, with its own recommended configuration.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::place::Place;
use tests::{DEADLINE, command, eventually, process};

use crate::Workshop;
use crate::contender::{Contender, copy_tree};

/// The contender.
pub struct Lxc {
    directory: PathBuf,
    place: Place,
    prefix: String,
}

impl Lxc {
    /// Keeps its guests below the workshop.
    pub fn new(workshop: &Workshop) -> Self {
        let directory = workshop.path().join("lxc");
        let prefix = format!("vserver-bench-{}-", std::process::id());
        Self { directory, place: Place::new(), prefix }
    }

    fn lxc(&self, program: &str, guest: &str) -> Command {
        let mut command = self.place.command(program);
        command.arg("-P").arg(&self.directory).arg("-n").arg(format!("{}{guest}", self.prefix));
        command
    }

    /// A command that copies a guest, with `snapshot` as what lies over it.
    pub fn copy(&self, guest: &str, new: &str, snapshot: bool) -> Command {
        let mut command = self.lxc("lxc-copy", guest);
        command.arg("--newpath").arg(&self.directory);
        command.arg("--newname").arg(format!("{}{new}", self.prefix));
        if snapshot {
            command.args(["--snapshot", "--backingstorage", "overlayfs"]);
        }
        command
    }

    /// Removes a guest that is down.
    pub fn destroy(&self, guest: &str) {
        command::run(&mut self.lxc("lxc-destroy", guest), DEADLINE).ok();
    }

    /// What the names of all its guests begin with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// A command that shows all its guests and what they use.
    pub fn list(&self) -> Command {
        let mut command = Command::new("lxc-ls");
        command.arg("-P").arg(&self.directory).arg("--fancy");
        command
    }

    fn monitor(&self, guest: &str) -> Option<i32> {
        let name = format!("{}{guest}", self.prefix);
        let found = process::processes(|directory| {
            let line = fs::read(directory.join("cmdline")).unwrap_or_default();
            line.starts_with(b"[lxc monitor]")
                && String::from_utf8_lossy(&line).trim_end_matches('\0').ends_with(&name)
        });
        found.first().map(|process| process.pid)
    }
}

impl Contender for Lxc {
    fn name(&self) -> &str {
        "lxc"
    }

    fn prepare(&mut self, guest: &str, tree: &Path) {
        let root = self.root(guest);
        copy_tree(tree, &root);
        // common.conf is what lxc's own templates include. An empty network
        // is what the others have here, too.
        let config = format!(
            "lxc.include = /usr/share/lxc/config/common.conf\nlxc.net.0.type = empty\n\
             lxc.uts.name = {guest}\nlxc.rootfs.path = dir:{}\n",
            root.display()
        );
        fs::write(root.with_file_name("config"), config).expect("a file can be written");
    }

    fn root(&self, guest: &str) -> PathBuf {
        self.directory.join(format!("{}{guest}/rootfs", self.prefix))
    }

    fn start(&mut self, guest: &str) {
        command::run(&mut self.lxc("lxc-start", guest), DEADLINE).ok();
    }

    /// By the guest's own command, since `lxc-stop` sends a signal that
    /// Debian's sysvinit does nothing with, and kills after a minute.
    fn stop(&mut self, guest: &str) {
        let mut poweroff = self.lxc("lxc-attach", guest);
        command::run(poweroff.args(["--", "/sbin/poweroff"]), DEADLINE);
        let mut wait = self.lxc("lxc-wait", guest);
        command::run(wait.args(["-s", "STOPPED"]), DEADLINE).ok();
    }

    fn helpers(&self, guest: &str) -> Vec<i32> {
        let monitor = eventually(DEADLINE, "lxc's monitor is there", || self.monitor(guest));
        let init = process::children(monitor);
        std::iter::once(monitor).chain(init).collect()
    }
}

impl Drop for Lxc {
    fn drop(&mut self) {
        // Guests that still run, and what watches them: lxc moves both into
        // cgroups of its own. Pids of processes that were just looked at.
        let gone = || {
            let mut left = process::processes(|directory| {
                let cgroup = fs::read_to_string(directory.join("cgroup")).unwrap_or_default();
                cgroup.contains(&self.prefix)
            });
            left.retain(|left| process::is_alive(left.pid));
            for process in &left {
                let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
            }
            left.is_empty().then_some(())
        };
        eventually(DEADLINE, "lxc's guests have ended", gone);
        // lxc makes cgroups at the top of every hierarchy, and leaves some.
        let tops = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
        let tops = tops.map(|entry| entry.path()).chain([tests::machine::cgroup_root()]);
        for top in tops {
            for entry in fs::read_dir(top).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if name.contains(&self.prefix) || name == "lxc.pivot" {
                    let _ = fs::remove_dir(entry.path());
                }
            }
        }
    }
}
