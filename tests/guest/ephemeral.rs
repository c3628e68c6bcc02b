//! `vserver start --ephemeral`: what is written in such a guest is there until
//! it stops, and nowhere afterwards.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::same::{differences, furnish};
use tests::{Census, DEADLINE, Host, Tree, eventually};

use super::storage::{MODES, attached, beside, over, snapshot};

on! { Busybox: [
    what_an_ephemeral_guest_writes_goes_with_its_end,
    an_ephemeral_guest_outlives_its_supervisor,
    a_lost_ephemeral_guest_is_started_as_it_was,
    an_ephemeral_start_that_fails_leaves_nothing,
    an_order_that_nobody_waits_for_counts_no_more,
    a_session_of_a_stopped_guest_writes_where_it_stays,
    every_form_can_be_ephemeral,
] }

fn what_an_ephemeral_guest_writes_goes_with_its_end(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    furnish(&web);
    host.vserver(["snapshot", "create", "web", "before"]).ok();
    let before = snapshot(&host, "web", "before");
    for mode in MODES {
        host.vserver(["config", "set", "web", "security.users", mode]).ok();
        web.vserver("start", ["--ephemeral"]).ok();
        web.shell("rm -r /srv/one /srv/closed; echo new >/etc/new; mv /srv /vrs; cat /etc/new")
            .ok()
            .says("new\n");
        web.vserver("reboot", ["--timeout", "1"]);
        web.shell("cat /etc/new; ls -d /vrs/two | grep -c .").ok().says("new\n1\n");
        web.vserver("stop", ["--timeout", "1"]);
        assert_eq!(beside(&host), [".snapshots", "web"], "{mode}");
        assert_eq!(differences(&before, &web.root()), [""; 0], "{mode}");
        // From inside, too.
        web.vserver("start", ["--ephemeral"]).ok();
        web.shell("echo new >/etc/new; poweroff");
        web.wait_until_stopped();
        assert_eq!(beside(&host), [".snapshots", "web"], "{mode}");
        assert_eq!(differences(&before, &web.root()), [""; 0], "{mode}");
    }
    web.start();
    web.shell("echo kept >/srv/kept").ok();
    web.vserver("stop", ["--timeout", "1"]);
    assert_eq!(web.read("/srv/kept"), "kept\n");
}

fn an_ephemeral_guest_outlives_its_supervisor(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    web.vserver("start", ["--ephemeral"]).ok();
    web.shell("echo new >/srv/new").ok();
    let shown = web.vserver("status", [""; 0]).ok();
    assert!(shown.stdout.contains("ephemeral"), "{shown}");
    let made = host.vserver(["snapshot", "create", "web", "s1"]).ok();
    assert!(made.stderr.contains("since its start"), "{made}");
    host.vserver(["snapshot", "delete", "web", "s1", "--yes"]).ok();
    web.kill_supervisor();
    web.shell("cat /srv/new").ok().says("new\n");
    web.vserver("reboot", ["--timeout", "1"]);
    web.shell("cat /srv/new").ok().says("new\n");
    web.vserver("stop", ["--timeout", "1"]);
    assert_eq!(beside(&host), ["web"]);
    assert!(!web.root().join("srv/new").exists());
}

fn a_lost_ephemeral_guest_is_started_as_it_was(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    web.vserver("start", ["--ephemeral"]).ok();
    web.shell("echo new >/srv/new").ok();
    // All of it at once, so that nobody is left to clean up, and first who would.
    let supervisor = web.status().supervisor_pid.expect("it has one");
    for pid in [supervisor].into_iter().chain(host.processes().iter().map(|all| all.pid)) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    Census::when_quiet(&host);
    assert_eq!(beside(&host), [".ephemeral", "web"]);
    // A session doesn't write there.
    web.shell("ls /srv/new").code(1);
    assert_eq!(beside(&host), [".ephemeral", "web"]);
    web.start();
    web.shell("ls /srv/new").code(1);
    web.shell("echo kept >/srv/kept").ok();
    web.vserver("stop", ["--timeout", "1"]);
    assert_eq!(beside(&host), ["web"]);
    assert_eq!(web.read("/srv/kept"), "kept\n");
}

fn an_ephemeral_start_that_fails_leaves_nothing(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    for stage in ["open-root", "attach-root", "exec-init", "first-message"] {
        let mut start = web.command("start", ["--ephemeral"]);
        let start = start.env("VSERVER_FAULT", stage).output().expect("it runs");
        assert_eq!(start.status.code(), Some(1), "{stage}");
        Census::when_quiet(&host);
        assert_eq!(beside(&host), ["web"], "{stage}");
    }
    web.vserver("start", ["--ephemeral"]).ok();
    web.vserver("start", ["--ephemeral"]).ok().complains("already running");
    web.shell("true").ok();
    web.vserver("stop", ["--timeout", "1"]);
    assert_eq!(beside(&host), ["web"]);
}

fn every_form_can_be_ephemeral(tree: Tree) {
    let host = Host::new();
    let (golden, web) = over(&host, tree);
    web.start();
    web.shell("echo web >/srv/new; rm /srv/one").ok();
    web.vserver("stop", ["--timeout", "1"]);
    host.vserver(["clone", "golden", "image", "--storage", "image", "--size", "64M"]).ok();
    let image = golden.other("image");
    for mode in MODES {
        for guest in [&web, &image] {
            host.vserver(["config", "set", guest.name(), "security.users", mode]).ok();
            guest.vserver("start", ["--ephemeral"]).ok();
            guest.shell("rm -rf /srv; echo x >/srv").ok();
            guest.vserver("stop", ["--timeout", "1"]);
            guest.start();
            guest.shell("ls /srv/two").ok();
            guest.vserver("stop", ["--timeout", "1"]);
        }
    }
    web.start();
    web.shell("cat /srv/new; cat /srv/one").code(1).says("web\n");
    web.vserver("stop", ["--timeout", "1"]);
    assert_eq!(attached(&host), [""; 0]);
}

/// Whoever ordered it is killed before anybody has taken the order.
fn an_order_that_nobody_waits_for_counts_no_more(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    let note = host.paths().roots_dir().join(".ephemeral/web/ordered");
    let mut cut = 0;
    for round in 0..20 {
        let mut start = web.command("start", ["--ephemeral"]).spawn().expect("it runs");
        while !note.exists() && start.try_wait().expect("it is ours").is_none() {
            std::thread::yield_now();
        }
        std::thread::sleep(std::time::Duration::from_millis(round));
        let _ = start.kill();
        let _ = start.wait();
        // The supervisor may be on its way.
        eventually(DEADLINE, "the guest is down", || {
            web.vserver("stop", ["--timeout", "1"]);
            host.processes().is_empty().then_some(())
        });
        cut += u32::from(note.exists());
        web.start();
        web.shell("echo kept >>/srv/kept").ok();
        web.vserver("stop", ["--timeout", "1"]);
        let kept = web.read("/srv/kept").lines().count();
        assert_eq!(kept, usize::try_from(round).expect("it is small") + 1);
        assert_eq!(beside(&host), ["web"]);
    }
    eprintln!("{cut} of 20 were cut before the order was taken");
}

fn a_session_of_a_stopped_guest_writes_where_it_stays(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    web.shell("echo kept >/srv/kept").ok();
    web.vserver("start", ["--ephemeral"]).ok();
    web.shell("cat /srv/kept; rm /srv/kept").ok();
    web.vserver("stop", ["--timeout", "1"]);
    web.shell("cat /srv/kept").ok().says("kept\n");
}
