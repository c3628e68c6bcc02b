//! A guest's life as a state machine: events in, effects out, no I/O.
//!
//! Times are durations; the loop around this knows the clock. What an order
//! or an event means in every phase stands here and nowhere else.

use std::time::Duration;

use shared::message::{GuestState, Power};
use shared::outcome::{GuestEnd, Outcome};

use crate::config::RestartPolicy;
use crate::control::Phase;

/// A boot that has lasted this long has ended the series of crashes before.
pub const STABLE: Duration = Duration::from_secs(60);

/// The first pause after a crash; it doubles with every one in a row.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// So many reboots without a stable boot between them happen at once; a
/// guest that reboots in a circle then waits as a crashing one does.
const FREE_REBOOTS: u32 = 5;

/// Time after the guest's own deadline until the host kills: guest-init kills
/// first, and only what it can't kill is left.
const MARGIN: Duration = Duration::from_secs(3);

/// So long the kernel may take to end what was killed. What is there then waits for
/// a disk, for another machine or for whoever traces it; it is killed once more, and
/// given twice as long each time.
const ENDS_WITHIN: Duration = Duration::from_secs(10);

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The launch is done: PID 1 runs.
    Launched,
    /// The launch has failed and has been undone.
    LaunchFailed,
    /// guest-init says where it is.
    Guest(GuestState),
    /// PID 1 has ended.
    Ended(GuestEnd),
    /// The keeper has died, and there can't be another one.
    KeeperLost,
    /// Somebody on the host wants the guest down.
    Stop(Stop),
    /// The time of [`Effect::ArmDeadline`] is over.
    Deadline,
    /// The time of [`Effect::ArmPause`] is over.
    PauseOver,
    /// The time of [`Effect::ArmStable`] is over.
    Stable,
    /// The last session of a context without a boot has ended.
    LastSessionEnded,
}

/// An order to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    /// What comes after.
    pub power: Power,
    /// Until what remains is killed.
    pub timeout: Duration,
    /// Rather fail than kill.
    pub no_kill: bool,
}

/// What is to be done, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Start the next boot; [`Event::Launched`] or [`Event::LaunchFailed`]
    /// follows.
    Launch,
    /// Note this order for the next supervisor, which is to be given it again.
    Note(Stop),
    /// Let the guest's processes go on if they are frozen.
    Thaw,
    /// Tell the guest to shut down; `None` without a deadline.
    AskStop(Power, Option<Duration>),
    /// Kill every process of the guest; [`Event::Ended`] follows.
    Kill,
    /// Tell who ordered a stop that what was killed hasn't ended, and kill what
    /// there is by now.
    KillAgain,
    /// [`Event::Deadline`] after this time, which nobody is to wait for.
    AwaitEnd(Duration),
    /// Remove what is left of a boot.
    CleanUp,
    /// [`Event::Deadline`] after this time; replaces an earlier one.
    ArmDeadline(Duration),
    /// No deadline any more.
    DisarmDeadline,
    /// [`Event::PauseOver`] after this time.
    ArmPause(Duration),
    /// [`Event::Stable`] after [`STABLE`], unless the boot ends before.
    ArmStable,
    /// Tell who ordered a stop that it failed, and that the guest goes on.
    ReportTimeout,
    /// Tell who is interested of the new phase.
    Announce(Phase),
    /// The guest is down for good: the supervisor ends.
    Finish,
}

/// What shall become of the guest when this boot has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    /// Whatever its end asks for.
    Own,
    /// The host wants it down.
    Down,
    /// The host wants it started again.
    Again,
}

/// What a guest was started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Its boot: reboots and crashes are followed by the next one.
    Boot,
    /// One command: any end is final.
    Rescue,
    /// Sessions, without a boot: it ends with the last of them.
    Sessions,
}

/// A guest's life.
#[derive(Clone, Debug)]
pub struct Machine {
    phase: Phase,
    wish: Wish,
    policy: RestartPolicy,
    purpose: Purpose,
    no_kill: bool,
    /// How often this boot was killed.
    kills: u32,
    crashes: u32,
    reboots: u32,
    first: bool,
}

impl Machine {
    /// A guest that is down.
    pub fn new(policy: RestartPolicy, purpose: Purpose) -> Self {
        Self {
            phase: Phase::Stopped,
            wish: Wish::Own,
            policy,
            purpose,
            no_kill: false,
            kills: 0,
            crashes: 0,
            reboots: 0,
            first: true,
        }
    }

