//! What changes something that all others rely on: `run` runs these tests
//! after all others, one at a time.

use std::fs::File;
use std::iter;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tests::{DEADLINE, Host, Tree, eventually};

use crate::units::{Machine, read, run, systemctl, vserver};

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn the_clock_may_jump() {
    let machine = Machine::new();
    let clock = Clock::new();
    let web = machine.guest("web", Tree::Busybox);
    vserver(&["start", "web"]).ok();
    let (init, keeper) = (web.pid("init_pid"), web.pid("keeper_pid"));
    let told = "/run/told-of-web";
    let _watch = Watch::new("web", told);
    for seconds in [-3600, 7200, -90_000] {
        clock.set(seconds);
        // Nothing that is measured takes the jump for time that has passed.
        let status = web.status();
        assert!(status["uptime_seconds"].as_f64().is_some_and(|up| up < 3000.0), "{status}");
        vserver(&["exec", "web", "--", "true"]).ok();
        let before = states(told).len();
        vserver(&["pause", "web"]).ok();
        vserver(&["resume", "web"]).ok();
        eventually(DEADLINE, "both are told", || {
            states(told).get(before..).is_some_and(|new| new == ["paused", "running"]).then_some(())
        });
        run("kill", &["-9", &web.show("MainPID")]).ok();
        vserver(&["exec", "web", "--", "true"]).ok();
        assert_eq!((web.pid("init_pid"), web.pid("keeper_pid")), (init, keeper));
        let before = states(told).len();
        vserver(&["pause", "web"]).ok();
        vserver(&["resume", "web"]).ok();
        eventually(DEADLINE, "so they are of the next supervisor", || {
            let all = states(told);
            let new = all.get(before..).unwrap_or_default();
            new.ends_with(&["paused".to_owned(), "running".to_owned()]).then_some(())
        });
        eventually(DEADLINE, "systemd knows that it is up", || {
            (web.show("ActiveState") == "active").then_some(())
        });
    }
    let usage = vserver(&["usage", "web", "--json"]).ok();
    let usage: Value = serde_json::from_str(&usage.stdout).expect("it is JSON");
    let up = usage[0]["uptime_seconds"].as_f64();
    assert!(up.is_some_and(|up| up > 1.0 && up < 3000.0), "{usage}");
    systemctl(&["stop", "vserver@web"]).ok();
    assert_eq!(web.show("Result"), "success");
    let log = vserver(&["logs", "web"]).ok();
    assert!(log.stdout.contains("rcK: shutdown scripts run"), "{log}");
}

/// While systemd executes itself anew it answers no one: a command of another
/// test would lose its connection.
#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn systemd_leaves_a_running_guest_alone() {
    let host = Host::new();
    let guest = host.guest("web").build();
    guest.start();
    // The first session makes the leaf that all are in.
    guest.exec(["true"]).ok();
    let (before, cgroups) = (guest.status(), host.cgroups());
    for verb in ["daemon-reload", "daemon-reexec"] {
        systemctl(&[verb]).ok();
        let after = guest.status();
        assert_eq!(after.supervisor_pid, before.supervisor_pid, "after {verb}");
        assert_eq!(after.init_pid, before.init_pid, "after {verb}");
        assert_eq!(host.cgroups(), cgroups, "after {verb}");
        guest.exec(["true"]).ok();
    }
    guest.stop();
    let failed = systemctl(&["--failed", "--no-legend", "--plain"]).ok();
    failed.says("");
}

/// And takes back a supervisor that is killed after that.
#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn a_unit_outlives_systemds_own_restart() {
    let machine = Machine::new();
    let web = machine.guest("web", Tree::Busybox);
    systemctl(&["start", &web.unit()]).ok();
    for verb in ["daemon-reload", "daemon-reexec"] {
        let main = web.show("MainPID");
        systemctl(&[verb]).ok();
        assert_eq!(web.show("MainPID"), main, "after {verb}");
        assert_eq!(web.show("ActiveState"), "active", "after {verb}");
        web.loses_supervisor("-9");
    }
    systemctl(&["stop", &web.unit()]).ok();
    assert_eq!(web.show("Result"), "success");
}

