//! What the host's stock commands do with a guest: docs/systemd.md has this as its
//! table, and the virtual machine runs it, line by line, for each family of guests.

use std::fmt::Write;

/// A command, and what comes of it.
pub struct Verb {
    /// As it is typed; `NAME` is the guest.
    pub command: &'static str,
    /// Is it typed on a terminal?
    pub on_terminal: bool,
    /// By [`Kind`].
    pub cells: [Cell; 3],
}

/// What PID 1 of a guest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// guest-init, which boots sysvinit's, OpenRC's and busybox's files.
    GuestInit,
    /// Another init than systemd: runit, openrc-init, finit, s6, dinit, an unknown one.
    Own,
    /// systemd.
    Systemd,
}

/// What comes of a command for a kind of guests.
pub struct Cell {
    /// Its exit code.
    pub code: i32,
    /// Words that it prints, if that is 0, or complains with; `NAME` is the guest.
    pub says: &'static [&'static str],
    /// What becomes of the guest.
    pub then: Then,
    /// The sentence for the page.
    pub page: &'static str,
}

/// What becomes of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Nothing.
    GoesOn,
    /// Its own shutdown, and its unit is inactive.
    IsDown,
    /// Its own shutdown, and the next boot in the same unit.
    Reboots,
    /// The next boot, without a shutdown.
    Crashes,
}

use Then::{Crashes, GoesOn, IsDown, Reboots};

/// Above the table.
const HEAD: &str =
    "| | PID 1 is guest-init | another init | systemd in the guest |\n|---|---|---|---|\n";

/// The same for all.
const fn all(
    code: i32,
    says: &'static [&'static str],
    then: Then,
    page: &'static str,
) -> [Cell; 3] {
    const fn same(page: &'static str) -> &'static str {
        if page.is_empty() { page } else { "the same" }
    }
    [
        Cell { code, says, then, page },
        Cell { code, says, then, page: same(page) },
        Cell { code, says, then, page: same(page) },
    ]
}

/// Refused where there is no bus in the guest, with these words.
const fn by_bus(
    refusal: &'static [&'static str],
    page: &'static str,
    says: &'static [&'static str],
    systemd: &'static str,
) -> [Cell; 3] {
    [
        Cell { code: 1, says: refusal, then: GoesOn, page },
        Cell { code: 1, says: refusal, then: GoesOn, page: "the same" },
        Cell { code: 0, says, then: GoesOn, page: systemd },
    ]
}

const NO_BUS: &[&str] = &["There is no system bus in container NAME"];
const NO_CONNECTION: &[&str] = &["Failed to "];

