//! Units of guests to which something was done that nobody should do: systemd stops and
//! starts them as any other.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::{DEADLINE, Tree, eventually, process};

use crate::kills::{is_had_again, is_looked_after_by, nothing_is_left};
use crate::units::{Machine, systemctl, vserver};

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn one_whose_files_in_run_are_gone_is_stopped_as_ever() {
    let machine = Machine::new();
    let web = machine.guest("web", Tree::Busybox);
    systemctl(&["start", &web.unit()]).ok();
    fs::remove_dir_all("/run/vserver/web").expect("it can be removed");
    systemctl(&["stop", &web.unit()]).ok();
    nothing_is_left(&web);
    let log = vserver(&["logs", "web"]).ok();
    assert!(log.stdout.ends_with("rcK: shutdown scripts run\n"), "a clean shutdown: {log}");

    // Nor does one that is looked for meanwhile get lost.
    systemctl(&["start", &web.unit()]).ok();
    let init = web.pid("init_pid");
    fs::remove_dir_all("/run/vserver").expect("it can be removed");
    vserver(&["exec", "web", "--", "true"]);
    is_had_again(&web, is_looked_after_by());
    assert_eq!(web.pid("init_pid"), init, "the boot goes on");
    systemctl(&["stop", &web.unit()]).ok();
    nothing_is_left(&web);
}

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn one_whose_pid_1_stands_still_is_stopped_after_its_time() {
    let machine = Machine::new();
    let [web, db] = ["web", "db"].map(|name| machine.guest(name, Tree::Busybox));
    vserver(&["config", "set", "web", "boot.kill_grace", "1s"]).ok();
    vserver(&["config", "set", "web", "boot.stop_timeout", "3s"]).ok();
    systemctl(&["start", &web.unit(), &db.unit()]).ok();
    let (init, other) = (web.pid("init_pid"), db.pid("init_pid"));
    kill(Pid::from_raw(init), Signal::SIGSTOP).expect("it can be stopped");
    systemctl(&["stop", &web.unit()]);
    eventually(DEADLINE, "it is dead", || (!process::is_alive(init)).then_some(()));
    systemctl(&["reset-failed", &web.unit()]);
    systemctl(&["start", &web.unit()]).ok();
    assert_eq!(web.status()["state"], "running");
    systemctl(&["stop", &web.unit()]).ok();
    nothing_is_left(&web);
    assert_eq!(db.pid("init_pid"), other);
    systemctl(&["stop", &db.unit()]).ok();
}
