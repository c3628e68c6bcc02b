//! What commands ask for, and what they are answered.

use std::mem;
use std::path::Path;
use std::time::Duration;

use shared::message::ToGuest;

use crate::cgroup::GuestCgroup;
use crate::config::Files;
use crate::control::{Event as Told, Phase, Request};
use crate::error::{Error, Result};
use crate::fsroot::RootDir;
use crate::journal::Kind;
use crate::storage;

use super::Supervisor;
use super::state::{Event, Stop};
use super::timers::Timer;

/// Between two looks for sessions: less than a start waits for the end of the last one.
pub const SESSIONS: Duration = Duration::from_millis(200);

impl Supervisor {
    /// Does what commands ask for.
    pub(super) fn hear_clients(&mut self) {
        let mut requests = mem::take(&mut self.deferred);
        requests.extend(self.clients.hear());
        // Who asks after a client has gone finds the guest without it.
        self.let_go();
        for (client, request) in requests {
            self.heed(client, request);
        }
        let is_counted = !self.timers.is_set(Timer::Sessions);
        if is_counted && self.machine.phase() == Phase::Session && self.clients.last_lease_ended() {
            self.feed(Event::LastSessionEnded);
        }
    }

    /// Looks for the sessions in a context that another supervisor opened: their
    /// connections were to that one, but each has a process of the host's until it ends.
    pub(super) fn look_for_sessions(&mut self) {
        let has_some = self.clients.has_leases() || GuestCgroup::populated(&self.cgroup.session());
        match self.machine.phase() {
            Phase::Session if !has_some => self.feed(Event::LastSessionEnded),
            Phase::Booting | Phase::Session => self.arm(Timer::Sessions, SESSIONS),
            _ => {}
        }
    }

    /// Answers what the administrator's script may ask that runs now. The rest waits for
    /// its end, also all that the same client asks after that.
    pub(super) fn hear_meanwhile(&mut self) {
        for (client, request) in self.clients.hear() {
            let waits = self.deferred.iter().any(|(other, _)| *other == client);
            match request.is_answered_meanwhile() && !waits {
                true => self.heed(client, request),
                false => self.deferred.push((client, request)),
            }
        }
    }

    fn heed(&mut self, client: u64, request: Request) {
        // It may have waited longer than who has sent it.
        if request.ends_with_connection() && !self.clients.has(client) {
            return;
        }
        match request {
            Request::Status => self.answer(client, Ok(())),
            Request::Subscribe => {
                self.clients.subscribe(client);
                self.answer(client, Ok(()));
            }
            Request::Watch(since_ms) => self.watch(client, since_ms),
            Request::Stop { power, timeout_ms, no_kill } => {
                self.clients.subscribe(client);
                let timeout = timeout_ms.map(|ms| Duration::from_millis(ms.into()));
                let timeout = timeout.unwrap_or_else(|| self.stop_timeout());
                self.feed(Event::Stop(Stop { power, timeout, no_kill }));
            }
            Request::Runlevel(level) => {
                if let Some(keeper) = &self.keeper {
                    keeper.tell_guest(&ToGuest::Runlevel(level));
                }
            }
            Request::Reexec(program) => self.reexec(client, &program),
            Request::Leave => self.leave(client),
            Request::Account => {
                self.look_at_records();
                let kept = self.keep_account();
                self.answer(client, kept);
            }
            Request::Addresses => {
                let changed = self.change_addresses();
                self.answer(client, changed);
            }
            Request::Freeze(freeze) => {
                self.clients.forget_holds();
                self.note_hold(false);
                let frozen = self.freeze(freeze);
                self.answer(client, frozen);
                self.tell_change(self.machine.phase());
            }
            Request::Lease => self.clients.lease(client),
            Request::Hold => self.hold(client),
        }
    }

    /// How the guest is now, or why what was asked for isn't done.
    fn answer(&mut self, client: u64, done: Result<()>) {
        let answer = match done {
            Ok(()) => Told::Status(Box::new(self.snapshot())),
            Err(error) => Told::failed(&error),
        };
        self.clients.answer(client, &answer);
    }

    /// Freezes the guest or lets it go on.
    fn freeze(&self, freeze: bool) -> Result<()> {
        let name = &self.plan.name;
        if freeze && !self.machine.may_freeze() {
            let phase = self.machine.phase();
            return Err(Error::new(format!("guest '{name}' can't be paused while it is {phase}"))
                .hint(format!("wait until it is up: vserver wait {name} --for running")));
        }
        let verb = if freeze { "freeze" } else { "thaw" };
        self.say(Kind::Frozen, &format!("{verb} the guest"));
        self.cgroup
            .freeze(self.state.boot, freeze)
            .map_err(|error| Error::os(format_args!("cannot {verb} guest '{name}'"), error))
    }

    /// Freezes the guest for as long as a client's connection lasts, unless
    /// somebody else has.
    fn hold(&mut self, client: u64) {
        let is_paused = self.cgroup.is_to_freeze(self.state.boot);
        // Before: whoever takes over lets it go on.
        self.note_hold(!is_paused || self.state.held);
        let frozen = if is_paused { Ok(()) } else { self.freeze(true) };
        if !is_paused && frozen.is_ok() {
            self.clients.hold(client);
        }
        self.answer(client, frozen);
        self.tell_change(self.machine.phase());
    }

    /// Lets the guest go on when the last client for which it was frozen has gone.
    fn let_go(&mut self) {
        if self.clients.last_hold_ended() && self.machine.may_freeze() {
            self.thaw_image();
            // It is in the log.
            let _ = self.freeze(false);
            self.note_hold(false);
            self.tell_change(self.machine.phase());
        }
    }

    /// Lets a guest go on that stood still for a connection to the supervisor before.
    pub(super) fn let_go_of_others(&mut self) {
        if self.state.held {
            self.thaw_image();
            self.thaw();
            self.note_hold(false);
        }
    }

    /// Who was killed while the guest stood still for it may have left the file system of
    /// its image frozen, too.
    fn thaw_image(&self) {
        let (place, init) = (&self.plan.place, self.snapshot().init_pid);
        if place.files != Files::Image || init <= 0 {
            return;
        }
        let root = RootDir::open(Path::new(&format!("/proc/{init}/root")));
        let Ok(root) = root else { return };
        match storage::thaw_image(&root, &place.root) {
            Ok(false) => {}
            Ok(true) => tracing::info!("its image was still frozen, and is no more"),
            Err(error) => tracing::warn!("cannot see whether its image is frozen: {error}"),
        }
    }

    fn note_hold(&mut self, held: bool) {
        if self.state.held != held {
            self.state.held = held;
            self.note_state();
        }
    }

    /// This supervisor can do nothing: all that have come are told why.
    pub(super) fn refuse_all(&mut self, error: &Error) {
        let failed = Told::failed(error);
        self.clients.tell(&failed);
        for (client, request) in self.clients.hear() {
            // Who watches looks for the next one.
            if !matches!(request, Request::Watch(_)) {
                self.clients.answer(client, &failed);
            }
        }
    }

    /// The guest is down, and nobody can come any more: who came late still
    /// hears how that was.
    pub(super) fn hear_last_clients(&mut self) {
        let mut requests = mem::take(&mut self.deferred);
        requests.extend(self.clients.hear());
        for (client, request) in requests {
            match (request, &self.failure) {
                (Request::Watch(since_ms), _) => self.watch(client, since_ms),
                (Request::Subscribe, Some(error)) => {
                    let failed = Told::failed(error);
                    self.clients.answer(client, &failed);
                }
                _ => {}
            }
        }
    }
}
