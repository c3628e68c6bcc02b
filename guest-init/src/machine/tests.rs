//! Tests of the state machine: what each style does. What must hold always is
//! in `properties`.

use std::collections::BTreeMap;

use shared::message::{RcMode, StopOrder, StyleChoice, ToGuest};
use shared::outcome::Outcome;

use super::*;
use crate::initctl::Request;
use crate::inittab::{Dialect, parse};
use crate::rc::Plan;

const DEBIAN: &str = "id:2:initdefault:\nsi::sysinit:/etc/init.d/rcS\nl0:0:wait:/etc/init.d/rc 0\n\
    l2:2:wait:/etc/init.d/rc 2\nl3:3:wait:/etc/init.d/rc 3\nl6:6:wait:/etc/init.d/rc 6\n\
    ca:12345:ctrlaltdel:/sbin/shutdown -r now\n1:23:respawn:/sbin/getty tty1\n\
    od:a:ondemand:/bin/extra\n";

fn order(mode: BootMode) -> BootOrder {
    BootOrder {
        protocol: shared::message::PROTOCOL,
        mode,
        style: StyleChoice::Auto,
        rc: RcMode::Written,
        runlevel: None,
        environment: Vec::new(),
        kill_grace_ms: 5_000,
    }
}

mod only;
mod properties;

/// A machine with the world around it: answers what it asks, and knows which
/// jobs live.
struct World {
    machine: Machine,
    table: Table,
    plan: Plan,
    now: Millis,
    living: BTreeMap<u32, String>,
    sent: Vec<FromGuest>,
    signals: Vec<(u32, Kill)>,
    all: Vec<Kill>,
    power: Option<Power>,
    exit: Option<u8>,
}

impl World {
    fn new(style: Style, mode: BootMode, inittab: &str) -> Self {
        let dialect = if style == Style::Busybox { Dialect::Busybox } else { Dialect::Sysv };
        let machine = Machine::new(order(mode), style, "why".into(), "linux".into(), 4);
        Self {
            machine,
            table: Table { inittab: parse(inittab, dialect), ..Table::default() },
            plan: Plan::default(),
            now: 0,
            living: BTreeMap::new(),
            sent: Vec::new(),
            signals: Vec::new(),
            all: Vec::new(),
            power: None,
            exit: None,
        }
    }

    fn rescue() -> Self {
        Self::new(Style::Rescue, BootMode::Rescue(vec!["/bin/sh".into()]), "")
    }

    fn command() -> Self {
        let mut world = Self::new(Style::Command, BootMode::Command(vec!["/bin/nginx".into()]), "");
        world.tell(Event::Start);
        assert_eq!(world.running(), ["/bin/nginx"]);
        world
    }

    fn debian() -> Self {
        let mut world = Self::new(Style::Sysv, BootMode::Boot, DEBIAN);
        world.tell(Event::Start);
        world
    }

    fn tell(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            if let Event::Ended { job, .. } | Event::SpawnFailed { job } = &event {
                self.living.remove(job);
            }
            for effect in self.machine.step(self.now, event) {
                match effect {
                    Effect::Spawn { job, command, report } => {
                        assert!(self.power.is_none(), "started after the end");
                        let name = match command.program {
                            Program::Line(line) => line,
                            Program::Argv(argv) => argv.join(" "),
                            Program::Sync => "sync".into(),
                        };
                        self.living.insert(job, name);
                        self.sent.extend(report);
                        if command.until_executed {
                            events.insert(0, Event::Executed { job, error: None });
                        }
                    }
                    Effect::Send(message) => self.sent.push(message),
                    Effect::ReadTable => events.insert(0, Event::Table(self.table.clone())),
                    Effect::ReadPlan(level, previous) => {
                        events.insert(0, Event::Plan(level, previous, self.plan.clone()));
                    }
                    Effect::Signal(job, how) => self.signals.push((job, how)),
                    Effect::SignalAll(how) => self.all.push(how),
                    Effect::Power(power) => {
                        assert!(self.power.is_none(), "two ends");
                        self.power = Some(power);
                    }
                    Effect::Exit(status) => self.exit = Some(status),
                    Effect::Say(_)
                    | Effect::ReopenInitctl
                    | Effect::Record(..)
                    | Effect::Settled => {}
                }
            }
        }
    }

    fn after(&mut self, millis: Millis) {
        self.now += millis;
        self.tell(Event::Tick);
    }

    fn running(&self) -> Vec<&str> {
        self.living.values().map(String::as_str).collect()
    }

    fn job(&self, name: &str) -> u32 {
        *self.living.iter().find(|(_, n)| *n == name).unwrap_or_else(|| panic!("no {name}")).0
    }

    fn end(&mut self, name: &str) {
        let job = self.job(name);
        self.tell(Event::Ended { job, outcome: Outcome::Exited(0) });
    }

    fn boot(&mut self) {
        self.end("/etc/init.d/rcS");
        self.end("/etc/init.d/rc 2");
    }

    fn state(&self) -> GuestState {
        self.machine.state()
    }
}

