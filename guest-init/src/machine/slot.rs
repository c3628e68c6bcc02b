//! Slots: entries of inittab over time. When one is started, waited for,
//! started again, or left alone.

use super::job::Kind;
use super::{Effect, Machine, Millis, Phase, Program, Table};
use crate::inittab::{Action, Dialect, Entry};
use crate::rc::stock;
use shared::message::{Runlevel, Style};

/// sysvinit's limit: more starts than this …
const MAX_STARTS: u32 = 10;
/// … within this time …
const WITHIN: Millis = 120_000;
/// … disable an entry for this long.
const DISABLED: Millis = 300_000;

/// An entry and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    /// Never used twice.
    pub(super) key: u32,
    pub(super) entry: Entry,
    pub(super) progress: Progress,
    /// Its terminal doesn't exist here.
    missing: bool,
    /// Its level a, b or c was asked for.
    pub(super) demanded: bool,
    starts: u32,
    first_start: Millis,
    pub(super) disabled_until: Option<Millis>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Not yet started in this level.
    Fresh,
    /// Its job.
    Running(u32),
    /// The own rc runner stands in for it.
    Direct,
    /// It has run.
    Over,
}

impl Machine {
    pub(super) fn dialect(&self) -> Dialect {
        if self.style == Style::Busybox { Dialect::Busybox } else { Dialect::Sysv }
    }

    /// Takes inittab, the first time or again: what goes on in entries that
    /// are still there goes on, processes of entries that are gone are ended.
    pub(super) fn take_table(&mut self, table: Table) {
        for problem in &table.inittab.problems {
            let text =
                format!("line {} of /etc/inittab is skipped: {}", problem.line, problem.what);
            self.note_once(text);
        }
        let missing: Vec<&str> = table.missing.iter().map(String::as_str).collect();
        if !missing.is_empty() {
            let names = missing.join(", ");
            self.note_once(format!(
                "not in /dev here: {names}; their entries in /etc/inittab are skipped"
            ));
        }
        let first = !core::mem::replace(&mut self.has_table, true);
        if !first && table.inittab.entries.is_empty() {
            return self.note("/etc/inittab is empty or unreadable: all stays as it is".to_owned());
        }
        let mut old = core::mem::take(&mut self.slots);
        for entry in table.inittab.entries {
            let missing = entry.terminal.as_ref().is_some_and(|name| table.missing.contains(name));
            let same = |slot: &Slot| {
                let (a, b) = (&slot.entry, &entry);
                (&a.id, a.action, &a.process) == (&b.id, b.action, &b.process)
            };
            let slot = match old.iter().position(same) {
                Some(at) => {
                    Slot { entry, missing, disabled_until: None, starts: 0, ..old.remove(at) }
                }
                None => self.new_slot(entry, missing),
            };
            self.slots.push(slot);
        }
        for slot in old {
            match slot.progress {
                Progress::Running(job) => self.end_job(job),
                Progress::Direct => self.abort_rc(),
                Progress::Fresh | Progress::Over => {}
            }
        }
        self.direct = table.direct;
        if first {
            self.choose_target();
        }
    }

    fn new_slot(&mut self, entry: Entry, missing: bool) -> Slot {
        self.last_slot = self.last_slot.wrapping_add(1);
        Slot {
            key: self.last_slot,
            entry,
            progress: Progress::Fresh,
            missing,
            demanded: false,
            starts: 0,
            first_start: 0,
            disabled_until: None,
        }
    }

    /// The default runlevel: the supervisor's, else inittab's, else 2.
    fn choose_target(&mut self) {
        if self.style != Style::Sysv || self.order.runlevel.is_some() {
            return;
        }
        let default = self.slots.iter().find(|slot| slot.entry.action == Action::Initdefault);
        // Of several levels sysvinit takes the highest; halting at boot is
        // refused there too.
        let level = default.and_then(|slot| {
            ('1'..='9')
                .rev()
                .chain(['S'])
                .filter(|c| *c != '6')
                .filter_map(Runlevel::from_char)
                .find(|level| slot.entry.levels.contains(*level))
        });
        match level {
            Some(level) if level == self.target => {}
            Some(level) => {
                self.target = level;
                self.send_state();
            }
            None => self.note("/etc/inittab has no usable default runlevel, taking 2".to_owned()),
        }
    }

    /// Starts the entries of the present phase, in order; false as soon as
    /// one has to be waited for.
    pub(super) fn pass_slots(&mut self) -> bool {
        if !self.has_table {
            return false;
        }
        for at in 0..self.slots.len() {
            let Some(slot) = self.slots.get(at) else { break };
            if slot.missing || !self.applies(slot) {
                continue;
            }
            let waits = slot.entry.action.waits();
            let due = match slot.progress {
                Progress::Fresh => true,
                Progress::Over => slot.entry.action.respawns() && slot.disabled_until.is_none(),
                Progress::Running(_) | Progress::Direct => false,
            };
            if due && self.is_holding() {
                return false;
            }
            if due {
                self.start_slot(at);
            }
            let progress = |machine: &Self| machine.slots.get(at).map(|slot| slot.progress);
            if progress(self) == Some(Progress::Direct) {
                self.drive_rc();
            }
            if waits && progress(self) != Some(Progress::Over) {
                return false;
            }
        }
        true
    }

