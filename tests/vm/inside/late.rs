//! What takes longer than systemd waits: a supervisor that is stuck, and a boot
//! that goes on.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use tests::{DEADLINE, Tree, eventually};

use crate::units::{Guest, Machine, read, run, systemctl, vserver};

/// Settings of a guest's unit, until they are dropped.
pub struct Setting(PathBuf);

impl Setting {
    /// Gives the unit a drop-in.
    pub fn new(guest: &Guest, text: &str) -> Self {
        let path = PathBuf::from(format!("/run/systemd/system/{}.d/90-test.conf", guest.unit()));
        fs::create_dir_all(path.parent().expect("it has one")).expect("it can be made");
        fs::write(&path, format!("[Service]\n{text}\n")).expect("it can be written");
        systemctl(&["daemon-reload"]).ok();
        Self(path)
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
        systemctl(&["daemon-reload"]);
    }
}

/// By systemd's watchdog, or where a guard stands between, by that.
#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn a_stuck_supervisor_is_replaced() {
    let machine = Machine::new();
    let web = machine.guest("web", Tree::Busybox);
    let _setting = Setting::new(&web, "WatchdogSec=6s");
    systemctl(&["start", &web.unit()]).ok();
    // The next one is watched, too.
    for _ in 0..2 {
        web.loses_supervisor("-STOP");
    }
    systemctl(&["stop", &web.unit()]).ok();
    assert_eq!(web.show("Result"), "success");
}

/// As after an upgrade of systemd: it is heard, though it isn't the main process.
#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn a_guard_that_no_longer_has_to_be_does_no_harm() {
    let machine = Machine::new();
    let web = machine.guest("web", Tree::Busybox);
    let guard = "ExecStart=\nExecStart=/usr/local/bin/vserver supervise --guard %i\nWatchdogSec=6s";
    let _setting = Setting::new(&web, guard);
    systemctl(&["start", &web.unit()]).ok();
    let init = web.pid("init_pid");
    let is_heard = || {
        let main = web.show("MainPID");
        thread::sleep(Duration::from_secs(20));
        assert_eq!([&web.show("MainPID"), &web.status()["supervisor_pid"].to_string()], [&main; 2]);
        assert_eq!([web.show("ActiveState"), web.show("NRestarts")], ["active", "0"]);
    };
    is_heard();
    // The guard names the next one.
    web.loses_supervisor("-9");
    is_heard();
    assert_eq!(web.pid("init_pid"), init);
    systemctl(&["stop", &web.unit()]).ok();
    assert_eq!(web.show("Result"), "success");
}

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn a_boot_that_goes_on_is_waited_for() {
    let machine = Machine::new();
    let web = machine.guest("web", Tree::Busybox);
    // Each step has the time, all of them haven't.
    let inittab = "/var/lib/vservers/web/etc/inittab";
    let usual = read(inittab);
    let steps = "::sysinit:/bin/sleep 2\n".repeat(5);
    fs::write(inittab, steps + &usual).expect("it can be written");
    let _setting = Setting::new(&web, "TimeoutStartSec=5s");
    systemctl(&["start", &web.unit()]).ok();
    assert_eq!(web.show("ActiveState"), "active");
    assert_eq!(web.show("NRestarts"), "0");
    systemctl(&["stop", &web.unit()]).ok();
    assert_eq!(web.show("Result"), "success");
}

/// Its crash in the first boot is enough: what waits for it, as the host's boot does,
/// goes on.
#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn a_boot_that_crashes_is_not_waited_for() {
    let machine = Machine::new();
    let web = machine.guest("web", Tree::Busybox);
    let inittab = "/var/lib/vservers/web/etc/inittab";
    let usual = read(inittab);
    fs::write(inittab, "::sysinit:/bin/sleep 1000\n".to_owned() + &usual).expect("it is written");
    let main = thread::scope(|scope| {
        let start = scope.spawn(|| systemctl(&["start", &web.unit()]));
        eventually(DEADLINE, "its script runs", || {
            web.show("StatusText").contains("sleep").then_some(())
        });
        assert_eq!(web.show("ActiveState"), "activating");
        run("kill", &["-9", &web.pid("init_pid").to_string()]).ok();
        start.join().expect("it ends").ok();
        web.show("MainPID")
    });
    assert_eq!(web.show("ActiveState"), "active");
    // It boots again under the same supervisor.
    eventually(DEADLINE, "its script runs again", || {
        web.show("StatusText").contains("sleep").then_some(())
    });
    assert_eq!(web.show("MainPID"), main);
    systemctl(&["stop", &web.unit()]).ok();
    assert_eq!(web.show("Result"), "success");
}

/// Whatever is in it, it has the time that a systemd wants for itself.
#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn a_shutdown_has_the_guests_own_time() {
    let machine = Machine::new();
    let web = machine.guest("web", Tree::Busybox);
    systemctl(&["daemon-reload"]).ok();
    assert_eq!(web.show("TimeoutStopUSec"), "8min 5s");
    vserver(&["config", "set", "web", "boot.stop_timeout", "30s"]).ok();
    systemctl(&["daemon-reload"]).ok();
    assert_eq!(web.show("TimeoutStopUSec"), "2min 35s");
    // And it begins before anything that the host's shutdown takes away.
    for property in ["Conflicts", "Before"] {
        assert!(web.show(property).contains("shutdown.target"), "{property}");
    }
}
