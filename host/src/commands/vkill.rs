//! `vkill`: signals to processes of contexts.

use std::fs;
use std::io;

use crate::cli::tools::VkillArgs;
use crate::commands::{Exit, output};
use crate::error::{Error, Result};
use crate::membership::{self, Context, Membership, Process};
use crate::paths::Paths;

/// All processes of the context.
const ALL: i32 = 0;

/// All but its PID 1.
const ALL_BUT_INIT: i32 = -1;

/// How often the processes of a context are gone through, to hit those that
/// were made meanwhile.
const ROUNDS: usize = 100;

/// Silent; exit code 1 if a signal could not be sent.
pub(super) fn run(args: &VkillArgs, paths: &Paths) -> Result<Exit> {
    let membership = Membership::read(paths)?;
    let Some(word) = &args.context else {
        if args.pids.is_empty() {
            return Err(Error::usage("No pid specified").hint("'vkill --xid XID' means all of it"));
        }
        return Ok(each(&args.pids, |pid| on_host(pid, args.signal)));
    };
    let context = membership.find(word)?;
    if context == Context::Watch {
        return Err(Error::new("context 1 sees all processes and can signal none"));
    }
    if let Context::Guest(name) = &context
        && membership.processes(&context).is_empty()
    {
        return Err(Error::not_running(name));
    }
    let pids = if args.pids.is_empty() { &[ALL] } else { args.pids.as_slice() };
    Ok(each(pids, |pid| in_context(&membership, &context, pid, args.signal)))
}

/// Goes on after a failure.
fn each(pids: &[i32], send: impl Fn(i32) -> io::Result<()>) -> Exit {
    let mut exit = Exit::DONE;
    for pid in pids {
        if let Err(error) = send(*pid) {
            output::complain(&Error::os(format_args!("cannot send a signal to {pid}"), error));
            exit = Exit::NO;
        }
    }
    exit
}

/// A pid of the host's, in whatever context. Not the host's own PID 1, which
/// `vkill 1` in an old script doesn't mean.
fn on_host(pid: i32, signal: i32) -> io::Result<()> {
    if pid <= 1 {
        return Err(io::Error::other("that is no single process of a context; say --xid XID"));
    }
    membership::signal(&membership::open(pid)?, signal)
}

fn in_context(membership: &Membership, context: &Context, pid: i32, signal: i32) -> io::Result<()> {
    let no_such_process = || io::Error::from_raw_os_error(libc::ESRCH);
    match pid {
        _ if pid > 1 && *context == Context::Main => {
            send(membership, context, Process { pid, inner: pid }, signal)
        }
        _ if *context == Context::Main => {
            Err(io::Error::other("the host's own processes are signalled one by one"))
        }
        ALL if signal == libc::SIGKILL => kill(membership, context),
        ALL | ALL_BUT_INIT => all(membership, context, signal, pid == ALL_BUT_INIT),
        _ => {
            let processes = membership.processes(context);
            let process = processes.iter().find(|process| process.inner == pid);
            send(membership, context, *process.ok_or_else(no_such_process)?, signal)
        }
    }
}

/// Signals every process once, until no new one is found.
fn all(membership: &Membership, context: &Context, signal: i32, but_init: bool) -> io::Result<()> {
    let mut signalled: Vec<i32> = Vec::new();
    for _ in 0..ROUNDS {
        let mut processes = membership.processes(context);
        processes.retain(|process| !(but_init && process.inner == 1));
        processes.retain(|process| !signalled.contains(&process.pid));
        if processes.is_empty() {
            break;
        }
        // PID 1 last: the others end with it.
        processes.sort_by_key(|process| process.inner == 1);
        for process in processes {
            signalled.push(process.pid);
            match send(membership, context, process, signal) {
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                other => other?,
            }
        }
    }
    if signalled.is_empty() { Err(io::Error::from_raw_os_error(libc::ESRCH)) } else { Ok(()) }
}

/// Kills all at once (`cgroup.kill`, cgroups(7)), so that nothing forks away.
fn kill(membership: &Membership, context: &Context) -> io::Result<()> {
    if membership.processes(context).is_empty() {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    if let Context::Bare(_) = context {
        // PID 1 takes all others with it (pid_namespaces(7)).
        let init = membership.init(context);
        let init = init.ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))?;
        return send(membership, context, init, libc::SIGKILL);
    }
    for directory in membership.cgroups(context) {
        match fs::write(directory.join("cgroup.kill"), "1") {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    Ok(())
}

/// Sends a signal to a process if it is in the context.
fn send(
    membership: &Membership,
    context: &Context,
    process: Process,
    signal: i32,
) -> io::Result<()> {
    membership::signal(&membership.open(context, process.pid)?, signal)
}
