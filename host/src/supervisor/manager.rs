//! What the supervisor has to do with whoever started it: systemd, a guard, an
//! upgrade.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::SockType;
use rustix::process::{Signal, getpid, kill_process};
use shared::message::Power;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::cgroup;
use crate::control::Event as Told;
use crate::error::Error;
use crate::runtime;
use crate::sys::signals::{has_come, pipe_of};
use crate::systemd::guard;

use super::Supervisor;
use super::state::{Event, Stop};
use super::timers::Timer;

/// SIGHUP: its socket is missed ([`crate::control::Client::connect`]). Whoever has a
/// supervisor's place may be sent it, however long it takes to make one.
///
/// # Errors
/// Those of socketpair(2) and sigaction(2).
pub fn missed() -> io::Result<OwnedFd> {
    pipe_of(&[SIGHUP])
}

fn signals(is_unit: bool) -> io::Result<Option<OwnedFd>> {
    if !is_unit {
        return Ok(None);
    }
    let terminated = pipe_of(&[SIGTERM])?;
    // Not ignored: that would be inherited.
    signal_hook::flag::register(SIGINT, Arc::default())?;
    Ok(Some(terminated))
}

impl Supervisor {
    /// Another process watches over this one, and holds the other end of this.
    #[must_use]
    pub fn guarded_by(mut self, guard: Option<OwnedFd>) -> Self {
        self.guard = guard;
        self
    }

    /// Tells the guard, or systemd, that what comes now takes as long as it does.
    pub(super) fn be_busy(&self) {
        match &self.guard {
            Some(guard) => guard::tell_busy(guard),
            None => self.notifier.busy(),
        }
    }

    /// Tells systemd, or the guard, that this process isn't stuck, and remembers
    /// to do so again.
    pub(super) fn arm_watchdog(&mut self) {
        let interval = match &self.guard {
            Some(_) => guard::interval(),
            None => self.notifier.interval(),
        };
        let Some(interval) = interval else { return };
        match &self.guard {
            Some(guard) => {
                guard::tell(guard);
                self.notifier.again();
            }
            None => self.notifier.alive(),
        }
        self.timers.set(Timer::Watchdog, Instant::now().checked_add(interval));
    }

    /// What [`missed`] gave; as a
    /// unit's process also SIGTERM, systemd's order to shut the guest down where
    /// it can't run `ExecStop=` because the unit isn't active yet
    /// (systemd.service(5)); SIGINT means nothing there.
    ///
    /// # Errors
    /// Those of socketpair(2) and sigaction(2).
    pub fn woken_by_signals(mut self, missed: OwnedFd, is_unit: bool) -> io::Result<Self> {
        match signals(is_unit) {
            Ok(terminated) => {
                (self.missed, self.terminated) = (Some(missed), terminated);
                Ok(self)
            }
            Err(error) => {
                self.run.leave(self.lock);
                Err(error)
            }
        }
    }

    /// What systemd, the guard and who can't find the socket have to say.
    pub(super) fn hear_manager(&mut self) {
        if self.missed.as_ref().is_some_and(has_come) {
            self.come_back();
        }
        if self.terminated.as_ref().is_some_and(has_come) {
            tracing::info!("systemd stops the unit");
            let timeout = self.stop_timeout();
            self.feed(Event::Stop(Stop { power: Power::PowerOff, timeout, no_kill: false }));
        }
        if self.notifier.give_up(self.machine.phase()) {
            tracing::warn!("the boot goes on, and systemd doesn't wait for it any longer");
        }
        self.hear_guard();
    }

    /// Makes again what somebody has removed below `/run`, the keeper's sockets as
    /// well. What the confinement of this boot was is lost.
    pub(super) fn come_back(&mut self) {
        self.keep_place();
        let keeper_is_missed = self.keeper.is_some() && !self.run.keeper().exists();
        if self.keeper.is_some() && !self.run.state().exists() {
            tracing::warn!("somebody has removed the state file; it is written again");
            self.note_state();
        }
        if self.run.control().exists() && !keeper_is_missed {
            return;
        }
        let made = self.run.create().and_then(|()| {
            if !self.run.control().exists() {
                let listener = runtime::listen(&self.run.control(), SockType::SeqPacket)?;
                self.clients.listen_on(listener);
            }
            self.state.write(&self.run.state())?;
            self.renew_keepers_sockets()
        });
        let path = self.run.path().display();
        match made {
            Ok(()) => tracing::warn!(
                "somebody has removed files from '{path}': requests are taken again, sessions need \
                 a restart of the guest"
            ),
            Err(error) => tracing::error!("cannot make '{path}' again: {error}"),
        }
    }

