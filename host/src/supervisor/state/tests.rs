//! The life of a guest, as sentences and over random orders of events.

use proptest::prelude::*;
use shared::message::Runlevel;

use super::*;

const RUNNING: Event = Event::Guest(GuestState::Running(Runlevel::MULTI));

fn stop(power: Power) -> Event {
    Event::Stop(Stop { power, timeout: Duration::from_secs(60), no_kill: false })
}

fn running() -> Machine {
    let mut machine = Machine::new(RestartPolicy::OnCrash, Purpose::Boot);
    assert_eq!(machine.start(), [Effect::Announce(Phase::Starting), Effect::Launch]);
    machine.step(Event::Launched);
    machine.step(RUNNING);
    assert_eq!(machine.phase(), Phase::Running);
    machine
}

#[test]
fn a_reboot_from_inside_starts_again_in_place() {
    let mut machine = running();
    machine.step(Event::Guest(GuestState::Stopping(Power::Reboot)));
    assert_eq!(machine.phase(), Phase::Stopping);
    let effects = machine.step(Event::Ended(GuestEnd::Reboot));
    assert!(effects.contains(&Effect::CleanUp) && effects.contains(&Effect::Launch));
}

#[test]
fn a_poweroff_from_inside_stays_down() {
    let mut machine = running();
    let effects = machine.step(Event::Ended(GuestEnd::Halt));
    assert_eq!(effects.last(), Some(&Effect::Finish));
    assert_eq!(machine.phase(), Phase::Stopped);
}

#[test]
fn an_order_to_stop_wins_over_the_guests_own_reboot() {
    let mut machine = running();
    machine.step(Event::Guest(GuestState::Stopping(Power::Reboot)));
    machine.step(stop(Power::PowerOff));
    let effects = machine.step(Event::Ended(GuestEnd::Reboot));
    assert_eq!(effects.last(), Some(&Effect::Finish));
}

#[test]
fn a_frozen_guest_is_thawed_before_it_is_asked() {
    for power in [Power::PowerOff, Power::Reboot] {
        let effects = running().step(stop(power));
        let place = |wanted: fn(&Effect) -> bool| effects.iter().position(wanted);
        let asked = place(|effect| matches!(effect, Effect::AskStop(..)));
        assert!(place(|effect| *effect == Effect::Thaw) < asked && asked.is_some(), "{effects:?}");
    }
    let mut machine = running();
    assert!(machine.may_freeze());
    // What only the guest says keeps nobody from it.
    machine.step(Event::Guest(GuestState::Stopping(Power::PowerOff)));
    assert_eq!((machine.phase(), machine.may_freeze()), (Phase::Stopping, true));
    machine.step(stop(Power::PowerOff));
    assert!(!machine.may_freeze());
}

#[test]
fn a_shutdown_that_only_the_guest_wants_keeps_no_supervisor() {
    let mut machine = running();
    assert!(machine.may_be_left());
    machine.step(Event::Guest(GuestState::Stopping(Power::PowerOff)));
    assert_eq!((machine.phase(), machine.may_be_left()), (Phase::Stopping, true));
    machine.step(stop(Power::PowerOff));
    assert!(!machine.may_be_left());
}

#[test]
fn an_order_outlives_the_supervisor_that_got_it() {
    for (first, then, again) in [
        (Power::Reboot, None, true),
        (Power::PowerOff, None, false),
        (Power::Reboot, Some(Power::Halt), false),
        (Power::Halt, Some(Power::Reboot), false),
    ] {
        let mut machine = running();
        let effects: Vec<_> = [Some(first), then]
            .into_iter()
            .flatten()
            .flat_map(|power| machine.step(stop(power)))
            .collect();
        let mut notes = effects.iter().filter_map(|effect| match effect {
            Effect::Note(stop) => Some(*stop),
            _ => None,
        });
        let mut next = Machine::new(RestartPolicy::OnCrash, Purpose::Boot).attached(0);
        next.step(Event::Stop(notes.next_back().expect("it is noted")));
        // As an init does that knows no reboot, or is killed.
        for end in [GuestEnd::Halt, GuestEnd::Died(Outcome::Exited(0)), GuestEnd::Unknown] {
            let effects = next.clone().step(Event::Ended(end));
            assert_eq!(effects.contains(&Effect::Launch), again, "{first:?} {then:?} {end:?}");
            assert_eq!(effects.contains(&Effect::Finish), !again, "{first:?} {then:?} {end:?}");
        }
    }
}