fn level(c: char) -> Runlevel {
    Runlevel::from_char(c).unwrap()
}

fn stop(power: Power, deadline_ms: u32) -> Event {
    Event::Order(ToGuest::Stop(StopOrder { power, deadline_ms }))
}

#[test]
fn debian_boots_in_order() {
    let mut world = World::debian();
    assert_eq!(world.running(), ["/etc/init.d/rcS"]);
    assert_eq!(world.state(), GuestState::Booting(level('2')));
    world.end("/etc/init.d/rcS");
    assert_eq!(world.running(), ["/etc/init.d/rc 2"]);
    world.end("/etc/init.d/rc 2");
    assert_eq!(world.running(), ["/sbin/getty tty1"]);
    assert_eq!(world.sent.last(), Some(&FromGuest::State(GuestState::Running(level('2')))));
}

#[test]
fn a_stop_runs_the_scripts_then_kills_then_powers_off() {
    let mut world = World::debian();
    world.boot();
    world.tell(stop(Power::PowerOff, 60_000));
    assert_eq!(world.state(), GuestState::Stopping(Power::PowerOff));
    assert_eq!(world.signals, [(world.job("/sbin/getty tty1"), Kill::Term)]);
    world.end("/sbin/getty tty1");
    assert_eq!(world.running(), ["/etc/init.d/rc 0"]);
    world.end("/etc/init.d/rc 0");
    assert_eq!(world.state(), GuestState::Killing(Power::PowerOff));
    assert_eq!(world.all, [Kill::Term]);
    world.after(5_000);
    assert_eq!(world.all, [Kill::Term, Kill::Kill]);
    world.tell(Event::Alone);
    world.end("sync");
    assert_eq!(world.power, Some(Power::PowerOff));
    assert!(!world.sent.contains(&FromGuest::Requested(Power::PowerOff)));
}

#[test]
fn a_hanging_script_ends_at_the_deadline() {
    let mut world = World::debian();
    world.boot();
    world.tell(stop(Power::Reboot, 10_000));
    world.end("/sbin/getty tty1");
    assert_eq!(world.running(), ["/etc/init.d/rc 6"]);
    world.after(9_999);
    assert_eq!(world.all, []);
    world.after(1);
    assert_eq!(world.all, [Kill::Kill]);
    world.after(2_000);
    world.after(200);
    assert_eq!(world.power, Some(Power::Reboot));
}

#[test]
fn a_stop_during_the_boot_ends_the_boot_script_first() {
    let mut world = World::debian();
    let job = world.job("/etc/init.d/rcS");
    world.tell(stop(Power::PowerOff, 60_000));
    assert_eq!(world.signals, [(job, Kill::Term)]);
    world.after(3_000);
    assert_eq!(world.signals, [(job, Kill::Term), (job, Kill::Kill)]);
    assert_eq!(world.running(), ["/etc/init.d/rcS"]);
    world.end("/etc/init.d/rcS");
    assert_eq!(world.running(), ["/etc/init.d/rc 0"]);
}

#[test]
fn the_supervisors_word_wins_over_the_guests() {
    let mut world = World::debian();
    world.boot();
    world.tell(Event::Request(Request::Level(level('6'))));
    assert!(world.sent.contains(&FromGuest::Requested(Power::Reboot)));
    world.tell(stop(Power::PowerOff, 60_000));
    assert_eq!(world.state(), GuestState::Stopping(Power::PowerOff));
    world.tell(Event::Signal(Sig::Reboot));
    assert_eq!(world.state(), GuestState::Stopping(Power::PowerOff));
}

#[test]
fn runlevel_0_is_halt_when_shutdown_says_so() {
    let mut world = World::debian();
    world.boot();
    let halt = vec![("INIT_HALT".to_owned(), Some("HALT".to_owned()))];
    world.tell(Event::Request(Request::Environment(halt)));
    world.tell(Event::Request(Request::Level(level('0'))));
    assert!(world.sent.contains(&FromGuest::Requested(Power::Halt)));
}

