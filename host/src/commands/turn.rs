//! Commands that work on the same guest take turns.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{major, minor};
use shared::name::GuestName;

use crate::commands::output;
use crate::error::Result;
use crate::paths::Paths;
use crate::runtime::Lock;

/// After so long it is said what is waited for.
const UNSAID: Duration = Duration::from_secs(3);

/// The first pause between two tries, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(100)];

/// Waits until no other command works on a guest; none does while the lock is held.
///
/// # Errors
/// When the lock can't be made.
pub fn wait(paths: &Paths, name: &GuestName) -> Result<Lock> {
    wait_unless(paths, name, &|| Ok(()))
}

/// The same, for a command that doesn't end by a signal. `check` is asked while there is
/// something to wait for.
///
/// # Errors
/// As [`wait`], and what `check` says.
pub fn wait_unless(
    paths: &Paths,
    name: &GuestName,
    check: &dyn Fn() -> Result<()>,
) -> Result<Lock> {
    let path = paths.lock(name);
    let start = Instant::now();
    let (mut pause, mut is_said) = (PAUSES[0], false);
    loop {
        match Lock::try_now(&path)? {
            Some(lock) if lock.is_at(&path) => return Ok(lock),
            // Its last holder has removed the file.
            Some(_) => continue,
            None => check()?,
        }
        if !is_said && start.elapsed() >= UNSAID {
            is_said = true;
            output::remark(format_args!(
                "waiting for another command that is at work with guest '{name}'{}",
                holder(&path).map(|pid| format!(": process {pid}")).unwrap_or_default()
            ));
        }
        thread::sleep(pause);
        pause = (pause * 2).min(PAUSES[1]);
    }
}

/// Who holds the lock on a file (proc_locks(5)).
fn holder(path: &Path) -> Option<i32> {
    let file = fs::metadata(path).ok()?;
    let own = (major(file.dev()), minor(file.dev()), file.ino());
    let mut locks = procfs::locks().ok()?.into_iter();
    let held = locks.find(|lock| (lock.devmaj, lock.devmin, lock.inode) == own)?;
    held.pid.filter(|pid| *pid > 0)
}
