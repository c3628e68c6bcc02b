//! Runlevels: changing them, entering them.

use shared::message::{Power, Runlevel, Style};

use super::slot::{Progress, Slot};
use super::{Effect, Machine, Phase};
use crate::inittab::Action;

impl Machine {
    /// Goes to another runlevel, as `telinit` asks for it.
    pub(super) fn change_level(&mut self, level: Runlevel) {
        match level.as_char() {
            _ if self.stop.is_some() => {}
            '0' => self.stop(self.halt_or_power_off(), None, false),
            '6' => self.stop(Power::Reboot, None, false),
            'a'..='c' => self.demand(level),
            _ => match (self.style, self.phase) {
                (Style::Sysv | Style::Rc, Phase::Sysinit | Phase::Boot) => self.target = level,
                (Style::Sysv | Style::Rc, _) => self.leave_for(level),
                _ => self.note(format!("there is no runlevel {level} in this guest")),
            },
        }
    }

    /// What runlevel 0 means: `shutdown -H` and `halt` say HALT.
    fn halt_or_power_off(&self) -> Power {
        let halt =
            self.variables.iter().any(|(name, value)| name == "INIT_HALT" && value == "HALT");
        if halt { Power::Halt } else { Power::PowerOff }
    }

    fn leave_for(&mut self, level: Runlevel) {
        if level == self.level {
            return;
        }
        self.begin_level(level);
        self.send_state();
    }

    /// Ends what doesn't belong to the new level. The level is entered when
    /// all of that is gone.
    pub(super) fn begin_level(&mut self, level: Runlevel) {
        self.previous = self.level.as_char();
        self.level = level;
        self.phase = Phase::Clearing;
        self.abort_rc();
        let mut jobs = Vec::new();
        for slot in &mut self.slots {
            slot.disabled_until = None;
            let stays = slot.entry.levels.contains(level) || slot.entry.action == Action::Ondemand;
            match slot.progress {
                Progress::Running(job) if !stays || self.stop.is_some() => {
                    jobs.push(job);
                    slot.progress = Progress::Fresh;
                }
                Progress::Running(_) | Progress::Direct => {}
                Progress::Fresh | Progress::Over => slot.progress = Progress::Fresh,
            }
        }
        for job in jobs {
            self.end_job(job);
        }
    }

    /// The level's time has come.
    pub(super) fn enter_level(&mut self) {
        self.out.push(Effect::Record(self.previous, self.level.as_char()));
        // At boot rcS.d has been worked through already.
        if self.style == Style::Rc && (self.level != Runlevel::SINGLE || self.previous != 'N') {
            self.begin_rc(self.level.as_char(), self.previous, None);
        }
    }

    /// When the single-user shell of sysvinit ends, the boot goes on.
    pub(super) fn leave_single(&mut self) {
        let shell = |slot: &Slot| {
            slot.entry.action == Action::Wait && slot.entry.levels.contains(Runlevel::SINGLE)
        };
        let single = self.style == Style::Sysv && self.level == Runlevel::SINGLE;
        if single && self.target != Runlevel::SINGLE && self.slots.iter().any(shell) {
            self.leave_for(self.target);
        }
    }

    /// Starts what is kept for the levels a, b or c; the runlevel stays.
    fn demand(&mut self, level: Runlevel) {
        for slot in &mut self.slots {
            slot.demanded |=
                slot.entry.action == Action::Ondemand && slot.entry.levels.contains(level);
        }
    }
}
