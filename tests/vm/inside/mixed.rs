//! Commands of vserver's and of systemd's at the same time, about the same guests.

use std::process::Command;
use std::thread;

use tests::{DEADLINE, Tree, command, random};

use crate::kills::{is_had_again, is_looked_after_by, nothing_is_left, what_is_of};
use crate::units::{Machine, PROGRAM, systemctl, vserver};

/// Processes at a time, and commands of each.
const PROCESSES: usize = 6;
const COMMANDS: usize = 5;

/// Stand for the guest's name and its unit's.
const GUEST: &str = "GUEST";
const UNIT: &str = "UNIT";

const DEEDS: &[&[&str]] = &[
    &["vserver", "start", GUEST],
    &["vserver", "start", "--no-wait", GUEST],
    &["vserver", "stop", GUEST],
    &["vserver", "restart", GUEST],
    &["vserver", "condrestart", GUEST],
    &["vserver", "reboot", GUEST],
    &["vserver", "exec", GUEST, "--", "reboot"],
    &["vserver", "reexec", GUEST],
    &["vserver", "reload", GUEST],
    &["vserver", "enable", "--now", GUEST],
    &["vserver", "disable", "--now", GUEST],
    &["systemctl", "start", UNIT],
    &["systemctl", "start", "--no-block", UNIT],
    &["systemctl", "stop", UNIT],
    &["systemctl", "restart", UNIT],
    &["systemctl", "try-restart", UNIT],
    &["systemctl", "reload", UNIT],
    &["systemctl", "enable", "--now", UNIT],
    &["systemctl", "disable", "--now", UNIT],
    &["systemctl", "daemon-reload"],
    &["systemctl", "start", "vservers.target"],
    &["machinectl", "reboot", GUEST],
    &["machinectl", "poweroff", GUEST],
];

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn both_ways_in_each_others_way_leave_whole_units() {
    let machine = Machine::new();
    let [one, two, db] = ["one", "two", "db"].map(|name| machine.guest(name, Tree::Busybox));
    systemctl(&["start", &db.unit()]).ok();
    let neighbour = what_is_of(&db);
    thread::scope(|scope| {
        for _ in 0..PROCESSES {
            let mut random = random();
            scope.spawn(move || {
                for _ in 0..COMMANDS {
                    let deed = random.choice(DEEDS).expect("there are some");
                    run(deed, random.choice(["one", "two"]).expect("there are some"));
                }
            });
        }
    });
    let each = is_looked_after_by();
    for guest in [&one, &two] {
        is_had_again(guest, each);
        vserver(&["exec", guest.name(), "--", "true"]).ok();
    }
    assert_eq!(what_is_of(&db), neighbour, "the other guest has noticed nothing");
    systemctl(&["stop", &one.unit()]).ok();
    vserver(&["stop", two.name()]).ok();
    for guest in [&one, &two] {
        nothing_is_left(guest);
        vserver(&["disable", guest.name()]).ok();
    }
    systemctl(&["stop", &db.unit()]).ok();
}

/// Does it, and looks how it ends: done, or refused in a sentence, since another one
/// was in its way.
fn run(deed: &[&str], name: &str) {
    let program = if deed[0] == "vserver" { PROGRAM } else { deed[0] };
    let unit = format!("vserver@{name}.service");
    let words = deed[1..].iter().map(|word| match *word {
        GUEST => name,
        UNIT => &unit,
        word => word,
    });
    let end = command::run(Command::new(program).args(words), DEADLINE);
    println!("{}: {end}", deed.join(" "));
    // What is executed inside may be ended with everything else there.
    let ended = deed[1] == "exec" && [137, 143].contains(&end.code);
    // systemctl(1): 3, "not active"; 4, "no such unit". There it is.
    assert!([0, 1, 3].contains(&end.code) || ended, "{end}");
    assert!(!end.stderr.contains("panicked"), "{end}");
    assert!(end.code == 0 || ended || !end.stderr.trim().is_empty(), "{end}");
}
