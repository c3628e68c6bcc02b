//! PID 1's one loop: wait, turn what happened into events, perform effects.
//!
//! From here on nothing may return, exit or panic: when PID 1 ends, the
//! kernel kills the guest. Errors are told and lived with. The only way out
//! is reboot(2), and where that is refused, an exit with
//! [`REBOOT_REFUSED`].

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::signalfd::SignalFd;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use shared::message::{BootOrder, FromGuest, Power, RcMode, Style};

use crate::fifo::Fifo;
use crate::inittab::Dialect;
use crate::machine::{Effect, Event, Kill, Machine, Millis};
use crate::reading::{Reading, Wanted};
use crate::records::Records;
use crate::report::Reporter;
use crate::sys::{self, Reaped};
use crate::utmp::Kind;
use crate::{console, signals, spawn};

/// Exit status when the guest is down but reboot(2) was refused, which
/// happens without CAP_SYS_BOOT.
pub const REBOOT_REFUSED: i32 = 70;

/// One of our processes.
struct Child {
    job: u32,
    /// Its identifier in utmp.
    record: Option<String>,
}

/// Everything that the loop holds.
pub struct EventLoop {
    machine: Machine,
    signals: SignalFd,
    reporter: Reporter,
    fifo: Fifo,
    records: Records,
    children: BTreeMap<i32, Child>,
    readings: Vec<Reading>,
    events: VecDeque<Event>,
    dialect: Dialect,
    rc_mode: RcMode,
    told_of_nonsense: bool,
}

impl EventLoop {
    /// `signals` tells of all signals, which are blocked.
    pub fn new(
        signals: SignalFd,
        reporter: Reporter,
        order: BootOrder,
        style: Style,
        reason: String,
    ) -> Self {
        let terminal = std::env::var("TERM").unwrap_or_else(|_| "linux".to_owned());
        let rc_mode = order.rc;
        Self {
            machine: Machine::new(order, style, reason, terminal, parallel()),
            signals,
            reporter,
            fifo: Fifo::default(),
            records: Records::new(),
            children: BTreeMap::new(),
            readings: Vec::new(),
            events: VecDeque::new(),
            dialect: if style == Style::Busybox { Dialect::Busybox } else { Dialect::Sysv },
            rc_mode,
            told_of_nonsense: false,
        }
    }

    /// Lives as PID 1.
    pub fn run(mut self) -> ! {
        self.happened(Event::Start);
        loop {
            self.reap();
            if self.machine.wants_alone() && is_alone() {
                self.happened(Event::Alone);
            }
            if self.machine.next_deadline().is_some_and(|due| due <= now()) {
                self.happened(Event::Tick);
            }
            self.reporter.flush();
            self.wait();
            self.read_signals();
            self.read_link();
            self.read_fifo();
            self.take_readings();
        }
    }

