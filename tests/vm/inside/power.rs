//! The machine goes off by its own shutdown, with guests that run, and comes
//! back. `run` has the first of these tests as the last one before that, and
//! the others after it; the judges are the files that the guests' own scripts
//! have left, and systemd.

use std::fs;
use std::mem;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::Value;
use tests::{Finished, Tree};

use crate::adopted::{Once, fails};
use crate::units::{Guest, Machine, run, systemctl, vserver};

/// They start with the machine. `web` is after `db`, and has the host's address.
const ENABLED: [&str; 3] = ["db", "web", "mail"];

/// Started by hand.
const SHOP: &str = "shop";

/// Started by hand, too; its shutdown has no end but the guest's own time.
const ENDLESS: &str = "endless";

/// Started by hand, and its unit has failed since.
const FAILED: &str = "failed";

/// What it does in each second of its shutdown.
const TICKS: &str = "trap '' TERM\nwhile :; do echo tick >>/ticks; sleep 1; done";

/// Where `web` and `mail` see each other.
const PLACE: &str = "/var/lib/meeting/place";

/// What the network had seen of the guests when it went.
const SEEN: &str = "/var/lib/seen-by-the-network";

/// As ifupdown and systemd-networkd are: there before network.target, gone after
/// all that is ordered behind it.
const NETWORK: &str = "[Unit]
Before=network.target
Wants=network.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=ip link add wire type dummy
ExecStart=ip address add 192.0.2.1/24 dev wire
ExecStop=sh -c 'ls -d /var/lib/vservers/*/ended >/var/lib/seen-by-the-network'
ExecStop=ip link delete wire
[Install]
WantedBy=multi-user.target
";

/// A shutdown script that leaves word of its begin and of its end.
fn shutdown(between: &str) -> String {
    format!("#!/bin/sh\ntouch /begun\n{between}\nsync\ntouch /ended\n")
}

fn root(name: &str) -> PathBuf {
    Path::new("/var/lib/vservers").join(name)
}

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn guests_run_when_the_machine_goes_off() {
    let machine = Machine::new();
    fs::write("/etc/systemd/system/wire.service", NETWORK).expect("it can be written");
    systemctl(&["enable", "--quiet", "--now", "wire"]).ok();
    fs::create_dir_all(PLACE).expect("it can be made");
    let closed = fs::Permissions::from_mode(0o700);
    fs::set_permissions("/var/lib/meeting", closed).expect("it can be closed");

    for name in ENABLED.into_iter().chain([SHOP, ENDLESS, FAILED]) {
        mem::forget(machine.guest(name, Tree::Busybox));
        let script = match name {
            ENDLESS => TICKS,
            // Neither can end before the other has begun.
            "mail" => "touch /meeting/mail; until [ -e /meeting/web ]; do sleep 0.1; done",
            "web" => {
                "touch /meeting/web; until [ -e /meeting/mail ]; do sleep 0.1; done
                ip address show dev wire >/address"
            }
            _ => "",
        };
        let file = root(name).join("etc/init.d/rcK");
        fs::write(file, shutdown(script)).expect("it can be written");
    }
    for name in ["mail", "web"] {
        vserver(&["config", "set", name, "mounts.bind", &format!("{PLACE}:/meeting")]).ok();
    }
    vserver(&["config", "set", "web", "network.addresses", "192.0.2.1"]).ok();
    vserver(&["config", "set", "web", "network.mode", "shared"]).ok();
    vserver(&["config", "set", "web", "after", "db"]).ok();
    vserver(&["config", "set", ENDLESS, "boot.kill_grace", "1s"]).ok();
    vserver(&["config", "set", ENDLESS, "boot.stop_timeout", "3s"]).ok();
    vserver(&[&["enable"], ENABLED.as_slice()].concat()).ok();
    systemctl(&["start", "vservers.target"]).ok();
    vserver(&["start", SHOP, ENDLESS, FAILED]).ok();
    mem::forget(Once::of(FAILED));
    let failed = Guest::made(FAILED);
    fails(&failed);
    mem::forget(failed);
    for name in ENABLED.into_iter().chain([SHOP, ENDLESS, FAILED]) {
        vserver(&["running", name]).ok();
        // Others before this have had guests of these names.
        fs::write(noted(name), counted(name).to_string()).expect("it can be written");
    }
}

/// Where it is noted what a guest's account says before the machine goes off.
fn noted(name: &str) -> String {
    format!("/var/lib/counted-before-of-{name}")
}

