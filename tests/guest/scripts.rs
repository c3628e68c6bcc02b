//! `NAME.sh` at work: what commands, signals and a killed supervisor come to meanwhile.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::{Census, DEADLINE, Host, Tree, eventually};
use vserver::control::{Client, Request};
use vserver::runtime::{Lock, RunDir};

use super::actions::{install, lines};
use super::events::Events;

on! { Busybox: [
    who_is_gone_freezes_no_guest,
    a_context_ends_with_whoever_has_had_it_opened,
    a_script_outlives_its_supervisor,
    a_boot_has_one_number_and_its_phases_come_in_order,
    what_would_come_after_a_script_is_refused_in_it,
    the_last_script_has_its_turn_before_those_who_wait_for_it,
    the_first_script_of_a_context_has_its_turn,
    a_start_in_the_foreground_that_waits_ends_when_it_is_told_to,
    what_a_start_in_the_foreground_is_told_outlives_the_supervisor,
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

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("a pid"))
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
    let run = RunDir::new(host.paths(), &"web".parse().expect("a name"));
    let ends_early = |is_held_up: &dyn Fn() -> bool| {
        let mut session = guest.command("exec", ["--", "true"]).spawn().expect("vserver runs");
        eventually(DEADLINE, "the context is being made", || is_held_up().then_some(()));
        session.kill().expect("it lives");
        session.wait().expect("it ends");
    };
    // Before its supervisor hears anybody.
    let starts = Lock::wait(&host.paths().starts_lock()).expect("it can be locked");
    ends_early(&|| run.control().exists());
    drop(starts);
    guest.wait_until_stopped();
    // And while the script is at work.
    let script = HeldUp::new(&host, "pre-start");
    ends_early(&|| lines(&script.record) == ["pre-start"]);
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

fn a_boot_has_one_number_and_its_phases_come_in_order(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let watch = || Events::start(guest.command("events", [""; 0]));
    let states = |events: &Events| {
        let seen = events.until("running").into_iter();
        seen.map(|(state, boot)| format!("{state} {boot}")).collect::<Vec<_>>()
    };
    let script = HeldUp::new(&host, "pre-start");
    let starting = guest.command("start", [""; 0]).spawn().expect("vserver runs");
    script.waits();
    let events = watch();
    let first = events.next();
    assert_eq!((&first["state"], &first["boot"]), (&"starting".into(), &1.into()), "{first}");
    script.go_on();
    succeeds(starting);
    assert_eq!(states(&events), ["booting 1", "running 1"]);

    let script = HeldUp::new(&host, "post-stop");
    let rebooting = guest.command("reboot", [""; 0]).spawn().expect("vserver runs");
    script.waits();
    assert_eq!(guest.status().state, "rebooting");
    let later = watch();
    let first = later.next();
    assert_eq!((&first["state"], &first["boot"]), (&"stopping".into(), &1.into()), "{first}");
    script.go_on();
    succeeds(rebooting);
    let again = ["rebooting 1", "starting 2", "booting 2", "running 2"];
    assert_eq!(states(&events), [&["stopping 1"][..], &again].concat());
    assert_eq!(states(&later), again);
    guest.stop();
}

/// Neither waits for the other until that is killed.
fn what_would_come_after_a_script_is_refused_in_it(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let script = "#!/bin/sh\n{\ncase $1 in\n\
                  pre-start) PROGRAM cp RECORD $2:/srv ;;\n\
                  post-start) PROGRAM wait $2; PROGRAM wait $2 --for running && echo it runs ;;\n\
                  post-stop) PROGRAM export $2 RECORD.tar; PROGRAM cp RECORD $2:/srv ;;\nesac\necho $1\n} >>RECORD 2>&1\n";
    let program = tests::host::program();
    let record = install(&host, &script.replace("PROGRAM", &program.to_string_lossy()));
    guest.start().stop();
    let said = lines(&record);
    let refused = "guest 'web' waits for the end of 'web.sh'";
    let ends: Vec<_> = said
        .iter()
        .map(|line| if line.contains(refused) { "refused" } else { line.as_str() })
        .filter(|line| !line.contains("after the script"))
        .collect();
    let up = ["refused", "pre-start", "refused", "it runs", "post-start"];
    let down = ["pre-stop", "refused", "refused", "post-stop"];
    assert_eq!(ends, [&up[..], &down].concat(), "{said:?}");
}

/// What it changes needs the lock that these hold as well.
fn the_last_script_has_its_turn_before_those_who_wait_for_it(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let script = "#!/bin/sh\n[ $1 = post-stop ] || exit 0\n{\necho $1\n\
                  until test -e RECORD.go; do sleep 0.1; done\n\
                  PROGRAM limits $2 memory=256M\necho done\n} >>RECORD 2>&1\n";
    let program = tests::host::program();
    let record = install(&host, &script.replace("PROGRAM", &program.to_string_lossy()));
    let archive = host.prefix().join("web.tar").display().to_string();
    let file = record.display().to_string();
    guest.start();
    let stopping = guest.command("stop", [""; 0]).spawn().expect("vserver runs");
    eventually(DEADLINE, "it is at work", || (lines(&record) == ["post-stop"]).then_some(()));
    let waiting = [
        vec!["export", "web", &archive],
        vec!["snapshot", "create", "web"],
        vec!["clone", "web", "copy"],
        vec!["cp", &file, "web:/srv"],
    ];
    let waiting = waiting.map(|words| host.command(words).spawn().expect("vserver runs"));
    let mut impatient = host.command(["cp", &file, "web:/root"]);
    let mut impatient = impatient.spawn().expect("vserver runs");
    // Longer than a copy waits for a guest that is neither up nor down.
    thread::sleep(Duration::from_secs(11));
    kill(pid(&impatient), Signal::SIGTERM).expect("it lives");
    let end =
        eventually(Duration::from_secs(20), "it ends", || impatient.try_wait().expect("a child"));
    assert_eq!(end.code(), Some(1), "it is interrupted");
    fs::write(record.with_extension("go"), "").expect("it can be written");
    eventually(Duration::from_secs(20), "it has its turn", || {
        (lines(&record).last().map(String::as_str) == Some("done")).then_some(())
    });
    succeeds(stopping);
    waiting.into_iter().for_each(succeeds);
}

fn the_first_script_of_a_context_has_its_turn(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let script = "#!/bin/sh\n[ $1 = pre-start ] || exit 0\n\
                  PROGRAM limits $2 memory=256M >>RECORD 2>&1\necho done >>RECORD\n";
    let program = tests::host::program();
    let record = install(&host, &script.replace("PROGRAM", &program.to_string_lossy()));
    guest.exec(["true"]).ok();
    assert_eq!(lines(&record).last().map(String::as_str), Some("done"));
    guest.wait_until_stopped();
    // Meanwhile it is a context of sessions, and no guest that runs.
    let script = HeldUp::new(&host, "pre-start");
    let session = guest.command("exec", ["--", "true"]).spawn().expect("vserver runs");
    script.waits();
    let archive = host.prefix().join("web.tar").display().to_string();
    guest.vserver("start", [""; 0]).code(1).complains("has open sessions");
    guest.vserver("export", [archive]).code(1).complains("has open sessions");
    script.go_on();
    succeeds(session);
    guest.wait_until_stopped();
}

/// It ends by the signal's word once it has said what it waits for.
#[track_caller]
fn ends_while_it_waits(mut start: Command, remark: &str) {
    let mut start = start.stderr(Stdio::piped()).spawn().expect("vserver runs");
    let mut said = BufReader::new(start.stderr.take().expect("it is piped"));
    let mut line = String::new();
    said.read_line(&mut line).expect("it says something");
    assert!(line.contains(remark), "{line}");
    kill(pid(&start), Signal::SIGTERM).expect("it lives");
    let end = eventually(DEADLINE, "it ends", || start.try_wait().expect("a child"));
    let mut rest = String::new();
    said.read_to_string(&mut rest).expect("it is text");
    assert!(end.code() == Some(1) && rest.contains("interrupted"), "{end}: {rest}");
}

fn a_start_in_the_foreground_that_waits_ends_when_it_is_told_to(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let start = || guest.command("start", ["--foreground"]);
    let lock = Lock::wait(&host.paths().lock(&"web".parse().expect("a name")));
    let lock = lock.expect("it can be locked");
    ends_while_it_waits(start(), "waiting for another command that is at work with guest 'web'");
    drop(lock);
    assert!(!guest.is_running());

    let until = "#!/bin/sh\nuntil test -e /root/go; do sleep 0.05; done\n";
    guest.write("/etc/init.d/rcK", until, 0o755);
    guest.start();
    let stopping = guest.command("stop", [""; 0]).spawn().expect("vserver runs");
    eventually(DEADLINE, "it is being stopped", || {
        (guest.status().state == "stopping").then_some(())
    });
    ends_while_it_waits(start(), "waiting for guest 'web' to shut down");
    guest.write("/root/go", "", 0o644);
    succeeds(stopping);
    assert!(!guest.is_running());
}

fn what_a_start_in_the_foreground_is_told_outlives_the_supervisor(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let script = HeldUp::new(&host, "post-start");
    let start = guest.command("start", ["--foreground"]).stdout(Stdio::null()).spawn();
    let start = start.expect("vserver runs");
    script.waits();
    kill(pid(&start), Signal::SIGTERM).expect("it lives");
    guest.kill_supervisor();
    script.go_on();
    succeeds(start);
    guest.wait_until_stopped();
}
