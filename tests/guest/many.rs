//! Fifty guests at once: what the processes around each cost.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;

use tests::{Guest, Host, Tree, process};

on! { Busybox: [fifty_guests_stay_within_their_memory] }

const GUESTS: usize = 50;

/// Largest proportional set size of the three processes of a guest, in KiB. How
/// much of it is the programs' own pages, which all share, depends on how the
/// kernel has read the files: in pieces of 4 KiB, or larger ones.
const LIMIT: u64 = 640;

fn fifty_guests_stay_within_their_memory(tree: Tree) {
    let host = Host::new();
    let guests: Vec<_> =
        (0..GUESTS).map(|number| host.guest(&format!("g{number}")).tree(tree).build()).collect();
    // All at once, and nobody has written guest-init's file yet, which they share.
    let names = guests.iter().map(Guest::name);
    host.vserver(["start"].into_iter().chain(names)).ok();
    let file = |guest: &Guest<'_>| {
        let pid = guest.status().init_pid.expect("it runs");
        fs::metadata(format!("/proc/{pid}/exe")).expect("it runs").ino()
    };
    let files: BTreeSet<u64> = guests.iter().map(file).collect();
    assert_eq!(files.len(), 1, "guests have guest-init of several files");
    are_small(&guests, "started");
    // Supervisors that have taken guests over know as much of them.
    for guest in &guests {
        guest.kill_supervisor();
        guest.exec(["true"]).ok();
    }
    are_small(&guests, "taken over");
    for guest in &guests {
        guest.stop();
    }
}

fn are_small(guests: &[Guest<'_>], how: &str) {
    let mut sums = [0; 3];
    for guest in guests {
        let status = guest.status();
        let pids = [status.init_pid, status.keeper_pid, status.supervisor_pid];
        for (sum, pid) in sums.iter_mut().zip(pids) {
            *sum += process::pss(pid.expect("a running guest has all three")) / 1024;
        }
    }
    let means = sums.map(|sum| sum / GUESTS as u64);
    let [init, keeper, supervisor] = means;
    let text = format!(
        "{how}: guest-init {init}, keeper {keeper}, supervisor {supervisor} KiB PSS at {GUESTS} guests"
    );
    println!("{text}");
    assert!(means.iter().sum::<u64>() <= LIMIT, "{text}, at most {LIMIT}");
}
