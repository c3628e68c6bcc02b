//! A temporary installation of vserver: everything below one directory, and
//! nothing of it left when the test ends, however it ends.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use vserver::paths::Paths;
use vserver::variables;

use crate::command::{self, Finished};
use crate::guest::Builder;
use crate::machine;
use crate::network::Network;
use crate::process::{Process, processes};
use crate::wait::DEADLINE;

/// A directory that stands for a whole host: its guests, its configuration,
/// its run directory.
pub struct Host {
    paths: Paths,
    program: PathBuf,
    /// Where it is, if not in the machine's own network.
    network: Option<Network>,
}

/// The program under test: `$VSERVER_BIN`, else the release build.
///
/// # Panics
/// When it isn't there.
pub fn program() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let built = root.join("target/x86_64-unknown-linux-gnu/release/vserver");
    let program = env::var_os("VSERVER_BIN").map_or(built, PathBuf::from);
    assert!(program.exists(), "{program:?} is missing; run: cargo build --release");
    fs::canonicalize(&program).unwrap_or(program)
}

/// Where installations and copies of trees are made: `$VSERVER_TEST_DIRECTORY`,
/// else /var/tmp.
pub fn directory() -> PathBuf {
    env::var_os("VSERVER_TEST_DIRECTORY").map_or_else(|| "/var/tmp".into(), PathBuf::from)
}

impl Host {
    /// An installation of its own on the disk: idmapped mounts need a file
    /// system that has them on every kernel that vserver supports, and tmpfs
    /// hasn't before 6.3.
    ///
    /// # Panics
    /// Without root.
    #[expect(clippy::new_without_default, reason = "it makes directories")]
    pub fn new() -> Self {
        assert!(Uid::effective().is_root(), "guests need root; run as root: tests/run");
        Self::without_root()
    }

    /// The same, in a network of its own.
    pub fn on(network: Network) -> Self {
        let mut host = Self::new();
        host.network = Some(network);
        host
    }

    /// The network that it is in.
    ///
    /// # Panics
    /// When it is the machine's own.
    pub fn network(&self) -> &Network {
        self.network.as_ref().expect("a host of Host::on")
    }

