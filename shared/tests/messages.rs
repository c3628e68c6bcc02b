//! Messages over a real socket pair: what is sent arrives, and nothing that
//! a peer can send does harm.

#![allow(missing_docs, reason = "test functions say what they test by name")]

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, send, socketpair};
use proptest::collection::vec;
use proptest::prelude::*;
use shared::family::Family;
use shared::keeper::{FromKeeper, ToKeeper};
use shared::link::{Link, MAX_MESSAGE, RecvError, SendError, decode, encode};
use shared::message::{
    BootMode, BootOrder, FromGuest, GuestState, PROTOCOL, Power, RcMode, Runlevel, StopOrder,
    Style, StyleChoice, ToGuest,
};
use shared::outcome::Outcome;

fn pair() -> (OwnedFd, OwnedFd) {
    let flags = SockFlag::SOCK_CLOEXEC;
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).unwrap()
}

fn runlevel() -> impl Strategy<Value = Runlevel> {
    prop::sample::select("0123456789Sabc".chars().collect::<Vec<_>>())
        .prop_map(|c| Runlevel::from_char(c).unwrap())
}

fn power() -> impl Strategy<Value = Power> {
    prop_oneof![Just(Power::Halt), Just(Power::PowerOff), Just(Power::Reboot)]
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![any::<u8>().prop_map(Outcome::Exited), any::<u8>().prop_map(Outcome::Killed)]
}

fn to_guest() -> impl Strategy<Value = ToGuest> {
    let mode = prop_oneof![
        Just(BootMode::Boot),
        vec(".{0,20}", 0..5).prop_map(BootMode::Command),
        vec(".{0,20}", 0..4).prop_map(BootMode::Rescue),
        Just(BootMode::Idle),
    ];
    let boot = (mode, prop::option::of(runlevel()), vec((".{0,9}", ".{0,9}"), 0..4), any::<u32>());
    let boot = boot.prop_map(|(mode, runlevel, environment, kill_grace_ms)| {
        ToGuest::Boot(BootOrder {
            protocol: PROTOCOL,
            mode,
            style: StyleChoice::Auto,
            rc: RcMode::Direct,
            runlevel,
            environment,
            kill_grace_ms,
        })
    });
    prop_oneof![
        boot,
        (power(), any::<u32>())
            .prop_map(|(power, deadline_ms)| ToGuest::Stop(StopOrder { power, deadline_ms })),
        runlevel().prop_map(ToGuest::Runlevel),
        (any::<u32>(), vec(".{0,20}", 0..5)).prop_map(|(id, argv)| ToGuest::Exec { id, argv }),
        Just(ToGuest::Query),
    ]
}

fn from_guest() -> impl Strategy<Value = FromGuest> {
    let state = prop_oneof![
        runlevel().prop_map(GuestState::Booting),
        runlevel().prop_map(GuestState::Running),
        power().prop_map(GuestState::Stopping),
        power().prop_map(GuestState::Killing),
        Just(GuestState::HandedOver),
        Just(GuestState::Notifies),
    ];
    prop_oneof![
        (any::<u16>(), ".{0,60}").prop_map(|(protocol, reason)| FromGuest::Hello {
            protocol,
            style: Style::Sysv,
            reason
        }),
        state.prop_map(FromGuest::State),
        (any::<u32>(), ".{0,60}", ".{0,9}")
            .prop_map(|(id, name, argument)| FromGuest::ScriptStarted { id, name, argument }),
        (any::<u32>(), ".{0,60}", outcome(), any::<u32>()).prop_map(
            |(id, name, outcome, millis)| FromGuest::ScriptEnded { id, name, outcome, millis }
        ),
        ".{0,60}".prop_map(FromGuest::Note),
        power().prop_map(FromGuest::Requested),
        prop_oneof![Just(Family::Runit), Just(Family::Other)].prop_map(FromGuest::OwnInit),
    ]
}

