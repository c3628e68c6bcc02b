//! Guests of one command, rescue, and guests that only idle.

use super::*;

#[test]
fn a_command_that_fails_is_a_crash_unless_it_was_told_to_end() {
    let fail = |world: &mut World| {
        let job = world.job("/bin/nginx");
        world.tell(Event::Ended { job, outcome: Outcome::Exited(3) });
    };
    let mut world = World::command();
    fail(&mut world);
    assert_eq!((world.exit, world.power), (Some(3), None));
    let mut world = World::command();
    world.tell(stop(Power::PowerOff, 60_000));
    assert_eq!(world.all, [Kill::Term]);
    fail(&mut world);
    assert_eq!(world.exit, None);
    let mut world = World::command();
    world.end("/bin/nginx");
    assert_eq!((world.exit, world.state()), (None, GuestState::Killing(Power::PowerOff)));
}

#[test]
fn a_rescue_ends_with_its_command() {
    let mut world = World::rescue();
    world.tell(Event::Start);
    let job = world.job("/bin/sh");
    world.tell(Event::SpawnFailed { job });
    world.after(5_000);
    assert_eq!(world.running(), ["/bin/sh"]);
    world.end("/bin/sh");
    assert_eq!(world.state(), GuestState::Killing(Power::PowerOff));
}

#[test]
fn an_idle_guest_runs_orders_and_stops() {
    let mut world = World::new(Style::Idle, BootMode::Idle, "");
    world.tell(Event::Start);
    world.tell(Event::Order(ToGuest::Exec { id: 7, argv: vec!["/bin/true".into()] }));
    world.end("/bin/true");
    let ended = FromGuest::ExecEnded { id: 7, outcome: Outcome::Exited(0) };
    assert_eq!(world.sent.last(), Some(&ended));
    world.tell(stop(Power::PowerOff, 1_000));
    assert_eq!(world.state(), GuestState::Killing(Power::PowerOff));
}

/// What is sent and what is to be done when a guest of one command starts, and then when
/// that couldn't be executed.
fn unexecutable(style: Style, mode: BootMode) -> (Vec<Effect>, Vec<Effect>) {
    let mut machine = Machine::new(order(mode), style, "why".into(), "linux".into(), 4);
    let started = machine.step(0, Event::Start);
    let spawned = started.iter().find_map(|effect| match effect {
        Effect::Spawn { job, command, .. } if command.until_executed => Some(*job),
        _ => None,
    });
    let job = spawned.expect("the command is started");
    let mut ended = machine.step(0, Event::Executed { job, error: Some("Is a directory") });
    let outcome = Outcome::Exited(crate::sys::NOT_EXECUTED);
    ended.extend(machine.step(1, Event::Ended { job, outcome }));
    (started, ended)
}

#[test]
fn a_guest_is_not_up_before_its_command_is_executed() {
    let argv = vec!["/bin/none".to_owned()];
    for (style, mode) in
        [(Style::Command, BootMode::Command(argv.clone())), (Style::Rescue, BootMode::Rescue(argv))]
    {
        let (started, ended) = unexecutable(style, mode);
        let up = |effect: &Effect| {
            matches!(effect, Effect::Send(FromGuest::State(GuestState::Running(_))))
        };
        assert!(!started.iter().chain(&ended).any(up), "{started:?}, {ended:?}");
        let note = FromGuest::Note("cannot execute '/bin/none': Is a directory".to_owned());
        assert_eq!(ended, [Effect::Send(note), Effect::Exit(127)]);
    }
    assert!(
        World::command().sent.contains(&FromGuest::State(GuestState::Running(Runlevel::SINGLE)))
    );
}
