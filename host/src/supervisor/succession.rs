//! A guest whose keeper was killed: another one takes its place, and the guest
//! goes on. What is lost is how this boot ends, which only the parent of its PID 1
//! is told: guest-init says that as well, other inits don't.
//!
//! A supervisor that lives has all that the keeper held. If both were killed, the
//! next supervisor finds PID 1 by the guest's cgroup, and gives it another console:
//! then the link is lost as well until the next boot, and guest-init is asked by
//! signals. From a keeper that lives and can't be talked to it takes what that holds.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::socket::SockType;
use shared::message::{GuestState, Style};
use shared::name::GuestName;
use shared::outcome::GuestEnd;

use crate::accounting::{
    self,
    forks::{self, Made},
};
use crate::bpf::addresses::Addresses;
use crate::cgroup::{self, GuestCgroup, Serving, ServingIds};
use crate::error::{Error, Result};
use crate::journal::Kind;
use crate::launch::{Kept, replace_keeper};
use crate::membership;
use crate::paths::Paths;
use crate::plan::{Far, Link, Network};
use crate::runtime::{self, RunDir, State};
use crate::sys;

use super::Supervisor;
use super::keeper::{self, Keeper};
use super::state::Event;

/// So many keepers may be killed in such a time and have a successor at once. One
/// that ends again and again, whyever, is not to take all of a processor.
const MOST: usize = 10;
const WITHIN: Duration = Duration::from_secs(60);

/// What the others wait for. Nobody is answered meanwhile.
const PAUSE: Duration = Duration::from_millis(500);

/// How often one is tried that can't be started, with that pause.
const TRIES: usize = 10;

/// When keepers got a successor.
#[derive(Debug, Default)]
pub struct Successions(Vec<Instant>);

impl Successions {
    /// Notes another one, and says what it has to wait for.
    fn note(&mut self, now: Instant) -> Duration {
        self.0.retain(|at| now.duration_since(*at) < WITHIN);
        self.0.push(now);
        if self.0.len() <= MOST { Duration::ZERO } else { PAUSE }
    }
}

/// Does this guest run, with or without anybody who watches over it?
pub fn runs(paths: &Paths, name: &GuestName) -> bool {
    let run = RunDir::new(paths, name);
    runtime::is_listened_on(&run.keeper(), SockType::SeqPacket).unwrap_or(false)
        || GuestCgroup::new(paths, name)
            .is_ok_and(|cgroup| find_init(&cgroup, &State::read(&run.state())).is_some())
}

/// PID 1 of a guest's last boot, as the kernel knows it.
struct Init {
    boot: u32,
    pid: i32,
    handle: OwnedFd,
}

fn find_init(cgroup: &GuestCgroup, state: &State) -> Option<Init> {
    // The file may be lost.
    let boot = if state.boot > 0 { state.boot } else { cgroup.last_boot()? };
    let found = || {
        let pids: Vec<i32> = cgroup::ids(&cgroup.inner(boot), "cgroup.procs").into_iter().collect();
        membership::inside(&pids).into_iter().find(|process| process.inner == 1)
    };
    let before = found()?;
    let handle = membership::open(before.pid).ok()?;
    // If it is there still, the descriptor refers to it.
    (found() == Some(before)).then_some(Init { boot, pid: before.pid, handle })
}

impl Supervisor {
    /// Puts another keeper in the place of one that was killed. Without one, or
    /// without PID 1, what is left of the boot is killed.
    pub(super) fn succeed_keeper(&mut self) {
        // By a supervisor that has taken it for a lost one, maybe.
        self.keep_place();
        let Some(lost) = self.keeper.take() else { return };
        let pid = lost.init_pid();
        // One that only lost its connection would be waited for, and stay.
        if let Err(error) = self.cgroup.kill_keeper() {
            tracing::warn!("cannot make sure that the keeper is dead: {error}");
        }
        let kept = lost.bequeath(&mut self.dying);
        thread::sleep(self.successions.note(Instant::now()));
        if !sys::has_ended(&kept.init) {
            match self.start_keeper(pid, kept) {
                Ok(keeper) => {
                    self.keeper = Some(keeper);
                    return self.say(
                        Kind::KeeperLost,
                        "the keeper was killed; the guest goes on with another one, which can't \
                         be told how this boot ends",
                    );
                }
                Err(error) => tracing::error!("cannot start another keeper: {error}"),
            }
        }
        self.say(Kind::KeeperLost, "the keeper was killed; killing the guest");
        self.state.last_end = Some("its keeper was killed".to_owned());
        self.note_crash();
        self.feed(Event::KeeperLost);
    }

