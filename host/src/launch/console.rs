//! The guest's console: a pseudo-terminal of its own devpts, so that nothing
//! of the host's terminals is inside, new at every boot (systemd hangs an
//! old one up).

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::fchown;

use nix::mount::{MntFlags, umount2};
use nix::sched::{CloneFlags, setns};
use rustix::fs::{CWD, FsWord, Mode, OFlags, ResolveFlags, fstat, fstatfs, openat, openat2};

use crate::sys;

use super::places;

/// `DEVPTS_SUPER_MAGIC` (statfs(2)).
const DEVPTS: FsWord = 0x1cd1;

/// Both sides of the console.
pub struct Console {
    /// The keeper's side.
    pub master: OwnedFd,
    /// The guest's side, also mounted on `/dev/console`.
    pub terminal: OwnedFd,
}

/// Opens a pty in the fresh devpts below `root` and mounts its terminal on
/// `/dev/console`.
pub fn make(root: BorrowedFd<'_>) -> io::Result<Console> {
    let console = open(root)?;
    places::attach(&places::show(&console.terminal)?, &places::file(root, "dev/console")?)?;
    Ok(console)
}

/// The same for a guest that runs, of PID 1 `init` with number `pid`, and whose
/// console was lost: who opens `/dev/console` from now on has this one. It is to
/// belong to `owner`, the host uid of the guest's root. Returns the keeper's side.
///
/// The calling process has one thread, and changes its mount namespace meanwhile.
///
/// # Errors
/// Those of setns(2), of opening the terminal and of mounting it.
pub fn renew(init: BorrowedFd<'_>, pid: i32, owner: u32) -> io::Result<OwnedFd> {
    let before = File::open("/proc/self/ns/mnt")?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, format!("/proc/{pid}/root"), flags, Mode::empty())?;
    // By now the guest decides what is there.
    refuse_others(root.as_fd())?;
    let console = open(root.as_fd())?;
    fchown(&console.terminal, Some(owner), None)?;
    // The pid was that process's when its root was opened, if it can be joined still.
    setns(init, CloneFlags::CLONE_NEWNS)?;
    let shown = show_again(root.as_fd(), &console.terminal);
    if setns(&before, CloneFlags::CLONE_NEWNS).is_err() || rustix::process::chdir("/").is_err() {
        // Nothing of the host's may be done there.
        sys::exit_now(1);
    }
    shown.map(|()| console.master)
}

/// # Errors
/// ENOTTY if new terminals aren't made there by a devpts of the guest's own.
fn refuse_others(root: BorrowedFd<'_>) -> io::Result<()> {
    let found = places::locate(root, "dev/pts/ptmx")?;
    let is_devpts = fstatfs(&found)?.f_type == DEVPTS;
    let hosts = rustix::fs::stat("/dev/pts").map(|stat| stat.st_dev).ok();
    if !is_devpts || Some(fstat(&found)?.st_dev) == hosts {
        return Err(io::Error::from_raw_os_error(libc::ENOTTY));
    }
    Ok(())
}

/// In the guest's mount namespace.
fn show_again(root: BorrowedFd<'_>, terminal: &OwnedFd) -> io::Result<()> {
    // Nothing can be mounted on the lost one, whose name has gone with it.
    rustix::process::fchdir(places::locate(root, "dev")?)?;
    let _ = umount2("console", MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW);
    let place = places::locate(root, "dev/console")?;
    places::attach(&places::show(terminal)?, &place)
}

fn open(root: BorrowedFd<'_>) -> io::Result<Console> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
    let master = openat2(root, "dev/pts/ptmx", flags, Mode::empty(), resolve)?;
    sys::unlock_pty(master.as_fd())?;
    let terminal = sys::open_peer(master.as_fd())?;
    Ok(Console { master, terminal })
}
