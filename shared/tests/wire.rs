//! The bytes of each message. Supervisors, keepers and guest-inits of different
//! versions talk to each other: after an upgrade, those of the guests that run are
//! older than the next supervisor. What stands here never changes, but that
//! messages are added at the ends of the enums; a change of anything else needs
//! another [`PROTOCOL`], or [`KEEPER_PROTOCOL`], and a program that speaks both.

#![allow(missing_docs, reason = "test functions say what they test by name")]

use std::fmt::{Debug, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;
use shared::family::Family;
use shared::keeper::{FromKeeper, HANDED, KEEPER_PROTOCOL, RING_HEADER, RING_SIZE, ToKeeper, fd};
use shared::link::{decode, encode};
use shared::message::{
    BootMode, BootOrder, FromGuest, GuestState, LINK_FD, PROTOCOL, Power, RcMode, Runlevel,
    StopOrder, Style, StyleChoice, ToGuest,
};
use shared::outcome::Outcome;

/// Each is these bytes, and these bytes are it.
#[track_caller]
fn are<T: Serialize + DeserializeOwned + Debug + PartialEq>(messages: Vec<(T, &str)>) {
    let mut wrong = String::new();
    for (message, expected) in messages {
        let bytes = encode(&message).unwrap();
        let shown = bytes.iter().fold(String::new(), |mut shown, byte| {
            write!(shown, "{byte:02x}").unwrap();
            shown
        });
        if shown != expected {
            writeln!(wrong, "{message:?} is\n {shown}, not\n {expected}").unwrap();
        } else {
            assert_eq!(decode::<T>(&bytes).as_ref(), Some(&message));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

fn boot(mode: BootMode, style: StyleChoice, rc: RcMode, runlevel: Option<Runlevel>) -> ToGuest {
    ToGuest::Boot(BootOrder {
        protocol: PROTOCOL,
        mode,
        style,
        rc,
        runlevel,
        environment: vec![("A".into(), "b".into())],
        kill_grace_ms: 5000,
    })
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn hello(style: Style) -> FromGuest {
    FromGuest::Hello { protocol: PROTOCOL, style, reason: "so".into() }
}

#[test]
fn versions() {
    assert_eq!((PROTOCOL, KEEPER_PROTOCOL), (1, 1));
}

#[test]
fn from_the_supervisor_to_guest_init() {
    let multi = Some(Runlevel::MULTI);
    are(vec![
        (
            boot(BootMode::Boot, StyleChoice::Auto, RcMode::Written, None),
            "00010000000001014101628827",
        ),
        (
            boot(BootMode::Rescue(words(&["sh", "-l"])), StyleChoice::Sysv, RcMode::Direct, multi),
            "00010102027368022d6c010101013201014101628827",
        ),
        (
            boot(BootMode::Idle, StyleChoice::Busybox, RcMode::Direct, None),
            "00010202010001014101628827",
        ),
        (
            boot(BootMode::Command(words(&["x"])), StyleChoice::Rc, RcMode::Direct, None),
            "00010301017803010001014101628827",
        ),
        (
            boot(BootMode::Boot, StyleChoice::Init, RcMode::Direct, None),
            "00010004010001014101628827",
        ),
        (ToGuest::Stop(StopOrder { power: Power::Halt, deadline_ms: 60_000 }), "0100e0d403"),
        (ToGuest::Stop(StopOrder { power: Power::PowerOff, deadline_ms: 0 }), "010100"),
        (
            ToGuest::Stop(StopOrder { power: Power::Reboot, deadline_ms: u32::MAX }),
            "0102ffffffff0f",
        ),
        (ToGuest::Runlevel(Runlevel::SINGLE), "020153"),
        (ToGuest::Exec { id: 300, argv: words(&["true", ""]) }, "03ac0202047472756500"),
        (ToGuest::Query, "04"),
    ]);
}

#[test]
fn from_guest_init_to_the_supervisor() {
    let (name, argument) = ("/etc/rc2.d/S01a".to_owned(), "start".to_owned());
    are(vec![
        (hello(Style::Sysv), "00010002736f"),
        (hello(Style::Busybox), "00010102736f"),
        (hello(Style::Rc), "00010202736f"),
        (hello(Style::Init), "00010302736f"),
        (hello(Style::Rescue), "00010402736f"),
        (hello(Style::Idle), "00010502736f"),
        (hello(Style::Command), "00010602736f"),
        (FromGuest::State(GuestState::Booting(Runlevel::SINGLE)), "01000153"),
        (FromGuest::State(GuestState::Running(Runlevel::MULTI)), "01010132"),
        (FromGuest::State(GuestState::Stopping(Power::PowerOff)), "010201"),
        (FromGuest::State(GuestState::Killing(Power::Reboot)), "010302"),
        (FromGuest::State(GuestState::HandedOver), "0104"),
        (FromGuest::State(GuestState::Notifies), "0105"),
        (
            FromGuest::ScriptStarted { id: 7, name: name.clone(), argument },
            "02070f2f6574632f7263322e642f53303161057374617274",
        ),
        (
            FromGuest::ScriptEnded { id: 7, name, outcome: Outcome::Exited(3), millis: 1000 },
            "03070f2f6574632f7263322e642f533031610003e807",
        ),
        (FromGuest::Note("ü".into()), "0402c3bc"),
        (FromGuest::Requested(Power::Halt), "0500"),
        (FromGuest::ExecEnded { id: 300, outcome: Outcome::Killed(9) }, "06ac020109"),
        (FromGuest::OwnInit(Family::Systemd), "0700"),
        (FromGuest::OwnInit(Family::Sysvinit), "0701"),
        (FromGuest::OwnInit(Family::Busybox), "0702"),
        (FromGuest::OwnInit(Family::Runit), "0703"),
        (FromGuest::OwnInit(Family::Openrc), "0704"),
        (FromGuest::OwnInit(Family::Finit), "0705"),
        (FromGuest::OwnInit(Family::S6), "0706"),
        (FromGuest::OwnInit(Family::Dinit), "0707"),
        (FromGuest::OwnInit(Family::Other), "0708"),
    ]);
}

#[test]
fn between_supervisor_and_keeper() {
    are(vec![(ToKeeper::Release, "00"), (ToKeeper::Listen, "01")]);
    are(vec![
        (FromKeeper::Hello { protocol: KEEPER_PROTOCOL, pid: 300, init_pid: 301 }, "0001d804da04"),
        (FromKeeper::Ended(Outcome::Exited(0)), "010000"),
        (FromKeeper::Ended(Outcome::Killed(1)), "010101"),
        (FromKeeper::EndedUnseen, "02"),
    ]);
}

/// What is found by its number, and in the file that both have.
#[test]
fn descriptors_and_sizes() {
    let numbers = [
        LINK_FD,
        fd::SUPERVISORS,
        fd::CONSOLES,
        fd::LINK,
        fd::CONSOLE,
        fd::LOG_DIRECTORY,
        fd::RING,
        fd::LOOKUP,
        fd::JOURNAL,
        fd::NOTIFY,
        fd::FORKS,
        fd::INIT,
    ];
    assert_eq!(numbers, [3, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]);
    assert_eq!((HANDED, RING_HEADER, RING_SIZE), (6, 8, 65_536));
}
