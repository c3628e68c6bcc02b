//! `/run/vserver/NAME`: made at start, gone after stop.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::socket::SockType;
use shared::name::GuestName;

use crate::error::{Error, Result};
use crate::paths::Paths;
use crate::{runtime, sys};

use super::{Lock, State, now_ms};

/// Stands in the lock of a supervisor that has seen the guest's end, before when that
/// was.
const ENDED: &str = "ended";

/// So long after that a supervisor may come in its place: the administrator's
/// script at a stop may take a minute, and a service manager its time.
const REPLACED_WITHIN: Duration = Duration::from_secs(90);

/// A process that ends may lose its lock so long before its socket.
const ENDS: Duration = Duration::from_millis(10);

/// So long others may hold a lock that only look at it.
const LOOKED_AT: Duration = Duration::from_millis(100);

/// Between two tries to take a lock.
const RETRY: Duration = Duration::from_millis(2);

/// The run directory of one guest. Only root can look into it.
#[derive(Clone, Debug)]
pub struct RunDir {
    path: PathBuf,
    lock: PathBuf,
}

/// That of a guest's supervisor, as long as its lock is held.
#[derive(Debug)]
pub struct Place {
    /// What nobody else has.
    pub lock: Lock,
    /// Was one killed shortly before that had noted the guest's end?
    pub follows_end: bool,
}

impl RunDir {
    /// The directory of a guest; nothing is made yet.
    pub fn new(paths: &Paths, name: &GuestName) -> Self {
        Self { path: paths.guest_run_dir(name), lock: paths.supervisor_lock(name) }
    }

