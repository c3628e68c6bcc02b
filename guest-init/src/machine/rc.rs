//! The own rc runner within the machine: for rc style, and for stock calls
//! of a distribution's runner.

use shared::message::Style;

use super::job::Kind;
use super::slot::Progress;
use super::{Effect, Machine, Program};
use crate::environment;
use crate::rc::Plan;
use crate::rc::run::Run;

/// A run of the runner.
#[derive(Debug)]
pub(super) struct RcRun {
    number: u32,
    level: char,
    previous: char,
    /// The slot that it stands in for.
    owner: Option<u32>,
    verbose: Option<String>,
    /// `None` until the plan is there.
    run: Option<Run>,
    /// No more scripts are started.
    aborted: bool,
}

impl Machine {
    /// Asks for the plan of a runlevel; scripts start when it comes.
    pub(super) fn begin_rc(&mut self, level: char, previous: char, owner: Option<u32>) {
        self.last_rc = self.last_rc.wrapping_add(1);
        let number = self.last_rc;
        self.rc = Some(RcRun {
            number,
            level,
            previous,
            owner,
            verbose: None,
            run: None,
            aborted: false,
        });
        self.out.push(Effect::ReadPlan(level, previous));
    }

    pub(super) fn take_plan(&mut self, level: char, previous: char, mut plan: Plan) {
        for note in core::mem::take(&mut plan.notes) {
            self.note_once(note);
        }
        let (stopping, parallel) = (self.stop.is_some(), self.parallel);
        let Some(rc) = &mut self.rc else { return };
        if rc.run.is_some() || (rc.level, rc.previous) != (level, previous) {
            return;
        }
        if !plan.found && stopping && self.style == Style::Rc {
            plan = Plan::sequence(core::mem::take(&mut self.started).into_iter().rev(), "stop");
        }
        if self.style == Style::Rc && !stopping {
            let scripts = plan.stages.iter().flatten().filter(|script| script.argument == "start");
            let scripts: Vec<_> = scripts.map(|s| (s.name.clone(), s.path.clone())).collect();
            self.local_is_done |= !plan.local;
            self.local_is_done |= scripts.iter().any(|(name, _)| name == "rc.local");
            self.started.extend(scripts);
        }
        rc.verbose = plan.verbose.take();
        rc.run = Some(Run::new(plan, parallel));
    }

    /// Starts what may start; true when nothing is left of the run.
    pub(super) fn drive_rc(&mut self) -> bool {
        while let Some(next) = self.next_script() {
            if self.is_holding() {
                return false;
            }
            self.start_script(next);
        }
        let over = |rc: &RcRun| rc.run.as_ref().is_some_and(Run::is_over);
        if self.rc.as_ref().is_some_and(over)
            && let Some(rc) = self.rc.take()
            && let Some(owner) = rc.owner
        {
            self.set_progress(owner, Progress::Over);
        }
        self.rc.is_none()
    }

    fn next_script(&self) -> Option<(usize, crate::rc::Script)> {
        let rc = self.rc.as_ref().filter(|rc| !rc.aborted)?;
        rc.run.as_ref()?.ready().map(|(number, script)| (number, script.clone()))
    }

    fn start_script(&mut self, (number, script): (usize, crate::rc::Script)) {
        let Some(rc) = &mut self.rc else { return };
        if let Some(run) = &mut rc.run {
            run.started(number);
        }
        let kind = Kind::Script { run: rc.number, number };
        let (level, previous) = (rc.level.to_string(), rc.previous.to_string());
        // What Debian's rc gives its scripts; PATH is its own one.
        let verbose = rc.verbose.clone().unwrap_or_default();
        let words = [&script.path, &script.argument].into_iter().filter(|word| !word.is_empty());
        let mut command = self.command(Program::Argv(words.cloned().collect()));
        for (name, value) in [
            ("PATH", "/sbin:/usr/sbin:/bin:/usr/bin"),
            ("RUNLEVEL", &level),
            ("PREVLEVEL", &previous),
            ("runlevel", &level),
            ("previous", &previous),
            ("VERBOSE", &verbose),
        ] {
            environment::set(&mut command.environment, name, value);
        }
        self.spawn(kind, Some(&script.path), &script.argument, command);
    }

    pub(super) fn script_not_started(&mut self, run: u32, number: usize) {
        if let Some(run) = self.run_of(run) {
            run.not_started(number);
        }
        self.drop_aborted_rc();
    }

    pub(super) fn script_ended(&mut self, run: u32, number: usize) {
        if let Some(run) = self.run_of(run) {
            run.ended(number);
        }
        self.drop_aborted_rc();
    }

    fn run_of(&mut self, number: u32) -> Option<&mut Run> {
        self.rc.as_mut().filter(|rc| rc.number == number)?.run.as_mut()
    }

    /// Starts no more scripts and ends those that run.
    pub(super) fn abort_rc(&mut self) {
        for job in self.script_jobs() {
            self.end_job(job);
        }
        let Some(rc) = &mut self.rc else { return };
        rc.aborted = true;
        if let Some(owner) = rc.owner {
            self.set_progress(owner, Progress::Over);
        }
        self.drop_aborted_rc();
    }

    /// An aborted run is gone with its last script.
    pub(super) fn drop_aborted_rc(&mut self) {
        let aborted = self.rc.as_ref().is_some_and(|rc| rc.aborted);
        if aborted && !self.script_jobs().iter().any(|job| self.ending.contains_key(job)) {
            self.rc = None;
        }
    }

    fn script_jobs(&self) -> Vec<u32> {
        let scripts = self
            .jobs
            .iter()
            .filter(|(_, job)| matches!(job.kind, Kind::Script { .. } | Kind::Local));
        scripts.map(|(id, _)| *id).collect()
    }

    /// `/etc/rc.local` of rc style; true when it has ended.
    pub(super) fn local(&mut self) -> bool {
        let running = self.jobs.values().any(|job| job.kind == Kind::Local);
        if running || self.local_is_done {
            return !running;
        }
        if self.is_holding() {
            return false;
        }
        self.local_is_done = true;
        let path = "/etc/rc.local";
        let command = self.command(Program::Argv(vec![path.to_owned(), "start".to_owned()]));
        self.spawn(Kind::Local, Some(path), "start", command);
        false
    }
}