    /// The guest that a supervisor and a keeper have left that were both killed, or
    /// whose keeper nobody finds any more.
    pub(super) fn find_orphan(&mut self) -> Option<Keeper> {
        let state = State::read(&self.run.state());
        let init = find_init(&self.cgroup, &state)?;
        self.state = match state.boot == init.boot {
            true => state,
            false => self.state_of_boot(init.boot, init.pid),
        };
        self.note_state();
        let kept = self.find_kept(init.handle);
        let is_linked = kept.link.is_some();
        match self.start_keeper(init.pid, kept) {
            Ok(keeper) => {
                let without = if is_linked { "" } else { ", without a link to its PID 1" };
                let text = format!(
                    "the keeper was killed or lost, and the supervisor as well; the guest goes on \
                     with others{without}, and nobody can be told how this boot ends"
                );
                self.say(Kind::KeeperLost, &text);
                Some(keeper)
            }
            Err(error) => {
                tracing::error!("cannot start another keeper, killing the guest: {error}");
                None
            }
        }
    }

    /// What was noted of the boot that runs, with this PID 1; or what can be known of it
    /// where that is lost.
    pub(super) fn find_state(&mut self, init_pid: i32) {
        self.state = State::read(&self.run.state());
        if self.state.boot > 0 {
            return;
        }
        let Some(boot) = self.cgroup.last_boot() else { return };
        tracing::warn!("what was noted of the guest is lost; going on with boot {boot}");
        self.state = self.state_of_boot(boot, init_pid);
        self.note_state();
    }

    /// What can be known of a boot whose state file is lost: what it has by its
    /// configuration.
    fn state_of_boot(&self, boot: u32, init_pid: i32) -> State {
        let started = accounting::started(init_pid).unwrap_or_default();
        let booted_at_ms = u64::try_from(started.as_millis()).unwrap_or(0);
        let network = &self.plan.network;
        let (proxy, loopback) = match network {
            Network::Linked(Link { far: Far::Host { proxy }, .. }) => (proxy.clone(), None),
            Network::Shared(shared) => (None, shared.allowed.loopback6),
            _ => (None, None),
        };
        let addresses = network.addresses();
        State { boot, booted_at_ms, addresses, proxy, loopback, ..State::default() }
    }

    /// What a keeper that nobody finds holds still, which is ended, and what can be
    /// had without one.
    fn find_kept(&mut self, init: OwnedFd) -> Kept {
        let leaf = self.cgroup.keeper();
        let left = || cgroup::ids(&leaf, "cgroup.procs");
        let strip = |pid| keeper::strip(pid, &init, || left().contains(&pid)).ok();
        let found = left().into_iter().find_map(strip);
        if let Err(error) = self.cgroup.kill_keeper() {
            tracing::warn!("cannot end what is left of a keeper: {error}");
        }
        let none =
            Kept { link: None, console: None, notify: None, init, lookup: None, forks: None };
        let kept = found.unwrap_or(none);
        let lookup = kept.lookup.or_else(|| self.lead_again());
        let forks = kept.forks.or_else(|| self.count_again());
        Kept { lookup, forks, ..kept }
    }

    /// Leads connections to the guest again, if it is on the host's own network:
    /// what did may have gone with its keeper. What holds that by now. A guest that
    /// is configured otherwise meanwhile may not have its new addresses yet.
    fn lead_again(&mut self) -> Option<OwnedFd> {
        let ids = self.state.serving?;
        let Network::Shared(shared) = &self.plan.network else { return None };
        if shared.addresses != self.state.addresses {
            tracing::warn!("connections are led to one of the guest's addresses until a restart");
            return None;
        }
        match self.serving_again(ids, &shared.allowed) {
            Ok(serving) => {
                self.state.serving = serving.ids().ok();
                self.note_state();
                let serving = self.serving.insert(serving);
                serving.link().and_then(|link| link.try_clone_to_owned().ok())
            }
            Err(error) => {
                tracing::warn!("connections are led to one of the guest's addresses: {error}");
                None
            }
        }
    }

