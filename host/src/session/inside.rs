//! The way from a process that has joined the guest to the user's program:
//! what the helper does before it forks, and what its child does after.
//! Whatever is opened here is the guest's.

use std::convert::Infallible;
use std::env;
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;

use caps::Capability;
use nix::unistd::{Gid, Uid, execve, setgroups, setresgid, setresuid};
use rustix::io::fcntl_dupfd_cloexec;
use serde::{Deserialize, Serialize};
use shared::link::Link;
use shared::outcome::Outcome;

use crate::launch::{become_root, bound_capabilities, filter, limit, reduce_capabilities};
use crate::plan::ID_COUNT;
use crate::sys;

use super::Session;
use super::account::{self, Account};
use super::gate::{self, Outside};
use super::join::Target;
use super::streams;

/// From inside to the command on the host.
#[derive(Debug, Serialize, Deserialize)]
pub enum FromInside {
    /// Carries the master of the session's pty.
    Terminal,
    /// Carries a pidfd of the program, which begins.
    Begun,
    /// The program is not in the guest's own cgroup.
    Outside(Outside),
    /// The program was not executed.
    Failed {
        /// What was tried.
        step: Step,
        /// Error number.
        errno: i32,
    },
    /// The program has ended.
    Ended(Outcome),
}

/// What is done until the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Joining the guest.
    Join,
    /// Forking.
    Fork,
    /// Opening a pty.
    Terminal,
    /// Finding the user.
    User,
    /// Finding its ids among the guest's.
    Range,
    /// Becoming the user.
    Identity,
    /// Letting the program begin.
    Begin,
    /// Executing the program.
    Execute,
}

/// PATH as login(1) sets it.
const ROOT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const USER_PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games";

/// A program about to be run: its user, whose ids and capabilities the
/// caller already has.
pub struct Prepared {
    account: Account,
    /// Are the standard streams a terminal?
    terminal: bool,
}

/// A step that failed, and why.
type Failed = (Step, io::Error);

/// Becomes the user inside, with the standard streams of the program.
///
/// All of this is done by the helper, which the guest can't see yet: a guest
/// without a user namespace has CAP_SYS_PTRACE over whatever is in its PID
/// namespace, so nothing may enter that with more than the guest's own
/// capabilities.
pub fn prepare(
    session: &Session,
    target: &Target,
    host: &Link<FromInside, ()>,
    pipes: Option<[OwnedFd; 3]>,
) -> Result<Prepared, Failed> {
    let at = |step: Step| move |error: io::Error| (step, error);
    let user = session.user.as_deref().unwrap_or("root");
    let missing = || (Step::User, io::Error::from_raw_os_error(libc::ENOENT));
    let mut account = account::find(user).ok_or_else(missing)?;
    if target.has_few_ids() {
        account = match account.below(ID_COUNT) {
            Ok(account) => account,
            // The guest keeps nobody out who asks for no user.
            Err(account) if session.user.is_none() => account.into_root(),
            Err(_) => return Err((Step::Range, io::Error::from_raw_os_error(libc::EINVAL))),
        };
    }
    // Group and user first as root of the guest, so that the pty is opened
    // with its ids; capabilities last.
    become_root().map_err(at(Step::Identity))?;
    let terminal = pipes.is_none();
    match pipes {
        Some(pipes) => place(pipes),
        None => open_terminal(host, &account),
    }
    .map_err(at(Step::Terminal))?;
    // From here on no number above the three is opened that matters; and the guest may
    // take over what it sees.
    limit(&target.limits).map_err(at(Step::Identity))?;
    filter(&target.filter).map_err(at(Step::Identity))?;
    become_user(&account, &target.capabilities).map_err(at(Step::Identity))?;
    Ok(Prepared { account, terminal })
}

/// Becomes the program, or reports why not and exits.
pub fn run(
    session: &Session,
    prepared: &Prepared,
    host: &Link<FromInside, ()>,
    (leaf, beside): (Option<&OwnedFd>, &OwnedFd),
    helper: UnixStream,
) -> ! {
    let passed = gate::pass(leaf, beside, helper, host).map_err(|error| (Step::Begin, error));
    let (step, error) = match passed.and_then(|()| sequence(session, prepared)) {
        Ok(never) => match never {},
        Err(failure) => failure,
    };
    let errno = error.raw_os_error().unwrap_or(libc::EIO);
    let _ = host.send(&FromInside::Failed { step, errno });
    sys::exit_now(125)
}

