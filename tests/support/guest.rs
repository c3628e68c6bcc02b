//! One guest of a temporary installation, and what tests ask of it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;
use vserver::variables;

use crate::command::{self, Finished};
use crate::executable;
use crate::host::Host;
use crate::process;
use crate::tree::Tree;
use crate::wait::{DEADLINE, eventually};

/// A guest that hasn't been built yet.
pub struct Builder<'a> {
    host: &'a Host,
    name: String,
    tree: Tree,
    settings: Vec<(String, Vec<String>)>,
    archive: Option<PathBuf>,
}

/// A guest that has been built.
pub struct Guest<'a> {
    host: &'a Host,
    name: String,
    tree: Tree,
}

/// `vserver status --json`.
#[derive(Clone, Debug, Deserialize)]
pub struct Status {
    /// The guest's name.
    pub name: String,
    /// Its context number.
    pub context: u32,
    /// One word.
    pub state: String,
    /// What is booted.
    pub style: Option<String>,
    /// Host pid of its PID 1.
    pub init_pid: Option<i32>,
    /// Host pid of its keeper.
    pub keeper_pid: Option<i32>,
    /// Host pid of its supervisor.
    pub supervisor_pid: Option<i32>,
    /// Since the boot.
    pub uptime_seconds: Option<f64>,
    /// How many processes it has.
    pub processes: Option<u64>,
    /// Its addresses.
    pub addresses: Vec<String>,
}

impl<'a> Builder<'a> {
    pub(crate) fn new(host: &'a Host, name: &str) -> Self {
        let (name, settings) = (name.to_owned(), Vec::new());
        Self { host, name, tree: Tree::Busybox, settings, archive: None }
    }

    /// From this tree; busybox unless said.
    pub fn tree(mut self, tree: Tree) -> Self {
        self.tree = tree;
        self
    }

    /// From this archive, a changed copy of the tree's.
    pub fn archive(mut self, archive: &Path) -> Self {
        self.archive = Some(archive.to_owned());
        self
    }

    /// With this key in its configuration (`vserver config set`).
    pub fn set(self, key: &str, value: &str) -> Self {
        self.list(key, &[value])
    }

    /// With this list.
    pub fn list(mut self, key: &str, values: &[&str]) -> Self {
        let values = values.iter().map(|&value| value.to_owned()).collect();
        self.settings.push((key.to_owned(), values));
        self
    }

    /// Builds it.
    ///
    /// # Panics
    /// When `vserver build` or `vserver config set` fails.
    #[track_caller]
    pub fn build(self) -> Guest<'a> {
        let mut command = self.host.command(["build", &self.name, "--hostname", &self.name]);
        if self.tree == Tree::Copy {
            command.args(["--method", "copy"]);
        } else {
            let archive = self.archive.unwrap_or_else(|| self.tree.archive());
            command.args(["--method", "template", "--from"]).arg(archive);
        }
        command::run(&mut command, Duration::from_secs(180)).ok();
        for (key, values) in &self.settings {
            let mut set = self.host.command(["config", "set", &self.name, key]);
            command::run(set.args(values), DEADLINE).ok();
        }
        Guest { host: self.host, name: self.name, tree: self.tree }
    }
}

