//! A guest that says too much: journald keeps its unit quiet, and nobody else's.

use std::process::Command;

use tests::{DEADLINE, Tree, command, eventually};

use crate::late::Setting;
use crate::units::{Machine, vserver};

/// journald lets through more than it is told where there is much space on its disk,
/// five times as much on one of 64 GiB (`burst_modulate`).
const LIMIT: &str = "LogRateLimitIntervalSec=10min\nLogRateLimitBurst=200";
const LINES: usize = 5000;

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn one_that_floods_silences_itself_alone() {
    let machine = Machine::new();
    let [loud, quiet] = ["loud", "quiet"].map(|name| machine.guest(name, Tree::Busybox));
    let _limited = [&loud, &quiet].map(|guest| Setting::new(guest, LIMIT));
    vserver(&["start", "loud", "quiet"]).ok();
    let say = |name: &str, line: &str| {
        let line = format!("{line} > /dev/console");
        vserver(&["exec", name, "--", "sh", "-c", &line]).ok();
    };
    say("loud", &format!("yes 'much of the same' | head -n {LINES}"));
    say("loud", "echo the last of it");
    say("quiet", "echo heard all the same");
    let of = |name: &str| {
        let unit = format!("vserver@{name}.service");
        let console = format!("SYSLOG_IDENTIFIER=vserver-{name}/console");
        let mut journalctl = Command::new("journalctl");
        journalctl.args(["--quiet", "--boot", "--output=cat", "--unit", &unit, &console]);
        command::run(&mut journalctl, DEADLINE).ok().stdout
    };
    eventually(DEADLINE, "the other guest is heard", || {
        of("quiet").lines().any(|line| line == "heard all the same").then_some(())
    });
    let heard = of("loud");
    let count = heard.lines().filter(|line| *line == "much of the same").count();
    println!("{count} of {LINES} lines were kept");
    assert!((1..LINES).contains(&count), "{count} lines");
    assert!(!heard.contains("the last of it"), "it was limited to the end");
    // The guest itself waits for nobody.
    vserver(&["exec", "loud", "--", "true"]).ok();
    vserver(&["stop", "loud", "quiet"]).ok();
}
