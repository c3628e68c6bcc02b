//! `vserver events` and `vserver wait`: every change of state, told once.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tests::{DEADLINE, Host, Tree, eventually, process};

on! { Busybox: [
    events_tell_of_every_change,
    events_go_on_under_the_next_supervisor,
    events_see_a_start_that_fails,
    events_end_with_their_reader,
    wait_waits_for_all_of_several,
    wait_outlives_a_supervisor,
    wait_ends_when_there_is_no_such_guest_any_more,
] }

/// `vserver events`, running.
pub struct Events {
    child: Child,
    lines: Receiver<Value>,
}

impl Events {
    /// Its lines of JSON are read.
    pub fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("vserver runs");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let (send, lines) = channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = send.send(serde_json::from_str(&line).expect("a line is an object"));
            }
        });
        Self { child, lines }
    }

    pub fn next(&self) -> Value {
        self.lines.recv_timeout(DEADLINE).expect("there is another event")
    }

    /// The states until one that is awaited.
    pub fn until(&self, state: &str) -> Vec<(String, u64)> {
        let mut seen = Vec::new();
        loop {
            let event = self.next();
            let now = event["state"].as_str().expect("a state").to_owned();
            seen.push((now.clone(), event["boot"].as_u64().unwrap_or(0)));
            if now == state {
                return seen;
            }
        }
    }

    fn nothing_for(&self, time: Duration) {
        let next = self.lines.recv_timeout(time);
        assert_eq!(next, Err(RecvTimeoutError::Timeout), "nothing has changed");
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn states(seen: &[(String, u64)]) -> Vec<(&str, u64)> {
    seen.iter().map(|(state, boot)| (state.as_str(), *boot)).collect()
}

fn events_tell_of_every_change(tree: Tree) {
    let host = Host::new();
    let _other = host.guest("other").tree(tree).build();
    let events = Events::start(host.command(["events"]));
    // Built after the watch began.
    assert_eq!(events.next()["state"], "stopped");
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let up = events.until("running");
    assert_eq!(states(&up), [("starting", 1), ("booting", 1), ("running", 1)]);

    let context = guest.status().context;
    guest.vserver("reboot", [""; 0]).ok();
    let again = events.until("running");
    assert_eq!(
        states(&again),
        [("stopping", 1), ("rebooting", 1), ("starting", 2), ("booting", 2), ("running", 2)]
    );
    guest.vserver("pause", [""; 0]).ok();
    assert_eq!(events.next()["state"], "paused");
    guest.vserver("resume", [""; 0]).ok();
    assert_eq!(events.next()["state"], "running");

    kill(Pid::from_raw(guest.init_pid()), Signal::SIGKILL).expect("PID 1 can be killed");
    let crash = events.next();
    assert_eq!(crash["state"], "backing-off", "{crash}");
    assert_eq!(crash["last_end"], "died: signal 9", "{crash}");
    assert_eq!(crash["context"], context, "{crash}");
    assert_eq!(states(&events.until("running")), [("starting", 3), ("booting", 3), ("running", 3)]);
    guest.stop();
    assert_eq!(states(&events.until("stopped")), [("stopping", 3), ("stopped", 3)]);
    // What is there is told to who comes later.
    let later = Events::start(host.command(["events", "web"]));
    assert_eq!(later.next()["state"], "stopped");
    guest.start();
    events.until("running");
    later.until("running");
    guest.stop();
    events.until("stopped");
    events.nothing_for(Duration::from_millis(300));
}

fn events_go_on_under_the_next_supervisor(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let events = Events::start(guest.command("events", [""; 0]));
    assert_eq!(events.next()["state"], "running");
    let pid = guest.status().supervisor_pid.expect("there is one");
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it can be killed");
    eventually(DEADLINE, "it is dead", || (!process::is_alive(pid)).then_some(()));
    // Nobody else looks: the watcher brings the next one.
    eventually(DEADLINE, "there is another supervisor", || {
        let lock = host.paths().supervisor_lock(&"web".parse().expect("a name"));
        let lock = std::fs::File::open(lock).ok()?;
        lock.try_lock().is_err().then_some(())
    });
    events.nothing_for(Duration::from_millis(500));
    assert_ne!(guest.status().supervisor_pid, Some(pid));
    guest.stop();
    assert_eq!(states(&events.until("stopped")), [("stopping", 1), ("stopped", 1)]);
}

fn events_see_a_start_that_fails(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let events = Events::start(guest.command("events", [""; 0]));
    assert_eq!(events.next()["state"], "stopped");
    let mut start = guest.command("start", [""; 0]);
    let start = start.env(vserver::variables::FAULT, "exec-keeper").stderr(Stdio::null());
    assert!(!start.status().expect("vserver runs").success());
    assert_eq!(states(&events.until("stopped")), [("starting", 1), ("stopped", 1)]);
    events.nothing_for(Duration::from_millis(300));
}

fn events_end_with_their_reader(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let mut command = guest.command("events", [""; 0]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("vserver runs");
    let mut byte = [0; 1];
    let mut stdout = child.stdout.take().expect("it is piped");
    stdout.read_exact(&mut byte).expect("there is a line");
    drop(stdout);
    // Nothing happens to any guest, and it ends all the same.
    let status = eventually(DEADLINE, "it ends", || child.try_wait().expect("a child"));
    assert_eq!(status.code(), Some(0));
    host.vserver(["events", "nobody"]).code(5);
}

fn wait_waits_for_all_of_several(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    let db = host.guest("db").tree(tree).build();
    let mut waiting =
        host.command(["wait", "web", "db", "--for", "running"]).spawn().expect("vserver runs");
    web.start();
    thread::sleep(Duration::from_millis(200));
    assert!(waiting.try_wait().expect("a child").is_none(), "one of two is down");
    db.start();
    let status = eventually(DEADLINE, "wait ends", || waiting.try_wait().expect("a child"));
    assert_eq!(status.code(), Some(0));
    let late = host.vserver(["wait", "web", "db", "--timeout", "0.1"]).code(1);
    late.complains("guest 'web' has not stopped in time");
    web.stop();
    host.vserver(["wait", "web"]).ok();
    host.vserver(["wait", "nobody"]).code(5);
    let late = host.vserver(["wait", "web", "db", "--timeout", "0.1"]).code(1);
    assert!(!late.stderr.contains("web"), "{late}");
    db.stop();
}

fn wait_outlives_a_supervisor(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let init = guest.init_pid();
    let pid = guest.status().supervisor_pid.expect("there is one");
    let mut waiting = guest.command("wait", [""; 0]).spawn().expect("vserver runs");
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it can be killed");
    eventually(DEADLINE, "it is dead", || (!process::is_alive(pid)).then_some(()));
    thread::sleep(Duration::from_millis(100));
    assert!(waiting.try_wait().expect("a child").is_none(), "the guest runs on");
    guest.exec(["poweroff"]);
    let status = eventually(DEADLINE, "wait ends", || waiting.try_wait().expect("a child"));
    assert_eq!(status.code(), Some(0));
    assert!(!process::is_alive(init));
}

fn wait_ends_when_there_is_no_such_guest_any_more(tree: Tree) {
    let host = Host::new();
    let guests = ["web", "db", "mail"].map(|name| host.guest(name).tree(tree).build());
    let waits = |names: &[&str]| {
        let mut wait = host.command(["wait", "--for", "running"].iter().chain(names));
        let mut child = wait.stderr(Stdio::piped()).spawn().expect("vserver runs");
        thread::sleep(Duration::from_millis(300));
        assert!(child.try_wait().expect("a child").is_none(), "they are down");
        child
    };
    let end = |child: Child| {
        let end = child.wait_with_output().expect("it ends");
        (end.status.code(), String::from_utf8_lossy(&end.stderr).into_owned())
    };
    let deleted = waits(&["web"]);
    host.vserver(["delete", "web", "--yes"]).ok();
    let (code, said) = end(deleted);
    assert!(code == Some(5) && said.contains("there is no guest 'web'"), "{code:?}: {said}");

    // The others are waited for all the same.
    let mut renamed = waits(&["db", "mail"]);
    host.vserver(["rename", "db", "sql"]).ok();
    thread::sleep(Duration::from_secs(3));
    assert!(renamed.try_wait().expect("a child").is_none(), "'mail' is down");
    // As some editors do it: that one is there.
    let file = host.paths().config_dir().join("mail.toml");
    let text = std::fs::read_to_string(&file).expect("it is there");
    std::fs::rename(&file, file.with_extension("toml~")).expect("it can be moved");
    std::fs::write(&file, text).expect("it can be written");
    thread::sleep(Duration::from_secs(3));
    assert!(renamed.try_wait().expect("a child").is_none(), "'mail' is down");
    guests[2].start();
    let (code, said) = end(renamed);
    assert!(code == Some(5) && said.contains("there is no guest 'db'"), "{code:?}: {said}");
    guests[2].stop();
}
