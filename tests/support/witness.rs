//! How each rc script of a Debian tree ends, under the distribution's own
//! init and under ours.
//!
//! In a throwaway copy of the tree, one line is put into every script of
//! `/etc/init.d`, right after its first: the script runs itself again, and
//! writes its name, its argument and its exit status into a file. LSB
//! headers, names and links stay as they are, and the same copy is booted
//! twice: by systemd-nspawn with its own sysvinit, and by vserver.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::command;
use crate::executable;
use crate::host::directory;
use crate::place::Place;
use crate::process;
use crate::tree::Tree;
use crate::wait::{DEADLINE, eventually};

/// Where the statuses are written, inside.
pub const RECORD: &str = "/var/log/rc-witness";

/// Scripts that run others, scripts that end with the machine, and what isn't
/// a script.
const NOT_WATCHED: &[&str] = &["rc", "rcS", "halt", "reboot", "README", "skeleton"];

/// A script's name and argument, and how it ended.
pub type Statuses = BTreeMap<(String, String), i32>;

/// A tree whose scripts bear witness.
pub struct Witness {
    directory: PathBuf,
}

impl Witness {
    /// Makes the copy.
    ///
    /// # Panics
    /// Without the tree's archive.
    pub fn of(tree: Tree) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("vserver-witness-{}-{number}", std::process::id());
        let witness = Self { directory: directory().join(name) };
        fs::create_dir_all(witness.root()).expect("a directory can be made");
        let mut unpack = Command::new("tar");
        unpack.args(["--numeric-owner", "-xpf"]).arg(tree.archive()).arg("-C").arg(witness.root());
        command::run(&mut unpack, DEADLINE).ok();
        for entry in
            fs::read_dir(witness.root().join("etc/init.d")).expect("a Debian tree").flatten()
        {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.starts_with('.') && !NOT_WATCHED.contains(&name.as_str()) {
                watch(&entry.path(), &name);
            }
        }
        witness
    }

    /// The copy's root directory.
    pub fn root(&self) -> PathBuf {
        self.directory.join("root")
    }

    /// The copy as an archive, to build a guest from.
    pub fn archive(&self) -> PathBuf {
        let archive = self.directory.join("witness.tar");
        let mut pack = Command::new("tar");
        pack.args(["--numeric-owner", "-cf"]).arg(&archive).arg("-C").arg(self.root()).arg(".");
        command::run(&mut pack, DEADLINE).ok();
        archive
    }

    /// Scripts that a boot to runlevel 2 starts.
    pub fn boot_scripts(&self) -> BTreeSet<String> {
        let links = ["etc/rcS.d", "etc/rc2.d"].map(|name| fs::read_dir(self.root().join(name)));
        let names = links.into_iter().flatten().flatten().flatten().filter_map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            Some(
                name.strip_prefix('S')?.trim_start_matches(|c: char| c.is_ascii_digit()).to_owned(),
            )
        });
        names.collect()
    }

    /// Boots the copy with its own sysvinit to its default runlevel, shuts
    /// it down with its own `poweroff`, and returns what its scripts wrote.
    pub fn under_its_own_init(&self) -> Statuses {
        let place = Place::new();
        let mut nspawn = place.command("systemd-nspawn");
        nspawn.args(["--register=no", "--keep-unit", "--quiet", "--private-network"]);
        nspawn.args(["--resolv-conf=off", "--timezone=off", "--console=pipe"]);
        // The init is named, since nspawn prefers systemd where both are.
        nspawn.arg("--directory").arg(self.root()).arg("/sbin/init");
        let (input, output) = (Stdio::null(), Stdio::null());
        let reference = nspawn.stdin(input).stdout(output).stderr(Stdio::null()).spawn();
        let mut reference = reference.expect("sh can be run");
        let pid = reference.id().cast_signed();

        let expected = self.boot_scripts();
        eventually(DEADLINE, "the reference run has reached its runlevel", || {
            let written = statuses(&self.root());
            let started = |name: &String| written.contains_key(&(name.clone(), "start".to_owned()));
            expected.iter().all(started).then_some(())
        });
        let init = process::children(pid);
        let init = init.first().expect("systemd-nspawn has a child").to_string();
        let mut poweroff = Command::new("nsenter");
        poweroff.args(["--target", &init, "--all", "/sbin/poweroff"]);
        command::run(&mut poweroff, DEADLINE);
        eventually(DEADLINE, "the reference run has ended", || {
            reference.try_wait().expect("a child can be waited for")
        });
        statuses(&self.root())
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// What the scripts of the tree below `root` have written so far. Of a
/// script that ran twice, the last run counts.
pub fn statuses(root: &Path) -> Statuses {
    let text = fs::read_to_string(root.join(RECORD.trim_start_matches('/'))).unwrap_or_default();
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (name, argument) = (words.next()?.to_owned(), words.next()?.to_owned());
        Some(((name, argument), words.next()?.parse().ok()?))
    });
    lines.collect()
}

/// Puts the line in. The variable tells the second run from the first; it
/// holds the path, since a script may call another.
fn watch(script: &Path, name: &str) {
    let text = fs::read_to_string(script).expect("an init script can be read");
    let (first, rest) = text.split_once('\n').expect("an init script has lines");
    let line = format!(
        "if [ \"${{RC_WITNESS:-}}\" != {name} ]; then RC_WITNESS={name} /etc/init.d/{name} \"$@\"; \
         set -- \"$?\" \"$@\"; echo \"{name} ${{2:-}} $1\" >>{RECORD}; exit \"$1\"; fi"
    );
    executable::write(script, format!("{first}\n{line}\n{rest}"), 0o755);
}