fn sequence(session: &Session, prepared: &Prepared) -> Result<Infallible, Failed> {
    let at = |step: Step| move |error: io::Error| (step, error);
    rustix::process::setsid().map_err(|error| (Step::Terminal, error.into()))?;
    if prepared.terminal {
        sys::set_controlling_terminal(io::stdin().as_fd()).map_err(at(Step::Terminal))?;
    }
    let account = &prepared.account;
    let home = if session.command.is_none() { account.home.as_str() } else { "/" };
    if rustix::process::chdir(home).is_err() {
        let _ = rustix::process::chdir("/");
    }
    sys::close_on_exec_from(3).map_err(at(Step::Execute))?;
    Err((Step::Execute, execute(session, account)))
}

fn open_terminal(host: &Link<FromInside, ()>, account: &Account) -> io::Result<()> {
    let (master, terminal) = streams::open_pty()?;
    // As login(1) does: the terminal belongs to the user.
    let owner = rustix::fs::Uid::from_raw(account.uid);
    let _ = rustix::fs::fchown(&terminal, Some(owner), None);
    host.send_with_fds(&FromInside::Terminal, &[master.as_fd()])
        .map_err(|_| io::Error::from_raw_os_error(libc::EPIPE))?;
    place([terminal.try_clone()?, terminal.try_clone()?, terminal])
}

fn place(streams: [OwnedFd; 3]) -> io::Result<()> {
    /// Above the three.
    const SAFE: i32 = 64;
    for (number, stream) in (0..).zip(streams) {
        let stream = fcntl_dupfd_cloexec(&stream, SAFE)?;
        sys::place_descriptor(stream, number)?;
    }
    Ok(())
}

/// Setting another uid than 0 clears what is permitted (capabilities(7),
/// "Effect of user ID changes"); the bounding set must be reduced before.
fn become_user(account: &Account, keep: &[Capability]) -> io::Result<()> {
    let groups: Vec<Gid> = account.groups.iter().copied().map(Gid::from_raw).collect();
    let (uid, gid) = (Uid::from_raw(account.uid), Gid::from_raw(account.gid));
    setgroups(&groups)?;
    setresgid(gid, gid, gid)?;
    if account.uid == 0 {
        return reduce_capabilities(keep);
    }
    bound_capabilities(keep)?;
    Ok(setresuid(uid, uid, uid)?)
}

fn execute(session: &Session, account: &Account) -> io::Error {
    let shell = shell(account);
    let path = if account.uid == 0 { ROOT_PATH } else { USER_PATH };
    let terminal = env::var_os("TERM").unwrap_or_else(|| "linux".into());
    let variables = [
        ("PATH", OsStr::new(path)),
        ("TERM", &terminal),
        ("HOME", OsStr::new(&account.home)),
        ("SHELL", OsStr::new(&shell)),
        ("USER", OsStr::new(&account.name)),
        ("LOGNAME", OsStr::new(&account.name)),
        ("container", OsStr::new("vserver")),
    ];
    let argv = match &session.command {
        Some(command) => command.clone(),
        None => vec![OsString::from(&shell), "-l".into()],
    };
    match texts(&argv, &variables) {
        Ok((argv, variables)) => execute_on_path(&argv, &variables, path),
        Err(error) => error,
    }
}

/// The user's own shell, or the first that is there.
fn shell(account: &Account) -> String {
    let usual = [account.shell.as_str(), "/bin/bash", "/bin/sh"];
    let found =
        usual.into_iter().find(|path| !path.is_empty() && std::path::Path::new(path).exists());
    found.unwrap_or("/bin/sh").to_owned()
}

type Texts = (Vec<CString>, Vec<CString>);

fn texts(argv: &[OsString], variables: &[(&str, &OsStr)]) -> io::Result<Texts> {
    let argv: Result<Vec<_>, _> =
        argv.iter().map(|argument| CString::new(argument.clone().into_vec())).collect();
    let variables: Result<Vec<_>, _> = variables
        .iter()
        .map(|(name, value)| CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()))
        .collect();
    Ok((argv?, variables?))
}

/// As execvp(3), with the guest's PATH: a program that is found but can't be
/// executed is remembered over one that is not found.
fn execute_on_path(argv: &[CString], variables: &[CString], path: &str) -> io::Error {
    let Some(program) = argv.first() else {
        return io::Error::from_raw_os_error(libc::ENOENT);
    };
    if program.as_bytes().contains(&b'/') {
        let Err(error) = execve(program, argv, variables);
        return error.into();
    }
    let mut worst = io::Error::from_raw_os_error(libc::ENOENT);
    for directory in path.split(':') {
        let full = [directory.as_bytes(), b"/", program.as_bytes()].concat();
        let Ok(full) = CString::new(full) else { continue };
        let Err(error) = execve(&full, argv, variables);
        match error {
            nix::errno::Errno::ENOENT | nix::errno::Errno::ENOTDIR => {}
            other => worst = other.into(),
        }
    }
    worst
}
