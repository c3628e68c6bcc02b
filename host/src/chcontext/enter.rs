//! The way of a command into a context.
//!
//! A guide joins the namespaces; its child, born inside, has the command's
//! process as a child of its own and ends, so that the reaper becomes the
//! parent. The command's process tells the reaper its pid, and executes the
//! command when nobody but the two is left. Where the command is PID 1
//! itself there is no reaper, and the guide stays and tells its end.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use caps::{CapSet, Capability};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::SigSet;
use rustix::process::{Pid, WaitOptions, waitpid};
use shared::link::Link;

use crate::context::{self, Registry, Shown};
use crate::launch::reduce_capabilities;
use crate::sys::{self, CloneArgs, Cloned};

use super::report::{Failed, FromInside, News, Step, ToReaper, at};
use super::scene::{self, Scene, Set};

/// How a command is run.
#[derive(Debug)]
pub struct Entrant {
    /// The command and its arguments; not empty.
    pub command: Vec<CString>,
    /// The context's number.
    pub number: u32,
    /// Its host name, if it is to be set.
    pub hostname: Option<String>,
    /// Its NIS domain, if it is to be set.
    pub domainname: Option<String>,
    /// The most that it may do, if that is less than the caller.
    pub keep: Option<Vec<Capability>>,
    /// Does it leave the terminal?
    pub is_disconnected: bool,
    /// Lines of the caller's status file that tell its addresses.
    pub addresses: Vec<String>,
    /// Signals that the caller had blocked.
    pub mask: SigSet,
    /// The caller's directory.
    pub directory: PathBuf,
    /// Where its end is told.
    pub news: OwnedFd,
    /// To the command on the outside.
    pub link: Link<FromInside, ()>,
}

/// A context to be joined.
#[derive(Debug)]
pub struct Target {
    /// Its PID 1.
    pub init: OwnedFd,
    /// Which of its namespaces differ.
    pub namespaces: CloneFlags,
    /// Its root directory.
    pub root: OwnedFd,
    /// How to speak to its reaper, if it has one.
    pub door: Option<OwnedFd>,
}

/// The guide: takes the command in.
pub fn guide(target: Target, entrant: Entrant) -> ! {
    if let Err(error) = join(&target, &entrant) {
        report(&entrant, (Step::Join, error));
        sys::exit_now(0)
    }
    match target.door {
        Some(door) => hand_over(door, &entrant),
        None => stay(entrant),
    }
    sys::exit_now(0)
}

fn report(entrant: &Entrant, (step, error): Failed) {
    let errno = error.raw_os_error().unwrap_or(libc::EIO);
    let _ = entrant.link.send(&FromInside::Failed { step, errno });
}

/// Makes the command's process a child of the reaper.
fn hand_over(door: OwnedFd, entrant: &Entrant) {
    let pipe = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
    let (gate, opener) = match pipe {
        Ok(pipe) => pipe,
        Err(error) => return report(entrant, (Step::Fork, error.into())),
    };
    match sys::fork() {
        Ok(Cloned::Child) => {
            match sys::fork() {
                Ok(Cloned::Child) => {
                    drop(opener);
                    become_command(entrant, Some((door, gate)));
                }
                Ok(Cloned::Parent { pidfd, .. }) => {
                    let _ = entrant.link.send_with_fds(&FromInside::Born, &[pidfd.as_fd()]);
                }
                Err(error) => report(entrant, (Step::Fork, error)),
            }
            sys::exit_now(0)
        }
        Ok(Cloned::Parent { pid, .. }) => {
            let _ = Pid::from_raw(pid).map(|pid| waitpid(Some(pid), WaitOptions::empty()));
        }
        Err(error) => report(entrant, (Step::Fork, error)),
    }
}

/// Makes the command's process a child of this one, and tells its end.
fn stay(entrant: Entrant) {
    match sys::fork() {
        Ok(Cloned::Child) => become_command(&entrant, None),
        Ok(Cloned::Parent { pid, pidfd }) => stand_by(pid, &pidfd, entrant),
        Err(error) => report(&entrant, (Step::Fork, error)),
    }
}

/// Stays until the process has ended, with nothing of the caller's open: it
/// may outlive the caller.
fn stand_by(pid: i32, process: &OwnedFd, entrant: Entrant) {
    let Entrant { link, news, .. } = entrant;
    let _ = link.send_with_fds(&FromInside::Born, &[process.as_fd()]);
    drop(link);
    if let Ok(null) = File::options().read(true).write(true).open("/dev/null") {
        for number in 0..3 {
            let _ = null.try_clone().map(|null| sys::place_descriptor(null.into(), number));
        }
    }
    tell_end(pid, &news);
}

/// Moves the calling process in; its children are in the PID namespace as
/// well. Joining mounts sets the root directory to that of the namespace
/// (setns(2)), which isn't the context's if that was made in a chroot.
fn join(target: &Target, entrant: &Entrant) -> io::Result<()> {
    setns(target.init.as_fd(), target.namespaces)?;
    rustix::process::fchdir(&target.root)?;
    rustix::process::chroot(".")?;
    if rustix::process::chdir(&entrant.directory).is_err() {
        rustix::process::chdir("/")?;
    }
    Ok(())
}

