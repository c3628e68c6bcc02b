//! A guest whose unit has failed runs on; another unit looks after it, and shuts it
//! down with the host.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use tests::{DEADLINE, Tree, eventually, process};

use crate::kills::{is_looked_after_by, supervisors};
use crate::units::{Guest, Machine, read, run, systemctl, vserver};

/// What looks after `web`.
const ADOPTING: &str = "vserver-adopt@web.service";

fn of_adopting(property: &str) -> String {
    of(ADOPTING, property)
}

fn of(unit: &str, property: &str) -> String {
    systemctl(&["show", "-P", property, unit]).ok().trimmed().to_owned()
}

/// A guest's unit isn't started again, as if that failed, or not often; undone when
/// dropped.
pub struct Once {
    drop_in: PathBuf,
}

impl Once {
    /// For `web`.
    fn new() -> Self {
        Self::of("web")
    }

    /// For this guest.
    pub fn of(name: &str) -> Self {
        Self::with(name, "[Service]\nRestart=no\n")
    }

    /// With this in its unit.
    fn with(name: &str, text: &str) -> Self {
        let directory = format!("/run/systemd/system/vserver@{name}.service.d");
        let drop_in = Path::new(&directory).join("90-test.conf");
        fs::create_dir_all(drop_in.parent().expect("it has one")).expect("it can be made");
        fs::write(&drop_in, text).expect("it can be written");
        systemctl(&["daemon-reload"]).ok();
        Self { drop_in }
    }
}

impl Drop for Once {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", run("journalctl", &["-b", "-n", "60", "-u", ADOPTING]));
        }
        let _ = fs::remove_file(&self.drop_in);
        systemctl(&["daemon-reload"]);
    }
}

/// Kills all that watches over the guest: its unit fails, and another one has it.
#[track_caller]
pub fn fails(web: &Guest) {
    let pids = ["init_pid", "keeper_pid"].map(|who| web.pid(who));
    let unit = format!("/sys/fs/cgroup/vserver.slice/{}", web.unit());
    eventually(DEADLINE, "its unit has failed", || {
        let all = fs::read_to_string(format!("{unit}/supervisor/cgroup.procs")).unwrap_or_default();
        if !all.is_empty() {
            // What has told machined of the guest may have ended by itself.
            run("kill", &["-9"].into_iter().chain(all.lines()).collect::<Vec<_>>());
        }
        (web.show("ActiveState") == "failed").then_some(())
    });
    is_adopted(web);
    assert_eq!(["init_pid", "keeper_pid"].map(|who| web.pid(who)), pids, "the guest goes on");
}

#[track_caller]
fn is_adopted(web: &Guest) {
    let unit = format!("vserver-adopt@{}.service", web.name());
    // By no command of vserver's: one that finds no supervisor for two seconds has the
    // guest's own unit started, which that one leaves the guest to.
    let place = format!("/var/lib/vserver/supervisors/{}", web.name());
    eventually(DEADLINE, "that has taken its place", || {
        let holder = fs::read_to_string(&place).unwrap_or_default();
        let main = of(&unit, "MainPID");
        (main != "0" && holder.lines().next() == Some(&*main)).then_some(())
    });
    eventually(DEADLINE, "another unit looks after it", || {
        let main = web.status()["supervisor_pid"].to_string();
        (of(&unit, "ActiveState") == "active" && of(&unit, "MainPID") == main).then_some(())
    });
}

#[track_caller]
fn is_left_alone(result: &str) {
    eventually(DEADLINE, "it has nothing to look after", || {
        (of_adopting("ActiveState") == "inactive").then_some(())
    });
    assert_eq!(of_adopting("Result"), result);
}

