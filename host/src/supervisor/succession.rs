//! A guest whose keeper was killed: another one takes its place, and the guest
//! goes on. What is lost is how this boot ends, which only the parent of its PID 1
//! is told: guest-init says that as well, other inits don't.
//!
//! A supervisor that lives has all that the keeper held. If both were killed, the
//! next supervisor finds PID 1 by the guest's cgroup: then the console and the
//! link are lost, too, until the next boot, and guest-init is asked by signals.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::socket::SockType;
use shared::message::{GuestState, Style};
use shared::name::GuestName;
use shared::outcome::GuestEnd;

use crate::accounting::forks::{self, Made};
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
            .is_ok_and(|cgroup| init(&cgroup, State::read(&run.state()).boot).is_some())
}

/// PID 1 of a boot, as the kernel knows it.
fn init(cgroup: &GuestCgroup, boot: u32) -> Option<(i32, OwnedFd)> {
    let found = || {
        let pids: Vec<i32> = cgroup::ids(&cgroup.inner(boot), "cgroup.procs").into_iter().collect();
        membership::inside(&pids).into_iter().find(|process| process.inner == 1)
    };
    let before = found()?;
    let handle = membership::open(before.pid).ok()?;
    // If it is there still, the descriptor refers to it.
    (found() == Some(before)).then_some((before.pid, handle))
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

    /// The guest that a supervisor and a keeper have left that were both killed.
    pub(super) fn find_orphan(&mut self) -> Option<Keeper> {
        let (pid, init) = init(&self.cgroup, State::read(&self.run.state()).boot)?;
        self.state = State::read(&self.run.state());
        let lookup = self.lead_again();
        let forks = self.state.forks.and_then(|id| Made::open(id).and(forks::link_of(id)).ok());
        let kept = Kept { link: None, console: None, notify: None, init, lookup, forks };
        match self.start_keeper(pid, kept) {
            Ok(keeper) => {
                self.say(
                    Kind::KeeperLost,
                    "the keeper was killed, and the supervisor as well; the guest goes on, without \
                     its console until the next boot, and nobody can be told how this one ends",
                );
                Some(keeper)
            }
            Err(error) => {
                tracing::error!("cannot start another keeper, killing the guest: {error}");
                None
            }
        }
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
