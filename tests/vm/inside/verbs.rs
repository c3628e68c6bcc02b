//! Guests as machines of systemd-machined, by the host's stock commands: the table of
//! [`tests::verbs`], line by line, for each family of guests.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tests::layouts::{self, Layout};
use tests::verbs::{Cell, Kind, Then, VERBS, Verb};
use tests::{DEADLINE, eventually};

use crate::machined::{is_gone, is_registered};
use crate::units::{Guest, Machine, run, systemctl, vserver};

/// A shutdown and a boot of a whole distribution, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(400);

/// That of the table.
const ADDRESS: &str = "10.77.0.3";

/// Makes the tests of each layout.
macro_rules! families {
    ($($layout:ident: $kind:ident;)+) => {
        $(
            #[test]
            #[ignore = "root: only in the virtual machine of tests/vm"]
            fn $layout() {
                all_verbs(&layouts::$layout(), Kind::$kind);
            }
        )+
    };
}

families! {
    sysvinit: GuestInit;
    openrc: GuestInit;
    busybox: GuestInit;
    alpine: GuestInit;
    systemd: Systemd;
    systemd_trixie: Systemd;
    runit: Own;
    openrc_init: Own;
    finit: Own;
    s6: Own;
    s6_linux_init: Own;
    dinit: Own;
    unknown: Own;
}

fn all_verbs(layout: &Layout, kind: Kind) {
    let machine = Machine::new();
    let guest = build(&machine, layout);
    start(&guest, kind);
    has_a_link_of_its_name(&guest);
    if kind == Kind::Own {
        // It goes with its supervisor, and comes with the next.
        guest.loses_supervisor("-9");
        is_led(&guest, kind);
    }
    for (index, verb) in VERBS.iter().enumerate() {
        eprintln!("{}", verb.command);
        let cell = &verb.cells[kind as usize];
        let before = Before::of(&guest);
        let said = run_verb(&guest, verb, cell);
        becomes_of(&guest, kind, cell, &before, &said);
        let is_last = index + 1 == VERBS.len();
        if cell.then == Then::IsDown && !is_last {
            start(&guest, kind);
        }
    }
    // None of its shutdowns was somebody else's.
    let events = vserver(&["logs", guest.name(), "--events"]).ok();
    assert!(!events.stdout.contains("killing"), "{events}");
}

/// Whose an interface of the host's is can be read there.
fn has_a_link_of_its_name(guest: &Guest) {
    let [short, whole] = ["vs", "vserver"].map(|kind| format!("{kind}-{}", guest.name()));
    assert!(Path::new("/sys/class/net").join(&short).exists(), "there is no '{short}'");
    let link = run("ip", &["-o", "link", "show", "dev", &short]).ok();
    assert!(link.stdout.contains(&format!("altname {whole}")), "{link}");
}

/// As an administrator has it.
fn build(machine: &Machine, layout: &Layout) -> Guest {
    let guest = machine.guest("fam", layout.tree);
    vserver(&["config", "set", "fam", "network.addresses", ADDRESS]).ok();
    for (path, to) in layout.links {
        let path = place(path);
        symlink(to, &path).unwrap_or_else(|cause| panic!("cannot link {path:?}: {cause}"));
    }
    for (path, text, mode) in [&layouts::UP].into_iter().chain(layout.files) {
        let path = place(path);
        fs::write(&path, text).unwrap_or_else(|cause| panic!("cannot write {path:?}: {cause}"));
        fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).expect("it has a mode");
    }
    if !layout.prepare.is_empty() {
        vserver(&[&["exec", "fam", "--"], layout.prepare].concat()).ok();
    }
    guest
}

/// Makes room for a file, also where the tree has a link.
fn place(path: &str) -> PathBuf {
    let path = PathBuf::from("/var/lib/vservers/fam").join(path.trim_start_matches('/'));
    let directory = path.parent().expect("a file is in a directory");
    fs::create_dir_all(directory).expect("a directory can be made");
    let _ = fs::remove_file(&path);
    path
}

fn start(guest: &Guest, kind: Kind) {
    systemctl(&["start", &guest.unit()]).ok();
    is_led(guest, kind);
}

/// machined knows this boot of it, by the leader that it is to have.
#[track_caller]
fn is_led(guest: &Guest, kind: Kind) {
    match kind {
        Kind::GuestInit => is_registered(guest),
        Kind::Systemd => {
            is_registered(guest);
            eventually(PATIENCE, "its systemd is up", || {
                let state = systemctl(&["-M", guest.name(), "is-system-running"]);
                (state.trimmed() == "running").then_some(())
            });
        }
        Kind::Own => {
            eventually(DEADLINE, "there is a leader beside its PID 1", || {
                // Between two of them there is none.
                let shown = run("machinectl", &["show", "--value", "-p", "Leader", guest.name()]);
                let comm = format!("/proc/{}/comm", shown.trimmed());
                let comm = fs::read_to_string(comm).unwrap_or_default();
                (comm.trim_end() == "vserver-leader").then_some(())
            });
        }
    }
}

/// Runs it, and returns what it has said.
#[track_caller]
fn run_verb(guest: &Guest, verb: &Verb, cell: &Cell) -> String {
    let line = verb.command.replace("NAME", guest.name());
    let done = match verb.on_terminal {
        // Three times ^] leaves a login.
        true if cell.code == 0 => {
            let keys = "{ sleep 20; printf '\\035\\035\\035'; sleep 5; }";
            let line = format!("{keys} | timeout 60 script -qec '{line}' /dev/null");
            run("sh", &["-c", &line])
        }
        true => run("script", &["-qec", &line, "/dev/null"]),
        false => run("sh", &["-c", &line]),
    };
    let all = format!("{}{}", done.stdout, done.stderr);
    // What a login leaves with is the terminal's affair.
    if !(verb.on_terminal && cell.code == 0) {
        assert_eq!(done.code, cell.code, "{line}: {done}");
    }
    let words = all.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    for expected in cell.says {
        let expected = expected.replace("NAME", guest.name());
        assert!(words.contains(&expected), "{expected:?} is missing: {done}");
    }
    words
}

/// A guest before a command.
struct Before {
    init: i32,
    restarts: String,
}

impl Before {
    #[track_caller]
    fn of(guest: &Guest) -> Self {
        Self { init: guest.pid("init_pid"), restarts: guest.show("NRestarts") }
    }
}

/// Checks what has become of the guest.
#[track_caller]
fn becomes_of(guest: &Guest, kind: Kind, cell: &Cell, before: &Before, said: &str) {
    match cell.then {
        Then::GoesOn => {
            assert_eq!(guest.pid("init_pid"), before.init, "{said}");
            is_led(guest, kind);
        }
        Then::IsDown => {
            eventually(PATIENCE, "the unit has ended", || {
                (guest.show("ActiveState") == "inactive").then_some(())
            });
            assert_eq!(guest.show("Result"), "success");
            is_gone(guest);
        }
        Then::Reboots | Then::Crashes => {
            eventually(PATIENCE, "it is up again", || {
                let status = guest.status();
                (status["init_pid"] != before.init && status["state"] == "running").then_some(())
            });
            let ends: &[&str] = match (cell.then, kind) {
                (Then::Crashes, _) => &["died: signal 9"],
                // Some know one way to shut down, and the host does the rest.
                (_, Kind::Own) => &["reboot", "power-off"],
                _ => &["reboot"],
            };
            let status = guest.status();
            assert!(ends.iter().any(|end| status["last_end"] == *end), "{status}");
            assert_eq!(guest.show("NRestarts"), before.restarts, "the unit was started again");
            is_led(guest, kind);
        }
    }
}
