//! One side of a copy: the host's files, or those that a guest sees.
//!
//! A guest that runs is looked at through its PID 1's root directory, so that
//! what is mounted in it is seen, too: /tmp and /run in memory, directories of
//! the host's. No namespace is joined: the kernel resolves every path below
//! that directory (openat2(2), `RESOLVE_IN_ROOT`), whatever links the guest
//! makes. A guest that is stopped has only the files that it will boot from.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use caps::{CapSet, Capability, CapsHashSet};
use nix::unistd::{Gid, Uid, setfsgid, setfsuid};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use shared::name::GuestName;

use crate::config::{self, UserMode};
use crate::control::at_rest::{self, AtRest};
use crate::control::{Client, Phase, Snapshot};
use crate::error::{Error, Result};
use crate::fsroot::RootDir;
use crate::ids;
use crate::membership::{self, Context, Membership};
use crate::paths::Paths;
use crate::runtime::{Lock, RunDir};
use crate::storage;
use crate::tree::Check;

use super::owners::Owners;

/// Waits until no other command works on a guest, and keeps others from it.
pub type Turn<'a> = &'a dyn Fn(&GuestName) -> Result<Lock>;

/// How long a guest may take on its way up or down, where it has no PID 1.
const PATIENCE: Duration = Duration::from_secs(10);

const RETRY: Duration = Duration::from_millis(20);

/// What file systems ask of a guest's root, and no more: not what lets the
/// host's root go beyond a quota, for example.
const ON_FILES: [Capability; 6] = [
    Capability::CAP_CHOWN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_DAC_READ_SEARCH,
    Capability::CAP_FOWNER,
    Capability::CAP_FSETID,
    Capability::CAP_SETFCAP,
];

/// A side.
#[derive(Debug)]
pub struct View {
    /// Below which all of its paths are.
    pub root: RootDir,
    /// Whose ids its files have.
    pub owners: Owners,
    /// Nobody starts or deletes a stopped guest meanwhile.
    held: Option<(AtRest, Lock)>,
}

impl View {
    /// The host's side.
    pub(super) fn host() -> Result<Self> {
        Ok(Self { root: RootDir::open(Path::new("/"))?, owners: Owners::all(), held: None })
    }

    /// A guest's, when it is this command's `turn`. `check` is asked while its last script
    /// is waited for.
    ///
    /// # Errors
    /// When there is no such guest, or it is only on its way up or down; what `turn` and
    /// `check` say.
    pub fn guest(
        paths: &Paths,
        name: &GuestName,
        turn: Turn<'_>,
        check: Check<'_>,
    ) -> Result<Self> {
        let deadline = Instant::now() + PATIENCE;
        let is_coming = || RunDir::new(paths, name).has_supervisor();
        loop {
            let lock = turn(name)?;
            let guest = config::load(paths, name)?;
            match Client::find(paths, name)? {
                None => {
                    let at_rest = match at_rest::keep_unless(paths, name, check) {
                        // Somebody is starting it.
                        Err(_) if is_coming() && Instant::now() < deadline => {
                            drop(lock);
                            thread::sleep(at_rest::GIVES_WAY);
                            continue;
                        }
                        other => other?,
                    };
                    let root = storage::view(&guest.place(paths, name))?;
                    let root = RootDir::from_fd(into_fd(&root)?, shown(name));
                    let owners = match guest.security.users {
                        UserMode::Host => Owners::all(),
                        _ => Owners::from(0),
                    };
                    return Ok(Self { root, owners, held: Some((at_rest, lock)) });
                }
                Some((_, status)) if status.init_pid > 0 => {
                    if let Some(view) = Self::running(paths, name, &status)? {
                        return Ok(view);
                    }
                }
                Some((client, status)) => {
                    client.refuse_own_script()?;
                    if status.phase == Phase::Stopped {
                        // Its last script may want a turn of its own.
                        drop(lock);
                        at_rest::check_unless(paths, name, check)?;
                        continue;
                    }
                }
            }
            // Who starts or stops it may wait for the lock.
            drop(lock);
            if Instant::now() >= deadline {
                return Err(Error::new(format!("guest '{name}' is neither up nor down"))
                    .hint(format!("see: vserver status {name}")));
            }
            thread::sleep(RETRY);
        }
    }

    /// That of a guest that runs; `None` if its PID 1 has just ended.
    ///
    /// # Errors
    /// When it can't be opened.
    pub fn running(paths: &Paths, name: &GuestName, status: &Snapshot) -> Result<Option<Self>> {
        let membership = Membership::read(paths)?;
        let pid = status.init_pid;
        let Ok(init) = membership.open(&Context::Guest(name.clone()), pid) else { return Ok(None) };
        let path = PathBuf::from(format!("/proc/{pid}/root"));
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, &path, flags, Mode::empty());
        // If it still lives, the number was its own until now.
        if membership::signal(&init, 0).is_err() {
            return Ok(None);
        }
        let root = match root {
            // It has ended, and its parent hasn't taken note yet.
            Err(Errno::NOENT | Errno::SRCH) => return Ok(None),
            other => other.map_err(|cause| Error::path("open", &path, cause))?,
        };
        let owners = match status.users.as_str() {
            "private" => Owners::from(base(paths, name)?),
            "host" => Owners::all(),
            _ => Owners::from(0),
        };
        Ok(Some(Self { root: RootDir::from_fd(root, shown(name)), owners, held: None }))
    }

    /// Is it a guest's that is kept down?
    pub(super) fn is_at_rest(&self) -> bool {
        self.held.is_some()
    }

    /// From now on, whatever this thread makes is made by the side's root: on
    /// mounts of a guest with private ids the host's root has no number and
    /// can make nothing.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn act_as_root(&self) -> Result<()> {
        let refused = |cause| Error::os("cannot become the guest's root for its files", cause);
        let root = self.owners.root();
        // The old id is returned; only another look tells (setfsuid(2)).
        setfsgid(Gid::from_raw(root));
        setfsuid(Uid::from_raw(root));
        let is_now = setfsgid(Gid::from_raw(root)).as_raw() == root
            && setfsuid(Uid::from_raw(root)).as_raw() == root;
        if !is_now {
            return Err(refused(std::io::Error::from_raw_os_error(libc::EPERM)));
        }
        let wanted: CapsHashSet = ON_FILES.into_iter().collect();
        caps::set(None, CapSet::Effective, &wanted)
            .map_err(|error| refused(std::io::Error::other(error.to_string())))
    }
}

/// What paths of a guest begin with, in words.
fn shown(name: &GuestName) -> PathBuf {
    PathBuf::from(format!("{name}:/"))
}

fn into_fd(root: &RootDir) -> Result<std::os::fd::OwnedFd> {
    let itself = Path::new("");
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    root.open_at(itself, flags, Mode::empty()).map_err(|cause| root.error("open", itself, cause))
}

fn base(paths: &Paths, name: &GuestName) -> Result<u32> {
    let given = ids::lookup(paths, name)?;
    given.map(|given| given.base).ok_or_else(|| {
        Error::new(format!("guest '{name}' has no ids of its own"))
            .hint(format!("restart it: vserver restart {name}"))
    })
}