    /// Is it this entry's time?
    fn applies(&self, slot: &Slot) -> bool {
        let here = slot.entry.levels.contains(self.level);
        match (slot.entry.action, self.phase) {
            (Action::Sysinit, Phase::Sysinit) | (Action::Boot | Action::Bootwait, Phase::Boot) => {
                true
            }
            (Action::Wait | Action::Once, Phase::Level | Phase::Up) => here,
            (Action::Respawn | Action::Askfirst, Phase::Level | Phase::Up) => {
                here && self.stop.is_none()
            }
            (Action::Ondemand, Phase::Level | Phase::Up) => slot.demanded && self.stop.is_none(),
            _ => false,
        }
    }

    /// Starts an entry's process, unless it was started too often.
    pub(super) fn start_slot(&mut self, at: usize) {
        if self.is_respawning_too_fast(at) {
            return;
        }
        let Some(slot) = self.slots.get(at) else { return };
        let (key, entry) = (slot.key, slot.entry.clone());
        if self.direct
            && self.rc.is_none()
            && entry.action.waits()
            && let Some(level) = stock::call(&entry.process)
        {
            self.set_progress(key, Progress::Direct);
            self.begin_rc(level.as_char(), self.previous, Some(key));
            return;
        }
        let mut command = self.command(Program::Line(entry.process.clone()));
        command.terminal = match self.dialect() {
            Dialect::Busybox => entry.terminal.clone(),
            Dialect::Sysv => None,
        };
        command.ask_first = entry.action == Action::Askfirst;
        // sysvinit gives the console to what it waits for while it boots and
        // in single-user mode; busybox to shells (a '-' in front).
        command.controlling = match self.dialect() {
            Dialect::Sysv => {
                let alone = matches!(self.phase, Phase::Sysinit | Phase::Boot)
                    || self.level == Runlevel::SINGLE;
                alone && entry.action.waits()
            }
            Dialect::Busybox => entry.process.starts_with('-'),
        };
        let respawns = entry.action.respawns();
        command.record = (respawns && !entry.unrecorded).then(|| entry.id.clone());
        let name = (!respawns).then_some(entry.process.as_str());
        let job = self.spawn(Kind::Slot(key), name, "", command);
        self.set_progress(key, Progress::Running(job));
    }

    /// Counts a start; true when the entry is disabled instead.
    fn is_respawning_too_fast(&mut self, at: usize) -> bool {
        let now = self.now;
        let Some(slot) = self.slots.get_mut(at) else { return true };
        if !slot.entry.action.respawns() {
            return false;
        }
        if slot.starts == 0 || now.saturating_sub(slot.first_start) >= WITHIN {
            (slot.starts, slot.first_start) = (0, now);
        }
        slot.starts += 1;
        if slot.starts <= MAX_STARTS {
            return false;
        }
        slot.starts = 0;
        slot.disabled_until = Some(now + DISABLED);
        slot.progress = Progress::Over;
        let id = Some(&slot.entry.id).filter(|id| !id.is_empty());
        let id = id.unwrap_or(&slot.entry.process);
        let text =
            format!("entry '{id}' of /etc/inittab is respawning too fast: disabled for 5 minutes");
        self.note(text);
        true
    }

    pub(super) fn set_progress(&mut self, key: u32, progress: Progress) {
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.key == key) {
            slot.progress = progress;
        }
    }

    pub(super) fn slot_ended(&mut self, key: u32, job: u32) {
        self.replace_progress(key, job, Progress::Over);
    }

    pub(super) fn slot_not_started(&mut self, key: u32, job: u32) {
        self.replace_progress(key, job, Progress::Fresh);
    }

    /// A job that isn't the slot's any more doesn't touch it.
    fn replace_progress(&mut self, key: u32, job: u32, progress: Progress) {
        let running = Progress::Running(job);
        let slot = self.slots.iter_mut().find(|slot| slot.key == key && slot.progress == running);
        if let Some(slot) = slot {
            slot.progress = progress;
        }
    }

    /// Starts the entries of an event (ctrlaltdel, power, keyboard) that
    /// don't run already; false when there is none.
    pub(super) fn fire(&mut self, actions: &[Action]) -> bool {
        let mut found = false;
        for at in 0..self.slots.len() {
            let Some(slot) = self.slots.get(at) else { break };
            let (levels, action) = (slot.entry.levels, slot.entry.action);
            if !actions.contains(&action) || !levels.contains(self.level) {
                continue;
            }
            found = true;
            if !matches!(slot.progress, Progress::Running(_)) && !self.is_holding() {
                self.start_slot(at);
            }
        }
        found
    }

    pub(super) fn read_table_again(&mut self) {
        match self.style {
            Style::Sysv | Style::Busybox => self.out.push(Effect::ReadTable),
            _ => self.note("this guest isn't booted from an /etc/inittab".to_owned()),
        }
    }
}
