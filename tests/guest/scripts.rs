//! `NAME.sh` at work: what commands, signals and a killed supervisor come to meanwhile.

use std::fs;
use std::path::PathBuf;
use std::process::Child;

use tests::{Census, DEADLINE, Host, Tree, eventually};
use vserver::control::{Client, Request};

use super::actions::{install, lines};

on! { Busybox: [
    who_is_gone_freezes_no_guest,
    a_context_ends_with_whoever_has_had_it_opened,
    a_script_outlives_its_supervisor,
] }

/// A script that is held up in one of its actions.
struct HeldUp {
    action: &'static str,
    record: PathBuf,
}

impl HeldUp {
    fn new(host: &Host, action: &'static str) -> Self {
        let script = "#!/bin/sh\necho $1 >>RECORD\n[ $1 = ACTION ] || exit 0\n\
                      until test -e RECORD.ACTION; do sleep 0.1; done\n\
                      echo it goes on\necho done >>RECORD\n";
        Self { action, record: install(host, &script.replace("ACTION", action)) }
    }

    #[track_caller]
    fn comes_to(&self, word: &str) {
        eventually(DEADLINE, word, || {
            (lines(&self.record).last().map(String::as_str) == Some(word)).then_some(())
        });
    }

    /// It has come to that action.
    #[track_caller]
    fn waits(&self) {
        self.comes_to(self.action);
    }

    fn go_on(&self) {
        fs::write(self.record.with_extension(self.action), "").expect("it can be written");
    }
}

#[track_caller]
fn succeeds(mut child: Child) {
    let end = eventually(DEADLINE, "it ends", || child.try_wait().expect("a child"));
    assert!(end.success(), "{end}");
}

fn who_is_gone_freezes_no_guest(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let script = HeldUp::new(&host, "post-start");
    let starting = guest.command("start", [""; 0]).spawn().expect("vserver runs");
    script.waits();
    let name = "web".parse().expect("a name");
    for request in [Request::Hold, Request::Freeze(true)] {
        let client = Client::reach(host.paths(), &name).expect("it can be asked");
        client.expect("it runs").send(&request).expect("it takes requests");
    }
    // Whoever asks after them is answered when they have been heard.
    guest.vserver("status", [""; 0]).ok();
    script.go_on();
    succeeds(starting);
    guest.exec(["true"]).ok();
    guest.stop();
}

fn a_context_ends_with_whoever_has_had_it_opened(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let script = HeldUp::new(&host, "pre-start");
    let mut session = guest.command("exec", ["--", "true"]).spawn().expect("vserver runs");
    script.waits();
    session.kill().expect("it lives");
    session.wait().expect("it ends");
    script.go_on();
    guest.wait_until_stopped();
    guest.start().stop();
}

fn a_script_outlives_its_supervisor(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let before = Census::after_a_boot(&guest);
    let script = HeldUp::new(&host, "post-start");
    let starting = guest.command("start", [""; 0]).spawn().expect("vserver runs");
    script.waits();
    guest.kill_supervisor();
    script.go_on();
    // It has printed something before.
    script.comes_to("done");
    succeeds(starting);
    guest.stop();
    before.assert_unchanged(&host);
}