    /// The same for a guest that runs already, taken over from a supervisor
    /// that is gone.
    pub fn attached(&self, crashes: u32) -> Self {
        Self { phase: Phase::Booting, crashes, first: false, ..self.clone() }
    }

    /// The same for one that is down already, and stays so.
    pub fn down(&self) -> Self {
        Self { wish: Wish::Down, ..self.clone() }
    }

    /// Where the guest is.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Restarts after crashes in a row.
    pub fn crashes(&self) -> u32 {
        self.crashes
    }

    /// May the guest be frozen now? While it is made there is nothing to
    /// freeze, and on its way down it would hold up whoever waits for that; but
    /// not by its own word alone, or it would never be.
    pub fn may_freeze(&self) -> bool {
        match self.phase {
            Phase::Booting | Phase::Running | Phase::Session => true,
            Phase::Stopping => self.wish == Wish::Own,
            _ => false,
        }
    }

    /// May another supervisor go on with it from here? What a start waits for, or a
    /// stop that somebody has ordered, this one alone knows; a shutdown of the guest's
    /// own it tells the next one, too.
    pub fn may_be_left(&self) -> bool {
        match self.phase {
            Phase::Booting | Phase::Running | Phase::BackingOff => true,
            Phase::Stopping => self.wish == Wish::Own,
            _ => false,
        }
    }

    /// The first start.
    pub fn start(&mut self) -> Vec<Effect> {
        self.launch()
    }

    /// In place of that: goes on with a guest whose supervisor has died between two
    /// boots, after so many crashes. What was no crash isn't followed by a pause.
    pub fn go_on(&mut self, crashes: u32) -> Vec<Effect> {
        self.first = false;
        self.crashes = crashes;
        if crashes == 0 {
            return self.launch();
        }
        let mut effects = self.enter(Phase::BackingOff);
        effects.push(Effect::ArmPause(pause(crashes)));
        effects
    }

    /// Takes in an event, and says what is to be done.
    pub fn step(&mut self, event: Event) -> Vec<Effect> {
        match (self.phase, event) {
            (Phase::Starting, Event::Launched) => self.enter(Phase::Booting),
            (Phase::Stopping, Event::LaunchFailed) => self.finish(),
            (Phase::Starting, Event::LaunchFailed) if self.first => self.finish(),
            (Phase::Starting, Event::LaunchFailed) => self.crashed(),
            (_, Event::LaunchFailed | Event::Launched) => Vec::new(),

            (Phase::Booting | Phase::Running | Phase::Session, Event::Guest(state)) => {
                self.guest_says(state)
            }
            (_, Event::Guest(_)) => Vec::new(),

            (Phase::Stopped | Phase::BackingOff | Phase::Rebooting, Event::Ended(_)) => Vec::new(),
            (_, Event::Ended(end)) => self.ended(end),
            (Phase::Stopped | Phase::BackingOff | Phase::Rebooting, Event::KeeperLost) => {
                Vec::new()
            }
            (_, Event::KeeperLost) => {
                let mut effects = vec![Effect::Kill];
                effects.extend(self.ended(GuestEnd::Died(Outcome::Killed(9))));
                effects
            }

            (_, Event::Stop(stop)) => self.stop(stop),
            (Phase::Stopping, Event::Deadline) if self.no_kill => vec![Effect::ReportTimeout],
            (Phase::Stopping, Event::Deadline) => self.kill(),
            (_, Event::Deadline) => Vec::new(),

            (Phase::BackingOff, Event::PauseOver) => self.launch(),
            (_, Event::PauseOver) => Vec::new(),
            (Phase::Running, Event::Stable) => {
                self.crashes = 0;
                self.reboots = 0;
                Vec::new()
            }
            (_, Event::Stable) => Vec::new(),
            (Phase::Session, Event::LastSessionEnded) => {
                let timeout = Duration::from_secs(5);
                self.stop(Stop { power: Power::PowerOff, timeout, no_kill: false })
            }
            (_, Event::LastSessionEnded) => Vec::new(),
        }
    }

    fn enter(&mut self, phase: Phase) -> Vec<Effect> {
        if self.phase == phase {
            return Vec::new();
        }
        self.phase = phase;
        vec![Effect::Announce(phase)]
    }

    fn launch(&mut self) -> Vec<Effect> {
        self.wish = Wish::Own;
        self.no_kill = false;
        self.kills = 0;
        let mut effects = self.enter(Phase::Starting);
        effects.push(Effect::Launch);
        effects
    }