#[test]
fn a_stop_during_the_boot_is_passed_on_at_once() {
    let mut machine = Machine::new(RestartPolicy::OnCrash, Purpose::Boot);
    machine.start();
    let effects = machine.step(stop(Power::PowerOff));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::AskStop(..))));
    machine.step(Event::Launched);
    machine.step(RUNNING);
    let effects = machine.step(Event::Ended(GuestEnd::Halt));
    assert_eq!(effects.last(), Some(&Effect::Finish));
}

#[test]
fn a_failed_first_launch_ends_the_supervisor() {
    let mut machine = Machine::new(RestartPolicy::OnCrash, Purpose::Boot);
    machine.start();
    assert_eq!(machine.step(Event::LaunchFailed).last(), Some(&Effect::Finish));
}

#[test]
fn crashes_wait_longer_each_time_until_a_boot_was_stable() {
    let mut machine = running();
    let crash = Event::Ended(GuestEnd::Died(Outcome::Killed(9)));
    let mut pauses = Vec::new();
    for _ in 0..12 {
        for effect in machine.step(crash) {
            if let Effect::ArmPause(pause) = effect {
                pauses.push(pause.as_secs());
            }
        }
        machine.step(Event::PauseOver);
        machine.step(Event::Launched);
        machine.step(RUNNING);
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
    machine.step(Event::Stable);
    assert_eq!(machine.crashes(), 0);
}

#[test]
fn a_guest_that_may_not_restart_stays_down_after_a_crash() {
    let mut machine = Machine::new(RestartPolicy::Never, Purpose::Boot);
    machine.start();
    machine.step(Event::Launched);
    let effects = machine.step(Event::Ended(GuestEnd::Died(Outcome::Exited(1))));
    assert_eq!(effects.last(), Some(&Effect::Finish));
}

#[test]
fn no_kill_reports_and_never_kills() {
    let mut machine = running();
    let order = Stop { power: Power::Halt, timeout: Duration::from_secs(1), no_kill: true };
    let effects = machine.step(Event::Stop(order));
    assert!(effects.contains(&Effect::AskStop(Power::Halt, None)));
    assert_eq!(machine.step(Event::Deadline), [Effect::ReportTimeout]);
    assert_eq!(machine.phase(), Phase::Stopping);
    machine.step(stop(Power::Halt));
    assert_eq!(machine.step(Event::Deadline), [Effect::Kill, Effect::AwaitEnd(ENDS_WITHIN)]);
}

#[test]
fn what_cant_be_killed_is_reported_and_killed_again_and_again() {
    let mut machine = running();
    machine.step(stop(Power::PowerOff));
    assert_eq!(machine.step(Event::Deadline).first(), Some(&Effect::Kill));
    let mut times = Vec::new();
    for _ in 0..8 {
        let effects = machine.step(Event::Deadline);
        let [Effect::KillAgain, Effect::AwaitEnd(time)] = effects[..] else {
            panic!("{effects:?}")
        };
        times.push(time.as_secs());
    }
    assert_eq!(times, [20, 40, 80, 160, 300, 300, 300, 300]);
    // Whoever asks now isn't kept waiting, also if it was not to kill.
    let order = Stop { power: Power::Halt, timeout: Duration::from_secs(600), no_kill: true };
    let effects = machine.step(Event::Stop(order));
    assert_eq!(effects[1..], [Effect::Kill, Effect::AwaitEnd(ENDS_WITHIN)]);
    assert_eq!(machine.step(Event::Deadline).first(), Some(&Effect::KillAgain));
    let effects = machine.step(Event::Ended(GuestEnd::Died(Outcome::Killed(9))));
    assert_eq!(effects.first(), Some(&Effect::DisarmDeadline));
    assert_eq!(effects.last(), Some(&Effect::Finish));
}

#[test]
fn the_next_boot_has_not_been_killed() {
    let mut machine = running();
    machine.step(stop(Power::Reboot));
    machine.step(Event::Deadline);
    machine.step(Event::Ended(GuestEnd::Died(Outcome::Killed(9))));
    machine.step(Event::Launched);
    machine.step(RUNNING);
    let effects = machine.step(stop(Power::Reboot));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::AskStop(..))), "{effects:?}");
    assert_eq!(machine.step(Event::Deadline).first(), Some(&Effect::Kill));
}

