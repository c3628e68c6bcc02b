//! A leader for machined in a guest whose PID 1 is not guest-init
//! ([`shared::leader`]): started as the program of a session is, without any
//! capability and without a user's program.

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{WaitId, WaitIdOptions, waitid};
use shared::leader::{FromLeader, LEADER_NAME};
use shared::link::Link;
use shared::message::LINK_FD;
use shared::name::GuestName;

use crate::error::{Error, Result};
use crate::launch::{become_root, filter, limit, open_guest_init, reduce_capabilities};
use crate::paths::Paths;
use crate::sys::{self, Cloned};

use super::join::Target;

/// Above all fixed numbers.
const SAFE: i32 = 64;

/// Starts one, for the guest's supervisor at the other end of `socket`, which hears
/// its pid before anything else.
///
/// # Errors
/// When the guest can't be joined, or there can't be another process.
pub fn lead(paths: &Paths, name: &GuestName, init_pid: i32, socket: OwnedFd) -> Result<()> {
    let fail = |error: io::Error| {
        Error::os(format_args!("cannot start a leader in guest '{name}'"), error)
    };
    let target = Target::find(paths, name, init_pid)?;
    let program = open_guest_init(&paths.state_dir()).map_err(fail)?;
    let helper = match sys::fork().map_err(fail)? {
        Cloned::Child => {
            let ended = help(&target, &program, socket);
            sys::exit_now(u8::from(ended.is_err()))
        }
        Cloned::Parent { pidfd, .. } => pidfd,
    };
    // What is in the lobby goes with `target`.
    waitid(WaitId::PidFd(helper.as_fd()), WaitIdOptions::EXITED)
        .map(drop)
        .map_err(|error| fail(error.into()))
}

/// The helper, as a session's: from the fork on the guest sees the child, and may look
/// into it.
fn help(target: &Target, program: &OwnedFd, socket: OwnedFd) -> io::Result<()> {
    target.join()?;
    // Out of reach of a guest that freezes its own tree.
    rustix::io::write(&target.beside, b"0")?;
    become_root()?;
    let program = fcntl_dupfd_cloexec(program, SAFE)?;
    let socket = fcntl_dupfd_cloexec(socket, SAFE)?;
    limit(&target.limits)?;
    filter(&target.filter)?;
    reduce_capabilities(&[])?;
    sys::close_all_but(&[program.as_fd(), socket.as_fd()])?;
    match sys::fork()? {
        Cloned::Child => {
            let _ = execute(&program, socket);
            sys::exit_now(125)
        }
        Cloned::Parent { pid, .. } => {
            let supervisor: Link<FromLeader, ()> = Link::new(socket);
            let _ = supervisor.send(&FromLeader::Born(pid));
            Ok(())
        }
    }
}

fn execute(program: &OwnedFd, socket: OwnedFd) -> io::Result<Infallible> {
    rustix::process::setsid()?;
    sys::close_on_exec_from(3)?;
    sys::place_descriptor(socket, LINK_FD)?;
    let name = std::ffi::CString::new(LEADER_NAME)?;
    Err(sys::exec_by_descriptor(program.as_fd(), &[&name], &[]))
}