    /// Has a lock again that somebody has removed. If another supervisor has one by
    /// now, the guest is that one's: of two one ends, as if it had been killed.
    pub(super) fn keep_place(&mut self) {
        if self.run.has_place(&self.lock) {
            return;
        }
        match self.run.supervise_again() {
            Ok(Some(lock)) => {
                tracing::warn!("somebody has removed this supervisor's lock; it has another one");
                self.lock = lock;
            }
            Ok(None) => {
                tracing::error!("this supervisor has lost its lock, and another one has the guest");
                let _ = kill_process(getpid(), Signal::KILL);
            }
            Err(error) => tracing::warn!("the lock was removed, and can't be made again: {error}"),
        }
    }

    /// Without them nobody could take the guest over after this process.
    fn renew_keepers_sockets(&self) -> io::Result<()> {
        let Some(keeper) = self.keeper.as_ref().filter(|_| !self.run.keeper().exists()) else {
            return Ok(());
        };
        let supervisors = runtime::listen(&self.run.keeper(), SockType::SeqPacket)?;
        let consoles = runtime::listen(&self.run.console(), SockType::Stream)?;
        keeper.listen_on(&supervisors, &consoles)
    }

    /// Becomes the guard when that has been killed.
    fn hear_guard(&mut self) {
        let Some(guard) = &self.guard else { return };
        let mut fds = [PollFd::new(guard.as_fd(), PollFlags::empty())];
        let _ = poll(&mut fds, PollTimeout::ZERO);
        if !fds.iter().any(|fd| fd.any().unwrap_or(false)) {
            return;
        }
        tracing::warn!("the supervisor's guard was killed; taking its place");
        self.registration.abandon();
        let error = guard::replace(&self.plan.name);
        // Without one, the next command finds a guest that has no supervisor.
        tracing::error!("cannot become the guard: {error}");
        self.guard = None;
        self.register();
    }

    /// Ends as if it had been killed, for a supervisor that is a unit's process.
    pub(super) fn leave(&mut self, client: u64) {
        if !self.may_be_replaced(client) {
            return;
        }
        tracing::info!("leaving the guest to the supervisor of its unit");
        let _ = self.keep_account();
        let status = Told::Status(Box::new(self.snapshot()));
        self.clients.answer(client, &status);
        self.clients.flush();
        self.registration.abandon();
        std::process::exit(0);
    }

    /// Who has sessions in a guest that isn't booted is known to this process alone,
    /// as are other things ([`super::state::Machine::may_be_left`]): then no other can
    /// go on, and that is the answer.
    fn may_be_replaced(&mut self, client: u64) -> bool {
        let (name, phase) = (&self.plan.name, self.machine.phase());
        if self.machine.may_be_left() {
            return true;
        }
        let error = Error::new(format!(
            "the supervisor of guest '{name}' can't be replaced while the guest is {phase}"
        ))
        .hint(format!("try again when it is up: vserver wait {name} --for running"));
        self.clients.answer(client, &Told::failed(&error));
        false
    }

    /// Executes another version of this program, which finds the guest as after
    /// a supervisor's death.
    pub(super) fn reexec(&mut self, client: u64, program: &Path) {
        if !self.may_be_replaced(client) {
            return;
        }
        // Not tried in vain: the answer can't come after it.
        if let Err(error) = std::fs::File::open(program) {
            let error = Error::path("open", program, error);
            return self.clients.answer(client, &Told::failed(&error));
        }
        tracing::info!(program = %program.display(), "executing another supervisor");
        let status = Told::Status(Box::new(self.snapshot()));
        self.clients.answer(client, &status);
        self.clients.flush();
        let _ = self.keep_account();
        // The next one tells machined again.
        self.registration.abandon();
        let is_own = || cgroup::own_unit(&self.planner.paths, &self.plan.name).is_some();
        let role: &[&str] = match (&self.guard, self.notifier.is_heard()) {
            (Some(_), _) => &[guard::GUARDED],
            (None, true) if is_own() => &["--unit"],
            (None, true) => &["--take-over", "--unit"],
            (None, false) => &["--take-over"],
        };
        // Another version may never say that it isn't stuck.
        if let Some(guard) = &self.guard {
            guard::tell_busy(guard);
        }
        let mut command = Command::new(program);
        let error =
            command.arg0("vserver").arg("supervise").args(role).arg(self.plan.name.as_str()).exec();
        tracing::error!("cannot execute '{}': {error}", program.display());
        self.register();
    }
}