    fn serving_again(&self, ids: ServingIds, allowed: &Addresses) -> Result<Serving> {
        let _held = self.hold_starts()?;
        Serving::again(ids, allowed)
            .map_err(|error| Error::os("cannot lead connections to the guest", error))
    }

    /// Counts the guest's processes again, if what did has gone with the last of
    /// all keepers; since then none were counted.
    fn count_again(&mut self) -> Option<OwnedFd> {
        let id = self.state.forks?;
        if let Ok(link) = Made::open(id).and(forks::link_of(id)) {
            return Some(link);
        }
        self.count_forks();
        self.note_state();
        let forks = self.forks.as_ref()?;
        match forks.count(self.cgroup.outer()) {
            Ok(()) => forks.link().try_clone_to_owned().ok(),
            Err(error) => {
                forks::uncounted(&error);
                None
            }
        }
    }

    /// Another one, as long as PID 1 lives: it may be killed as well, before it is
    /// connected to.
    fn start_keeper(&mut self, pid: i32, kept: Kept) -> io::Result<Keeper> {
        for _ in 0..TRIES {
            match self.try_keeper(pid, kept.try_clone()?) {
                Err(error) if !sys::has_ended(&kept.init) => {
                    tracing::warn!("trying again to start a keeper: {error}");
                    thread::sleep(PAUSE);
                }
                other => return other,
            }
        }
        self.try_keeper(pid, kept)
    }

    fn try_keeper(&mut self, pid: i32, kept: Kept) -> io::Result<Keeper> {
        // Somebody may have removed it.
        self.run.create()?;
        self.cgroup.create_leaves(self.state.boot)?;
        let launched = replace_keeper(&self.plan, &self.run, &self.cgroup, pid, kept)?;
        keeper::connect(&self.run).inspect_err(|_| {
            let _ = sys::signal_by_descriptor(launched.keeper.as_fd(), libc::SIGKILL);
            self.dying.bury(launched.keeper);
        })
    }

    /// Goes on with a guest that can't tell how far it is.
    pub(super) fn go_on_unheard(&mut self) {
        if self.keeper.as_ref().is_none_or(|keeper| keeper.link().is_some()) {
            return;
        }
        match self.guest.style {
            Some(Style::Init) => self.left_to_own_init(),
            _ => self.feed(Event::Guest(GuestState::HandedOver)),
        }
    }

    /// Why this supervisor is none: there is a keeper, and it stands still.
    pub(super) fn unanswered(&self, error: io::Error) -> Error {
        let what = format!("the keeper of guest '{}' doesn't answer", self.plan.name);
        let pids = cgroup::ids(&self.cgroup.keeper(), "cgroup.procs");
        let pid = pids.first().map_or_else(|| "PID".to_owned(), ToString::to_string);
        Error::os(what, error).hint(format!(
            "the guest goes on; let its keeper go on, too: kill -CONT {pid}; or have the next \
             command start another one: kill -9 {pid}"
        ))
    }

    /// What an end means that nobody has seen: what guest-init has said that it
    /// is about to do. Of others there is no word: the kernel tells whoever isn't
    /// the parent how a process has ended (`PIDFD_INFO_EXIT`, Linux 6.15), but not
    /// that it was by reboot(2) (measured with 6.18).
    pub(super) fn unseen_end(&self) -> GuestEnd {
        self.state.power.map_or(GuestEnd::Unknown, GuestEnd::asked_for)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_ends_again_and_again_has_to_wait() {
        let mut successions = Successions::default();
        let start = Instant::now();
        assert!((0..MOST).all(|_| successions.note(start).is_zero()));
        assert_eq!(successions.note(start + WITHIN / 2), PAUSE);
        assert!(successions.note(start + WITHIN).is_zero(), "those of before are forgotten");
    }
}