/// Its shutdown scripts were the last that was heard of it.
#[track_caller]
fn was_shut_down(init: i32) {
    eventually(DEADLINE, "it is down", || (!process::is_alive(init)).then_some(()));
    let log = vserver(&["logs", "web"]).ok();
    assert!(log.stdout.ends_with("rcK: shutdown scripts run\n"), "{log}");
    eventually(DEADLINE, "its directory is gone", || {
        (!Path::new("/run/vserver/web").exists()).then_some(())
    });
}

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn a_guest_whose_unit_has_failed_is_shut_down_with_the_host() {
    let machine = Machine::new();
    let web = machine.guest("web", Tree::Busybox);
    let _once = Once::new();
    systemctl(&["start", "vserver@web"]).ok();
    fails(&web);
    vserver(&["exec", "web", "--", "true"]).ok();

    // A supervisor as any other: killed, upgraded, and there over a reboot.
    let init = web.pid("init_pid");
    let main = of_adopting("MainPID");
    run("kill", &["-9", &main]).ok();
    eventually(DEADLINE, "there is another one", || {
        (![main.as_str(), "0"].contains(&&*of_adopting("MainPID"))).then_some(())
    });
    is_adopted(&web);
    let main = of_adopting("MainPID");
    vserver(&["reexec", "web"]).ok();
    is_adopted(&web);
    assert_eq!(of_adopting("MainPID"), main);
    assert_eq!(web.pid("init_pid"), init);
    vserver(&["exec", "web", "--", "reboot"]);
    eventually(DEADLINE, "it is up again", || {
        let status = web.status();
        (status["init_pid"] != init && status["state"] == "running").then_some(())
    });
    is_adopted(&web);

    // What systemd does at the host's shutdown: it stops the unit, and waits.
    let conflicts = of_adopting("Conflicts");
    assert!(conflicts.contains("shutdown.target"), "{conflicts}");
    let init = web.pid("init_pid");
    systemctl(&["stop", ADOPTING]).ok();
    was_shut_down(init);
    is_left_alone("success");
}

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn a_guest_whose_unit_has_failed_is_stopped_and_started_as_before() {
    let machine = Machine::new();
    let web = machine.guest("web", Tree::Busybox);
    let once = Once::new();
    let all = ["systemctl", "stop", "vservers.target"];
    for stop in [&all[..], &["vserver", "stop", "web"]] {
        systemctl(&["start", "vserver@web"]).ok();
        fails(&web);
        let init = web.pid("init_pid");
        run(stop[0], &stop[1..]).ok();
        was_shut_down(init);
        is_left_alone("success");
    }
    systemctl(&["start", "vserver@web"]).ok();
    fails(&web);
    drop(once);

    // Its own unit takes it back, where systemd can start that.
    let init = web.pid("init_pid");
    let version = systemctl(&["--version"]).ok();
    let takes_back = !version.stdout.starts_with("systemd 252 ");
    let started = systemctl(&["start", "vserver@web"]);
    assert_eq!(started.code == 0, takes_back, "{started}");
    if takes_back {
        assert_eq!(web.pid("init_pid"), init);
        assert_eq!(web.show("ActiveState"), "active");
        assert_eq!(web.status()["supervisor_pid"].to_string(), web.show("MainPID"));
        is_left_alone("success");
    } else {
        is_adopted(&web);
    }
    assert_eq!(web.pid("init_pid"), init);
    // It may be ended with everything else there.
    vserver(&["exec", "web", "--", "poweroff"]);
    eventually(DEADLINE, "it is down", || (!process::is_alive(init)).then_some(()));
    is_left_alone("success");
    systemctl(&["start", "vserver@web"]).ok();
    assert_eq!(web.show("ActiveState"), "active");
    systemctl(&["stop", "vserver@web"]).ok();
}

/// When it has ended nothing runs any more.
#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn the_init_script_waits_for_a_guest_whose_unit_has_failed() {
    let machine = Machine::new();
    let web = machine.guest("web", Tree::Busybox);
    let _once = Once::new();
    systemctl(&["start", "vserver@web"]).ok();
    fails(&web);
    let init = web.pid("init_pid");
    run("/usr/local/share/vserver/init.d/vservers", &["stop"]).ok();
    assert!(!process::is_alive(init));
    was_shut_down(init);
}

