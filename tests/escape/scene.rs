//! A host with guests that are attacked, and with what they are after, all
//! of it made for the test.

use std::cell::{OnceCell, RefCell};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tests::guest::Status;
use tests::{DEADLINE, Finished, Host, command, eventually, executable, machine, process};

use vserver::variables;

use crate::bait::{Bait, Disk, Hierarchy, tag};
use crate::case::Users;

/// The attacker, built with these tests.
const ATTACKER: &str = env!("CARGO_BIN_EXE_attacker");

/// What no guest may see.
pub const SECRET: &str = "SECRET-of-the-host";

/// The host with its guests. What lies beside them is dropped before it.
pub struct Scene {
    guests: RefCell<Vec<(String, String)>>,
    bait: OnceCell<Bait>,
    neighbour: OnceCell<Bait>,
    disk: OnceCell<Disk>,
    hierarchy: OnceCell<Hierarchy>,
    plain: OnceCell<PathBuf>,
    pub host: Host,
}

impl Scene {
    pub fn new() -> Self {
        let host = Host::new();
        let scene = Self {
            guests: RefCell::default(),
            bait: OnceCell::new(),
            neighbour: OnceCell::new(),
            disk: OnceCell::new(),
            hierarchy: OnceCell::new(),
            plain: OnceCell::new(),
            host,
        };
        executable::copy(ATTACKER, scene.attacker());
        fs::write(scene.canary(), SECRET).expect("a file can be made");
        scene
    }

    /// A file of the host beside the guests, that everybody may read.
    pub fn canary(&self) -> PathBuf {
        self.host.prefix().join("canary")
    }

    /// The attacker on the host, a copy that may be spoilt.
    pub fn attacker(&self) -> PathBuf {
        self.host.prefix().join("attacker")
    }

    /// The name of a running guest with these ids and without these layers.
    pub fn guest(&self, users: Users, without: &[&str]) -> String {
        let without = without.join(",");
        let key = format!("{} {without}", users.name());
        if let Some((_, name)) = self.guests.borrow().iter().find(|(other, _)| *other == key) {
            return name.clone();
        }
        let name = format!("guest{}", self.guests.borrow().len());
        let guest = self.host.guest(&name).set("security.users", users.name()).build();
        executable::copy(ATTACKER, guest.root().join("attacker"));
        let mut start = guest.command("start", [""; 0]);
        if !without.is_empty() {
            start.env("VSERVER_WITHOUT", &without);
        }
        command::run(&mut start, DEADLINE).ok();
        self.guests.borrow_mut().push((key, name.clone()));
        name
    }

    /// Runs an attempt in a guest.
    pub fn inside(&self, guest: &str, attempt: &[&str]) -> Finished {
        let mut command = self.host.command(["exec", guest, "--", "/attacker"]);
        command::run(command.args(self.filled(attempt)), DEADLINE)
    }

    /// Runs a line of shell in a guest.
    pub fn shell(&self, guest: &str, line: &str) -> Finished {
        let mut command = self.host.command(["exec", guest, "--", "/bin/sh", "-c", line]);
        command::run(&mut command, DEADLINE)
    }

    /// A shell of the administrator's, on this installation.
    pub fn host_shell(&self, line: &str) -> Command {
        let mut command = Command::new("/bin/bash");
        command.args(["--norc", "-c", line]).env(variables::PREFIX, self.host.prefix());
        command
    }

    /// A guest's root directory on the host.
    pub fn root_of(&self, guest: &str) -> PathBuf {
        self.host.prefix().join("var/lib/vservers").join(guest)
    }

    /// Host pid of a guest's PID 1.
    pub fn init_of(&self, guest: &str) -> String {
        let status = self.host.vserver(["status", guest, "--json"]).ok();
        let status: Status = serde_json::from_str(&status.stdout).expect("status is JSON");
        status.init_pid.expect("the guest runs").to_string()
    }

    /// Runs an attempt as root of the host.
    pub fn on_host(&self, attempt: &[&str]) -> Finished {
        let mut command = Command::new(self.attacker());
        command::run(command.args(self.filled(attempt)), DEADLINE)
    }

