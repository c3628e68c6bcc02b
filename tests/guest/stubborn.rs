//! Guests that don't want to end do so all the same, by the deadline.

use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::{Census, DEADLINE, Host, Tree, command, eventually, executable};
use vserver::variables;

on! { Busybox, Bookworm, Trixie: [a_hanging_shutdown_script_is_cut_off_at_the_deadline] }
on! { Busybox, Bookworm: [a_process_that_ignores_sigterm_is_killed_after_the_grace] }
on! { Bookworm, Trixie: [a_fork_bomb_doesnt_keep_it_from_stopping] }
on! { Busybox: [
    stop_without_kill_fails_rather_than_kills,
    a_second_stop_brings_the_deadline_forward,
    a_pid_1_that_stands_still_is_killed_at_the_deadline,
    what_cant_be_killed_keeps_nobody_waiting,
    a_shutdown_from_inside_that_hangs_keeps_nobody_waiting,
] }

const HANGING: &str = "#!/bin/sh\n[ \"$1\" = start ] || sleep 1000\n";

pub(super) fn hanging(guest: &tests::Guest<'_>) {
    let script = if guest.tree().is_debian() { "/etc/init.d/urandom" } else { "/etc/init.d/rcK" };
    guest.write(script, HANGING, 0o755);
}

fn a_hanging_shutdown_script_is_cut_off_at_the_deadline(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let before = Census::after_a_boot(&guest);
    hanging(&guest);
    guest.start();
    let stop = guest.vserver("stop", ["--timeout", "3"]);
    let took = stop.took.as_secs_f64();
    assert!((2.5..40.0).contains(&took), "3 s, and what a busy machine takes\n{stop}");
    assert_eq!(guest.status().state, "stopped");
    before.assert_unchanged(&host);
}

fn a_process_that_ignores_sigterm_is_killed_after_the_grace(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).set("boot.kill_grace", "1s").build();
    let before = Census::after_a_boot(&guest);
    guest.start();
    guest
        .shell("(trap '' HUP INT TERM; while :; do sleep 1; done) >/dev/null 2>&1 </dev/null &")
        .ok();
    guest.vserver("stop", [""; 0]).ok();
    before.assert_unchanged(&host);
}

/// Bounded by the process limit of the user, which doesn't hold for the
/// host's root: so in a guest with ids of its own only, the default. The bomb
/// goes off only if the limit was set; fork fails in it, and it goes on.
fn a_fork_bomb_doesnt_keep_it_from_stopping(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).set("boot.kill_grace", "1s").build();
    let before = Census::after_a_boot(&guest);
    guest.start();
    let bomb = "ulimit -p 300 && exec perl -e 'while (1) { fork }' >/dev/null 2>&1 </dev/null &";
    guest.shell(bomb).ok();
    eventually(DEADLINE, "the bomb has gone off", || {
        let all = host.processes();
        (all.iter().filter(|process| process.comm == "perl").count() > 250).then_some(())
    });
    let stop = guest.vserver("stop", ["--timeout", "20"]).ok();
    assert!(stop.took < Duration::from_secs(55), "{stop}");
    before.assert_unchanged(&host);
}

fn stop_without_kill_fails_rather_than_kills(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    hanging(&guest);
    guest.start();
    guest.vserver("stop", ["--no-kill", "--timeout", "2"]).code(1);
    assert!(guest.is_running(), "it is still there");
    guest.vserver("stop", ["--timeout", "1"]);
    assert!(!guest.is_running());
}

fn a_second_stop_brings_the_deadline_forward(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    hanging(&guest);
    guest.start();
    let mut first = guest.command("stop", ["--timeout", "50"]).spawn().expect("vserver runs");
    eventually(DEADLINE, "the first stop has begun", || {
        (guest.status().state == "stopping").then_some(())
    });
    let mut second = guest.command("stop", ["--timeout", "2"]);
    let second = command::run(&mut second, DEADLINE);
    assert!(second.took < Duration::from_secs(40), "{second}");
    assert!(!guest.is_running());
    let _ = first.wait();
}

