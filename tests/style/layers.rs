//! Which room of the host's crate may call which: imports go down only.

use crate::none;
use crate::sources::{Source, sources};

/// The rooms, from the top down. A room calls rooms of lower lines, and those
/// of its own line.
const LAYERS: &[&[&str]] = &[
    &["main"],
    &["commands"],
    &["cli"],
    &["build", "chbind", "chcontext", "copying", "install", "session", "supervisor", "unify"],
    &["launch", "storage", "net"],
    &["accounting", "archive", "config_import", "plan", "report", "top"],
    &["context", "membership"],
    &["control", "exhausted", "facts", "ids", "machined", "seccomp", "systemd"],
    &["cgroup", "config", "runtime", "snapshot"],
    &["bpf", "fsroot", "journal", "log", "store", "tree", "way"],
    &["interrupt", "paths", "progress", "variables"],
    &["error"],
    &["sys"],
];

/// What pure files must not mention: deciding is apart from doing.
const ACTS: &[&str] = &[
    "std::fs",
    "std::process",
    "std::env",
    "TcpListener",
    "TcpStream",
    "UdpSocket",
    "nix::",
    "rustix::",
    "Instant::now",
];

/// The pure files: prefixes of paths.
const PURE: &[&str] = &[
    "host/src/accounting/acct.rs",
    "host/src/accounting/commands.rs",
    "host/src/accounting/counters.rs",
    "host/src/accounting/ledger.rs",
    "host/src/accounting/tally.rs",
    "host/src/archive/changes.rs",
    "host/src/archive/manifest.rs",
    "host/src/archive/member.rs",
    "host/src/bpf/",
    "host/src/build/layout.rs",
    "host/src/chcontext/flags.rs",
    "host/src/config/address.rs",
    "host/src/config/check/",
    "host/src/config/device.rs",
    "host/src/config/limits/",
    "host/src/config/mount.rs",
    "host/src/config/network.rs",
    "host/src/config/parse.rs",
    "host/src/config/unify.rs",
    "host/src/config_import/cgroup.rs",
    "host/src/config_import/detect.rs",
    "host/src/config_import/directory",
    "host/src/config_import/draft.rs",
    "host/src/config_import/flags.rs",
    "host/src/config_import/incus.rs",
    "host/src/config_import/incus_yaml.rs",
    "host/src/config_import/legacy.rs",
    "host/src/config_import/lxc",
    "host/src/config_import/mod.rs",
    "host/src/config_import/nspawn.rs",
    "host/src/config_import/openvz.rs",
    "host/src/config_import/rule.rs",
    "host/src/config_import/shell.rs",
    "host/src/config_import/values.rs",
    "host/src/chbind/options.rs",
    "host/src/context/number.rs",
    "host/src/control/patience.rs",
    "host/src/copying/owners.rs",
    "host/src/context/status.rs",
    "host/src/exhausted.rs",
    "host/src/ids/choose.rs",
    "host/src/journal/events.rs",
    "host/src/machined/machine.rs",
    "host/src/membership/word.rs",
    "host/src/plan/",
    "host/src/report/",
    "host/src/seccomp/",
    "host/src/snapshot.rs",
    "host/src/supervisor/family/asking.rs",
    "host/src/supervisor/family/ways.rs",
    "host/src/supervisor/state",
    "host/src/supervisor/steps.rs",
    "host/src/systemd/generator.rs",
    "host/src/systemd/units.rs",
    "host/src/top/",
    "host/src/unify/alike.rs",
    "host/src/unify/sizes.rs",
    "guest-init/src/inittab/",
    "guest-init/src/initctl.rs",
    "guest-init/src/machine/",
    "guest-init/src/rc/depend.rs",
    "guest-init/src/rc/lsb.rs",
    "guest-init/src/rc/order",
    "guest-init/src/rc/select.rs",
    "guest-init/src/rc/stock.rs",
    "shared/src/capability.rs",
    "shared/src/family.rs",
    "shared/src/message.rs",
    "shared/src/name.rs",
    "shared/src/outcome.rs",
    "shared/src/reducecap/options.rs",
    "shared/src/reducecap/sets.rs",
    "shared/src/stage.rs",
];

fn level(room: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&room))
}

/// The room of a file of the host's crate.
fn room(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("host/src/")?;
    let name = rest.split('/').next()?;
    Some(name.strip_suffix(".rs").unwrap_or(name))
}

/// The rooms that a line of code names.
fn named(line: &str) -> impl Iterator<Item = &str> {
    let after = |start: &'static str| line.split(start).skip(1);
    after("crate::").chain(after("vserver::")).map(|rest| {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        &rest[..end]
    })
}

#[test]
fn every_room_has_its_layer() {
    let rooms = sources();
    let rooms = rooms.iter().filter_map(|source| room(&source.path));
    let homeless = rooms.filter(|room| *room != "lib" && level(room).is_none());
    none("rooms that tests/style/layers.rs doesn't list", homeless.map(str::to_owned).collect());
}

#[test]
fn imports_go_down_only() {
    let mut offenders = Vec::new();
    for source in sources() {
        let Some(own) = room(&source.path).and_then(level) else { continue };
        for (number, line) in source.production_lines() {
            let up = named(line).find(|name| level(name).is_some_and(|other| other < own));
            offenders.extend(up.map(|name| format!("{}:{number} calls {name}", source.path)));
        }
    }
    none("imports that go up", offenders);
}

#[test]
fn every_pure_file_is_there() {
    let sources = sources();
    let there = |prefix: &str| sources.iter().any(|source| source.path.starts_with(prefix));
    let gone = PURE.iter().filter(|prefix| !there(prefix)).map(|prefix| (*prefix).to_owned());
    none("PURE in tests/style/layers.rs lists what isn't there", gone.collect());
}

#[test]
fn pure_files_do_nothing() {
    let pure = |source: &Source| PURE.iter().any(|prefix| source.path.starts_with(prefix));
    let mut offenders = Vec::new();
    for source in sources().into_iter().filter(pure) {
        for (number, line) in source.production_lines() {
            let act = ACTS.iter().find(|act| line.contains(**act));
            offenders.extend(act.map(|act| format!("{}:{number} mentions {act}", source.path)));
        }
    }
    none("pure files that act", offenders);
}
