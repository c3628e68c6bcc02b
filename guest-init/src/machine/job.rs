//! Jobs: the processes that guest-init started itself. Their starts, ends,
//! and being made to end.

use shared::message::{BootMode, FromGuest, Style};
use shared::outcome::Outcome;

use super::{Command, Effect, Kill, Machine, Millis, Phase, Program};
use crate::environment;

/// After a failed fork nothing is started for this long (as in sysvinit).
const FORK_PAUSE: Millis = 5_000;

/// A job that was sent SIGTERM gets SIGKILL after this time.
const GRACE: Millis = 3_000;

/// A job that doesn't end from SIGKILL is no longer waited for after this.
const GIVE_UP: Millis = 1_000;

/// Longest name in a report (see [`FromGuest::ScriptStarted`]).
const MAX_NAME: usize = 256;

/// A process of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) kind: Kind,
    pub(super) since: Millis,
    /// Its name in reports, when it is reported.
    pub(super) name: Option<String>,
    /// Its argument, when it is an rc script.
    pub(super) argument: String,
}

/// Whose process it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Of the slot with this key.
    Slot(u32),
    /// The rc runner's script with this number, of the run with this one.
    Script { run: u32, number: usize },
    /// `/etc/rc.local`.
    Local,
    /// The supervisor's command with this id.
    Exec(u32),
    /// The command of a rescue, or the guest's one command.
    Only,
    /// It writes buffers to disk.
    Sync,
}

/// A job that was told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ending {
    /// When the next thing is done about it.
    pub(super) next: Millis,
    /// Was it sent SIGKILL already?
    pub(super) killed: bool,
}

impl Machine {
    /// Must nothing be started now?
    pub(super) fn is_holding(&self) -> bool {
        self.hold_until.is_some()
            || matches!(
                self.phase,
                Phase::Terminating(_) | Phase::Killing(_) | Phase::Syncing(_) | Phase::Over
            )
    }

    /// Starts a job. A `name` makes it reported.
    pub(super) fn spawn(
        &mut self,
        kind: Kind,
        name: Option<&str>,
        argument: &str,
        command: Command,
    ) -> u32 {
        self.last_job = self.last_job.wrapping_add(1);
        let id = self.last_job;
        let name = name.map(shortened);
        let report = name.clone().map(|name| FromGuest::ScriptStarted {
            id,
            name,
            argument: argument.to_owned(),
        });
        let argument = argument.to_owned();
        self.jobs.insert(id, Job { kind, since: self.now, name, argument });
        self.out.push(Effect::Spawn { job: id, command, report });
        id
    }

    /// A command with the environment that everything gets.
    pub(super) fn command(&self, program: Program) -> Command {
        // busybox's sysinit lines don't run in a runlevel S.
        let level = match (self.style, self.phase) {
            (Style::Busybox, Phase::Sysinit | Phase::Boot) => self.target,
            _ => self.level,
        };
        let mut more = self.order.environment.clone();
        more.extend(self.variables.iter().cloned());
        Command {
            program,
            environment: environment::variables(
                &self.terminal,
                level.as_char(),
                self.previous,
                &more,
            ),
            terminal: None,
            controlling: false,
            ask_first: false,
            until_executed: false,
            record: None,
        }
    }

    /// Starts the one command, if it doesn't run already.
    pub(super) fn spawn_only(&mut self) {
        let runs = self.jobs.values().any(|job| job.kind == Kind::Only);
        let (BootMode::Rescue(argv) | BootMode::Command(argv)) = &self.order.mode else { return };
        if runs || self.stop.is_some() || self.is_holding() {
            return;
        }
        let mut command = self.command(Program::Argv(argv.clone()));
        command.controlling = true;
        command.until_executed = true;
        self.spawn(Kind::Only, None, "", command);
    }

    /// A guest of one command is up when that is executed, not before: one that can't be
    /// ends the guest while it still boots, and `start` says so.
    pub(super) fn job_executed(&mut self, id: u32, error: Option<&str>) {
        let only = self.jobs.get(&id).is_some_and(|job| job.kind == Kind::Only);
        let (BootMode::Rescue(argv) | BootMode::Command(argv)) = &self.order.mode else { return };
        match error {
            // Its own line is on the console already.
            Some(error) if only => {
                let program = argv.first().map(|program| shortened(program)).unwrap_or_default();
                let text = format!("cannot execute '{program}': {error}");
                self.out.push(Effect::Send(FromGuest::Note(text)));
            }
            None if only && self.phase == Phase::Sysinit => self.enter(Phase::Up),
            _ => {}
        }
    }

