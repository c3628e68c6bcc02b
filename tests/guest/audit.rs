//! What a container auditor finds inside: the same as last time, and no more
//! than it finds in the strictest peer, systemd-nspawn with a user namespace.
//!
//! The auditor is `audit/report.pl`, its findings in each mode are kept in
//! `audit/MODE.txt`. With `VSERVER_TEST_GOLDEN=write` these are written anew.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use std::{env, fs};

use tests::host::directory;
use tests::place::Place;
use tests::{DEADLINE, Host, Tree, command};

on! { Bookworm: [finds_what_it_did_and_no_more_than_in_the_strictest_peer] }

const MODES: [&str; 3] = ["private", "identity", "host"];

/// First of the ids that the peer's guest gets; above all that vserver gives.
const PEER_IDS: &str = "2147352576:65536";

/// What is found here and not in the peer.
struct Known {
    modes: &'static [&'static str],
    findings: &'static [&'static str],
    #[allow(dead_code, reason = "for the reader")]
    reason: &'static str,
}

const KNOWN: &[Known] = &[
    Known {
        modes: &MODES,
        findings: &["device: /dev/console"],
        reason: "the guest's own terminal; the peer's guest was given pipes",
    },
    Known {
        modes: &MODES,
        findings: &["writable mount: cgroup2 on /sys/fs/cgroup"],
        reason: "the guest's own cgroup, for its systemd; the peer's guest wasn't booted",
    },
    Known {
        modes: &MODES,
        findings: &[
            "writable: /proc/sys/fs/mqueue",
            "writable: /proc/sys/kernel/auto_msgmni",
            "writable: /proc/sys/kernel/msgmax",
            "writable: /proc/sys/kernel/msgmnb",
            "writable: /proc/sys/kernel/msgmni",
            "writable: /proc/sys/kernel/sem",
            "writable: /proc/sys/kernel/shm_rmid_forced",
            "writable: /proc/sys/kernel/shmall",
            "writable: /proc/sys/kernel/shmmax",
            "writable: /proc/sys/kernel/shmmni",
        ],
        reason: "of the guest's own IPC namespace, for what databases put into sysctl.conf; \
                 the peer's are read-only",
    },
    Known {
        modes: &["identity", "host"],
        findings: &["root is: root of the host's"],
        reason: "that is what the mode means",
    },
];

type Findings = BTreeSet<String>;

fn finds_what_it_did_and_no_more_than_in_the_strictest_peer(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.write("/srv/report.pl", include_str!("audit/report.pl"), 0o755);
    let peer = findings(&Peer::of(&guest.root()).run(&["perl", "/srv/report.pl"], DEADLINE));
    let mut wrong = Vec::new();
    for mode in MODES {
        host.vserver(["config", "set", "web", "security.users", mode]).ok();
        guest.start();
        let answer = guest.exec(["perl", "/srv/report.pl"]).ok();
        guest.stop();
        let ours = findings(&answer.stdout);
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("guest/audit/{mode}.txt"));
        if env::var_os("VSERVER_TEST_GOLDEN").is_some_and(|word| word == "write") {
            fs::write(&path, &answer.stdout).expect("a file of the source can be written");
        }
        let last = findings(&fs::read_to_string(&path).unwrap_or_default());
        wrong.extend(ours.difference(&last).map(|it| format!("{mode}, not last time: {it}")));
        wrong.extend(last.difference(&ours).map(|it| format!("{mode}, only last time: {it}")));
        let known: Findings = KNOWN
            .iter()
            .filter(|known| known.modes.contains(&mode))
            .flat_map(|known| known.findings)
            .map(ToString::to_string)
            .collect();
        let beyond: Findings = ours.difference(&peer).cloned().collect();
        wrong.extend(beyond.difference(&known).map(|it| format!("{mode}, not in the peer: {it}")));
        wrong.extend(known.difference(&beyond).map(|it| format!("{mode}, listed in vain: {it}")));
    }
    assert!(wrong.is_empty(), "found (VSERVER_TEST_GOLDEN=write keeps it):\n{}", wrong.join("\n"));
}

fn findings(text: &str) -> Findings {
    let found: Findings = text.lines().map(str::to_owned).collect();
    assert!(found.len() > 10 || text.is_empty(), "the auditor says little:\n{text}");
    found
}

/// The same tree in systemd-nspawn, with a user namespace; a copy that may be
/// written to.
pub(crate) struct Peer(PathBuf);

impl Peer {
    /// Copies it.
    pub(crate) fn of(root: &Path) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("vserver-audit-{}-{number}", std::process::id());
        let copy = Self(directory().join(name));
        let mut cp = Command::new("cp");
        command::run(cp.args(["--archive", "--"]).arg(root).arg(&copy.0), DEADLINE).ok();
        copy
    }

    /// What a command says there.
    pub(crate) fn run(&self, words: &[&str], patience: Duration) -> String {
        let place = Place::new();
        let mut nspawn = place.command("systemd-nspawn");
        nspawn.args(["--register=no", "--keep-unit", "--quiet", "--private-network"]);
        nspawn.args(["--resolv-conf=off", "--timezone=off", "--console=pipe"]);
        nspawn.arg(format!("--private-users={PEER_IDS}")).arg("--private-users-ownership=map");
        nspawn.arg("--directory").arg(&self.0).args(words);
        command::run(&mut nspawn, patience).ok().stdout
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