/// Makes a context whose PID 1 is the command, and stays outside to tell its
/// end, with the lock on the context's entry. The command waits for a byte
/// from `go`, which says that the context has been made known.
pub fn make_own_init(
    namespaces: u64,
    ids: Option<(u32, u32)>,
    scene: &Scene,
    go: OwnedFd,
    mut entrant: Entrant,
    registry: Option<&Registry>,
) -> ! {
    match sys::clone3(&CloneArgs { namespaces, cgroup: None }) {
        Ok(Cloned::Child) => {
            let set = ids.map_or(Ok(()), |(uid, gid)| scene::map_own_ids(uid, gid));
            match set.and_then(|()| scene::set(scene)) {
                Ok(Set { number, pid_namespace }) => {
                    entrant.number = number;
                    let _ = entrant.link.send(&FromInside::Ready { number, pid_namespace });
                }
                Err(failed) => {
                    report(&entrant, failed);
                    scene::give_up()
                }
            }
            match File::from(go).read(&mut [0]) {
                Ok(1) => become_command(&entrant, None),
                _ => scene::give_up(),
            }
        }
        Ok(Cloned::Parent { pid, pidfd }) => {
            drop(go);
            let namespace = context::pid_namespace(pid);
            stand_by(pid, &pidfd, entrant);
            // While the lock is held nobody puts another one there.
            if let (Some(registry), Ok(namespace)) = (registry, namespace) {
                registry.remove(scene.number.unwrap_or_else(|| context::dynamic(namespace)));
            }
        }
        Err(error) => report(&entrant, (Step::Fork, error)),
    }
    sys::exit_now(0)
}

fn tell_end(pid: i32, pipe: &OwnedFd) {
    let Some(pid) = Pid::from_raw(pid) else { return };
    loop {
        match waitpid(Some(pid), WaitOptions::UNTRACED) {
            Ok(Some((_, status))) => {
                let Some(news) = News::from_wait(status) else { continue };
                news.write(pipe);
                if matches!(news, News::Ended(_)) {
                    return;
                }
            }
            Err(rustix::io::Errno::INTR) | Ok(None) => {}
            Err(_) => return,
        }
    }
}

fn become_command(entrant: &Entrant, reaper: Option<(OwnedFd, OwnedFd)>) -> ! {
    let failed = match sequence(entrant, reaper) {
        Ok(never) => match never {},
        Err(failed) => failed,
    };
    report(entrant, failed);
    sys::exit_now(127)
}

fn sequence(entrant: &Entrant, reaper: Option<(OwnedFd, OwnedFd)>) -> Result<Infallible, Failed> {
    if let Some((door, gate)) = reaper {
        // Its other end closes when nobody stands between the reaper and this
        // process any more.
        let _ = File::from(gate).read(&mut [0]);
        let door: Link<ToReaper, ()> = Link::new(door);
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        door.send_with_fds(&ToReaper::Watch(pid), &[entrant.news.as_fd()])
            .map_err(|_| (Step::Join, io::Error::from_raw_os_error(libc::EPIPE)))?;
    }
    set_names(entrant).map_err(at(Step::Hostname))?;
    let program = entrant.command.first().map(|word| word.to_string_lossy()).unwrap_or_default();
    let shown = Shown::new().map_err(at(Step::Status))?;
    reduce(entrant.keep.as_deref()).map_err(at(Step::Capabilities))?;
    if entrant.is_disconnected {
        disconnect().map_err(at(Step::Disconnect))?;
    }
    sys::reset_broken_pipe();
    let _ = entrant.mask.thread_set_mask();
    // As late as can be: from here on only the program changes.
    let mut lines = context::status_lines(entrant.number).to_vec();
    lines.extend(entrant.addresses.iter().cloned());
    shown.write(&program, &lines).map_err(at(Step::Status))?;
    let error = execute(&entrant.command);
    Err((Step::Execute, error))
}

/// Executes a command as execvp(3); returns why not.
pub fn execute(command: &[CString]) -> io::Error {
    let Some(program) = command.first() else {
        return io::Error::from_raw_os_error(libc::ENOENT);
    };
    let Err(error) = nix::unistd::execvp(program, command);
    error.into()
}

/// Reduces capabilities to what the program will have, so that the status
/// file tells that: execve(2) takes the rest away.
fn reduce(keep: Option<&[Capability]>) -> io::Result<()> {
    if let Some(keep) = keep {
        reduce_capabilities(keep)?;
    }
    let lost = |_| io::Error::last_os_error();
    let is_root = rustix::process::geteuid().is_root();
    if !is_root && caps::read(None, CapSet::Ambient).map_err(lost)?.is_empty() {
        let none = caps::CapsHashSet::new();
        for set in [CapSet::Effective, CapSet::Permitted] {
            caps::set(None, set, &none).map_err(lost)?;
        }
    }
    Ok(())
}

fn set_names(entrant: &Entrant) -> io::Result<()> {
    if let Some(name) = &entrant.hostname {
        rustix::system::sethostname(name.as_bytes())?;
    }
    if let Some(name) = &entrant.domainname {
        rustix::system::setdomainname(name.as_bytes())?;
    }
    Ok(())
}

/// A session of its own, without the terminal.
fn disconnect() -> io::Result<()> {
    rustix::process::setsid()?;
    for number in 0..3 {
        let stream = fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
        let is_terminal = match number {
            0 => rustix::termios::isatty(io::stdin()),
            1 => rustix::termios::isatty(io::stdout()),
            _ => rustix::termios::isatty(io::stderr()),
        };
        if is_terminal {
            sys::place_descriptor(stream.into(), number)?;
        }
    }
    Ok(())
}