    fn guest_says(&mut self, state: GuestState) -> Vec<Effect> {
        match state {
            GuestState::Booting(_) | GuestState::Notifies => Vec::new(),
            GuestState::Running(_) | GuestState::HandedOver => {
                self.first = false;
                let phase = match self.purpose {
                    Purpose::Boot | Purpose::Rescue => Phase::Running,
                    Purpose::Sessions => Phase::Session,
                };
                let mut effects = self.enter(phase);
                if !effects.is_empty() {
                    effects.push(Effect::ArmStable);
                }
                effects
            }
            GuestState::Stopping(_) | GuestState::Killing(_) => self.enter(Phase::Stopping),
        }
    }

    fn stop(&mut self, stop: Stop) -> Vec<Effect> {
        match self.phase {
            Phase::Stopped => return Vec::new(),
            Phase::BackingOff | Phase::Rebooting => {
                if stop.power == Power::Reboot {
                    return self.launch();
                }
                return self.finish();
            }
            _ => {}
        }
        // A reboot can become a stop, a stop no reboot.
        if self.wish != Wish::Down {
            self.wish = if stop.power == Power::Reboot { Wish::Again } else { Wish::Down };
        }
        let power = if self.wish == Wish::Down && stop.power == Power::Reboot {
            Power::PowerOff
        } else {
            stop.power
        };
        let mut effects = vec![Effect::Note(Stop { power, ..stop })];
        if self.kills > 0 {
            // Nothing in it hears anything any more.
            self.kills = 0;
            effects.extend(self.kill());
            return effects;
        }
        self.no_kill = stop.no_kill;
        effects.extend(self.enter(Phase::Stopping));
        let deadline = (!stop.no_kill).then_some(stop.timeout);
        effects.extend([Effect::Thaw, Effect::AskStop(power, deadline)]);
        let until = if stop.no_kill { stop.timeout } else { stop.timeout.saturating_add(MARGIN) };
        effects.push(Effect::ArmDeadline(until));
        effects
    }

    fn kill(&mut self) -> Vec<Effect> {
        let kill = if self.kills == 0 { Effect::Kill } else { Effect::KillAgain };
        self.kills = self.kills.saturating_add(1);
        vec![kill, Effect::AwaitEnd(doubled(ENDS_WITHIN, self.kills))]
    }

    fn ended(&mut self, end: GuestEnd) -> Vec<Effect> {
        let mut effects = vec![Effect::DisarmDeadline, Effect::CleanUp];
        let again = match (self.wish, end) {
            (Wish::Down, _) => false,
            (Wish::Again, _) | (Wish::Own, GuestEnd::Reboot) => true,
            (Wish::Own, GuestEnd::Halt) => false,
            // One that has ended in a way that nobody knows had better run.
            (Wish::Own, GuestEnd::Died(_) | GuestEnd::Unknown) if self.purpose == Purpose::Boot => {
                effects.extend(self.crashed());
                return effects;
            }
            (Wish::Own, GuestEnd::Died(_) | GuestEnd::Unknown) => false,
        };
        if !again || self.purpose != Purpose::Boot {
            effects.extend(self.finish());
            return effects;
        }
        effects.extend(self.enter(Phase::Rebooting));
        self.first = false;
        self.reboots = self.reboots.saturating_add(1);
        if self.wish == Wish::Own && self.reboots > FREE_REBOOTS {
            effects.extend(self.enter(Phase::BackingOff));
            effects.push(Effect::ArmPause(pause(self.reboots - FREE_REBOOTS)));
        } else {
            effects.extend(self.launch());
        }
        effects
    }

    fn crashed(&mut self) -> Vec<Effect> {
        if self.policy == RestartPolicy::Never {
            return self.finish();
        }
        self.first = false;
        self.crashes = self.crashes.saturating_add(1);
        let mut effects = self.enter(Phase::BackingOff);
        effects.push(Effect::ArmPause(pause(self.crashes)));
        effects
    }

    fn finish(&mut self) -> Vec<Effect> {
        let mut effects = self.enter(Phase::Stopped);
        effects.push(Effect::Finish);
        effects
    }
}

/// The pause after so many in a row: 1 s, 2 s, 4 s … 5 min.
fn pause(count: u32) -> Duration {
    doubled(FIRST_PAUSE, count)
}

/// A time that has doubled with every one in a row, up to [`LONGEST_PAUSE`].
fn doubled(first: Duration, count: u32) -> Duration {
    let doublings = count.saturating_sub(1).min(16);
    first.saturating_mul(1 << doublings).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests;