proptest! {
    #[test]
    fn what_is_sent_arrives_both_ways(down in to_guest(), up in from_guest()) {
        let (host, guest) = pair();
        let host: Link<ToGuest, FromGuest> = Link::new(host);
        let guest: Link<FromGuest, ToGuest> = Link::new(guest);
        host.send(&down).unwrap();
        guest.send(&up).unwrap();
        prop_assert_eq!(guest.recv(), Ok(down));
        prop_assert_eq!(host.recv(), Ok(up));
        prop_assert_eq!(host.recv(), Err(RecvError::Empty));
    }

    #[test]
    fn any_packet_is_survived_and_the_next_message_is_heard(
        packet in vec(any::<u8>(), 1..(MAX_MESSAGE + 100)),
    ) {
        let (host, guest) = pair();
        send(guest.as_raw_fd(), &packet, MsgFlags::empty()).unwrap();
        let host: Link<ToGuest, FromGuest> = Link::new(host);
        let heard = host.recv();
        prop_assert!(matches!(heard, Ok(_) | Err(RecvError::Nonsense)), "{:?}", heard);
        let guest: Link<FromGuest, ToGuest> = Link::new(guest);
        guest.send(&FromGuest::Note("still here".into())).unwrap();
        prop_assert_eq!(host.recv(), Ok(FromGuest::Note("still here".into())));
    }

    #[test]
    fn a_message_with_bytes_left_over_is_none(message in from_guest(), more: u8) {
        let mut bytes = encode(&message).unwrap();
        prop_assert_eq!(decode::<FromGuest>(&bytes), Some(message));
        bytes.push(more);
        prop_assert_eq!(decode::<FromGuest>(&bytes), None);
    }

    #[test]
    fn no_message_is_empty(down in to_guest(), up in from_guest()) {
        prop_assert!(!encode(&down).unwrap().is_empty());
        prop_assert!(!encode(&up).unwrap().is_empty());
    }
}

#[test]
fn keepers_messages_have_bytes_too() {
    assert!(!encode(&ToKeeper::Release).unwrap().is_empty());
    assert!(!encode(&FromKeeper::Ended(Outcome::Exited(0))).unwrap().is_empty());
}

#[test]
fn a_message_that_is_too_long_is_not_sent() {
    let (host, _guest) = pair();
    let host: Link<FromGuest, ToGuest> = Link::new(host);
    let long = FromGuest::Note("x".repeat(MAX_MESSAGE));
    assert_eq!(host.send(&long), Err(SendError::TooLong));
}

#[test]
fn a_peer_that_does_not_read_blocks_nobody() {
    let (host, _guest) = pair();
    let host: Link<FromGuest, ToGuest> = Link::new(host);
    let note = FromGuest::Note("x".repeat(1000));
    let full = (0..100_000).find_map(|_| host.send(&note).err());
    assert_eq!(full, Some(SendError::Full));
}

#[test]
fn the_end_of_the_peer_is_told() {
    let (host, guest) = pair();
    let host: Link<ToGuest, FromGuest> = Link::new(host);
    drop(guest);
    assert_eq!(host.recv(), Err(RecvError::Closed));
    assert_eq!(host.send(&ToGuest::Query), Err(SendError::Closed));
}

#[test]
fn descriptors_that_nobody_wants_stay_where_they_are() {
    let (guest, host) = pair();
    let file = std::fs::File::open("/dev/null").unwrap();
    let (guest, host): (Link<FromGuest, ToGuest>, Link<ToGuest, FromGuest>) =
        (Link::new(guest), Link::new(host));
    guest.send(&FromGuest::Note("one".to_owned())).unwrap();
    guest.send_with_fds(&FromGuest::Note("two".to_owned()), &[file.as_fd()]).unwrap();
    assert_eq!(host.recv(), Ok(FromGuest::Note("one".to_owned())));
    for _ in 0..2 {
        assert_eq!(host.recv(), Err(RecvError::Descriptors));
    }
}