    pub(super) fn spawn_exec(&mut self, id: u32, argv: Vec<String>) {
        if self.is_holding() || argv.is_empty() {
            let outcome = Outcome::Exited(crate::sys::NOT_EXECUTED);
            self.out.push(Effect::Send(FromGuest::ExecEnded { id, outcome }));
            return;
        }
        let command = self.command(Program::Argv(argv));
        self.spawn(Kind::Exec(id), None, "", command);
    }

    pub(super) fn spawn_sync(&mut self) {
        let command = self.command(Program::Sync);
        self.spawn(Kind::Sync, None, "", command);
    }

    /// Asks a job to end, and sees to it that it does.
    pub(super) fn end_job(&mut self, job: u32) {
        if self.jobs.contains_key(&job) && !self.ending.contains_key(&job) {
            self.out.push(Effect::Signal(job, Kill::Term));
            self.ending.insert(job, Ending { next: self.now + GRACE, killed: false });
        }
    }

    /// Does what is due about jobs that were told to end.
    pub(super) fn clock_endings(&mut self) {
        let (now, out) = (self.now, &mut self.out);
        self.ending.retain(|job, ending| {
            if ending.next > now {
                return true;
            }
            if ending.killed {
                return false;
            }
            out.push(Effect::Signal(*job, Kill::Kill));
            *ending = Ending { next: now + GIVE_UP, killed: true };
            true
        });
    }

    pub(super) fn job_not_spawned(&mut self, id: u32) {
        let Some(job) = self.jobs.remove(&id) else { return };
        self.ending.remove(&id);
        match job.kind {
            Kind::Sync => return self.enter(Phase::Over),
            Kind::Exec(id) => {
                let outcome = Outcome::Exited(crate::sys::NOT_EXECUTED);
                return self.out.push(Effect::Send(FromGuest::ExecEnded { id, outcome }));
            }
            Kind::Slot(key) => self.slot_not_started(key, id),
            Kind::Script { run, number } => self.script_not_started(run, number),
            Kind::Local | Kind::Only => {}
        }
        if self.hold_until.is_none() {
            self.out.push(Effect::Say("guest-init: cannot fork, trying again in 5 s".to_owned()));
        }
        self.hold_until = Some(self.now + FORK_PAUSE);
    }

    pub(super) fn job_ended(&mut self, id: u32, outcome: Outcome) {
        let Some(job) = self.jobs.remove(&id) else { return };
        self.ending.remove(&id);
        let millis = u32::try_from(self.now.saturating_sub(job.since)).unwrap_or(u32::MAX);
        if let Some(name) = &job.name {
            let name = name.clone();
            self.out.push(Effect::Send(FromGuest::ScriptEnded { id, name, outcome, millis }));
        }
        match job.kind {
            Kind::Slot(key) => self.slot_ended(key, id),
            Kind::Script { run, number } => {
                self.say_progress(&job, outcome, millis);
                self.script_ended(run, number);
            }
            Kind::Local => self.say_progress(&job, outcome, millis),
            Kind::Exec(id) => self.out.push(Effect::Send(FromGuest::ExecEnded { id, outcome })),
            Kind::Only => self.only_ended(outcome),
            Kind::Sync => self.enter(Phase::Over),
        }
    }

    /// `[ ok ] cron start 0.12 s`
    fn say_progress(&mut self, job: &Job, outcome: Outcome, millis: u32) {
        let path = job.name.as_deref().unwrap_or_default();
        let name = path.rsplit('/').next().unwrap_or(path);
        let (argument, seconds) = (&job.argument, f64::from(millis) / 1000.0);
        let line = match outcome {
            Outcome::Exited(0) => format!("[ ok ] {name} {argument} {seconds:.2} s"),
            other => format!("[FAIL] {name} {argument} {seconds:.2} s: {other}"),
        };
        self.out.push(Effect::Say(line));
    }
}

/// A name cut to what a report may hold.
fn shortened(name: &str) -> String {
    let mut end = name.len().min(MAX_NAME);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.get(..end).unwrap_or_default().to_owned()
}