#[test]
fn a_context_ends_with_its_last_session() {
    let mut machine = Machine::new(RestartPolicy::OnCrash, Purpose::Sessions);
    machine.start();
    machine.step(Event::Launched);
    machine.step(RUNNING);
    assert_eq!(machine.phase(), Phase::Session);
    let effects = machine.step(Event::LastSessionEnded);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::AskStop(..))));
    let effects = machine.step(Event::Ended(GuestEnd::Halt));
    assert_eq!(effects.last(), Some(&Effect::Finish));
}

#[test]
fn a_rescue_command_runs_once() {
    let mut machine = Machine::new(RestartPolicy::OnCrash, Purpose::Rescue);
    machine.start();
    machine.step(Event::Launched);
    machine.step(RUNNING);
    assert_eq!(machine.phase(), Phase::Running);
    let effects = machine.step(Event::Ended(GuestEnd::Reboot));
    assert_eq!(effects.last(), Some(&Effect::Finish));
}

#[test]
fn a_boot_that_was_due_comes_under_the_next_supervisor() {
    let down = || Machine::new(RestartPolicy::OnCrash, Purpose::Boot);
    let launch = [Effect::Announce(Phase::Starting), Effect::Launch];
    assert_eq!(down().go_on(0), launch, "a reboot has no pause");
    let mut machine = down();
    let pause = Effect::ArmPause(Duration::from_secs(4));
    assert_eq!(machine.go_on(3), [Effect::Announce(Phase::BackingOff), pause]);
    assert_eq!(machine.clone().step(Event::PauseOver), launch);
    assert_eq!(machine.clone().step(stop(Power::PowerOff)).last(), Some(&Effect::Finish));
    // It is no first start, whose failure would be the end.
    machine.step(Event::PauseOver);
    let effects = machine.step(Event::LaunchFailed);
    assert_eq!(effects.last(), Some(&Effect::ArmPause(Duration::from_secs(8))));
}

#[test]
fn a_guest_that_reboots_in_a_circle_is_slowed_down() {
    let mut machine = running();
    let mut paused = false;
    for _ in 0..10 {
        let effects = machine.step(Event::Ended(GuestEnd::Reboot));
        paused = paused || effects.iter().any(|e| matches!(e, Effect::ArmPause(_)));
        machine.step(Event::PauseOver);
        machine.step(Event::Launched);
        machine.step(RUNNING);
    }
    assert!(paused);
}