    /// The same for any user, who can't start guests there.
    pub fn without_root() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let program = program();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let prefix = directory().join(format!("vserver-test-{}-{number}", std::process::id()));
        fs::create_dir(&prefix).unwrap_or_else(|cause| panic!("cannot make {prefix:?}: {cause}"));
        Self { paths: Paths::new(prefix), program, network: None }
    }

    /// Where its files are.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// The directory below which everything of it lies.
    pub fn prefix(&self) -> &Path {
        self.paths.prefix()
    }

    /// A command of the program under test, on this installation.
    pub fn command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = match &self.network {
            Some(network) => network.command(&self.program),
            None => Command::new(&self.program),
        };
        command.args(arguments).env(variables::PREFIX, self.prefix());
        command
    }

    /// Runs it to its end.
    #[track_caller]
    pub fn vserver<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Finished {
        command::run(&mut self.command(arguments), DEADLINE)
    }

    /// Writes the configuration file of a guest that has no root directory.
    pub fn configure(&self, name: &str, text: &str) -> PathBuf {
        let directory = self.paths.config_dir();
        fs::create_dir_all(&directory).expect("a directory of the installation can be made");
        let path = directory.join(format!("{name}.toml"));
        fs::write(&path, text).expect("a file of the installation can be written");
        path
    }

    /// A guest to be built here.
    pub fn guest<'a>(&'a self, name: &str) -> Builder<'a> {
        Builder::new(self, name)
    }

    /// The cgroups of this installation, outermost first.
    pub fn cgroups(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        find_cgroups(&machine::cgroup_root(), &self.paths.instance(), &mut found);
        found
    }

    /// The processes of this installation: those that were started with its
    /// prefix, are in one of its cgroups, or have their root or current
    /// directory below it.
    pub fn processes(&self) -> Vec<Process> {
        let prefix = self.prefix();
        let setting = format!("{}={}", variables::PREFIX, prefix.display());
        let instance = self.paths.instance();
        processes(|directory| {
            let environment = fs::read(directory.join("environ")).unwrap_or_default();
            let cgroup = fs::read_to_string(directory.join("cgroup")).unwrap_or_default();
            let below =
                |link| fs::read_link(directory.join(link)).is_ok_and(|to| to.starts_with(prefix));
            environment.split(|byte| *byte == 0).any(|word| word == setting.as_bytes())
                || cgroup.contains(&instance)
                || below("root")
                || below("cwd")
        })
    }

    /// The mounts of the host's namespace that concern this installation.
    pub fn mounts(&self) -> Vec<String> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let concerns = |line: &&str| mentions(line, &self.prefix().display().to_string());
        mounts.lines().filter(concerns).map(str::to_owned).collect()
    }

    fn stop_guests(&self) {
        for entry in fs::read_dir(self.paths.config_dir()).into_iter().flatten().flatten() {
            let path = entry.path();
            let Some(name) = path.file_stem().and_then(OsStr::to_str) else { continue };
            if path.extension() == Some(OsStr::new("toml")) && name != "defaults" {
                let mut stop = self.command(["stop", name, "--timeout", "2"]);
                let _ = stop
                    .stdout(std::process::Stdio::null())
                    .stderr(std::process::Stdio::null())
                    .status();
            }
        }
    }

    /// What `stop` has left, if anything: a test that failed has said so.
    fn sweep(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            for cgroup in self.cgroups() {
                let _ = fs::write(cgroup.join("cgroup.kill"), "1");
            }
            for process in self.processes() {
                let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
            }
            for cgroup in self.cgroups().iter().rev() {
                let _ = fs::remove_dir(cgroup);
            }
            if Instant::now() > deadline
                || (self.processes().is_empty() && self.cgroups().is_empty())
            {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn remove(&self) {
        let mounts = self.mounts();
        let points = mounts.iter().rev().filter_map(|line| line.split(' ').nth(4));
        for point in points.filter(|point| Path::new(point).starts_with(self.prefix())) {
            let _ = umount2(point, MntFlags::MNT_DETACH);
        }
        // Never through a mount that could not be undone.
        if self.mounts().is_empty() {
            if let Err(cause) = fs::remove_dir_all(self.prefix()) {
                eprintln!("cannot remove {:?}: {cause}", self.prefix());
            }
        } else {
            eprintln!("{:?} stays: something is mounted there", self.prefix());
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if thread::panicking() {
            self.show_logs();
        }
        self.stop_guests();
        self.sweep();
        self.remove();
    }
}

impl Host {
    /// Prints the ends of all console logs, next to the failure.
    fn show_logs(&self) {
        for entry in fs::read_dir(self.paths.log_dir()).into_iter().flatten().flatten() {
            let log = fs::read(entry.path()).unwrap_or_default();
            let log = String::from_utf8_lossy(&log[log.len().saturating_sub(3000)..]).into_owned();
            eprintln!("--- end of {:?}\n{log}\n---", entry.file_name());
        }
    }
}

/// Has the text this path, or one below it? Others begin as it does: those of the
/// second installation and of the twentieth.
fn mentions(text: &str, path: &str) -> bool {
    let is_end = |rest: &str| !rest.starts_with(|next: char| next.is_ascii_alphanumeric());
    text.match_indices(path).any(|(at, _)| is_end(&text[at + path.len()..]))
}

fn find_cgroups(directory: &Path, instance: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if path.to_string_lossy().contains(instance) {
                found.push(path.clone());
            }
            find_cgroups(&path, instance, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::mentions;

    #[test]
    fn paths_that_begin_alike_are_different_ones() {
        let line = "36 35 98:0 / /var/tmp/host-1-20/run rw - tmpfs tmpfs rw";
        for (path, is_there) in [("/var/tmp/host-1-20", true), ("/var/tmp/host-1-2", false)] {
            assert_eq!(mentions(line, path), is_there, "{path}");
        }
        assert!(mentions("36 35 98:0 / /var/tmp/host-1-2 rw", "/var/tmp/host-1-2"));
    }
}