/// By SIGSTOP, which from the host means PID 1, too.
fn a_pid_1_that_stands_still_is_killed_at_the_deadline(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let before = Census::after_a_boot(&guest);
    guest.start();
    let init = guest.init_pid();
    kill(Pid::from_raw(init), Signal::SIGSTOP).expect("it runs");
    assert_eq!(guest.status().state, "running");
    // Nor does the next supervisor wait for an answer.
    guest.kill_supervisor();
    guest.exec(["true"]).ok();
    guest.vserver("stop", ["--no-kill", "--timeout", "1"]).code(1);
    assert!(guest.is_running());
    let stop = guest.vserver("stop", ["--timeout", "1"]).ok();
    assert!(stop.stderr.contains("had to be killed"), "{stop}");
    assert!(!guest.is_running());
    before.assert_unchanged(&host);
}

/// A tracer on the host holds PID 1 at its very end (ptrace(2), "Death under ptrace"),
/// where it stays as one does that waits for a dead file server.
fn what_cant_be_killed_keeps_nobody_waiting(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    let shop = host.guest("shop").tree(tree).build();
    shop.start().stop();
    let before = Census::after_a_boot(&web);
    web.start();
    shop.start();
    let init = Pid::from_raw(web.init_pid());
    let (let_go, held) = mpsc::channel::<()>();
    let (seized, is_held) = mpsc::channel();
    thread::scope(|scope| {
        // It is let go of with the end of the thread.
        scope.spawn(move || {
            seized.send(ptrace::seize(init, ptrace::Options::PTRACE_O_TRACEEXIT)).expect("heard");
            let _ = held.recv();
        });
        is_held.recv().expect("it is said").expect("it can be traced");
        let stop = web.vserver("stop", ["--timeout", "2"]).code(1);
        assert!(stop.took < Duration::from_secs(90), "{stop}");
        let stop = stop.complains("guest 'web' was killed and has not ended");
        let stop = stop.complains(&format!("process {init} (state ")).complains(", traced by ");
        assert_eq!(stop.stderr.matches("vserver: ").count(), 2, "one warning, one error: {stop}");
        // The others are stopped all the same.
        let all = host.vserver(["stop", "--all", "--timeout", "2"]).code(1);
        assert!(all.took < Duration::from_secs(90), "{all}");
        assert!(web.is_running() && !shop.is_running());
        drop(let_go);
    });
    web.wait_until_stopped();
    before.assert_unchanged(&host);
}

/// Another program, which does the same, takes the place of its supervisor's.
#[track_caller]
pub(super) fn upgrade(guest: &tests::Guest<'_>) {
    let other = guest.host().prefix().join("vserver");
    executable::copy(tests::host::program(), &other);
    let mut reexec = Command::new(&other);
    reexec.args(["reexec", guest.name()]).env(variables::PREFIX, guest.host().prefix());
    command::run(&mut reexec, DEADLINE).ok();
}

/// No deadline is known of what was begun inside: a start doesn't wait for ever, nor
/// does anybody for the start, and an upgrade goes on.
fn a_shutdown_from_inside_that_hangs_keeps_nobody_waiting(tree: Tree) {
    let host = Host::new();
    let guest =
        host.guest("web").tree(tree).set("boot.kill_grace", "1s").set("boot.stop_timeout", "3s");
    let guest = guest.build();
    hanging(&guest);
    guest.start();
    let init = guest.init_pid();
    guest.exec(["poweroff"]);
    eventually(DEADLINE, "it shuts down", || (guest.status().state == "stopping").then_some(()));
    thread::scope(|scope| {
        let start = scope.spawn(|| guest.vserver("start", [""; 0]));
        thread::sleep(Duration::from_secs(1));
        let other = host.vserver(["enable", "web"]).ok();
        assert!(!start.is_finished(), "it waits");
        assert!(other.took < Duration::from_secs(15), "{other}");
        let start = start.join().expect("it ends").code(1);
        assert!(start.took < Duration::from_secs(40), "{start}");
        start.complains("still shuts down").complains("vserver stop web");
    });
    // After that the guest is what it was.
    let old = guest.status();
    upgrade(&guest);
    eventually(DEADLINE, "the next one knows", || {
        (guest.status().state == "stopping").then_some(())
    });
    assert_eq!((guest.init_pid(), guest.status().supervisor_pid), (init, old.supervisor_pid));
    guest.vserver("stop", ["--timeout", "1"]).ok();
    assert!(!guest.is_running());
}
