//! What others ask for: signals, `/run/initctl`, the supervisor.
//!
//! A signal means what it means to the init program whose files the guest
//! boots from, since the guest's own tools send it: busybox's `poweroff`
//! sends SIGUSR2, sysvinit's tools write to the FIFO. SIGRTMIN+3, +4 and +5
//! mean halt, power off and reboot in every style, as with systemd, and
//! SIGRTMIN+13, +14 and +15 the same at once (systemd(1), "Signals").

use shared::message::{FromGuest, Power, Style, ToGuest};

use super::{Effect, Machine, Millis};
use crate::environment;
use crate::initctl::Request;
use crate::inittab::Action;

/// Most variables that `/run/initctl` may set (sysvinit: 16).
const MAX_VARIABLES: usize = 16;

/// A signal that has a meaning in some style.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sig {
    /// SIGHUP.
    Hup,
    /// SIGINT.
    Int,
    /// SIGQUIT.
    Quit,
    /// SIGTERM.
    Term,
    /// SIGUSR1.
    Usr1,
    /// SIGUSR2.
    Usr2,
    /// SIGPWR, with the first letter of the power status file.
    Pwr(Option<char>),
    /// SIGWINCH.
    Winch,
    /// SIGRTMIN+3.
    Halt,
    /// SIGRTMIN+4.
    PowerOff,
    /// SIGRTMIN+5.
    Reboot,
    /// SIGRTMIN+13, +14 and +15: the same three without asking anybody.
    Now(Power),
}

impl Machine {
    pub(super) fn signal(&mut self, signal: Sig) {
        match (signal, self.style) {
            (Sig::Halt, _) => self.stop(Power::Halt, None, false),
            (Sig::PowerOff, _) => self.stop(Power::PowerOff, None, false),
            (Sig::Reboot, _) => self.stop(Power::Reboot, None, false),
            (Sig::Now(power), _) => self.stop(power, Some(self.now), false),
            (_, Style::Sysv) => self.signal_sysv(signal),
            (_, Style::Busybox) => self.signal_busybox(signal),
            (Sig::Term | Sig::Pwr(_), _) => self.stop(Power::PowerOff, None, false),
            (Sig::Int, _) => self.stop(Power::Reboot, None, false),
            (Sig::Usr1, _) => self.reopen_initctl(),
            _ => {}
        }
    }

    /// init(8) of sysvinit. It ignores SIGTERM.
    fn signal_sysv(&mut self, signal: Sig) {
        match signal {
            Sig::Hup => self.read_table_again(),
            Sig::Int => self.fire_or_note(&[Action::CtrlAltDel], "SIGINT", "ctrlaltdel"),
            Sig::Winch => {
                self.fire(&[Action::KbRequest]);
            }
            Sig::Pwr(Some('O')) => self.power(&[Action::PowerOkWait]),
            Sig::Pwr(Some('L')) => self.power(&[Action::PowerFailNow]),
            Sig::Pwr(_) => self.power(&[Action::PowerWait, Action::PowerFail]),
            Sig::Usr1 => self.reopen_initctl(),
            _ => {}
        }
    }

    /// busybox init, `init/init.c`.
    fn signal_busybox(&mut self, signal: Sig) {
        match signal {
            Sig::Usr2 => self.stop(Power::PowerOff, None, false),
            Sig::Usr1 | Sig::Pwr(_) => self.stop(Power::Halt, None, false),
            Sig::Term => self.stop(Power::Reboot, None, false),
            Sig::Int => self.fire_or_note(&[Action::CtrlAltDel], "SIGINT", "ctrlaltdel"),
            Sig::Hup => self.read_table_again(),
            // A restart of init with everything stopped before: that is what
            // a restart of the guest is.
            Sig::Quit if self.slots.iter().any(|slot| slot.entry.action == Action::Restart) => {
                self.stop(Power::Reboot, None, false);
            }
            _ => {}
        }
    }

    fn power(&mut self, actions: &[Action]) {
        self.fire_or_note(actions, "a power message", "power");
    }

    fn fire_or_note(&mut self, actions: &[Action], what: &str, kind: &str) {
        if self.stop.is_none() && !self.fire(actions) {
            self.note(format!("{what} has no effect: /etc/inittab has no {kind} entry for it"));
        }
    }

    pub(super) fn request(&mut self, request: Request) {
        match request {
            Request::Level(level) => self.change_level(level),
            Request::Reload => self.read_table_again(),
            Request::Reexecute => {
                self.note(
                    "guest-init stays as it is: the host replaces it at the next start".to_owned(),
                );
            }
            Request::PowerFail => self.power(&[Action::PowerWait, Action::PowerFail]),
            Request::PowerFailNow => self.power(&[Action::PowerFailNow]),
            Request::PowerOk => self.power(&[Action::PowerOkWait]),
            Request::Environment(variables) => self.take_variables(variables),
            Request::Ignored => {}
        }
    }

    fn take_variables(&mut self, variables: Vec<(String, Option<String>)>) {
        for (name, value) in variables {
            let known = self.variables.iter().any(|(other, _)| *other == name);
            match value {
                Some(value) if known || self.variables.len() < MAX_VARIABLES => {
                    environment::set(&mut self.variables, &name, &value);
                }
                Some(_) => self.note_once("too many variables in /run/initctl".to_owned()),
                None => environment::unset(&mut self.variables, &name),
            }
        }
    }

    pub(super) fn order(&mut self, order: ToGuest) {
        match order {
            ToGuest::Boot(_) => self.note_once("a second boot order is ignored".to_owned()),
            ToGuest::Stop(stop) => {
                let deadline = self.now + Millis::from(stop.deadline_ms);
                self.stop(stop.power, Some(deadline), true);
            }
            ToGuest::Runlevel(level) => self.change_level(level),
            ToGuest::Exec { id, argv } => self.spawn_exec(id, argv),
            ToGuest::Query => {
                self.send_hello();
                if let Some(stop) = self.stop.filter(|stop| !stop.ordered) {
                    self.out.push(Effect::Send(FromGuest::Requested(stop.power)));
                }
                self.send_state();
            }
        }
    }
}
