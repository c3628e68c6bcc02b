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

use nix::sys::socket::SockType;
use shared::message::{GuestState, Style};
use shared::name::GuestName;
use shared::outcome::GuestEnd;

use crate::accounting::{
    self,
    forks::{self, Made},
};
use crate::cgroup::{self, GuestCgroup, Serving};
use crate::journal::Kind;
use crate::launch::{Kept, replace_keeper};
use crate::membership;
use crate::paths::Paths;
use crate::plan::Network;
use crate::runtime::{self, RunDir, State};
use crate::sys;

use super::Supervisor;
use super::keeper::{self, Keeper};
use super::state::Event;

/// Does this guest run, with or without anybody who watches over it?
pub fn runs(paths: &Paths, name: &GuestName) -> bool {
    let run = RunDir::new(paths, name);
    runtime::connect(&run.keeper(), SockType::SeqPacket).is_ok()
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
        let Some(lost) = self.keeper.take() else { return };
        let pid = lost.init_pid();
        let kept = lost.bequeath();
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
        let mut state = State::read(&self.run.state());
        let init = find_init(&self.cgroup, &state)?;
        if state.boot != init.boot {
            let started = accounting::started(init.pid).unwrap_or_default();
            let booted_at_ms = u64::try_from(started.as_millis()).unwrap_or(0);
            state = State { boot: init.boot, booted_at_ms, ..State::default() };
        }
        self.state = state;
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

    /// What a keeper that nobody finds holds still, or what can be had without one.
    fn find_kept(&mut self, init: OwnedFd) -> Kept {
        let left = cgroup::ids(&self.cgroup.keeper(), "cgroup.procs").into_iter().next();
        if let Some(kept) = left.and_then(|pid| keeper::strip(pid, &init).ok()) {
            return kept;
        }
        let lookup = self.lead_again();
        let forks = self.state.forks.and_then(|id| Made::open(id).and(forks::link_of(id)).ok());
        Kept { link: None, console: None, notify: None, init, lookup, forks }
    }

    /// Leads connections to the guest again, if it is on the host's own network:
    /// what did may have gone with its keeper. What it holds them by now.
    fn lead_again(&mut self) -> Option<OwnedFd> {
        let Network::Shared(shared) = &self.plan.network else { return None };
        let again = Serving::again(self.state.serving?, &shared.allowed)
            .and_then(|serving| Ok((serving.ids()?, serving)));
        match again {
            Ok((ids, serving)) => {
                self.state.serving = Some(ids);
                self.note_state();
                let serving = self.serving.insert(serving);
                serving.link().and_then(|link| link.try_clone_to_owned().ok())
            }
            Err(error) => {
                tracing::warn!("connections are led to one of the guest's addresses only: {error}");
                None
            }
        }
    }

    fn start_keeper(&self, pid: i32, kept: Kept) -> io::Result<Keeper> {
        let launched = replace_keeper(&self.plan, &self.run, &self.cgroup, pid, kept)?;
        match keeper::connect(&self.run) {
            Ok(keeper) => Ok(keeper.adopt(launched.keeper)),
            Err(error) => {
                let _ = sys::signal_by_descriptor(launched.keeper.as_fd(), libc::SIGKILL);
                keeper::reap(&launched.keeper);
                Err(error)
            }
        }
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

    /// What an end means that nobody has seen: what guest-init has said that it
    /// is about to do. Of others there is no word: the kernel tells whoever isn't
    /// the parent how a process has ended (`PIDFD_INFO_EXIT`, Linux 6.15), but not
    /// that it was by reboot(2) (measured with 6.18).
    pub(super) fn unseen_end(&self) -> GuestEnd {
        self.guest.power.map_or(GuestEnd::Unknown, GuestEnd::asked_for)
    }
}