/// The table. What ends the guest comes last.
pub const VERBS: [Verb; 15] = [
    Verb {
        command: "machinectl list --no-legend",
        on_terminal: false,
        cells: all(0, &["NAME container vserver"], GoesOn, "its name, class and service"),
    },
    Verb {
        command: "machinectl show NAME",
        on_terminal: false,
        cells: all(
            0,
            &[
                "Name=NAME",
                "Class=container",
                "Service=vserver",
                "Unit=vserver@NAME.service",
                "State=running",
                "RootDirectory=/var/lib/vservers/NAME",
            ],
            GoesOn,
            "its unit, root directory, id, and when it has begun",
        ),
    },
    Verb {
        command: "machinectl status --no-pager NAME",
        on_terminal: false,
        cells: all(
            0,
            &["Service: vserver; class container", "Unit: vserver@NAME.service", "Iface: vs-NAME"],
            GoesOn,
            "the same, its link, addresses and system, its processes and the end of its log",
        ),
    },
    Verb {
        command: "getent ahostsv4 NAME",
        on_terminal: false,
        cells: all(
            0,
            &["10.77.0.3"],
            GoesOn,
            "with nss-mymachines(8), its addresses, if it has a network stack of its own",
        ),
    },
    Verb {
        command: "machinectl shell NAME /usr/bin/id",
        on_terminal: true,
        cells: by_bus(
            NO_BUS,
            "refused: \"There is no system bus in container NAME\". `vserver exec NAME id`, `vserver enter NAME`",
            &["uid=0(root)"],
            "as in a shell",
        ),
    },
    Verb {
        command: "machinectl login NAME",
        on_terminal: true,
        cells: by_bus(
            NO_BUS,
            "refused likewise. `vserver console NAME`",
            &["NAME login:"],
            "a login",
        ),
    },
    Verb {
        command: "systemctl -M NAME is-system-running",
        on_terminal: false,
        cells: by_bus(
            NO_CONNECTION,
            "refused, as there is no bus",
            &["running"],
            "that of the guest",
        ),
    },
    Verb {
        command: "systemd-run -M NAME --wait --pipe -q /bin/hostname",
        on_terminal: false,
        cells: by_bus(
            NO_CONNECTION,
            "refused, as there is no bus",
            &["NAME"],
            "a unit in the guest",
        ),
    },
    Verb {
        command: "loginctl -M NAME list-users --no-legend",
        on_terminal: false,
        cells: by_bus(NO_CONNECTION, "refused, as there is no bus", &[], "that of the guest"),
    },
    Verb {
        command: "hostnamectl -M NAME",
        on_terminal: false,
        cells: by_bus(
            NO_CONNECTION,
            "refused, as there is no bus",
            &["Virtualization: container-other"],
            "that of the guest",
        ),
    },
    Verb {
        command: "machinectl reboot NAME",
        on_terminal: false,
        cells: [
            Cell {
                code: 0,
                says: &[],
                then: Reboots,
                page: "its own shutdown (SIGINT to PID 1), and the next boot in the same unit",
            },
            Cell {
                code: 0,
                says: &[],
                then: Reboots,
                page: "the same, as `vserver reboot` (SIGINT to the leader beside PID 1)",
            },
            Cell {
                code: 0,
                says: &[],
                then: Reboots,
                page: "its own shutdown (SIGINT to PID 1), and the next boot in the same unit",
            },
        ],
    },
    Verb {
        command: "machinectl kill --signal=KILL --kill-whom=leader NAME",
        on_terminal: false,
        cells: [
            Cell {
                code: 0,
                says: &[],
                then: Crashes,
                page: "PID 1 has crashed; what the guest's `restart` policy says",
            },
            Cell {
                code: 0,
                says: &[],
                then: GoesOn,
                page: "there is another leader after five seconds",
            },
            Cell {
                code: 0,
                says: &[],
                then: Crashes,
                page: "PID 1 has crashed; what the guest's `restart` policy says",
            },
        ],
    },
    Verb {
        command: "machinectl poweroff NAME",
        on_terminal: false,
        cells: [
            Cell {
                code: 0,
                says: &[],
                then: IsDown,
                page: "its own shutdown (SIGRTMIN+4 to PID 1); the unit is `inactive`",
            },
            Cell {
                code: 0,
                says: &[],
                then: IsDown,
                page: "the same, as `vserver stop` (SIGRTMIN+4 to the leader beside PID 1)",
            },
            Cell {
                code: 0,
                says: &[],
                then: IsDown,
                page: "its own shutdown (SIGRTMIN+4 to PID 1); the unit is `inactive`",
            },
        ],
    },
    Verb {
        command: "machinectl terminate NAME",
        on_terminal: false,
        cells: all(
            0,
            &[],
            IsDown,
            "`systemctl stop` of its unit: its own shutdown, with its deadline",
        ),
    },
    Verb {
        command: "machinectl kill NAME",
        on_terminal: false,
        cells: all(
            0,
            &[],
            IsDown,
            "SIGTERM to all processes of the unit: the supervisor shuts the guest down; scripts of \
             that which begin meanwhile are hit, too",
        ),
    },
];

/// As the page has it.
pub fn page() -> String {
    VERBS.iter().fold(HEAD.to_owned(), |mut page, verb| {
        let [guest_init, own, systemd] = verb.cells.each_ref().map(|cell| cell.page);
        let _ = writeln!(page, "| `{}` | {guest_init} | {own} | {systemd} |", verb.command);
        page
    })
}
