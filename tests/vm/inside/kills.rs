//! What systemd knows of a guest, killed at random moments of the guest's life:
//! its supervisor, or the guard of that.

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::process::{self, Process};
use tests::{DEADLINE, Tree, eventually, random};

use crate::units::{Guest, Machine, systemctl, vserver};

/// How many are killed: ten, or as large a part of `$VSERVER_TEST_KILLS` as that
/// is of the supervisors that guest/kills.rs kills.
fn kills() -> u32 {
    let asked = env::var("VSERVER_TEST_KILLS").ok().and_then(|text| text.parse::<u32>().ok());
    asked.map_or(10, |asked| (asked / 6).max(1))
}

/// What a deed does to the boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// Nothing.
    Goes,
    /// It ends, when the deed has succeeded.
    Ends,
}

use Effect::{Ends, Goes};

/// What goes on meanwhile.
const DEEDS: &[(&[&str], Effect)] = &[
    (&["vserver", "exec", "web", "--", "true"], Goes),
    (&["vserver", "status", "web"], Goes),
    (&["vserver", "pause", "web"], Goes),
    (&["vserver", "limits", "web"], Goes),
    (&["vserver", "stop", "web"], Ends),
    (&["vserver", "restart", "web"], Ends),
    (&["vserver", "reboot", "web"], Ends),
    (&["vserver", "exec", "web", "--", "reboot"], Ends),
    (&["vserver", "exec", "web", "--", "poweroff"], Ends),
    (&["systemctl", "start", "vserver@web"], Goes),
    (&["systemctl", "stop", "vserver@web"], Ends),
    (&["systemctl", "restart", "vserver@web"], Ends),
    (&["machinectl", "reboot", "web"], Ends),
    (&["machinectl", "poweroff", "web"], Ends),
];

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn what_is_killed_at_any_moment_costs_no_unit_its_guest() {
    let mut random = random();
    let machine = Machine::new();
    let [web, db] = ["web", "db"].map(|name| machine.guest(name, Tree::Busybox));
    systemctl(&["start", &web.unit(), &db.unit()]).ok();
    let neighbour = what_is_of(&db);
    let each = is_looked_after_by();
    is_had_again(&web, each);
    for round in 1..=kills() {
        let (words, effect) = *random.choice(DEEDS).expect("there are some");
        let longest = random.choice([20, 200, 2000]).expect("there are some");
        let pause = Duration::from_millis(random.u64(0..longest));
        let init = web.pid("init_pid");
        let mut doing = Command::new(words[0]);
        doing.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut doing = doing.spawn().expect("it can be run");
        thread::sleep(pause);
        let victim = random.choice(supervisors("web"));
        println!("round {round}: {pause:?} after {words:?} kills {victim:?}");
        if let Some(victim) = victim {
            // It may have ended by itself.
            let _ = kill(Pid::from_raw(victim.pid), Signal::SIGKILL);
        }
        let end = eventually(DEADLINE, "the command ends", || doing.try_wait().ok().flatten());
        // What is executed inside may be ended with everything else there.
        let ended = |code| words[1] == "exec" && [143, 137].contains(&code);
        let is_clean = end.code().is_some_and(|code| code < 100 || ended(code));
        assert!(is_clean, "{words:?}: {end}");
        if effect == Ends && end.code().is_some_and(|code| code == 0 || ended(code)) {
            eventually(DEADLINE, "this boot ends", || (!process::is_alive(init)).then_some(()));
        }
        vserver(&["resume", "web"]);
        is_had_again(&web, each);
        if effect == Goes {
            assert_eq!(web.pid("init_pid"), init, "the boot goes on");
        }
        assert_eq!(what_is_of(&db), neighbour);
    }
    systemctl(&["stop", &web.unit()]).ok();
    nothing_is_left(&web);
    systemctl(&["stop", &db.unit()]).ok();
}

/// How many processes of vserver's look after a unit: a guard, too, where there are
/// some (units.rs).
pub fn is_looked_after_by() -> usize {
    let version = systemctl(&["--version"]).ok();
    if version.stdout.starts_with("systemd 252 ") { 2 } else { 1 }
}

/// It has been stopped, and everybody knows it.
#[track_caller]
pub fn nothing_is_left(guest: &Guest) {
    let name = guest.name();
    assert_eq!(guest.show("ActiveState"), "inactive");
    assert_eq!(guest.show("Result"), "success");
    assert!(supervisors(name).is_empty() && keepers(name) == 0);
    assert!(!Path::new("/run/vserver").join(name).exists());
    let cgroup = Path::new("/sys/fs/cgroup/vserver.slice").join(guest.unit());
    eventually(DEADLINE, "systemd has removed the cgroup", || (!cgroup.exists()).then_some(()));
    let failed = systemctl(&["list-units", "--failed", "--plain", "--no-legend", "vserver*"]).ok();
    assert_eq!(failed.stdout, "");
}

/// A start is all that it needs: then it is up as a unit, with so many processes
/// that look after it, and one keeper.
#[track_caller]
pub fn is_had_again(guest: &Guest, each: usize) {
    let mut shown = String::new();
    eventually(DEADLINE, "it is had again", || {
        systemctl(&["start", &guest.unit()]).ok();
        let (main, state) = (guest.show("MainPID"), guest.show("ActiveState"));
        let left = [supervisors(guest.name()).len(), keepers(guest.name())];
        let status = guest.status();
        let now = format!(
            "{state}, main process {main}, {left:?}, {}, supervisor {}",
            status["state"], status["supervisor_pid"]
        );
        if now != shown {
            println!("{now}");
            shown = now;
        }
        let is_main = status["supervisor_pid"].as_i64() == main.parse().ok();
        let is_up = state == "active" && status["state"] == "running";
        (is_up && is_main && left == [each, 1]).then_some(())
    });
}

/// What must stay as it is of a guest that nobody touches.
pub fn what_is_of(guest: &Guest) -> [String; 4] {
    let pids = ["init_pid", "keeper_pid"].map(|who| guest.pid(who).to_string());
    let [init, keeper] = pids;
    [init, keeper, guest.show("MainPID"), guest.show("InvocationID")]
}

/// The supervisors of a guest, and their guards.
pub fn supervisors(name: &str) -> Vec<Process> {
    let is_meant = |arguments: &[&str]| match arguments {
        [program, "supervise", options @ .., last] if program.ends_with("vserver") => {
            let helps = ["--machined", "--stop-unit", "--unit-stopped"];
            *last == name && !options.iter().any(|option| helps.contains(option))
        }
        _ => false,
    };
    of(is_meant)
}

/// How many keepers a guest has.
fn keepers(name: &str) -> usize {
    let log = format!("{name}.");
    of(|arguments| matches!(arguments, ["keeper", _, file, ..] if file.starts_with(&log))).len()
}

fn of(is_meant: impl Fn(&[&str]) -> bool) -> Vec<Process> {
    let mut all = process::processes(|_| true);
    all.retain(|process| {
        is_meant(&process.arguments.iter().map(String::as_str).collect::<Vec<_>>())
    });
    all
}