fn any_event() -> impl Strategy<Value = Event> {
    let power = prop_oneof![Just(Power::Halt), Just(Power::PowerOff), Just(Power::Reboot)];
    let stop = (power.clone(), 0u64..100, any::<bool>()).prop_map(|(power, seconds, no_kill)| {
        Event::Stop(Stop { power, timeout: Duration::from_secs(seconds), no_kill })
    });
    let state = prop_oneof![
        Just(GuestState::Booting(Runlevel::MULTI)),
        Just(GuestState::Running(Runlevel::MULTI)),
        power.clone().prop_map(GuestState::Stopping),
        power.prop_map(GuestState::Killing),
        Just(GuestState::HandedOver),
        Just(GuestState::Notifies),
    ];
    let end = prop_oneof![
        Just(GuestEnd::Reboot),
        Just(GuestEnd::Halt),
        any::<u8>().prop_map(|code| GuestEnd::Died(Outcome::Exited(code))),
        (1u8..64).prop_map(|signal| GuestEnd::Died(Outcome::Killed(signal))),
    ];
    prop_oneof![
        Just(Event::Launched),
        Just(Event::LaunchFailed),
        state.prop_map(Event::Guest),
        end.prop_map(Event::Ended),
        Just(Event::KeeperLost),
        stop,
        Just(Event::Deadline),
        Just(Event::PauseOver),
        Just(Event::Stable),
        Just(Event::LastSessionEnded),
    ]
}

proptest! {
    /// Whatever happens in whatever order: a boot is launched only when none
    /// is there, nothing is killed or asked when nothing runs, whoever wants
    /// the guest down gets it down, and after the end nothing more happens. All
    /// that also where supervisors are replaced, while there is a boot.
    #[test]
    fn orders_hold_over_random_events(
        purpose in prop_oneof![
            Just(Purpose::Boot),
            Just(Purpose::Rescue),
            Just(Purpose::Sessions),
        ],
        never: bool,
        events in proptest::collection::vec(
            prop_oneof![9 => any_event().prop_map(Some), 1 => Just(None)],
            0..60,
        ),
    ) {
        let policy = if never { RestartPolicy::Never } else { RestartPolicy::OnCrash };
        let mut machine = Machine::new(policy, purpose);
        let mut alive = true;
        let mut finished = false;
        let mut wanted_down = false;
        let mut is_timed = false;
        let mut no_kill = false;
        let mut noted = None;
        prop_assert!(machine.start().contains(&Effect::Launch));
        for event in events {
            if event.is_none() && alive && machine.phase() != Phase::Starting {
                machine = Machine::new(policy, purpose).attached(machine.crashes());
                is_timed = false;
            }
            // What a supervisor has noted is given to the next one again.
            let Some(event) = event.or(noted.map(Event::Stop)) else { continue };
            let effects = machine.step(event);
            if let Event::Stop(stop) = event
                && stop.power != Power::Reboot && !finished {
                wanted_down = true;
            }
            is_timed &= event != Event::Deadline;
            if let Event::Stop(stop) = event {
                no_kill = stop.no_kill;
            }
            // A failed launch has been undone before it is told.
            alive &= event != Event::LaunchFailed;
            for effect in effects {
                prop_assert!(!finished, "{effect:?} after the end");
                match effect {
                    Effect::CleanUp => {
                        alive = false;
                        noted = None;
                    }
                    Effect::Note(stop) => noted = Some(stop),
                    Effect::Launch => {
                        prop_assert!(!alive, "launched over a living guest");
                        prop_assert!(!wanted_down, "launched what is wanted down");
                        alive = true;
                    }
                    Effect::Kill | Effect::KillAgain | Effect::AskStop(..) => {
                        let lost = event == Event::KeeperLost;
                        prop_assert!(lost || machine.phase() != Phase::BackingOff);
                    }
                    Effect::ArmDeadline(_) | Effect::AwaitEnd(_) => is_timed = true,
                    Effect::DisarmDeadline => is_timed = false,
                    Effect::Finish => finished = true,
                    _ => {}
                }
            }
            prop_assert_eq!(finished, machine.phase() == Phase::Stopped);
            // Whoever has ordered a stop hears of it once more, however it goes.
            let is_ordered = machine.phase() == Phase::Stopping && !machine.may_freeze();
            prop_assert!(is_timed || no_kill || !is_ordered, "nothing is waited for");
        }
    }
}
