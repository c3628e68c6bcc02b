//! Escapes, each tried from inside a real guest in all three modes of
//! `security.users`, and refused.
//!
//! A [`case::Case`] is an attempt of `tests/attacker`, and says what holds it.
//! That it would succeed without that is shown as well: against guests with
//! those layers off (`VSERVER_WITHOUT`), or where namespaces hold it, which
//! can't be left out, by the same attempt on the host or in a mere chroot.
//! All cases of a mode share one guest. What takes more than one program
//! inside stands in tests of its own.

mod bait;
mod calls;
mod case;
mod devices;
mod exhaustion;
mod frames;
mod host_users;
mod ipc;
mod kernel_files;
mod links;
mod mounts;
mod processes;
mod root;
mod scene;
mod session;
mod sockets;
mod spoof;
mod spoof_segment;
mod spoof_shared;
mod terminal;

use case::{Class, Users};

/// All cases, in the order in which they are tried: mounts after what mounts
/// cover, and last what ends the baits where it succeeds.
const CLASSES: [Class; 14] = [
    Class { name: "root", cases: root::CASES },
    Class { name: "settings of the kernel", cases: kernel_files::WRITTEN },
    Class { name: "secrets of the kernel", cases: kernel_files::READ },
    Class { name: "calls of 64 bits", cases: calls::NATIVE },
    Class { name: "calls of 32 bits", cases: calls::COMPATIBLE },
    Class { name: "calls of x32", cases: calls::X32 },
    Class { name: "nested namespaces", cases: calls::WITHIN },
    Class { name: "settings by calls", cases: calls::SETTINGS },
    Class { name: "devices", cases: devices::CASES },
    Class { name: "sockets", cases: sockets::CASES },
    Class { name: "the host's objects", cases: ipc::HOSTS },
    Class { name: "a neighbour's objects", cases: ipc::NEIGHBOURS },
    Class { name: "mounts", cases: mounts::CASES },
    Class { name: "processes", cases: processes::CASES },
];

#[test]
#[ignore = "root: boots guests"]
fn every_case_is_refused_with_private_ids() {
    case::refused(&CLASSES, Users::Private);
}

#[test]
#[ignore = "root: boots guests"]
fn every_case_is_refused_with_identity_ids() {
    case::refused(&CLASSES, Users::Identity);
}

#[test]
#[ignore = "root: boots guests"]
fn every_case_is_refused_with_host_ids() {
    case::refused(&CLASSES, Users::Host);
}

#[test]
#[ignore = "root: boots guests"]
fn every_case_succeeds_without_what_holds_it() {
    case::proven(&CLASSES);
}
