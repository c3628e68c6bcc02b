//! A cgroup for a program that isn't vserver's, so that whatever it leaves
//! behind (systemd-nspawn and lxc leave cgroups, and guests when they are
//! killed) can be found and removed.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::machine;
use crate::wait::{DEADLINE, eventually};

/// A cgroup that ends with this value.
pub struct Place {
    cgroup: PathBuf,
    /// The same path in systemd's own hierarchy, which these programs keep
    /// in step on a host that has both versions of cgroups.
    twin: PathBuf,
}

impl Place {
    /// Makes it.
    ///
    /// # Panics
    /// Without root.
    #[expect(clippy::new_without_default, reason = "it makes a directory")]
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("vserver-tests-{}-{number}", std::process::id());
        let cgroup = machine::cgroup_root().join(&name);
        fs::create_dir(&cgroup).unwrap_or_else(|cause| panic!("cannot make {cgroup:?}: {cause}"));
        Self { cgroup, twin: Path::new("/sys/fs/cgroup/systemd").join(name) }
    }

    /// A command that runs this program in it.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo $$ >\"$0\" && exec \"$@\""]);
        command.arg(self.cgroup.join("cgroup.procs")).arg(program);
        command
    }

    /// Kills whatever is in it.
    pub fn kill(&self) {
        let _ = fs::write(self.cgroup.join("cgroup.kill"), "1");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.kill();
        let events = self.cgroup.join("cgroup.events");
        eventually(DEADLINE, "a cgroup is empty", || {
            fs::read_to_string(&events).unwrap_or_default().contains("populated 0").then_some(())
        });
        remove(&self.cgroup);
        remove(&self.twin);
    }
}

fn remove(cgroup: &Path) {
    for entry in fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    let _ = fs::remove_dir(cgroup);
}