#[test]
fn a_getty_that_dies_is_started_again_but_not_for_ever() {
    let mut world = World::debian();
    world.boot();
    for _ in 0..10 {
        world.end("/sbin/getty tty1");
    }
    assert!(world.running().is_empty());
    assert!(world.sent.iter().any(|message| matches!(message,
        FromGuest::Note(text) if text.contains("respawning too fast"))));
    world.after(299_999);
    assert!(world.running().is_empty());
    world.after(1);
    assert_eq!(world.running(), ["/sbin/getty tty1"]);
}

#[test]
fn another_runlevel_ends_what_does_not_belong_to_it() {
    let mut world = World::debian();
    world.boot();
    world.tell(Event::Request(Request::Level(level('3'))));
    assert_eq!(world.running(), ["/sbin/getty tty1", "/etc/init.d/rc 3"]);
    world.end("/etc/init.d/rc 3");
    world.tell(Event::Request(Request::Level(level('4'))));
    assert_eq!(world.signals.len(), 1);
    world.end("/sbin/getty tty1");
    assert_eq!(world.state(), GuestState::Running(level('4')));
    assert!(world.running().is_empty());
}

#[test]
fn on_demand_entries_wait_for_their_level() {
    let mut world = World::debian();
    world.boot();
    world.tell(Event::Request(Request::Level(level('a'))));
    assert_eq!(world.running(), ["/sbin/getty tty1", "/bin/extra"]);
    assert_eq!(world.state(), GuestState::Running(level('2')));
}

#[test]
fn a_changed_inittab_keeps_what_remains() {
    let mut world = World::debian();
    world.boot();
    let getty = world.job("/sbin/getty tty1");
    let text = DEBIAN.to_owned() + "2:23:respawn:/sbin/getty tty2\n";
    world.table.inittab = parse(&text, Dialect::Sysv);
    world.tell(Event::Signal(Sig::Hup));
    assert_eq!(world.running(), ["/sbin/getty tty1", "/sbin/getty tty2"]);
    assert_eq!(world.job("/sbin/getty tty1"), getty);
    world.table.inittab = parse(DEBIAN, Dialect::Sysv);
    world.tell(Event::Request(Request::Reload));
    assert_eq!(world.signals, [(world.job("/sbin/getty tty2"), Kill::Term)]);
}

#[test]
fn an_inittab_that_is_gone_changes_nothing() {
    let mut world = World::debian();
    world.boot();
    world.table.inittab = parse("", Dialect::Sysv);
    world.tell(Event::Signal(Sig::Hup));
    assert_eq!(world.running(), ["/sbin/getty tty1"]);
    assert_eq!(world.signals, []);
}

#[test]
fn the_default_runlevel_is_told_when_it_is_known() {
    let mut world =
        World::new(Style::Sysv, BootMode::Boot, "id:3:initdefault:\nsi::sysinit:/bin/a\n");
    world.tell(Event::Start);
    assert!(world.sent.contains(&FromGuest::State(GuestState::Booting(level('3')))));
}

#[test]
fn a_single_user_shell_is_followed_by_the_default_level() {
    let text = DEBIAN.to_owned() + "~~:S:wait:/sbin/sulogin\n";
    let mut world = World::new(Style::Sysv, BootMode::Boot, &text);
    world.tell(Event::Start);
    world.boot();
    world.tell(Event::Request(Request::Level(Runlevel::SINGLE)));
    world.end("/sbin/getty tty1");
    assert_eq!(world.running(), ["/sbin/sulogin"]);
    world.end("/sbin/sulogin");
    assert_eq!(world.running(), ["/etc/init.d/rc 2"]);
}

#[test]
fn a_failed_fork_is_tried_again() {
    let mut world = World::debian();
    let job = world.job("/etc/init.d/rcS");
    world.tell(Event::SpawnFailed { job });
    assert!(world.running().is_empty());
    world.after(4_999);
    assert!(world.running().is_empty());
    world.after(1);
    assert_eq!(world.running(), ["/etc/init.d/rcS"]);
}

