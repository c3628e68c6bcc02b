//! What lynis, Debian's auditor, finds inside, as it is packaged: no more than
//! in systemd-nspawn with a user namespace, and the same as last time.
//!
//! What is kept, in `audit/lynis-VERSION.txt`, are its warnings and
//! suggestions, without what it says of its own age. With
//! `VSERVER_TEST_GOLDEN=write` it is written anew.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use std::{env, fs, thread};

use tests::{DEADLINE, Host, Tree, command, tree};

use crate::audit::Peer;

on! { Bookworm: [finds_no_more_than_in_the_strictest_peer] }

/// An audit has some minutes, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

const AUDIT: &str = "lynis audit system --quick --quiet --no-colors --no-log \
                     --report-file /root/lynis.dat >/dev/null 2>&1; cat /root/lynis.dat";

/// What it finds here and not in the peer: the beginning of the line, and why.
const KNOWN: [(&str, &str); 1] = [(
    "suggestion[]=FILE-6310|To decrease the impact of a full /tmp file system",
    "the peer puts a tmpfs there; a guest's tree has what its fstab says",
)];

/// Lines that say that something could be better. The last kind, values that
/// kernel settings should have, is compared with the peer's only: machines
/// differ in them.
const FINDINGS: [&str; 3] = ["warning[]=", "suggestion[]=", "details[]="];

fn finds_no_more_than_in_the_strictest_peer(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    for path in ["etc", "usr/sbin", "usr/share"] {
        let mut copy = Command::new("cp");
        copy.arg("--archive").arg(tree::unpacked(&format!("lynis/{path}/lynis")));
        command::run(copy.arg(guest.root().join(path)), DEADLINE).ok();
    }
    let peer = Peer::of(&guest.root());
    guest.start();
    // The peer's guest isn't booted, and has no daemon to be advised on.
    guest.exec(["/etc/init.d/ssh", "stop"]).ok();
    let (ours, theirs) = thread::scope(|scope| {
        let theirs = scope.spawn(|| peer.run(&["sh", "-c", AUDIT], PATIENCE));
        let mut audit = guest.command("exec", ["--", "sh", "-c", AUDIT]);
        let ours = command::run(&mut audit, PATIENCE).ok().stdout;
        (ours, theirs.join().expect("an audit in the peer"))
    });
    guest.stop();
    let (all, theirs) = (lines(&ours, &FINDINGS), lines(&theirs, &FINDINGS));
    assert!(all.len() > 20 && theirs.len() > 20, "lynis says little:\n{ours}\n{theirs:?}");
    let mut wrong = Vec::new();
    let beyond: BTreeSet<_> = all.difference(&theirs).collect();
    let known = |line: &str| KNOWN.iter().any(|(begin, _)| line.starts_with(begin));
    wrong.extend(
        beyond.iter().filter(|line| !known(line)).map(|it| format!("not in the peer: {it}")),
    );
    let vain = KNOWN.iter().filter(|(begin, _)| !beyond.iter().any(|line| line.starts_with(begin)));
    wrong.extend(vain.map(|(begin, _)| format!("listed in vain: {begin}")));

    let version = ours.lines().find_map(|line| line.strip_prefix("lynis_version="));
    let version = version.expect("a version");
    let ours = lines(&ours, &FINDINGS[..2]);
    let path = format!("guest/audit/lynis-{version}.txt");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if env::var_os("VSERVER_TEST_GOLDEN").is_some_and(|word| word == "write") {
        let text: String = ours.iter().map(|line| format!("{line}\n")).collect();
        fs::write(&path, text).expect("a file of the source can be written");
    }
    let last = lines(&fs::read_to_string(&path).unwrap_or_default(), &FINDINGS);
    wrong.extend(ours.difference(&last).map(|it| format!("not last time: {it}")));
    wrong.extend(last.difference(&ours).map(|it| format!("only last time: {it}")));
    assert!(
        wrong.is_empty(),
        "lynis {version} (VSERVER_TEST_GOLDEN=write keeps it):\n{}",
        wrong.join("\n")
    );
}

fn lines(report: &str, kinds: &[&str]) -> BTreeSet<String> {
    let wanted = |line: &&str| {
        kinds.iter().any(|kind| line.starts_with(kind)) && !line.contains("[]=LYNIS|")
    };
    report.lines().filter(wanted).map(str::to_owned).collect()
}
