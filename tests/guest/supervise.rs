//! `vserver supervise` by hand, as whoever looks after guests calls it where there
//! is no systemd; and what it says to who asks as systemd does.

use std::io::Read;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::{DEADLINE, Host, Tree, command, eventually, process, random};
use vserver::control::{Client, Event, Phase, Request};
use vserver::runtime::RunDir;

on! { Busybox: [
    one_of_two_takes_over,
    a_units_own_takes_the_guest_from_whoever_was_quicker,
    whoever_waits_for_a_boot_hears_of_each_step,
    whoever_waits_for_a_boot_that_crashes_goes_on,
    who_is_too_busy_to_hear_that_it_is_up_is_told_again,
    a_stop_cleans_up_after_a_guest_that_has_ended_meanwhile,
    a_stop_of_a_guest_that_could_not_come_up_again_is_no_failure,
] }
on! { Systemd: [whoever_waits_for_units_that_hang_hears_of_each_once] }

use super::own_init::gated;

/// `vserver supervise --adopt`, which goes on as the guest's supervisor.
fn adopt(host: &Host) -> Child {
    let mut command = host.command(["supervise", "--adopt", "web"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().expect("it can be run")
}

/// It ends with its guest.
#[track_caller]
fn ends(mut supervisor: Child) {
    let end = eventually(DEADLINE, "it ends", || supervisor.try_wait().ok().flatten());
    assert!(end.success(), "{end}");
}

/// It ends, as there is another one.
#[track_caller]
fn is_refused(mut child: Child) {
    let end = eventually(DEADLINE, "it ends", || child.try_wait().ok().flatten());
    let mut said = String::new();
    child.stderr.take().expect("it is a pipe").read_to_string(&mut said).expect("it is text");
    assert_eq!(end.code(), Some(1), "{said}");
    assert!(said.contains("guest 'web' has a supervisor already"), "{said}");
}

fn one_of_two_takes_over(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    let before = tests::Census::after_a_boot(&web);
    // A guest that is down stays that.
    host.vserver(["supervise", "--adopt", "web"]).ok();
    assert!(!web.is_running());

    web.start();
    let started = web.status();
    // Beside a live one, and after its end.
    for child in [adopt(&host), adopt(&host)] {
        is_refused(child);
    }
    assert_eq!(web.status().supervisor_pid, started.supervisor_pid);
    // However often: more than a keeper has room for in its queue.
    for _ in 0..25 {
        is_refused(adopt(&host));
    }
    assert_eq!(web.status().supervisor_pid, started.supervisor_pid);
    web.kill_supervisor();
    let mut both = vec![adopt(&host), adopt(&host)];
    let refused = eventually(DEADLINE, "one of them ends", || {
        both.iter_mut().position(|child| child.try_wait().is_ok_and(|end| end.is_some()))
    });
    is_refused(both.remove(refused));
    let mut left = both.remove(0);
    let status = eventually(DEADLINE, "the other one has the guest", || {
        let status = web.status();
        let is_had = status.supervisor_pid == i32::try_from(left.id()).ok();
        (is_had && status.state == "running").then_some(status)
    });
    assert_eq!([status.init_pid, status.keeper_pid], [started.init_pid, started.keeper_pid]);
    web.shell("true").ok();
    is_refused(adopt(&host));

    // It is a supervisor as any other: a reboot is one, and it ends with the guest.
    let init = web.init_pid();
    web.exec(["reboot"]);
    let status = web.wait_for_reboot(init);
    assert_eq!(status.supervisor_pid, i32::try_from(left.id()).ok());
    web.stop();
    let end = eventually(DEADLINE, "it ends", || left.try_wait().ok().flatten());
    assert!(end.success(), "{end}");
    before.assert_unchanged(&host);
}

/// Where systemd is busy, commands are quicker.
fn a_units_own_takes_the_guest_from_whoever_was_quicker(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    web.start();
    let started = web.status();
    let mut rng = random();
    for _ in 0..12 {
        web.kill_supervisor();
        let quicker = adopt(&host);
        thread::sleep(Duration::from_micros(rng.u64(..20_000)));
        let mut command = host.command(["supervise", "--unit", "web"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut own = command.spawn().expect("it can be run");
        let pid = i32::try_from(own.id()).ok();
        eventually(DEADLINE, "the unit has its guest", || {
            assert_eq!(own.try_wait().expect("it is a child"), None, "it has given up");
            (web.status().supervisor_pid == pid).then_some(())
        });
        for mut child in [quicker, own] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
    let status = web.status();
    assert_eq!([status.init_pid, status.keeper_pid], [started.init_pid, started.keeper_pid]);
    web.stop();
}

/// A supervisor that is heard as systemd hears it (sd_notify(3)).
fn notified(host: &Host) -> (UnixDatagram, Child) {
    let path = host.prefix().join("notify");
    let socket = UnixDatagram::bind(&path).expect("it can be bound");
    socket.set_read_timeout(Some(DEADLINE)).expect("it can be set");
    let mut command = host.command(["supervise", "web"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let supervisor = command.env("NOTIFY_SOCKET", &path).spawn().expect("it can be run");
    (socket, supervisor)
}

fn whoever_waits_for_a_boot_hears_of_each_step(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    let (socket, supervisor) = notified(&host);
    let mut said = Vec::new();
    let mut bytes = [0; 4096];
    while !said.iter().any(|words: &String| words.contains("READY=1")) {
        let length = socket.recv(&mut bytes).expect("it is up in time");
        said.push(String::from_utf8_lossy(&bytes[..length]).into_owned());
    }
    let steps: Vec<_> = said.iter().filter(|words| words.starts_with("STATUS=booting: ")).collect();
    assert!(steps.iter().any(|words| words.contains("rcS")), "{said:?}");
    for words in steps {
        assert!(words.contains("EXTEND_TIMEOUT_USEC=390000000"), "{words:?} of {said:?}");
    }
    assert!(process::is_alive(i32::try_from(supervisor.id()).expect("a pid")));
    web.stop();
    ends(supervisor);
}

/// systemd says several times a second, in turn, what it waits for: that is shown, and
/// keeps nobody waiting.
fn whoever_waits_for_units_that_hang_hears_of_each_once(tree: Tree) {
    let host = Host::new();
    let web = gated(&host, tree);
    web.shell("cd /etc/systemd/system && cp gate.service second.service").ok();
    web.shell("systemctl enable second.service").ok();
    let (socket, supervisor) = notified(&host);
    let name = "web".parse().expect("a name");
    let run = RunDir::new(host.paths(), &name);
    let client = eventually(DEADLINE, "it takes requests", || {
        // Another one was there for the commands above.
        (run.supervisor() == i32::try_from(supervisor.id()).ok()).then_some(())?;
        Client::reach(host.paths(), &name).expect("it can be asked")
    });
    client.send(&Request::Subscribe).expect("it takes requests");
    let mut said = Vec::new();
    let mut bytes = [0; 4096];
    let shows = |said: &[String], job: &str| -> Vec<String> {
        said.iter().filter(|words| words.contains(job)).cloned().collect()
    };
    let jobs = ["gate.service/start", "second.service/start"];
    while jobs.iter().any(|job| shows(&said, job).len() < 10) {
        let length = socket.recv(&mut bytes).expect("it says what it waits for");
        said.push(String::from_utf8_lossy(&bytes[..length]).into_owned());
    }
    for job in jobs {
        let shown = shows(&said, job);
        assert!(shown.iter().all(|words| words.starts_with("STATUS=booting: ")), "{shown:?}");
        let first = shown.first().expect("there are ten");
        assert!(first.contains("EXTEND_TIMEOUT_USEC=390000000"), "{shown:?}");
        let extended = shown.iter().filter(|words| words.contains("EXTEND_TIMEOUT_USEC"));
        assert_eq!(extended.count(), 1, "{shown:?}");
    }

    web.shell("touch /run/open").ok();
    let mut told = Vec::new();
    loop {
        let deadline = Some(Instant::now() + DEADLINE);
        match client.next(deadline).expect("it is up in time").expect("it goes on") {
            Event::Phase(Phase::Running) => break,
            Event::ScriptStarted { name, .. } => told.push(name),
            _ => {}
        }
    }
    for job in jobs {
        assert_eq!(shows(&told, job).len(), 1, "commands hear of it, too: {told:?}");
    }
    web.stop();
    ends(supervisor);
}

/// It may crash in each of its boots, and the host's own boot isn't to wait for that.
fn whoever_waits_for_a_boot_that_crashes_goes_on(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    web.write("/etc/inittab", "::sysinit:/bin/sleep 1000\n", 0o644);
    let (socket, supervisor) = notified(&host);
    web.wait_for_process("sleep");
    kill(Pid::from_raw(web.init_pid()), Signal::SIGKILL).expect("PID 1 can be killed");
    let mut bytes = [0; 4096];
    let ready = loop {
        let length = socket.recv(&mut bytes).expect("it is said in time");
        let words = String::from_utf8_lossy(&bytes[..length]).into_owned();
        if words.contains("READY=1") {
            break words;
        }
    };
    assert!(ready.contains("STATUS=backing-off"), "{ready}");
    web.stop();
    ends(supervisor);
}

/// As systemd is for a moment, when it reads all units anew.
fn who_is_too_busy_to_hear_that_it_is_up_is_told_again(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    let path = host.prefix().join("notify");
    let socket = UnixDatagram::bind(&path).expect("it can be bound");
    socket.set_read_timeout(Some(DEADLINE)).expect("it can be set");
    let full = UnixDatagram::unbound().expect("a socket");
    full.set_nonblocking(true).expect("it can be set");
    while full.send_to(b"other", &path).is_ok() {}
    let mut command = host.command(["supervise", "web"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // Twice a second.
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "1000000");
    let supervisor = command.spawn().expect("it can be run");
    eventually(DEADLINE, "it is up", || {
        (web.is_running() && web.status().state == "running").then_some(())
    });
    let mut bytes = [0; 4096];
    let mut hear = || {
        let length = socket.recv(&mut bytes).expect("somebody says something");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    let said: Vec<_> =
        std::iter::repeat_with(&mut hear).filter(|words| words != "other").take(4).collect();
    let ready = said.iter().filter(|words| words.contains("READY=1")).count();
    assert_eq!(ready, 1, "once is enough: {said:?}");
    web.stop();
    ends(supervisor);
}

/// What systemd calls when it has killed a supervisor that was stuck, and had heard
/// nothing of its guest's end.
fn a_stop_cleans_up_after_a_guest_that_has_ended_meanwhile(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    let before = tests::Census::after_a_boot(&web);
    for with_keeper in [false, true] {
        web.start();
        let status = web.status();
        let send = |pid: Option<i32>, signal| {
            let pid = pid.and_then(rustix::process::Pid::from_raw).expect("a pid");
            rustix::process::kill_process(pid, signal).expect("it is there");
        };
        let init = status.init_pid.expect("it runs");
        send(status.supervisor_pid, rustix::process::Signal::STOP);
        send(status.init_pid, rustix::process::Signal::KILL);
        eventually(DEADLINE, "it ends", || (!process::is_alive(init)).then_some(()));
        let killed = [status.supervisor_pid, status.keeper_pid.filter(|_| with_keeper)];
        for pid in killed.into_iter().flatten() {
            send(Some(pid), rustix::process::Signal::KILL);
            // systemd calls it when the last one is dead.
            eventually(DEADLINE, "it is dead", || (!process::is_alive(pid)).then_some(()));
        }
        let mut stopped = host.command(["supervise", "--unit-stopped", "web"]);
        command::run(stopped.env("SERVICE_RESULT", "success"), DEADLINE).ok();
        let run = host.prefix().join("run/vserver/web");
        eventually(DEADLINE, "its directory is gone", || (!run.exists()).then_some(()));
        before.assert_unchanged(&host);
    }
}

/// Else its unit would have failed, though somebody has stopped it.
fn a_stop_of_a_guest_that_could_not_come_up_again_is_no_failure(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    let mut command = host.command(["supervise", "web"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let supervisor = command.spawn().expect("it can be run");
    eventually(DEADLINE, "it is up", || {
        (web.is_running() && web.status().state == "running").then_some(())
    });
    let script = host.paths().config_dir().join("web.sh");
    tests::executable::write(&script, "#!/bin/sh\ntest \"$1\" != pre-start\n", 0o755);
    let init = Pid::from_raw(web.init_pid());
    kill(init, Signal::SIGKILL).expect("it runs");
    eventually(DEADLINE, "it can't be started again", || {
        let end = web.vserver("status", [""; 0]).stdout;
        (end.contains("not started") && web.status().state == "backing-off").then_some(())
    });
    web.vserver("stop", [""; 0]).ok();
    ends(supervisor);
}