    /// Makes it, mode 0700.
    ///
    /// # Errors
    /// Those of mkdir(2).
    pub fn create(&self) -> io::Result<()> {
        if let Some(parent) = self.path.parent() {
            fs::create_dir_all(parent)?;
        }
        match DirBuilder::new().mode(0o700).create(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Socket on which the supervisor takes requests.
    pub fn control(&self) -> PathBuf {
        self.path.join("control")
    }

    /// Socket on which the keeper takes supervisors.
    pub fn keeper(&self) -> PathBuf {
        self.path.join("keeper")
    }

    /// Socket on which the keeper takes console clients.
    pub fn console(&self) -> PathBuf {
        self.path.join("console")
    }

    /// The console's last bytes ([`shared::keeper::RING_HEADER`]).
    pub fn ring(&self) -> PathBuf {
        self.path.join("console.ring")
    }

    /// The configuration that the boot that runs was started with.
    pub fn configuration(&self) -> PathBuf {
        self.path.join("configuration.toml")
    }

    /// The nice level that was given to the processes of a boot after its start.
    pub fn level(&self) -> PathBuf {
        self.path.join("nice")
    }

    /// The confinement of the boot that runs.
    pub fn confinement(&self) -> PathBuf {
        self.path.join("confinement.json")
    }

    /// The devices of this boot. The next one has another file: whoever still
    /// writes that of a boot that has ended does no harm.
    pub fn devices(&self, boot: u32) -> PathBuf {
        self.path.join(if boot.is_multiple_of(2) { "devices-0.json" } else { "devices-1.json" })
    }

    /// The state file.
    pub fn state(&self) -> PathBuf {
        self.path.join("state.json")
    }

    /// Was the guest about to be booted again when its supervisor ended, if it has none?
    pub fn is_due(&self) -> bool {
        State::read(&self.state()).is_due
    }

    /// There when the guest's unit is being stopped.
    pub fn stopping(&self) -> PathBuf {
        self.path.join("stopping")
    }

    /// Is there a supervisor? Makes nothing.
    pub fn has_supervisor(&self) -> bool {
        Lock::is_held(&self.lock)
    }

    /// Pid of the supervisor, if there is one and it could write it down.
    pub fn supervisor(&self) -> Option<i32> {
        let pid = || fs::read_to_string(&self.lock).ok()?.lines().next()?.parse().ok();
        self.has_supervisor().then(pid).flatten()
    }

    /// Takes the lock that makes one process the guest's supervisor, and makes
    /// the directory. Another one that is about to leave is waited for, at most
    /// for `patience`. One whose lock somebody has removed is told so, and has it again.
    ///
    /// # Errors
    /// When the directory or the file can't be made.
    pub fn supervise(&self, patience: Duration) -> Result<Option<Place>> {
        let path = &self.lock;
        let deadline = Instant::now() + patience;
        let mut heard = None;
        loop {
            match Lock::try_now(path) {
                // Somebody who left has removed it.
                Ok(Some(lock)) if !lock.is_at(path) => {}
                Ok(Some(lock)) if self.is_listened_on() => {
                    drop(lock);
                    if heard.get_or_insert_with(Instant::now).elapsed() > ENDS {
                        self.call_back();
                        if Instant::now() >= deadline {
                            return Ok(None);
                        }
                        heard = None;
                    }
                    thread::sleep(RETRY);
                }
                Ok(Some(lock)) => {
                    let follows_end = self.has_noted_end();
                    // Until one has done all of it.
                    if follows_end {
                        Self::note_end(&lock)
                    } else {
                        lock.sign()
                    }
                    self.sweep();
                    self.create().map_err(|error| Error::path("create", &self.path, error))?;
                    return Ok(Some(Place { lock, follows_end }));
                }
                Ok(None) if Instant::now() >= deadline => return Ok(None),
                Ok(None) => thread::sleep(RETRY),
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => thread::sleep(RETRY),
            }
        }
    }

    /// Does a supervisor take requests?
    fn is_listened_on(&self) -> bool {
        runtime::is_listened_on(&self.control(), SockType::SeqPacket).unwrap_or(false)
    }

    /// Tells the supervisor that something of its files is missed.
    fn call_back(&self) {
        if let Ok(pid) = runtime::listener(&self.control(), SockType::SeqPacket) {
            let _ = sys::kill(pid, libc::SIGHUP);
        }
    }

    /// Is this lock of a supervisor's the one that others find?
    pub fn has_place(&self, lock: &Lock) -> bool {
        lock.is_at(&self.lock)
    }

    /// The lock of a supervisor whose own somebody has removed; `None` if another one
    /// has the guest meanwhile.
    ///
    /// # Errors
    /// When it can't be made, or be had for now.
    pub fn supervise_again(&self) -> Result<Option<Lock>> {
        let path = &self.lock;
        let deadline = Instant::now() + LOOKED_AT;
        loop {
            match Lock::try_now(path)? {
                Some(lock) if lock.is_at(path) => {
                    lock.sign();
                    return Ok(Some(lock));
                }
                Some(_) => {}
                None if Instant::now() < deadline => thread::sleep(RETRY),
                None if Lock::is_signed(path) => return Ok(None),
                None => {
                    let busy = io::Error::from(io::ErrorKind::WouldBlock);
                    return Err(Error::path("lock", path, busy));
                }
            }
        }
    }

    /// Notes in the lock that the guest is down for good: should its holder be killed
    /// while it cleans up, whoever comes in its place has nothing to boot.
    pub fn note_end(lock: &Lock) {
        let (boot, now_ms) = (sys::host_boot().unwrap_or_default(), now_ms());
        lock.sign_with(&format!("{ENDED} {boot} {now_ms}"));
    }

    /// Makes the next supervisor boot the guest whatever was noted: somebody has
    /// asked for it.
    pub fn forget_end(&self) {
        self.forget_end_if(|| true);
    }

    /// The same, if something was noted and `is_wanted` says so.
    pub fn forget_end_if(&self, is_wanted: impl FnOnce() -> bool) {
        if !self.has_noted_end() || !is_wanted() {
            return;
        }
        // Whoever looks whether there is a supervisor has it for a moment, which may be
        // a long one on a busy machine.
        let deadline = Instant::now() + Duration::from_secs(1);
        while Instant::now() < deadline {
            match Lock::try_now(&self.lock) {
                Ok(Some(lock)) => return lock.blank(),
                Ok(None) => thread::sleep(Duration::from_millis(1)),
                Err(_) => return,
            }
        }
    }

    /// A supervisor that ends by itself removes its lock.
    fn has_noted_end(&self) -> bool {
        let text = fs::read_to_string(&self.lock).unwrap_or_default();
        text.lines()
            .nth(1)
            .is_some_and(|note| is_recent(note, &sys::host_boot().unwrap_or_default(), now_ms()))
    }

    /// Leaves the place of a supervisor, in which nothing was done. What taking it
    /// has made goes, unless a guest runs, whose keeper has its sockets there.
    pub fn leave(&self, lock: Lock) {
        if !self.keeper().exists() {
            let _ = self.remove();
            self.give_up(lock);
        }
    }

    /// Removes the lock, by its holder.
    pub fn give_up(&self, lock: Lock) {
        lock.remove(&self.lock);
    }

    /// Removes it with all its files, by its holder. From one moment to the
    /// next it is not there, so whoever starts the guest again meets either
    /// all of it or nothing.
    ///
    /// # Errors
    /// Those of rename(2), unlink(2) and rmdir(2); a missing directory is no
    /// error.
    pub fn remove(&self) -> io::Result<()> {
        let aside = self.path.with_file_name(format!("{}{}", self.aside(), std::process::id()));
        match fs::rename(&self.path, &aside) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        }
        // By their names first: that takes no descriptor, and there may be none.
        let known = [
            self.control(),
            self.keeper(),
            self.console(),
            self.ring(),
            self.confinement(),
            self.configuration(),
            self.level(),
            self.devices(0),
            self.devices(1),
            self.state(),
            self.stopping(),
        ];
        for name in known.iter().filter_map(|file| file.file_name()) {
            let _ = fs::remove_file(aside.join(name));
        }
        fs::remove_dir(&aside).or_else(|_| fs::remove_dir_all(&aside))
    }

    /// What the names begin with under which it is removed; a pid follows.
    fn aside(&self) -> String {
        format!(".gone-{}-", self.path.file_name().unwrap_or_default().display())
    }

    /// Removes what holders before have left of it that were killed while they
    /// removed it.
    fn sweep(&self) {
        let prefix = self.aside();
        let is_left = |name: &str| {
            let pid = name.strip_prefix(&prefix);
            pid.is_some_and(|pid| !pid.is_empty() && pid.bytes().all(|b| b.is_ascii_digit()))
        };
        let around = self.path.parent().map(fs::read_dir);
        let entries = around.and_then(io::Result::ok).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| entry.file_name().to_str().is_some_and(is_left)) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Was this noted shortly before this moment of the host's boot? A clock that is set
/// changes nothing of that.
fn is_recent(note: &str, boot: &str, now_ms: u64) -> bool {
    let mut words = note.split(' ');
    let is_of_boot = words.next() == Some(ENDED) && words.next() == Some(boot);
    let noted_ms: Option<u64> = words.next().and_then(|word| word.parse().ok());
    let age = noted_ms.and_then(|noted_ms| now_ms.checked_sub(noted_ms));
    is_of_boot && age.is_some_and(|age| Duration::from_millis(age) < REPLACED_WITHIN)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn what_a_killed_holder_has_left_goes_with_the_next() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let run = RunDir { path: path("web"), lock: path("web.lock") };
        fs::create_dir(path(".gone-web-17")).unwrap();
        fs::write(path(".gone-web-17").join("state.json"), "{}").unwrap();
        for other in [".gone-web-1-17", ".gone-web-", ".gone-webs-17"] {
            fs::create_dir(path(other)).unwrap();
        }
        let Place { lock, .. } = run.supervise(Duration::ZERO).unwrap().expect("nobody has it");
        assert!(!path(".gone-web-17").exists());
        run.remove().unwrap();
        run.give_up(lock);
        let mut left: Vec<_> = fs::read_dir(directory.path())
            .unwrap()
            .flatten()
            .map(|entry| entry.file_name())
            .collect();
        left.sort();
        assert_eq!(left, [".gone-web-", ".gone-web-1-17", ".gone-webs-17"], "others' stay");
    }

    #[test]
    fn an_end_that_was_noted_counts_for_the_next_unless_somebody_wants_a_boot() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let run = RunDir { path: path("web"), lock: path("web.lock") };
        let supervise = || run.supervise(Duration::ZERO).unwrap().expect("nobody else has it");
        let Place { lock, follows_end } = supervise();
        assert!(!follows_end);
        RunDir::note_end(&lock);
        assert_eq!(run.supervisor(), i32::try_from(std::process::id()).ok());
        // It is killed.
        drop(lock);
        let Place { lock, follows_end } = supervise();
        assert!(follows_end);
        // So is the next.
        drop(lock);
        assert!(supervise().follows_end);
        // Somebody who looks whether there is one takes his time.
        let looking = fs::File::open(&run.lock).unwrap();
        looking.lock_shared().unwrap();
        let looks = thread::spawn(move || {
            thread::sleep(Duration::from_millis(100));
            drop(looking);
        });
        run.forget_end();
        looks.join().unwrap();
        assert!(!supervise().follows_end);
        // One that leaves by itself leaves nothing.
        let Place { lock, .. } = supervise();
        RunDir::note_end(&lock);
        run.give_up(lock);
        assert!(!supervise().follows_end);
    }
    #[test]
    fn a_noted_end_counts_whatever_clock_is_set() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let run = RunDir { path: path("web"), lock: path("web.lock") };
        let supervise = || run.supervise(Duration::ZERO).unwrap().expect("nobody else has it");
        RunDir::note_end(&supervise().lock);
        let hour = Duration::from_secs(3600);
        for clock in [SystemTime::now() + hour, SystemTime::now() - hour] {
            fs::File::options().append(true).open(&run.lock).unwrap().set_modified(clock).unwrap();
            assert!(run.has_noted_end());
        }
    }

    #[test]
    fn an_end_was_noted_in_this_boot_of_the_host_and_not_long_ago() {
        let late = u64::try_from(REPLACED_WITHIN.as_millis()).unwrap();
        for age in [0, 1, late - 1] {
            assert!(is_recent("ended ab12 1000", "ab12", 1000 + age), "{age}");
        }
        assert!(!is_recent("ended ab12 1000", "ab12", 1000 + late));
        assert!(!is_recent("ended ab12 1000", "ab12", 999));
        // One of another boot, one that says nothing of it, and none.
        for other in
            ["ended cd34 1000", "ended", "ended ab12", "ended ab12 x", "other ab12 1000", ""]
        {
            assert!(!is_recent(other, "ab12", 1001), "{other:?}");
        }
    }

    #[test]
    fn whoever_listens_has_its_place_and_its_lock_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let run = RunDir { path: path("web"), lock: path("web.lock") };
        // The signal that it is sent.
        let (missed, write) = std::os::unix::net::UnixStream::pair().unwrap();
        signal_hook::low_level::pipe::register(libc::SIGHUP, write).unwrap();
        let Place { lock, .. } = run.supervise(Duration::ZERO).unwrap().expect("nobody has it");
        let listener = runtime::listen(&run.control(), SockType::SeqPacket).unwrap();
        assert!(run.has_place(&lock));
        fs::remove_file(&run.lock).unwrap();
        assert!(!run.has_place(&lock));
        assert!(run.supervise(ENDS * 5).unwrap().is_none(), "there is a supervisor");
        missed.set_nonblocking(true).unwrap();
        assert_eq!((&missed).read(&mut [0]).unwrap(), 1, "it is told");
        let lock = run.supervise_again().unwrap().expect("nobody else has it");
        assert!(run.has_place(&lock) && run.supervisor().is_some());
        // Somebody else was quicker.
        assert!(run.supervise_again().unwrap().is_none());
        drop((lock, listener));
        assert!(run.supervise(Duration::from_secs(10)).unwrap().is_some(), "it has ended");
    }
}