/// journald is stopped and its queue is full: what sends to it would wait.
#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn a_journal_that_takes_nothing_keeps_no_guest_back() {
    const SOCKET: &str = "/run/systemd/journal/socket";
    let machine = Machine::new();
    let web = machine.guest("web", Tree::Busybox);
    let _stopped = Stopped::new("systemd-journald");
    // A sender has room for some of them only.
    let fills = || {
        let socket = UnixDatagram::unbound().expect("a socket");
        socket.set_nonblocking(true).expect("it is one");
        let sent = iter::repeat_with(|| socket.send_to(b"MESSAGE=x\n", SOCKET));
        let count = sent.take_while(Result::is_ok).count();
        (count > 0).then_some(socket)
    };
    let queued: Vec<_> = iter::repeat_with(fills).map_while(|socket| socket).collect();
    assert!(!queued.is_empty());
    let begun = Instant::now();
    vserver(&["start", "web"]).ok();
    vserver(&["exec", "web", "--", "reboot"]).ok();
    vserver(&["wait", "web", "--for", "running"]).ok();
    vserver(&["stop", "web"]).ok();
    systemctl(&["start", &web.unit()]).ok();
    systemctl(&["stop", &web.unit()]).ok();
    assert_eq!(web.show("Result"), "success");
    assert!(begun.elapsed() < DEADLINE, "{:?}", begun.elapsed());
}

/// Unlike its restart, that loses all streams.
#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn consoles_come_back_to_a_journal_that_was_stopped() {
    const SOCKETS: [&str; 2] = ["systemd-journald.socket", "systemd-journald-dev-log.socket"];
    let machine = Machine::new();
    let web = machine.guest("web", Tree::Busybox);
    vserver(&["start", "web"]).ok();
    let says = |words: &str| {
        let echo = format!("echo {words} >/dev/console");
        vserver(&["exec", "web", "--", "sh", "-c", &echo]).ok();
    };
    systemctl(&[&["stop", "systemd-journald.service"], SOCKETS.as_slice()].concat()).ok();
    says("heard by nobody");
    systemctl(&[&["start"], SOCKETS.as_slice(), &["systemd-journald.service"]].concat()).ok();
    says("heard again");
    let heard = || {
        let log = vserver(&["logs", "web"]).ok().stdout;
        log.lines().any(|line| line == "heard again").then_some(log)
    };
    let log = eventually(DEADLINE, "the console is in the journal", heard);
    assert!(log.contains("once: ran") && !log.contains("heard by nobody"), "{log}");
    // Of the guest's own unit still.
    let unit = ["-u", &*web.unit(), "--output=cat", "-n", "1", "--identifier=vserver-web/console"];
    run("journalctl", &unit).ok().says("heard again\n");
    vserver(&["stop", "web"]).ok();
}

/// A unit's main process, stopped until this is dropped.
struct Stopped(String);

impl Stopped {
    fn new(unit: &str) -> Self {
        let pid = systemctl(&["show", "-P", "MainPID", unit]).ok().trimmed().to_owned();
        run("kill", &["-STOP", &pid]).ok();
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        run("kill", &["-CONT", &self.0]);
    }
}

/// The states that were told of, in order.
fn states(file: &str) -> Vec<String> {
    let lines = read(file);
    let lines = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter_map(|line| line["state"].as_str().map(str::to_owned)).collect()
}

/// `vserver events`, into a file, until it is dropped.
struct Watch(Child);

impl Watch {
    fn new(name: &str, file: &str) -> Self {
        let out = File::create(file).expect("a file");
        let mut command = Command::new("/usr/local/bin/vserver");
        let child = command.args(["events", name]).stdout(out).stdin(Stdio::null()).spawn();
        let watch = Self(child.expect("vserver runs"));
        eventually(DEADLINE, "it tells how it is", || (!states(file).is_empty()).then_some(()));
        watch
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The machine's clock; right again when it is dropped.
struct Clock {
    /// What it shows beyond the time since the machine's start.
    ahead: Duration,
}

impl Clock {
    fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
        Self { ahead: now.saturating_sub(up()) }
    }

    /// So far from the right time.
    fn set(&self, seconds: i64) {
        let right = self.ahead.saturating_add(up()).as_secs();
        let wanted = right.saturating_add_signed(seconds);
        run("date", &["--set", &format!("@{wanted}")]).ok();
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.set(0);
    }
}

fn up() -> Duration {
    let text = read("/proc/uptime");
    let seconds = text.split(' ').next().and_then(|text| text.parse().ok());
    Duration::from_secs_f64(seconds.expect("seconds come first (proc_uptime(5))"))
}