    /// Runs an attempt in a root directory of its own and nothing else.
    pub fn in_chroot(&self, attempt: &[&str]) -> Finished {
        const LINE: &str = "mount -t proc proc \"$0/proc\" && exec 9</ && \
                            exec chroot \"$0\" /attacker \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "/bin/sh", "-c", LINE]).arg(self.plain_root());
        command::run(command.args(self.filled(attempt)), DEADLINE)
    }

    /// The root of a guest that is never started.
    pub fn plain_root(&self) -> &Path {
        self.plain.get_or_init(|| {
            let guest = self.host.guest("plain").build();
            executable::copy(ATTACKER, guest.root().join("attacker"));
            guest.root()
        })
    }

    fn filled(&self, attempt: &[&str]) -> Vec<String> {
        attempt.iter().map(|word| self.fill(word)).collect()
    }

    /// Replaces the words in braces, and makes what they mean.
    pub fn fill(&self, word: &str) -> String {
        let inner = word.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
        let Some((name, _)) = inner else { return word.to_owned() };
        let value = match name {
            "canary" => self.canary().to_string_lossy().into_owned(),
            "secret" => SECRET.to_owned(),
            "pid" => self.bait().pid.to_string(),
            "tag" => self.bait().tag.clone(),
            "neighbour-pid" => self.neighbour().pid.to_string(),
            "neighbour-tag" => self.neighbour().tag.clone(),
            "handle" => self.handle(),
            "loop" => self.disk.get_or_init(|| Disk::new(&self.host)).minor.clone(),
            "hierarchy" => self.hierarchy.get_or_init(|| Hierarchy::new(&self.host)).name.clone(),
            "interface" => interface(),
            "interface-number" => interface_number(),
            other => panic!("nothing is called '{other}'"),
        };
        word.replace(&format!("{{{name}}}"), &value)
    }

    fn handle(&self) -> String {
        let answer = self.on_host(&["handle", "{canary}"]).ok();
        answer.trimmed().trim_start_matches("escaped: ").to_owned()
    }

    fn bait(&self) -> &Bait {
        self.bait.get_or_init(|| {
            let tag = tag(&self.host, "host");
            let bait = Bait::lay(&mut Command::new(self.attacker()), "attacker", tag);
            bait.swept_by(self.attacker())
        })
    }

    /// A guest beside those that are attacked, with a bait of its own.
    fn neighbour(&self) -> &Bait {
        self.neighbour.get_or_init(|| {
            let guest = self.host.guest("neighbour").build();
            executable::copy(ATTACKER, guest.root().join("attacker"));
            guest.start();
            let mut command = guest.command("exec", ["--", "/attacker"]);
            Bait::lay(&mut command, "/attacker", tag(&self.host, "guest"))
        })
    }

    /// Supervisors and keepers end a moment after their guests.
    #[track_caller]
    pub fn assert_nothing_runs(&self) {
        eventually(DEADLINE, "nothing is left of the guests", || {
            self.host.processes().is_empty().then_some(())
        });
    }

    /// What the guests were after is as it was.
    #[track_caller]
    pub fn assert_untouched(&self) {
        let text = fs::read_to_string(self.canary());
        assert_eq!(text.ok().as_deref(), Some(SECRET), "the canary");
        for bait in [self.bait.get(), self.neighbour.get()].into_iter().flatten() {
            assert!(process::is_alive(bait.pid), "the bait {} is dead", bait.tag);
        }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // The baits end first, in their guests; then what guests have mounted.
        drop(self.bait.take());
        drop(self.neighbour.take());
        for (_, name) in self.guests.borrow().iter() {
            let mut stop = self.host.command(["stop", name, "--timeout", "1"]);
            let _ = stop.stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
        drop(self.disk.take());
        drop(self.hierarchy.take());
    }
}

/// The host's first interface that isn't its loopback.
fn interface() -> String {
    let links = machine::links();
    let own = |name: &&String| *name != "lo" && !name.starts_with("v");
    links.iter().find(own).expect("this machine has a network interface").clone()
}

/// The number that the host's network namespace has for it.
fn interface_number() -> String {
    let path = format!("/sys/class/net/{}/ifindex", interface());
    let number = fs::read_to_string(path).expect("an interface has a number");
    number.trim().to_owned()
}
