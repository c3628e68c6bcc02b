//! What the attempts are after, made on the host or in another guest.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};

use tests::{DEADLINE, Host, command, eventually, process};

use crate::scene::SECRET;

/// Pids inside are low; a bait's must be none of them.
const ABOVE_GUESTS: i32 = 3000;

/// A name that nothing else on this machine has.
pub fn tag(host: &Host, place: &str) -> String {
    let prefix = host.prefix().file_name().unwrap_or(OsStr::new("vserver"));
    format!("{}-{place}", prefix.to_string_lossy())
}

/// A process with a secret, and one object of each kind of IPC.
pub struct Bait {
    pub tag: String,
    pub pid: i32,
    child: Child,
    input: Option<ChildStdin>,
    sweeper: Option<PathBuf>,
}

impl Bait {
    /// Has this attacker take away what the bait leaves when it is killed.
    pub fn swept_by(mut self, attacker: PathBuf) -> Self {
        self.sweeper = Some(attacker);
        self
    }

    /// Runs the attacker as bait; `program` is its name in /proc.
    pub fn lay(command: &mut Command, program: &str, tag: String) -> Self {
        command.args(["bait", &tag]).env("SECRET", SECRET);
        loop {
            let mut child = command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("the attacker can be run");
            let mut line = String::new();
            let stdout = child.stdout.take().expect("stdout is a pipe");
            let _ = BufReader::new(stdout).read_line(&mut line);
            assert_eq!(line, "ready\n", "the bait {tag}");
            let input = child.stdin.take();
            let found = eventually(DEADLINE, "the bait is there", || find(program, &tag));
            let mut bait = Self { tag: tag.clone(), pid: found, child, input, sweeper: None };
            if found > ABOVE_GUESTS {
                return bait;
            }
            bait.end();
        }
    }

    fn end(&mut self) {
        // It waits for the end of its input.
        drop(self.input.take());
        let _ = self.child.wait();
        if let Some(attacker) = &self.sweeper {
            let _ =
                Command::new(attacker).args(["sweep", &self.tag]).stdout(Stdio::null()).status();
        }
    }
}

impl Drop for Bait {
    fn drop(&mut self) {
        self.end();
    }
}

fn find(program: &str, tag: &str) -> Option<i32> {
    let all = process::processes(|directory| {
        let line = fs::read(directory.join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).ends_with(&format!("{program}\0bait\0{tag}\0"))
    });
    let bait = |process: &&process::Process| {
        process.arguments.first().is_some_and(|a| a.ends_with(program))
    };
    all.iter().find(bait).map(|process| process.pid)
}

/// A block device with a secret on it.
pub struct Disk {
    device: String,
    pub minor: String,
}

impl Disk {
    /// Makes it.
    pub fn new(host: &Host) -> Self {
        let image = host.prefix().join("disk");
        let mut text = SECRET.as_bytes().to_vec();
        text.resize(1 << 20, b'.');
        fs::write(&image, text).expect("an image can be written");
        let mut command = Command::new("losetup");
        command.args(["--find", "--show", "--read-only"]).arg(&image);
        let device = command::run(&mut command, DEADLINE).ok().trimmed().to_owned();
        let minor = device.trim_start_matches("/dev/loop").to_owned();
        Self { device, minor }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.device]).status();
    }
}

/// A cgroup v1 hierarchy without controllers, whose release agent may be set.
pub struct Hierarchy {
    pub name: String,
    place: PathBuf,
}

impl Hierarchy {
    /// Makes it.
    pub fn new(host: &Host) -> Self {
        let place = host.prefix().join("hierarchy");
        fs::create_dir(&place).expect("a directory can be made");
        let name = tag(host, "hierarchy");
        let mut command = Command::new("mount");
        command.args(["-t", "cgroup", "-o", &format!("none,name={name}"), "cgroup"]).arg(&place);
        command::run(&mut command, DEADLINE).ok();
        Self { name, place }
    }
}

impl Drop for Hierarchy {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.place).status();
    }
}