#[test]
fn signals_mean_what_they_mean_in_each_style() {
    use Power::{Halt, PowerOff, Reboot};
    let busybox = "::sysinit:/etc/rc\n::respawn:/bin/sh\n::restart:/sbin/init\n";
    let table = [
        (Style::Sysv, Sig::Term, None),
        (Style::Sysv, Sig::Usr2, None),
        (Style::Sysv, Sig::Pwr(None), None),
        (Style::Sysv, Sig::Halt, Some(Halt)),
        (Style::Sysv, Sig::Now(PowerOff), Some(PowerOff)),
        (Style::Rc, Sig::Now(Reboot), Some(Reboot)),
        (Style::Busybox, Sig::Term, Some(Reboot)),
        (Style::Busybox, Sig::Usr1, Some(Halt)),
        (Style::Busybox, Sig::Usr2, Some(PowerOff)),
        (Style::Busybox, Sig::Pwr(None), Some(Halt)),
        (Style::Busybox, Sig::Quit, Some(Reboot)),
        (Style::Busybox, Sig::PowerOff, Some(PowerOff)),
        (Style::Rc, Sig::Term, Some(PowerOff)),
        (Style::Rc, Sig::Pwr(None), Some(PowerOff)),
        (Style::Rc, Sig::Int, Some(Reboot)),
        (Style::Rc, Sig::Hup, None),
        (Style::Rc, Sig::Reboot, Some(Reboot)),
    ];
    for (style, signal, expected) in table {
        let text = if style == Style::Busybox { busybox } else { DEBIAN };
        let mut world = World::new(style, BootMode::Boot, text);
        world.tell(Event::Start);
        world.tell(Event::Signal(signal));
        let stopping = match world.state() {
            GuestState::Stopping(power) | GuestState::Killing(power) => Some(power),
            _ => None,
        };
        assert_eq!(stopping, expected, "{style:?} {signal:?}");
    }
}

#[test]
fn a_stop_at_once_asks_nobody() {
    let mut world = World::debian();
    world.boot();
    world.tell(Event::Signal(Sig::Now(Power::Reboot)));
    assert_eq!(world.all, [Kill::Kill]);
    assert_eq!(world.state(), GuestState::Killing(Power::Reboot));
}

#[test]
fn ctrlaltdel_runs_its_line() {
    let mut world = World::debian();
    world.boot();
    world.tell(Event::Signal(Sig::Int));
    assert_eq!(world.running(), ["/sbin/getty tty1", "/sbin/shutdown -r now"]);
}

#[test]
fn busybox_works_by_action_and_ends_with_its_shutdown_lines() {
    let text = "::respawn:/bin/getty\n::shutdown:/bin/one\n::wait:/bin/wait\n\
                ::shutdown:/bin/two\n::sysinit:/bin/first\n";
    let mut world = World::new(Style::Busybox, BootMode::Boot, text);
    world.tell(Event::Start);
    assert_eq!(world.running(), ["/bin/first"]);
    world.end("/bin/first");
    assert_eq!(world.running(), ["/bin/wait"]);
    world.end("/bin/wait");
    assert_eq!(world.running(), ["/bin/getty"]);
    world.tell(Event::Signal(Sig::Usr2));
    world.end("/bin/getty");
    assert_eq!(world.running(), ["/bin/one"]);
    world.end("/bin/one");
    assert_eq!(world.running(), ["/bin/two"]);
    world.end("/bin/two");
    assert_eq!(world.state(), GuestState::Killing(Power::PowerOff));
}

fn scripts(names: &[&str]) -> Plan {
    let names = names.iter().map(|name| ((*name).to_owned(), format!("/etc/{name}")));
    Plan { local: true, ..Plan::sequence(names, "start") }
}

#[test]
fn rc_style_runs_directories_then_rc_local_and_stops_in_reverse() {
    let mut world = World::new(Style::Rc, BootMode::Boot, "");
    world.plan = scripts(&["a"]);
    world.tell(Event::Start);
    assert_eq!(world.running(), ["/etc/a start"]);
    world.plan = scripts(&["b"]);
    world.end("/etc/a start");
    world.end("/etc/b start");
    assert_eq!(world.running(), ["/etc/rc.local start"]);
    world.end("/etc/rc.local start");
    assert_eq!(world.state(), GuestState::Running(level('2')));
    world.plan = Plan::default();
    world.tell(stop(Power::PowerOff, 60_000));
    assert_eq!(world.running(), ["/etc/b stop"]);
    world.end("/etc/b stop");
    assert_eq!(world.running(), ["/etc/a stop"]);
    world.end("/etc/a stop");
    assert_eq!(world.all, [Kill::Term]);
}

#[test]
fn the_own_runner_stands_in_for_stock_calls() {
    let mut world = World::new(Style::Sysv, BootMode::Boot, DEBIAN);
    world.table.direct = true;
    world.plan = scripts(&["x"]);
    world.tell(Event::Start);
    assert_eq!(world.running(), ["/etc/x start"]);
    world.end("/etc/x start");
    assert_eq!(world.running(), ["/etc/x start"]);
    world.end("/etc/x start");
    assert_eq!(world.running(), ["/sbin/getty tty1"]);
    assert_eq!(world.state(), GuestState::Running(level('2')));
}

#[test]
fn a_plan_of_another_time_is_not_taken() {
    let mut world = World::debian();
    world.tell(Event::Plan('2', 'N', Plan::default()));
    assert_eq!(world.running(), ["/etc/init.d/rcS"]);
}
