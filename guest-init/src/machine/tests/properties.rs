//! What must hold whatever happens, in any order.

use proptest::prelude::*;

use super::*;
use crate::rc::Script;

/// Something that happens, by chance.
#[derive(Clone, Debug)]
enum Chance {
    End(usize, u8),
    FailSpawn(usize),
    Time(Millis),
    Event(Event),
}

fn chance() -> impl Strategy<Value = Chance> {
    let signal = prop::sample::select(vec![
        Sig::Hup,
        Sig::Int,
        Sig::Quit,
        Sig::Term,
        Sig::Usr1,
        Sig::Usr2,
        Sig::Pwr(None),
        Sig::Pwr(Some('O')),
        Sig::Winch,
        Sig::Halt,
        Sig::PowerOff,
        Sig::Reboot,
        Sig::Now(Power::Reboot),
    ]);
    let levels = prop::sample::select("0123456789Sabc".chars().collect::<Vec<_>>());
    prop_oneof![
        20 => (0usize..8, 0u8..3).prop_map(|(n, code)| Chance::End(n, code)),
        2 => (0usize..8).prop_map(Chance::FailSpawn),
        8 => (0u64..7_000).prop_map(Chance::Time),
        2 => signal.prop_map(|signal| Chance::Event(Event::Signal(signal))),
        3 => levels.prop_map(|c| Chance::Event(Event::Request(Request::Level(level(c))))),
        1 => Just(Chance::Event(Event::Request(Request::Reload))),
        1 => Just(Chance::Event(Event::Order(ToGuest::Query))),
        1 => Just(Chance::Event(Event::Alone)),
        1 => (0u32..5).prop_map(|id| {
            Chance::Event(Event::Order(ToGuest::Exec { id, argv: vec!["x".into()] }))
        }),
        1 => (0u32..20_000).prop_map(|ms| Chance::Event(stop(Power::Halt, ms))),
    ]
}

fn style() -> impl Strategy<Value = (Style, bool)> {
    let style = prop::sample::select(vec![Style::Sysv, Style::Busybox, Style::Rc, Style::Idle]);
    (style, any::<bool>())
}

fn random_world(style: Style, direct: bool) -> World {
    let busybox = "::sysinit:/a\n::wait:/b\n::once:/c\n::respawn:/d\n::shutdown:/e\n";
    let mode = if style == Style::Idle { BootMode::Idle } else { BootMode::Boot };
    let mut world = World::new(style, mode, if style == Style::Busybox { busybox } else { DEBIAN });
    world.table.direct = direct;
    world.plan = scripts(&["p", "q"]);
    let alone = Script {
        alone: true,
        name: "r".into(),
        path: "/r".into(),
        argument: "start".into(),
        after: vec![],
    };
    world.plan.stages.push(vec![alone]);
    world.tell(Event::Start);
    world
}

fn apply(world: &mut World, chance: Chance) {
    let pick = |n: usize| {
        let jobs: Vec<u32> = world.living.keys().copied().collect();
        jobs.get(n % jobs.len().max(1)).copied()
    };
    match chance {
        Chance::End(n, code) => {
            if let Some(job) = pick(n) {
                world.tell(Event::Ended { job, outcome: Outcome::Exited(code) });
            }
        }
        Chance::FailSpawn(n) => {
            if let Some(job) = pick(n) {
                world.tell(Event::SpawnFailed { job });
            }
        }
        Chance::Time(millis) => world.after(millis),
        Chance::Event(event) => world.tell(event),
    }
}

proptest! {
    #[test]
    fn a_stop_is_over_by_its_deadline_whatever_happens(
        (style, direct) in style(),
        before in prop::collection::vec(chance(), 0..60),
        deadline in 0u32..30_000,
        after in prop::collection::vec(chance(), 0..60),
    ) {
        let mut world = random_world(style, direct);
        before.into_iter().for_each(|chance| apply(&mut world, chance));
        world.tell(stop(Power::PowerOff, deadline));
        let deadline = world.now + Millis::from(deadline);
        after.into_iter().for_each(|chance| apply(&mut world, chance));
        // From here nothing ends any more. 2 s for SIGKILL, 3 s for buffers.
        let end = world.now.max(deadline) + 2_000 + 3_000;
        while world.power.is_none() {
            let due = world.machine.next_deadline();
            prop_assert!(due.is_some_and(|due| due <= end), "{due:?}: {:?}", world.machine);
            world.now = world.now.max(due.unwrap_or(end));
            world.tell(Event::Tick);
        }
    }

    #[test]
    fn a_guest_whose_processes_end_comes_up(
        (style, direct) in style(),
        failures in prop::collection::vec(any::<bool>(), 0..10),
    ) {
        let mut world = random_world(style, direct);
        for fails in failures {
            apply(&mut world, if fails { Chance::FailSpawn(0) } else { Chance::End(0, 1) });
            world.after(5_000);
        }
        for _ in 0..40 {
            if !matches!(world.state(), GuestState::Running(_)) {
                apply(&mut world, Chance::End(0, 0));
                world.after(5_000);
            }
        }
        prop_assert!(matches!(world.state(), GuestState::Running(_)), "{:?}", world.machine);
    }

    #[test]
    fn nothing_is_due_in_the_past_for_ever(
        (style, direct) in style(),
        chances in prop::collection::vec(chance(), 0..80),
    ) {
        let mut world = random_world(style, direct);
        for chance in chances {
            apply(&mut world, chance);
            // A timer that a tick doesn't move on would spin the loop.
            if let Some(due) = world.machine.next_deadline() {
                world.now = world.now.max(due);
                world.tell(Event::Tick);
                if let Some(next) = world.machine.next_deadline() {
                    prop_assert!(next > world.now, "{:?}", world.machine);
                }
            }
        }
    }
}
