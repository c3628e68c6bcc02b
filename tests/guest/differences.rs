//! What isolation changes in a boot, as data with reasons: a guest is booted
//! with the host's ids and no layer, then in each mode with all layers, and
//! nothing else may differ.

use std::collections::{BTreeMap, BTreeSet};

use tests::witness::{self, Witness};
use tests::{Guest, Host, Tree};
use vserver::plan::masks;

on! { Bookworm, Trixie: [scripts_end_as_without_isolation] }
on! { Systemd: [units_are_as_without_isolation] }

const LAYERS: &str = "capabilities,system-calls,devices,masks,nesting";
const MODES: [&str; 3] = ["private", "identity", "host"];

/// What is otherwise with isolation, and why.
struct Difference {
    /// A script and its argument, or a unit.
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

/// Besides the mounts that cover a place, whose reasons stand in the plan.
const UNITS: &[Difference] = &[
    Difference {
        what: "sys-fs-fuse-connections.mount",
        reason: "the host's; not tried without SYS_ADMIN",
    },
    Difference { what: "dev-hugepages.mount", reason: "the same" },
    Difference {
        what: "systemd-journald-audit.socket",
        reason: "the host's audit messages; not tried without AUDIT_READ",
    },
    Difference {
        what: "systemd-modules-load.service",
        reason: "loads modules; not tried without SYS_MODULE",
    },
];

/// Names of the units of the mounts that cover a place, or leave it open.
fn masks() -> BTreeSet<String> {
    let covered = masks::HIDDEN.iter().chain(&masks::READ_ONLY).map(|mask| mask.target.to_owned());
    let open = masks::OWN_SETTINGS.iter().map(|setting| format!("proc/sys/{setting}"));
    covered.chain(open).chain(registers()).map(|place| unit_of(&place)).collect()
}

/// The places of this machine that are covered from the host's uid 0, and
/// those in them that are shown.
fn registers() -> impl Iterator<Item = String> {
    let links = ["/sys/class/net", "/sys/block", "/sys/devices"].map(std::fs::read_dir);
    let entries = links.into_iter().flatten().flatten().flatten();
    let paths = entries.filter_map(|entry| std::fs::canonicalize(entry.path()).ok());
    let shown = paths.map(|path| path.display().to_string().trim_start_matches('/').to_owned());
    [masks::REGISTERS.target.to_owned()].into_iter().chain(shown)
}

/// As `systemd-escape --path --suffix=mount` has it (systemd.unit(5)).
fn unit_of(place: &str) -> String {
    let escaped = place.chars().map(|it| match it {
        '/' => "-".to_owned(),
        it if it.is_ascii_alphanumeric() || "_.:".contains(it) => it.to_string(),
        it => format!("\\x{:02x}", u32::from(it)),
    });
    format!("{}.mount", escaped.collect::<String>())
}

/// All modes on one distribution; the others show what their scripts do.
fn scripts_end_as_without_isolation(tree: Tree) {
    let witness = Witness::of(tree);
    let host = Host::new();
    let guest = host.guest("rc").tree(tree).archive(&witness.archive()).build();
    let statuses = || {
        guest.stop();
        let statuses = witness::statuses(&guest.root());
        assert!(statuses.len() > 10, "the scripts say nothing: {statuses:?}");
        std::fs::remove_file(guest.root().join(witness::RECORD.trim_start_matches('/')))
            .expect("the scripts' record can be removed");
        let lines = statuses
            .into_iter()
            .map(|((name, argument), status)| (format!("{name} {argument}"), status.to_string()));
        lines.collect::<States>()
    };
    start_without_isolation(&host, &guest);
    let mut comparison = Comparison::with(statuses(), SCRIPTS, BTreeSet::new());
    let modes = if tree == Tree::Bookworm { &MODES[..] } else { &MODES[..1] };
    for mode in modes {
        start_isolated(&host, &guest, mode);
        comparison.add(mode, &statuses());
    }
    comparison.finish();
}

fn units_are_as_without_isolation(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    start_without_isolation(&host, &guest);
    // It may be degraded: that is a difference, too.
    tests::eventually(tests::DEADLINE, "systemd is up", || {
        let state = guest.exec(["systemctl", "is-system-running", "--wait"]);
        matches!(state.trimmed(), "running" | "degraded").then_some(())
    });
    let mut comparison = Comparison::with(units(&guest), UNITS, masks());
    let usual = errors(&guest);
    for mode in MODES {
        guest.stop();
        // The journal is kept by the kernel's boot, which is the same.
        guest.shell("rm -r /var/log/journal/*").ok();
        start_isolated(&host, &guest, mode);
        guest.wait_for_systemd();
        comparison.add(mode, &units(&guest));
        let errors = errors(&guest);
        let more: Vec<_> = errors.difference(&usual).cloned().collect();
        assert!(more.is_empty(), "{mode}: errors only with isolation:\n{}", more.join("\n"));
    }
    guest.stop();
    comparison.finish();
}

fn start_without_isolation(host: &Host, guest: &Guest<'_>) {
    host.vserver(["config", "set", guest.name(), "security.users", "host"]).ok();
    guest.start_without(LAYERS);
}

fn start_isolated(host: &Host, guest: &Guest<'_>, mode: &str) {
    host.vserver(["config", "set", guest.name(), "security.users", mode]).ok();
    guest.start();
}

/// Each unit and its state.
fn units(guest: &Guest<'_>) -> States {
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

/// What ended how, by name.
type States = BTreeMap<String, String>;

/// A boot without isolation, and what is otherwise in those with it.
struct Comparison {
    without: States,
    known: &'static [Difference],
    /// Known as well, and not everywhere.
    masks: BTreeSet<String>,
    seen: BTreeSet<&'static str>,
    unlisted: Vec<String>,
}

impl Comparison {
    fn with(without: States, known: &'static [Difference], masks: BTreeSet<String>) -> Self {
        Self { without, known, masks, seen: BTreeSet::new(), unlisted: Vec::new() }
    }

    fn add(&mut self, mode: &str, with: &States) {
        let names: BTreeSet<_> = self.without.keys().chain(with.keys()).collect();
        for name in names {
            let (theirs, own) = (self.without.get(name), with.get(name));
            if theirs == own || self.masks.contains(name) {
                continue;
            }
            match self.known.iter().find(|difference| difference.what == name) {
                Some(difference) => drop(self.seen.insert(difference.what)),
                None => self.unlisted.push(format!(
                    "{name}: {theirs:?} without isolation, {own:?} with users = {mode:?}"
                )),
            }
        }
    }

    /// Nothing may be unlisted, and nothing listed that isn't so.
    fn finish(mut self) {
        let stale = self.known.iter().filter(|difference| !self.seen.contains(difference.what));
        self.unlisted.extend(stale.map(|it| format!("{}: listed, but the same", it.what)));
        assert!(self.unlisted.is_empty(), "differences:\n{}", self.unlisted.join("\n"));
    }
}