/// Nothing looks after what isn't there.
#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn a_start_that_has_failed_leaves_nothing_to_look_after() {
    let machine = Machine::new();
    let web = machine.guest("web", Tree::Busybox);
    let _once = Once::new();
    let file = "/etc/vservers/web.toml";
    let usual = read(file);
    fs::write(file, format!("{usual}\n[boot\n")).expect("it can be written");
    systemctl(&["start", "vserver@web"]).code(1);
    assert_eq!(web.show("ActiveState"), "failed");
    is_left_alone("success");
    fs::write(file, usual).expect("it can be written");
    systemctl(&["start", "vserver@web"]).ok();
    systemctl(&["stop", "vserver@web"]).ok();
}

/// systemd doesn't wait for it for longer than five minutes, and nothing is killed for
/// that. It has no shorter time.
#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn a_boot_in_which_nothing_happens_goes_on() {
    let machine = Machine::new();
    let web = machine.guest("web", Tree::Busybox);
    let scripts = "/var/lib/vservers/web/etc/init.d/rcS";
    fs::write(scripts, "#!/bin/sh\nsleep 400\n").expect("it can be written");
    systemctl(&["start", "--no-block", "vserver@web"]).ok();
    eventually(DEADLINE, "its script runs", || {
        web.show("StatusText").contains("rcS").then_some(())
    });
    let (init, main) = (web.pid("init_pid"), web.show("MainPID"));
    let begun = Instant::now();
    while web.show("ActiveState") == "activating" && begun.elapsed() < Duration::from_secs(350) {
        thread::sleep(Duration::from_secs(2));
    }
    assert_eq!(web.show("ActiveState"), "active");
    assert_eq!(web.show("StatusText"), "still booting, and not waited for any longer");
    assert_eq!(web.status()["state"], "booting");
    assert_eq!((web.show("MainPID"), web.show("NRestarts")), (main.clone(), "0".to_owned()));
    is_left_alone("success");
    // What looks after it, and no other.
    let each = is_looked_after_by();
    let is_whole = || (supervisors("web").len() == each).then_some(());
    eventually(DEADLINE, "one is left", is_whole);
    assert_eq!(web.pid("init_pid"), init);
    let begun = Instant::now();
    while web.status()["state"] != "running" && begun.elapsed() < DEADLINE {
        thread::sleep(Duration::from_secs(2));
    }
    assert_eq!(web.status()["state"], "running");
    assert_eq!((web.show("ActiveState"), web.show("MainPID")), ("active".to_owned(), main));
    vserver(&["stop", "web"]).ok();
    assert!(!process::is_alive(init));
}

/// The unit's usual limit is 60 times.
#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn a_unit_that_is_started_too_often_is_given_up_and_its_guest_is_not() {
    let machine = Machine::new();
    let web = machine.guest("web", Tree::Busybox);
    let _seldom = Once::with("web", "[Unit]\nStartLimitBurst=3\nStartLimitIntervalSec=10min\n");
    systemctl(&["start", "vserver@web"]).ok();
    let pids = ["init_pid", "keeper_pid"].map(|who| web.pid(who));
    let mut killed = std::collections::BTreeSet::new();
    eventually(DEADLINE, "its unit is given up", || {
        let main = web.show("MainPID");
        if main != "0" && web.show("ActiveState") == "active" && killed.insert(main.clone()) {
            run("kill", &["-9", &main]).ok();
        }
        (web.show("ActiveState") == "failed").then_some(())
    });
    assert_eq!(killed.len(), 3);
    is_adopted(&web);
    assert_eq!(["init_pid", "keeper_pid"].map(|who| web.pid(who)), pids, "the guest goes on");
    vserver(&["exec", "web", "--", "true"]).ok();

    systemctl(&["reset-failed", "vserver@web"]).ok();
    systemctl(&["start", "vserver@web"]).ok();
    assert_eq!(web.show("ActiveState"), "active");
    assert_eq!(["init_pid", "keeper_pid"].map(|who| web.pid(who)), pids, "it has it back");
    is_left_alone("success");
    vserver(&["stop", "web"]).ok();
    was_shut_down(pids[0]);
}
