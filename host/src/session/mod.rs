//! Sessions: `enter`, `exec` and `suexec` in a guest that runs, or in the
//! context of one that doesn't.
//!
//! Three processes: the command itself stays on the host and passes bytes
//! (`relay`); a helper joins the guest's namespaces (`join`); its child, born
//! in the guest's PID namespace, goes into a leaf of the guest's own cgroup
//! (`gate`) and becomes the user's program (`inside`). No descriptor of the
//! host's goes in: the program gets a pty made inside, or pipes.

mod account;
mod gate;
mod inside;
mod join;
mod leader;
mod program;
mod pump;
mod raw;
mod relay;
mod self_protection;
mod signals;
mod streams;

use std::ffi::OsString;
use std::time::{Duration, Instant};

use shared::name::GuestName;
use shared::outcome::Outcome;

use crate::config;
use crate::control::{Client, Event, Phase, Request, spawn_supervisor, start_failed};
use crate::error::{Error, Result};
use crate::paths::Paths;
use crate::runtime::{Lock, RunDir};
use crate::supervisor;

pub use account::users;
pub use leader::lead;
pub use raw::RawTerminal;
pub use self_protection::protect;
pub use streams::is_in_background;

/// Longest time until a context is there: nothing in it waits.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Session {
    /// A command, or the user's login shell.
    pub command: Option<Vec<OsString>>,
    /// One of the guest's users, by name or number; root if not given.
    pub user: Option<String>,
}

/// Runs a session in a guest, and in its bare context if the guest doesn't
/// run. Returns how the program ended; `warn` is given what the user should
/// know meanwhile.
///
/// # Errors
/// When there is no such guest, it can't be joined, or the program can't be
/// executed (`Kind::CannotExecute`, `Kind::CommandNotFound`).
pub fn run(
    paths: &Paths,
    name: &GuestName,
    session: &Session,
    warn: &dyn Fn(String),
) -> Result<Outcome> {
    let (client, init_pid) = open(paths, name, warn)?;
    let target = join::Target::find(paths, name, init_pid)?;
    // It can't be taken back (prctl(2), `PR_SET_NO_NEW_PRIVS`).
    if nix::sys::prctl::get_no_new_privs().unwrap_or(false) {
        warn(format!(
            "whoever started this may gain no privileges (no_new_privs), and so may nobody in \
             this session in guest '{name}': su, sudo and other setuid programs fail"
        ));
    }
    let outcome = relay::run(&target, session, warn);
    drop(client);
    outcome
}

/// The guest's context, opened if need be. It stays while the returned
/// connection lasts.
fn open(paths: &Paths, name: &GuestName, warn: &dyn Fn(String)) -> Result<(Client, i32)> {
    // A guest that is on its way up, down or around has no PID 1 for moments.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let client = match Client::connect(paths, name)? {
            Some(client) => client,
            None => open_context(paths, name, warn)?,
        };
        client.send(&Request::Lease)?;
        match client.status() {
            // A bare context that is going down is no place for a new session.
            Ok(status)
                if status.shown_phase() == Phase::Session && !is_on_its_way_up(status.phase) =>
            {
                client.refuse_own_script()?;
                wait_for_end(&client, deadline)?;
            }
            Ok(status) if status.paused => return Err(paused(name)),
            Ok(status) if status.init_pid > 0 => return Ok((client, status.init_pid)),
            Err(error) if error.kind() != crate::error::Kind::NotRunning => return Err(error),
            _ if Instant::now() < deadline => {
                client.refuse_own_script()?;
                std::thread::sleep(Duration::from_millis(20));
            }
            _ => return Err(Error::not_running(name)),
        }
    }
}

/// Is this a phase of a context that is there, or is being made?
fn is_on_its_way_up(phase: Phase) -> bool {
    matches!(phase, Phase::Starting | Phase::Booting | Phase::Session)
}

/// Whatever joined it would be frozen as well.
fn paused(name: &GuestName) -> Error {
    Error::new(format!("guest '{name}' is paused"))
        .hint(format!("let it go on: vserver resume {name}"))
}

fn wait_for_end(client: &Client, deadline: Instant) -> Result<()> {
    client.send(&Request::Subscribe)?;
    while client.next(Some(deadline))?.is_some() {}
    Ok(())
}

fn open_context(paths: &Paths, name: &GuestName, warn: &dyn Fn(String)) -> Result<Client> {
    // The configuration's mistakes are said here, not by the supervisor.
    let config = config::load(paths, name)?;
    let mut lock = Some(Lock::take_turn(paths, name, &|| Ok(()), warn)?);
    if let Some(client) = Client::connect(paths, name)? {
        return Ok(client);
    }
    supervisor::refuse_root(paths, name, &config)?;
    RunDir::new(paths, name).forget_end();
    let client = spawn_supervisor(name, &["--idle"])?;
    client.send(&Request::Lease)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let event = client.next(Some(deadline))?;
        // Its first word is that it is there: from then on others find it, and its script may
        // want a turn of its own.
        drop(lock.take());
        match event {
            Some(Event::Phase(Phase::Session)) => return Ok(client),
            Some(Event::Failed { text, hint }) => return Err(start_failed(text, hint)),
            Some(_) => {}
            None => {
                return Err(Error::new(format!("the context of guest '{name}' ended at once")));
            }
        }
    }
}
