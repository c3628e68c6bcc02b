//! Where a guest that was started with `--ephemeral` writes to.
//!
//! A directory `.ephemeral/NAME` beside its root. A note in it names the boot of
//! the host that it is of: it outlives supervisors and reboots of the guest,
//! but none of the host. The note of one that waits for its start also names the
//! process that ordered that, and counts as long as that process lives: what
//! nobody waits for any more is of no start. With the guest's end all of it goes.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use shared::name::GuestName;

use crate::error::{Error, Result};
use crate::fsroot::remove_tree;

use super::layers;
use super::subvolume::make;

/// The directory of all of them beside guests' roots.
const ALL: &str = ".ephemeral";
/// The notes: of one that waits for a start, and of one in use.
const ORDERED: &str = "ordered";
const USED: &str = "used";
/// What those begin with that are being removed. No guest's name begins with a
/// dot.
const GONE: &str = ".gone-";

/// That of one guest.
#[derive(Clone, Debug)]
pub struct Scratch {
    all: PathBuf,
    path: PathBuf,
}

impl Scratch {
    /// Of a guest with this root.
    pub fn new(name: &GuestName, root: &Path) -> Self {
        let all = root.parent().unwrap_or(root).join(ALL);
        let path = all.join(name.as_str());
        Self { all, path }
    }

    /// Orders a start that writes there: makes it, empty.
    ///
    /// # Errors
    /// When it can't be made; nothing is left then.
    pub fn order(&self) -> Result<()> {
        self.remove()?;
        let failed = |cause| Error::path("create directory", &self.path, cause);
        self.make_directory().map_err(failed)?;
        // Closed to everybody but root, as guests' roots are.
        let closed = fs::set_permissions(&self.all, fs::Permissions::from_mode(0o700));
        let filled = closed.map_err(failed).and_then(|()| {
            layers::make(&self.path)?;
            let note = own_note().ok_or_else(|| failed(ErrorKind::NotFound.into()))?;
            // Last: without it there is none.
            fs::write(self.path.join(ORDERED), note).map_err(failed)
        });
        filled.inspect_err(|_| {
            let _ = self.remove();
        })
    }

    /// The last one that goes takes the directory above along.
    fn make_directory(&self) -> io::Result<()> {
        const ATTEMPTS: u32 = 16;
        // Of its own on btrfs: what is written there can be limited then.
        let make = || match fs::create_dir_all(&self.all).and_then(|()| make(&self.path)) {
            Err(cause) if cause.kind() == ErrorKind::AlreadyExists => Ok(()),
            other => other.map(drop),
        };
        for _ in 0..ATTEMPTS {
            match make() {
                Err(cause) if cause.kind() == ErrorKind::NotFound => {}
                other => return other,
            }
        }
        make()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Is it what a guest writes to that runs, or was lost with its supervisor?
    pub fn is_used(&self) -> bool {
        let boot = boot();
        boot.is_some() && fs::read_to_string(self.path.join(USED)).ok() == boot
    }

    /// Does somebody wait for a start that writes there?
    pub fn is_ordered(&self) -> bool {
        let note = fs::read_to_string(self.path.join(ORDERED)).unwrap_or_default();
        let mut words = note.split(' ');
        let is_boot = words.next().is_some_and(|of| Some(of) == boot().as_deref());
        let process = words.next().zip(words.next());
        is_boot && process.is_some_and(|(pid, start)| started(pid).as_deref() == Some(start))
    }

    /// For a start: is it to write there? A guest that was lost, and is started
    /// again by whoever watches over it, goes on with what it had.
    ///
    /// # Errors
    /// When it is, and can't; when what is left of an earlier one can't be
    /// removed.
    pub fn take(&self) -> Result<bool> {
        if self.is_used() {
            return Ok(true);
        }
        if !self.is_ordered() {
            return self.remove().map(|()| false);
        }
        let failed = |cause| Error::path("use", &self.path, cause);
        let boot = boot().ok_or_else(|| failed(ErrorKind::NotFound.into()))?;
        fs::write(self.path.join(USED), boot).map_err(failed)?;
        fs::remove_file(self.path.join(ORDERED)).map_err(failed)?;
        Ok(true)
    }

    /// Removes it with all that was written, and what was left of others.
    ///
    /// # Errors
    /// When it can't be removed.
    pub fn remove(&self) -> Result<()> {
        let failed = |cause: io::Error| Error::path("remove", &self.path, cause);
        let all = match fs::File::open(&self.all) {
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(()),
            other => other.map_err(failed)?,
        };
        // Out of sight at once, however much there is.
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let gone = self.all.join(format!("{GONE}{name}-{}", std::process::id()));
        match fs::rename(&self.path, &gone) {
            Err(cause) if cause.kind() == ErrorKind::NotFound => {}
            other => other.map_err(failed)?,
        }
        let entries = fs::read_dir(&self.all).map_err(failed)?;
        for entry in entries.flatten().map(|entry| entry.file_name()) {
            if entry.as_encoded_bytes().starts_with(GONE.as_bytes()) {
                // Two that remove the same don't disturb each other.
                remove_tree(&all, &entry).map_err(|cause| failed(cause.into()))?;
            }
        }
        let _ = fs::remove_dir(&self.all);
        Ok(())
    }
}

/// The boot of the host.
fn boot() -> Option<String> {
    crate::sys::host_boot().ok()
}

/// When a process began, in ticks of the clock (proc_pid_stat(5)): with its pid
/// it is no other.
fn started(pid: &str) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.parse::<u32>().ok()?)).ok()?;
    // Field 22; the second, in brackets, may hold anything.
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(19).map(str::to_owned)
}

fn own_note() -> Option<String> {
    let pid = std::process::id().to_string();
    Some(format!("{} {pid} {}", boot()?, started(&pid)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_of_one_start_and_goes_with_all_in_it() {
        let parent = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(&"web".parse().unwrap(), &parent.path().join("web"));
        let file = scratch.path().join(layers::UPPER).join("file");
        assert!(!scratch.take().unwrap() && !scratch.is_used());
        scratch.order().unwrap();
        fs::write(&file, "").unwrap();
        scratch.order().unwrap();
        assert!(!file.exists() && !scratch.is_used() && scratch.is_ordered());
        assert!(scratch.take().unwrap() && scratch.is_used() && !scratch.is_ordered());
        fs::write(&file, "").unwrap();
        // The guest was lost, and goes on.
        assert!(scratch.take().unwrap() && file.exists());
        scratch.remove().unwrap();
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_order_counts_while_somebody_waits_for_it() {
        let parent = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(&"web".parse().unwrap(), &parent.path().join("web"));
        let own = own_note().unwrap();
        let [boot, pid, start] = own.split(' ').collect::<Vec<_>>()[..] else { panic!("{own}") };
        let later = start.parse::<u64>().unwrap() + 1;
        for note in [
            format!("another {pid} {start}"),
            format!("{boot} {pid} {later}"),
            format!("{boot} 0 {start}"),
            boot.to_owned(),
            String::new(),
        ] {
            scratch.order().unwrap();
            fs::write(scratch.path().join(ORDERED), &note).unwrap();
            assert!(!scratch.take().unwrap(), "{note}");
            assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0, "{note}");
        }
    }
}
