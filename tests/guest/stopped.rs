//! Contexts without a boot: `enter` and `exec` on a stopped guest, and
//! `start --rescue`.

use std::thread;
use std::time::Duration;

use tests::terminal::Terminal;
use tests::{Census, DEADLINE, Host, Tree, eventually};

on! { Bookworm, Busybox: [
    exec_opens_a_stopped_guest_and_closes_it,
    the_last_session_ends_the_context,
    rescue_runs_one_command_instead_of_the_boot,
] }
on! { Busybox: [
    a_start_right_after_a_session_works,
    a_start_during_a_stop_waits_for_its_end,
    suexec_opens_a_stopped_guest,
    a_guest_can_be_started_while_it_is_entered,
    a_start_says_that_the_only_command_cannot_be_executed,
    a_context_outlives_its_supervisor_as_long_as_its_sessions,
] }

fn exec_opens_a_stopped_guest_and_closes_it(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let before = Census::take(&host);
    guest.exec(["cat", "/proc/1/comm"]).ok().says("guest-init\n");
    guest.exec(["hostname"]).ok().says("web\n");
    guest.shell("exit 77").code(77);
    guest.exec(["/no/such/program"]).code(127);
    assert!(guest.read("/var/log/boots").is_empty(), "nothing was booted");
    before.assert_unchanged(&host);
    assert!(!guest.is_running());
}

fn a_start_right_after_a_session_works(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    for _ in 0..5 {
        guest.exec(["true"]).ok();
        guest.start();
        assert!(guest.is_running());
        guest.stop();
    }
}

fn a_start_during_a_stop_waits_for_its_end(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let script = "#!/bin/sh\nuntil [ -e /go ]; do sleep 0.1; done\n";
    guest.write("/etc/init.d/rcK", script, 0o755);
    guest.start();
    let old = guest.init_pid();
    let mut stopping = guest.command("stop", [""; 0]).spawn().expect("vserver runs");
    eventually(DEADLINE, "it is being stopped", || {
        (guest.status().state == "stopping").then_some(())
    });
    thread::scope(|scope| {
        let start = scope.spawn(|| guest.vserver("start", [""; 0]));
        thread::sleep(Duration::from_millis(500));
        assert!(!start.is_finished(), "it waits");
        guest.write("/go", "", 0o644);
        start.join().expect("it ends").ok();
    });
    let status = guest.status();
    assert_eq!(status.state, "running", "{status:?}");
    assert_ne!(status.init_pid, Some(old), "{status:?}");
    assert_eq!(stopping.wait().expect("it ends").code(), Some(0));
    guest.stop();
}

fn the_last_session_ends_the_context(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let before = Census::take(&host);
    let mut first = Terminal::open(&guest.command("enter", [""; 0]));
    first.type_in("touch /run/here; echo rea''dy\n");
    first.expect("ready");
    let mut second = Terminal::open(&guest.command("enter", [""; 0]));
    second.type_in("ls /run/here; echo edited >/root/note; echo rea''dy\n");
    second.expect("/run/here");
    second.expect("ready");
    first.type_in("exit\n");
    first.end();
    second.type_in("echo st''ill; exit\n");
    second.expect("still");
    second.end();
    before.assert_unchanged(&host);
    assert_eq!(guest.read("/root/note"), "edited\n");
}

/// Theirs were connections to the one that was killed.
fn a_context_outlives_its_supervisor_as_long_as_its_sessions(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let before = Census::after_a_boot(&guest);
    for others_come in [false, true] {
        let mut session = Terminal::open(&guest.command("enter", [""; 0]));
        session.type_in("echo rea''dy\n");
        session.expect("ready");
        guest.kill_supervisor();
        assert_eq!(guest.status().state, "session");
        if others_come {
            guest.exec(["true"]).ok();
        }
        // Many times as long as the end of the last session would take.
        thread::sleep(Duration::from_secs(3));
        session.type_in("echo st''ill; exit\n");
        session.expect("still");
        session.end();
        if !others_come {
            // It isn't refused for a session that has ended.
            guest.start();
            guest.stop();
        }
    }
    eventually(DEADLINE, "the context has ended", || {
        (guest.status().state == "stopped").then_some(())
    });
    before.assert_unchanged(&host);
}

fn suexec_opens_a_stopped_guest(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let before = Census::take(&host);
    host.vserver(["suexec", "user", guest.name(), "--", "id", "-u"]).ok().says("1000\n");
    before.assert_unchanged(&host);
}

fn a_guest_can_be_started_while_it_is_entered(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let mut terminal = Terminal::open(&guest.command("enter", [""; 0]));
    terminal.type_in("echo rea''dy\n");
    terminal.expect("ready");
    // Either it starts, or the refusal says what is in the way; never both.
    let start = guest.vserver("start", [""; 0]);
    assert_eq!(start.code == 0, guest.status().state == "running", "{start}");
    if start.code != 0 {
        start.complains("sessions");
        terminal.type_in("exit\n");
        terminal.end();
        guest.start();
    }
    guest.stop();
}

fn rescue_runs_one_command_instead_of_the_boot(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let before = Census::take(&host);
    let line = "cat /proc/1/comm >/root/rescued; sleep 1";
    guest.vserver("start", ["--rescue", "/bin/sh", "-c", line]);
    eventually(DEADLINE, "the command has run", || {
        (guest.read("/root/rescued") == "guest-init\n").then_some(())
    });
    guest.wait_until_stopped();
    assert!(guest.read("/var/log/boots").is_empty(), "nothing was booted");
    before.assert_unchanged(&host);
}

fn a_start_says_that_the_only_command_cannot_be_executed(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let only = host.guest("only").tree(tree).list("boot.command", &["/etc/passwd"]);
    let only = only.set("boot.restart", "never").build();
    let before = Census::take(&host);
    let start = guest.vserver("start", ["--rescue", "/bin/none"]);
    start.code(1).complains("cannot execute '/bin/none': No such file or directory");
    before.assert_unchanged(&host);
    let start = only.vserver("start", [""; 0]);
    start.code(1).complains("cannot execute '/etc/passwd': Permission denied");
    before.assert_unchanged(&host);
}
