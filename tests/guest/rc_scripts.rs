//! Every rc script of a Debian guest ends as it does under the
//! distribution's own init; what differs is listed here, with the reason.

use tests::witness::{self, Statuses, Witness};
use tests::{Host, Tree};

on! { Bookworm, Trixie: [every_script_ends_as_under_its_own_init] }

/// A script that ends differently, and why.
struct Difference {
    script: &'static str,
    argument: &'static str,
    /// Status under vserver; the reference's is any other.
    status: i32,
    #[allow(dead_code, reason = "for the reader")]
    reason: &'static str,
}

const KNOWN: &[Difference] = &[
    Difference {
        script: "hostname.sh",
        argument: "start",
        status: 1,
        reason: "sets a host name that is set already, and needs SYS_ADMIN for it",
    },
    Difference {
        script: "mountdevsubfs.sh",
        argument: "reload",
        status: 32,
        reason: "mounts /dev/shm and /dev/pts again, which are there, and needs SYS_ADMIN for it",
    },
];

fn every_script_ends_as_under_its_own_init(tree: Tree) {
    let witness = Witness::of(tree);
    let archive = witness.archive();
    let reference = witness.under_its_own_init();
    assert!(reference.len() > 10, "the reference run says nothing: {reference:?}");
    for mode in ["written", "direct"] {
        let host = Host::new();
        let guest = host.guest("rc").tree(tree).archive(&archive).set("boot.rc", mode).build();
        guest.start().stop();
        compare(mode, &reference, &witness::statuses(&guest.root()));
    }
}

fn compare(mode: &str, reference: &Statuses, ours: &Statuses) {
    let mut unlisted = Vec::new();
    let names = reference.keys().chain(ours.keys());
    for key @ (script, argument) in names.collect::<std::collections::BTreeSet<_>>() {
        let (theirs, own) = (reference.get(key), ours.get(key));
        let known = KNOWN.iter().any(|difference| {
            difference.script == script
                && difference.argument == argument
                && own == Some(&difference.status)
        });
        if theirs != own && !known {
            unlisted.push(format!("{script} {argument}: {theirs:?} there, {own:?} here"));
        }
    }
    assert!(
        unlisted.is_empty(),
        "boot.rc = {mode:?}; scripts end differently:\n{}",
        unlisted.join("\n")
    );
}