/// A guest's account.
fn counted(name: &str) -> Value {
    let usage = vserver(&["usage", name, "--json"]).ok();
    serde_json::from_str(&usage.stdout).expect("it is JSON")
}

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn back_on_all_guests_had_been_shut_down_first_and_in_order() {
    for name in ENABLED.into_iter().chain([SHOP, FAILED]) {
        assert!(root(name).join("begun").exists(), "{name}: its scripts have begun");
        assert!(root(name).join("ended").exists(), "{name}: its scripts have ended");
        let told = before_that(name);
        // Others before this have had guests of these names.
        let last = told.stdout.rsplit("starting the guest").next().unwrap_or_default();
        assert!(last.contains("the guest is down"), "{name}: {told}");
        assert!(!last.contains("killing"), "{name}: {told}");
    }
    let at = |name: &str, file: &str| -> SystemTime {
        let about = fs::metadata(root(name).join(file)).expect("it is there");
        about.modified().expect("it has a time")
    };
    assert!(at("web", "ended") <= at("db", "begun"), "web was down before db was stopped");
    // The network was there for them until then.
    let address = fs::read_to_string(root("web").join("address")).expect("it is there");
    assert!(address.contains("192.0.2.1/24"), "{address}");
    let seen = fs::read_to_string(SEEN).expect("the network has gone, too");
    for name in ENABLED.into_iter().chain([SHOP, FAILED]) {
        assert!(seen.contains(&format!("/{name}/ended\n")), "{name}: {seen}");
    }
}

/// The others haven't suffered from it, and the machine hasn't waited: were it not
/// for its own time, it would have had a minute, and `TimeoutStopSec=` more.
#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn back_on_one_without_end_had_its_own_time() {
    assert!(root(ENDLESS).join("begun").exists(), "its scripts have begun");
    assert!(!root(ENDLESS).join("ended").exists(), "they have no end");
    let ticks = fs::read_to_string(root(ENDLESS).join("ticks")).expect("it is there");
    let ticks = ticks.lines().count();
    assert!(ticks < 40, "it went on for {ticks} s, not for 3 s");
    let told = before_that(ENDLESS);
    let last = told.stdout.rsplit("starting the guest").next().unwrap_or_default();
    for said in ["(power-off), within 3s", "signal 9", "the guest is down"] {
        assert!(last.contains(said), "{said:?} is missing: {told}");
    }
    // By its supervisor, not by systemd.
    let unit = format!("vserver@{ENDLESS}.service");
    let words = ["--quiet", "--no-pager", "--output=cat", "--boot=-1", "_PID=1", "--unit", &unit];
    let systemd = run("journalctl", &words).ok();
    assert!(systemd.stdout.contains("Stopped "), "{systemd}");
    assert!(!systemd.stdout.contains("timed out"), "{systemd}");
}

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn back_on_what_is_enabled_has_been_started_in_order() {
    for name in ENABLED {
        systemctl(&["is-active", &format!("vserver@{name}")]).ok();
        vserver(&["exec", name, "--", "true"]).ok();
        // The account goes on: no boot has ended in any other way than it should.
        let before = fs::read_to_string(noted(name)).expect("it is there");
        let before: Value = serde_json::from_str(&before).expect("it is JSON");
        let now = counted(name);
        let number = |usage: &Value, key: &str| usage[0][key].as_u64().expect("a number");
        assert_eq!(number(&now, "boots"), number(&before, "boots") + 1, "{now}");
        assert_eq!(number(&now, "crashes"), number(&before, "crashes"), "{now}");
        let sum = |usage: &Value, key: &str| usage[0][key].as_f64().expect("a number");
        for key in ["user_seconds", "system_seconds", "uptime_seconds", "processes_started"] {
            let (before, now) = (sum(&before, key), sum(&now, key));
            // It has been shut down and booted since, for which it takes all of them.
            assert!(before > 0.0 && now > before, "{name}: {key} {before} {now}");
        }
    }
    vserver(&["running", SHOP]).code(1);
    let show = |unit: &str, property: &str| -> u64 {
        let shown = systemctl(&["show", "-P", property, unit]).ok();
        shown.trimmed().parse().expect("microseconds")
    };
    let begun = |unit: &str| show(unit, "InactiveExitTimestampMonotonic");
    let up = |unit: &str| show(unit, "ActiveEnterTimestampMonotonic");
    assert!(up("vserver@db") <= begun("vserver@web"), "db was up before web was begun");
    assert!(up("wire") <= begun("vserver@web"), "so was the network");
}

/// What was said of a guest in the machine's boot before this one.
fn before_that(name: &str) -> Finished {
    let identifier = format!("SYSLOG_IDENTIFIER=vserver-{name}");
    run("journalctl", &["--quiet", "--no-pager", "--output=cat", "--boot=-1", &identifier]).ok()
}