    /// Sleeps until there is something to do.
    fn wait(&self) {
        let timeout = match self.machine.next_deadline() {
            None => PollTimeout::NONE,
            // A millisecond more, so that a wake-up is never too early.
            Some(due) => {
                let left = due.saturating_sub(now()).saturating_add(1).min(3_600_000);
                i32::try_from(left)
                    .ok()
                    .and_then(|ms| ms.try_into().ok())
                    .unwrap_or(PollTimeout::MAX)
            }
        };
        let signals = PollFd::new(self.signals.as_fd(), PollFlags::POLLIN);
        let link = self.reporter.as_fd().map(|(fd, full)| {
            let room = if full { PollFlags::POLLOUT } else { PollFlags::empty() };
            PollFd::new(fd, PollFlags::POLLIN | room)
        });
        let fifo = self.fifo.as_fd().map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        let readings = self.readings.iter().map(|r| PollFd::new(r.as_fd(), PollFlags::POLLIN));
        let fixed = [Some(signals), link, fifo].into_iter().flatten();
        let mut fds: Vec<PollFd<'_>> = fixed.chain(readings).collect();
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            // Out of memory: not a reason to spin.
            Err(_) => {
                nix::unistd::sleep(1);
            }
        }
    }

    /// Takes every ended child there is: ours, and orphans by the thousand.
    fn reap(&mut self) {
        while let Reaped::Child(pid, outcome) = sys::reap() {
            if let Some(child) = self.children.remove(&pid.as_raw()) {
                if let Some(id) = &child.record {
                    self.records.process(Kind::DeadProcess, id, pid.as_raw());
                }
                self.happened(Event::Ended { job: child.job, outcome });
            }
        }
    }

    fn read_signals(&mut self) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            if let Some(signal) = signals::read(&info) {
                self.happened(Event::Signal(signal));
            }
        }
    }

    fn read_link(&mut self) {
        // A peer that floods gets its share, not all of the time.
        for _ in 0..16 {
            match self.reporter.receive() {
                Some(Some(order)) => self.happened(Event::Order(order)),
                Some(None) if !self.told_of_nonsense => {
                    self.told_of_nonsense = true;
                    let text = "a message that makes no sense is ignored".to_owned();
                    self.reporter.send(FromGuest::Note(text));
                }
                Some(None) => {}
                None => return,
            }
        }
    }

    fn read_fifo(&mut self) {
        for _ in 0..16 {
            match self.fifo.read() {
                Some(request) => self.happened(Event::Request(request)),
                None => return,
            }
        }
    }

    fn take_readings(&mut self) {
        let mut done = Vec::new();
        self.readings.retain_mut(|reading| match reading.progress() {
            Some(event) => {
                done.push(event);
                false
            }
            None => true,
        });
        done.into_iter().for_each(|event| self.happened(event));
    }

    /// Tells the machine, performs what it wants, and tells it what came of
    /// that, until there is nothing more to tell.
    fn happened(&mut self, event: Event) {
        self.events.push_back(event);
        while let Some(event) = self.events.pop_front() {
            for effect in self.machine.step(now(), event) {
                self.perform(effect);
            }
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Spawn { job, command, report } => match spawn::spawn(&command) {
                Ok((pid, executed)) => {
                    let error = |executed: nix::Result<()>| executed.err().map(Errno::desc);
                    self.events.extend(
                        executed.map(|executed| Event::Executed { job, error: error(executed) }),
                    );
                    if let Some(id) = &command.record {
                        self.records.process(Kind::InitProcess, id, pid.as_raw());
                    }
                    self.children.insert(pid.as_raw(), Child { job, record: command.record });
                    report.into_iter().for_each(|report| self.reporter.send(report));
                }
                Err(_) => self.events.push_back(Event::SpawnFailed { job }),
            },
            Effect::Signal(job, how) => self.signal_job(job, how),
            Effect::SignalAll(Kill::Term) => {
                let _ = kill(Pid::from_raw(-1), Signal::SIGTERM);
                let _ = kill(Pid::from_raw(-1), Signal::SIGCONT);
            }
            Effect::SignalAll(Kill::Kill) => {
                let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
            }
            Effect::Say(text) => console::say(&text),
            Effect::Send(message) => self.reporter.send(message),
            Effect::ReadTable => self.read(Wanted::Table(self.dialect, self.rc_mode)),
            Effect::ReadPlan(level, previous) => self.read(Wanted::Plan(level, previous)),
            Effect::ReopenInitctl => self.fifo.reopen(),
            Effect::Record(previous, level) => self.records.runlevel(previous, level),
            Effect::Settled => sys::trim_memory(),
            Effect::Power(power) => self.power(power),
            Effect::Exit(status) => {
                self.reporter.flush();
                std::process::exit(i32::from(status));
            }
        }
    }

    fn read(&mut self, wanted: Wanted) {
        match Reading::start(wanted) {
            Ok(reading) => self.readings.push(reading),
            Err(event) => self.events.push_back(event),
        }
    }

    /// Signals a job's process group, which is its session's first one.
    fn signal_job(&self, job: u32, how: Kill) {
        let Some((pid, _)) = self.children.iter().find(|(_, child)| child.job == job) else {
            return;
        };
        let pid = Pid::from_raw(*pid);
        let signals: &[Signal] = match how {
            Kill::Term => &[Signal::SIGTERM, Signal::SIGCONT],
            Kill::Kill => &[Signal::SIGKILL],
        };
        for signal in signals {
            // The group exists only from its setsid(2) on.
            if killpg(pid, *signal).is_err() {
                let _ = kill(pid, *signal);
            }
        }
    }

    /// The end.
    fn power(&mut self, power: Power) {
        self.reporter.flush();
        let mode = match power {
            Power::Halt => RebootMode::RB_HALT_SYSTEM,
            Power::PowerOff => RebootMode::RB_POWER_OFF,
            Power::Reboot => RebootMode::RB_AUTOBOOT,
        };
        let errno = match reboot(mode) {
            Ok(never) => match never {},
            Err(errno) => errno,
        };
        let text = format!("cannot call reboot(2): {}", errno.desc());
        console::say(&format!("guest-init: {text}"));
        self.reporter.send(FromGuest::Note(text));
        std::process::exit(REBOOT_REFUSED);
    }
}

/// Is there no other process in the PID namespace? kill(2): to -1 it reaches
/// every process but PID 1, and the caller.
fn is_alone() -> bool {
    kill(Pid::from_raw(-1), None) == Err(Errno::ESRCH)
}

/// Milliseconds of the monotonic clock.
fn now() -> Millis {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC);
    time.map_or(0, |time| {
        let seconds = Millis::try_from(time.tv_sec()).unwrap_or(0);
        seconds * 1000 + Millis::try_from(time.tv_nsec()).unwrap_or(0) / 1_000_000
    })
}

/// Four rc scripts for each processor, as Debian's rc asks of startpar, and no fewer than
/// sixteen: they wait more than they compute.
fn parallel() -> usize {
    let processors = nix::unistd::sysconf(nix::unistd::SysconfVar::_NPROCESSORS_ONLN);
    let processors = processors.ok().flatten().and_then(|n| usize::try_from(n).ok()).unwrap_or(1);
    (processors * 4).clamp(16, 64)
}
