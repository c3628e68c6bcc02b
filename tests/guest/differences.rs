//! What the layers of isolation change in a boot, as data with reasons: each
//! guest is booted with them and without, and nothing else may differ.

use std::collections::{BTreeMap, BTreeSet};

use tests::witness::{self, Witness};
use tests::{Guest, Host, Tree};

on! { Bookworm, Trixie: [scripts_end_as_without_isolation] }
on! { Systemd: [units_are_as_without_isolation] }

const LAYERS: &str = "capabilities,system-calls,devices,masks,nesting";
const MODES: [&str; 3] = ["private", "identity", "host"];

/// What is otherwise with isolation, and why.
struct Difference {
    /// A script and its argument, or the start of a unit's name.
    what: &'static str,
    #[allow(dead_code, reason = "for the reader")]
    reason: &'static str,
}

const SCRIPTS: &[Difference] = &[
    Difference {
        what: "hostname.sh start",
        reason: "sets a host name that is set already, and needs SYS_ADMIN for it",
    },
    Difference {
        what: "mountdevsubfs.sh reload",
        reason: "mounts /dev/shm and /dev/pts again, which are there, and needs SYS_ADMIN for it",
    },
];

const UNITS: &[Difference] = &[
    Difference { what: "proc-", reason: "a place in /proc that is covered or read-only" },
    Difference {
        what: "sys-kernel-debug.mount",
        reason: "the host's; not tried without SYS_ADMIN",
    },
    Difference { what: "sys-kernel-tracing.mount", reason: "the same" },
    Difference { what: "sys-fs-fuse-connections.mount", reason: "the same" },
    Difference { what: "dev-hugepages.mount", reason: "the same" },
    Difference {
        what: "systemd-journald-audit.socket",
        reason: "the host's audit messages; not tried without AUDIT_READ",
    },
    Difference {
        what: "systemd-modules-load.service",
        reason: "loads modules; not tried without SYS_MODULE",
    },
    Difference { what: "sys-", reason: "a place in /sys that is covered or read-only" },
];

fn scripts_end_as_without_isolation(tree: Tree) {
    let witness = Witness::of(tree);
    let archive = witness.archive();
    let statuses_of = |mode: &str, layers: &str| {
        let host = Host::new();
        let guest = host.guest("rc").tree(tree).archive(&archive);
        let guest = guest.set("security.users", mode).build();
        guest.start_without(layers).stop();
        let statuses = witness::statuses(&guest.root());
        assert!(statuses.len() > 10, "the scripts say nothing: {statuses:?}");
        let lines = statuses
            .into_iter()
            .map(|((name, argument), status)| (format!("{name} {argument}"), status.to_string()));
        lines.collect()
    };
    for mode in MODES {
        compare(mode, &statuses_of(mode, LAYERS), &statuses_of(mode, ""), SCRIPTS);
    }
}

fn units_are_as_without_isolation(tree: Tree) {
    for mode in MODES {
        let host = Host::new();
        let guest = host.guest("web").tree(tree).set("security.users", mode).build();
        guest.start();
        crate::distributions::wait_for_systemd(&guest);
        let (units, errors) = (units(&guest), errors(&guest));
        guest.stop().start_without(LAYERS);
        // It may be degraded: that is a difference, too.
        tests::eventually(tests::DEADLINE, "systemd is up", || {
            let state = guest.exec(["systemctl", "is-system-running", "--wait"]);
            matches!(state.trimmed(), "running" | "degraded").then_some(())
        });
        compare(mode, &self::units(&guest), &units, UNITS);
        let more: Vec<_> = errors.difference(&self::errors(&guest)).cloned().collect();
        assert!(more.is_empty(), "{mode}: errors only with isolation:\n{}", more.join("\n"));
        guest.stop();
    }
}

/// Each unit and its state.
fn units(guest: &Guest<'_>) -> BTreeMap<String, String> {
    let words = ["systemctl", "list-units", "--all", "--plain", "--no-legend", "--no-pager"];
    let list = guest.exec(words).ok();
    let lines = list.stdout.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let name = words.next()?.to_owned();
        Some((name, words.take(3).collect::<Vec<_>>().join(" ")))
    });
    lines.collect()
}

/// What the journal calls an error.
fn errors(guest: &Guest<'_>) -> BTreeSet<String> {
    let words = ["journalctl", "--boot", "--priority", "err", "--output", "cat", "--no-pager"];
    guest.exec(words).ok().stdout.lines().map(str::to_owned).collect()
}

fn compare(
    mode: &str,
    without: &BTreeMap<String, String>,
    with: &BTreeMap<String, String>,
    known: &[Difference],
) {
    let names: BTreeSet<_> = without.keys().chain(with.keys()).collect();
    let unlisted = names.into_iter().filter(|name| {
        let listed = known.iter().any(|difference| name.starts_with(difference.what));
        without.get(*name) != with.get(*name) && !listed
    });
    let lines = unlisted.map(|name| {
        format!("{name}: {:?} without isolation, {:?} with it", without.get(name), with.get(name))
    });
    let lines: Vec<_> = lines.collect();
    assert!(lines.is_empty(), "users = {mode:?}:\n{}", lines.join("\n"));
}