impl Guest<'_> {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The guest of this name on another host.
    pub fn on<'b>(&self, host: &'b Host) -> Guest<'b> {
        Guest { host, name: self.name.clone(), tree: self.tree }
    }

    /// The guest of this name, made out of this one.
    pub fn other(&self, name: &str) -> Self {
        Self { host: self.host, name: name.to_owned(), tree: self.tree }
    }

    /// Where it is.
    pub fn host(&self) -> &Host {
        self.host
    }

    /// What it was built from.
    pub fn tree(&self) -> Tree {
        self.tree
    }

    /// Its root directory on the host.
    pub fn root(&self) -> PathBuf {
        self.host.prefix().join("var/lib/vservers").join(&self.name)
    }

    /// `vserver VERB NAME ARGUMENTS…`
    #[track_caller]
    pub fn vserver<A: AsRef<OsStr>>(
        &self,
        verb: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Finished {
        command::run(&mut self.command(verb, arguments), DEADLINE)
    }

    /// The same, not run yet.
    pub fn command<A: AsRef<OsStr>>(
        &self,
        verb: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Command {
        let mut command = self.host.command([verb, &self.name]);
        command.args(arguments);
        command
    }

    /// Starts it and waits for its runlevel.
    #[track_caller]
    pub fn start(&self) -> &Self {
        self.vserver("start", [""; 0]).ok();
        self
    }

    /// Starts it without these layers of isolation, to compare with.
    #[track_caller]
    pub fn start_without(&self, layers: &str) -> &Self {
        let mut start = self.command("start", [""; 0]);
        command::run(start.env(variables::WITHOUT, layers), DEADLINE).ok();
        self
    }

    /// Stops it; nothing may have to be killed.
    #[track_caller]
    pub fn stop(&self) -> &Self {
        self.vserver("stop", ["--no-kill"]).ok();
        self
    }

    /// Runs a command inside.
    #[track_caller]
    pub fn exec<A: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = A>) -> Finished {
        let mut command = self.command("exec", ["--"]);
        command::run(command.args(words), DEADLINE)
    }

    /// Runs a line of shell inside.
    #[track_caller]
    pub fn shell(&self, line: &str) -> Finished {
        self.exec(["/bin/sh", "-c", line])
    }

    /// `vserver status --json`.
    #[track_caller]
    pub fn status(&self) -> Status {
        let answer = self.vserver("status", ["--json"]);
        serde_json::from_str(&answer.stdout)
            .unwrap_or_else(|cause| panic!("cannot read this status: {cause}\n{answer}"))
    }

    /// Host pid of its PID 1.
    #[track_caller]
    pub fn init_pid(&self) -> i32 {
        let status = self.status();
        status.init_pid.unwrap_or_else(|| panic!("no PID 1: {status:?}"))
    }

    /// Kills its supervisor; its pid, which is dead now.
    #[track_caller]
    pub fn kill_supervisor(&self) -> i32 {
        let pid = self.status().supervisor_pid.expect("a running guest has a supervisor");
        kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it can be killed");
        eventually(DEADLINE, "the supervisor is dead", || (!process::is_alive(pid)).then_some(()));
        pid
    }

    /// Kills its supervisor, its keeper and its PID 1 at once, and waits until all of
    /// it is dead. No command is asked meanwhile: that would look after it.
    #[track_caller]
    pub fn kill_all(&self) {
        let status = self.status();
        let pids = [status.supervisor_pid, status.keeper_pid, status.init_pid];
        let pids = pids.map(|pid| pid.expect("a running guest has all three"));
        for pid in pids {
            kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it can be killed");
        }
        let is_own = |cgroup: &&PathBuf| cgroup.iter().any(|part| part == &*self.name);
        let is_empty = |cgroup: &PathBuf| {
            let events = fs::read_to_string(cgroup.join("cgroup.events")).unwrap_or_default();
            !events.contains("populated 1")
        };
        eventually(DEADLINE, "all of the guest is dead", || {
            let are_dead = pids.iter().all(|pid| !process::is_alive(*pid));
            (are_dead && self.host.cgroups().iter().filter(is_own).all(is_empty)).then_some(())
        });
    }

    /// Is it running? (`vserver running`)
    #[track_caller]
    pub fn is_running(&self) -> bool {
        let answer = self.vserver("running", [""; 0]);
        assert!(
            matches!(answer.code, 0 | 1 | 5) && answer.stdout.is_empty(),
            "running is silent, 0 or 1, and 5 of no such guest\n{answer}"
        );
        answer.code == 0
    }

    /// Waits until it is down.
    #[track_caller]
    pub fn wait_until_stopped(&self) {
        eventually(DEADLINE, "the guest is stopped", || {
            (self.status().state == "stopped").then_some(())
        });
    }

    /// Waits until another PID 1 than this one has reached its runlevel.
    #[track_caller]
    pub fn wait_for_reboot(&self, old_init: i32) -> Status {
        eventually(DEADLINE, "the guest has been booted again", || {
            let status = self.status();
            let new = status.init_pid.is_some_and(|pid| pid != old_init);
            (new && status.state == "running").then_some(status)
        })
    }

    /// Waits until a process of this name runs inside.
    #[track_caller]
    pub fn wait_for_process(&self, comm: &str) {
        eventually(DEADLINE, &format!("'{comm}' runs inside"), || self.process(comm));
    }

    /// Waits until the systemd inside says that it is up; no unit may have
    /// failed.
    #[track_caller]
    pub fn wait_for_systemd(&self) {
        eventually(DEADLINE, "systemd can be asked", || {
            (self.exec(["test", "-S", "/run/dbus/system_bus_socket"]).code == 0).then_some(())
        });
        let state = self.exec(["systemctl", "is-system-running", "--wait"]);
        let failed = self.exec(["systemctl", "--failed", "--plain", "--no-legend"]);
        assert!(state.stdout == "running\n" && failed.stdout.is_empty(), "{state}{failed}");
    }

    /// Host pid of a process of this name inside.
    pub fn process(&self, comm: &str) -> Option<i32> {
        let all = self.host.processes();
        let found =
            all.iter().find(|process| process.comm == comm && process::is_alive(process.pid));
        found.map(|process| process.pid)
    }

    /// Writes a file of the guest from the host; only while it is stopped.
    pub fn write(&self, path: &str, content: &str, mode: u32) {
        let path = self.root().join(path.trim_start_matches('/'));
        executable::write(path, content, mode);
    }

    /// A file of the guest, read from the host; empty if it isn't there.
    pub fn read(&self, path: &str) -> String {
        let bytes = fs::read(self.root().join(path.trim_start_matches('/'))).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Its console log on the host.
    pub fn log(&self) -> String {
        let path = self.host.prefix().join(format!("var/log/vserver/{}.log", self.name));
        String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
    }
}
