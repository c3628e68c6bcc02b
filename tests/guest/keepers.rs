//! The keeper may die as well: the guest goes on with another one, also if the
//! supervisor was killed with it.

use std::fs::{self, File};
use std::process::Stdio;
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::terminal::Terminal;
use tests::{Census, DEADLINE, Guest, Host, Tree, eventually, process};

use crate::events::Events;
use crate::own_init;
use crate::serving::{BOTH, asked};
use crate::shared::{self, Server};
use crate::stubborn::upgrade;

on! { Busybox, Systemd: [
    a_guest_outlives_its_keeper,
    a_guest_outlives_all_of_the_host,
] }
on! { Systemd: [
    an_end_that_nobody_has_seen_is_followed_by_a_boot,
    an_init_that_cannot_tell_is_not_waited_for,
] }
on! { Busybox, Bookworm: [its_end_is_told_apart_without_its_first_keeper] }
on! { Busybox: [
    its_console_goes_on_without_its_first_keeper,
    a_boot_goes_on_without_its_keeper,
    its_addresses_outlive_keeper_and_supervisor,
    new_addresses_in_its_file_take_nothing_from_others,
    a_guest_that_is_all_killed_is_down,
    a_keeper_that_stands_still_is_named,
    sessions_outlive_supervisor_and_keeper,
    another_program_reaps_keepers_that_it_has_not_started,
] }

/// Kills one process, and waits until it is dead.
fn end(pid: Option<i32>) {
    let pid = pid.expect("it has one");
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it can be killed");
    eventually(DEADLINE, "it is dead", || (!process::is_alive(pid)).then_some(()));
}

/// Kills the keeper, and waits for the next one.
fn kill_keeper(guest: &Guest<'_>) {
    let before = guest.status();
    end(before.keeper_pid);
    let after = eventually(DEADLINE, "there is another keeper", || {
        let status = guest.status();
        let is_another = |pid| Some(pid) != before.keeper_pid && process::is_alive(pid);
        status.keeper_pid.is_some_and(is_another).then_some(status)
    });
    assert_eq!(after.init_pid, before.init_pid, "the guest goes on");
    assert_eq!(after.state, before.state);
}

/// Kills the supervisor and the keeper.
fn kill_both(guest: &Guest<'_>) {
    let status = guest.status();
    end(status.supervisor_pid);
    end(status.keeper_pid);
}

fn a_guest_outlives_its_keeper(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let before = Census::after_a_boot(&guest);
    guest.start();
    kill_keeper(&guest);
    let events = guest.vserver("logs", ["--events"]).ok().stdout;
    assert!(events.contains("can't be told how this boot ends"), "{events}");
    guest.shell("true").ok();
    // The next supervisor finds the next keeper.
    let keeper = guest.status().keeper_pid;
    guest.kill_supervisor();
    guest.shell("true").ok();
    assert_eq!(guest.status().keeper_pid, keeper);
    // As often as it is.
    kill_keeper(&guest);
    guest.vserver("stop", ["--no-kill"]).ok();
    before.assert_unchanged(&host);
}

/// guest-init says what it does.
fn its_end_is_told_apart_without_its_first_keeper(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let first = guest.init_pid();
    kill_keeper(&guest);
    guest.exec(["reboot"]);
    guest.wait_for_reboot(first);
    kill_keeper(&guest);
    // Also to the next supervisor.
    guest.kill_supervisor();
    guest.exec(["poweroff"]);
    guest.wait_until_stopped();
    let events = guest.vserver("logs", ["--events"]).ok().stdout;
    assert!(!events.contains("crashed"), "{events}");
}

/// Other inits don't: better one that runs and shouldn't than the reverse.
fn an_end_that_nobody_has_seen_is_followed_by_a_boot(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let first = guest.init_pid();
    kill_keeper(&guest);
    guest.exec(["poweroff"]);
    guest.wait_for_reboot(first);
    let events = guest.vserver("logs", ["--events"]).ok().stdout;
    assert!(events.contains("PID 1 ended unseen: its keeper was killed"), "{events}");
    // What the host asks for is known.
    kill_keeper(&guest);
    guest.vserver("stop", ["--no-kill"]).ok();
    assert_eq!(guest.status().state, "stopped");
}

fn its_console_goes_on_without_its_first_keeper(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    eventually(DEADLINE, "the boot's output is in the log", || {
        guest.log().trim_end().ends_with("once: ran").then_some(())
    });
    kill_keeper(&guest);
    guest.shell("echo some''thing new >/dev/console").ok();
    let mut terminal = Terminal::open(&guest.command("console", [""; 0]));
    terminal.expect("rcS: boot scripts run");
    terminal.expect("something new");
    guest.shell("echo more''of it >/dev/console").ok();
    terminal.expect("moreof it");
    drop(terminal);
    let log = eventually(DEADLINE, "all of it is in the log", || {
        let log = guest.vserver("logs", ["-b"]).ok().stdout;
        log.contains("moreof it").then_some(log)
    });
    assert!(log.contains("rcS: boot scripts run") && log.contains("something new"), "{log}");
    assert_eq!(log.matches("once: ran").count(), 1, "{log}");
    guest.stop();
}

/// Before it is up.
fn a_boot_goes_on_without_its_keeper(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.write("/etc/init.d/rcS", "#!/bin/sh\nuntil [ -e /open ]; do sleep 0.1; done\n", 0o755);
    guest.vserver("start", ["--no-wait"]).ok();
    eventually(DEADLINE, "it boots", || (guest.status().state == "booting").then_some(()));
    kill_keeper(&guest);
    assert_eq!(guest.status().state, "booting");
    guest.shell("touch /open").ok();
    eventually(DEADLINE, "it is up", || (guest.status().state == "running").then_some(()));
    guest.stop();
}

/// It is the same process, and their parent.
fn another_program_reaps_keepers_that_it_has_not_started(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    for is_killed in [false, true] {
        guest.start();
        let supervisor = guest.status().supervisor_pid.expect("it has one");
        upgrade(&guest);
        if is_killed {
            kill_keeper(&guest);
        } else {
            guest.vserver("reboot", [""; 0]).ok();
        }
        assert_eq!(guest.status().supervisor_pid, Some(supervisor));
        let children = process::children(supervisor);
        let is_dead = |pid: &i32| !process::is_alive(*pid);
        assert!(!children.iter().any(is_dead), "{children:?}");
        guest.stop();
    }
}

fn a_guest_outlives_all_of_the_host(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let before = Census::after_a_boot(&guest);
    guest.start();
    let init = guest.init_pid();
    kill_both(&guest);
    assert!(process::is_alive(init));
    // The next command finds it.
    guest.shell("true").ok();
    let status = guest.status();
    assert_eq!((status.init_pid, status.state.as_str()), (Some(init), "running"));
    let events = guest.vserver("logs", ["--events"]).ok().stdout;
    assert!(events.contains("without a link to its PID 1"), "{events}");
    // It has another console.
    let mut terminal = Terminal::open(&guest.command("console", [""; 0]));
    guest.shell("echo some''thing new >/dev/console").ok();
    terminal.expect("something new");
    drop(terminal);
    // It is asked by signals, and shuts down by itself.
    guest.vserver("reboot", [""; 0]).ok();
    assert_ne!(guest.init_pid(), init);
    kill_both(&guest);
    guest.vserver("stop", ["--no-kill"]).ok();
    before.assert_unchanged(&host);
}

fn its_addresses_outlive_keeper_and_supervisor(tree: Tree) {
    let host = shared::scene();
    let web = shared::guest(&host, "web", tree, &BOTH);
    web.start();
    let _server = Server::new(&host, "web", "0.0.0.0:80").0;
    let holds = || {
        assert_eq!(asked(host.network(), "192.0.2.2:80"), "ask web to 192.0.2.1\n");
        assert_eq!(asked(host.network(), "192.0.2.3:80"), "ask: ECONNREFUSED\n");
        web.exec(["/peer", "tcp", "192.0.2.3:81"]).ok().says("tcp: EADDRNOTAVAIL\n");
    };
    holds();
    kill_keeper(&web);
    holds();
    kill_both(&web);
    web.shell("true").ok();
    holds();
    shared::set_addresses(&host, &["192.0.2.1", "192.0.2.3"]).ok();
    assert_eq!(asked(host.network(), "192.0.2.3:80"), "ask web to 192.0.2.1\n");
    assert_eq!(asked(host.network(), "192.0.2.2:80"), "ask: ECONNREFUSED\n");
    drop(_server);
    web.stop();
}

/// The socket on which it would say that it is up has gone with its keeper.
fn an_init_that_cannot_tell_is_not_waited_for(tree: Tree) {
    let host = Host::new();
    let guest = own_init::gated(&host, tree);
    own_init::start_to_the_gate(&guest);
    let init = guest.init_pid();
    kill_both(&guest);
    eventually(DEADLINE, "it counts as up", || (guest.status().state == "running").then_some(()));
    assert_eq!(guest.init_pid(), init);
    guest.shell("touch /run/open").ok();
    eventually(DEADLINE, "its boot is done", || {
        let state = guest.shell("systemctl is-system-running");
        (state.stdout == "running\n").then_some(())
    });
    guest.vserver("stop", ["--no-kill"]).ok();
}

/// They are another guest's by now.
fn new_addresses_in_its_file_take_nothing_from_others(tree: Tree) {
    let host = shared::scene();
    let web = shared::guest(&host, "web", tree, &["192.0.2.1"]);
    let db = shared::guest(&host, "db", tree, &["192.0.2.2"]);
    web.start();
    db.start();
    let _servers = ["web", "db"].map(|name| Server::new(&host, name, "0.0.0.0:80").0);
    let file = host.paths().config(&"web".parse().expect("a name"));
    let text = fs::read_to_string(&file).expect("it is there");
    fs::write(&file, text.replace("192.0.2.1", "192.0.2.2")).expect("it can be written");
    kill_both(&web);
    web.shell("true").ok();
    assert_eq!(asked(host.network(), "192.0.2.2:80"), "ask db to 192.0.2.1\n");
    assert_eq!(asked(host.network(), "192.0.2.1:80"), "ask web to 192.0.2.1\n");
    fs::write(&file, text).expect("it can be written");
    drop(_servers);
    web.stop();
    db.stop();
}

/// What is left of one whose PID 1 has gone, too, is no guest.
fn a_guest_that_is_all_killed_is_down(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let before = Census::after_a_boot(&guest);
    guest.start();
    let status = guest.status();
    end(status.supervisor_pid);
    end(status.keeper_pid);
    end(status.init_pid);
    guest.wait_until_stopped();
    guest.start().stop();
    before.assert_unchanged(&host);
}

/// No supervisor can take its guest over. It isn't taken for one that is down, and
/// others are shown as ever.
fn a_keeper_that_stands_still_is_named(tree: Tree) {
    let host = Host::new();
    let (web, db) = (host.guest("web").tree(tree).build(), host.guest("db").tree(tree).build());
    web.start();
    db.start();
    let status = web.status();
    let keeper = status.keeper_pid.expect("it has one");
    // Those that watch hear of others, and of this one again, as long as that lasts.
    let heard = |words: &[&str]| {
        let said = host.prefix().join(words[0]);
        let mut command = host.command(words);
        command.stdin(Stdio::null()).stderr(File::create(&said).expect("it can be made"));
        (command, move || fs::read_to_string(&said).expect("it is there"))
    };
    let (events, events_said) = heard(&["events"]);
    let events = Events::start(events);
    for _ in 0..2 {
        assert_eq!(events.next()["state"], "running");
    }
    let (mut wait, wait_said) = heard(&["wait", "web", "db"]);
    let mut wait = wait.spawn().expect("it can be run");
    kill(Pid::from_raw(keeper), Signal::SIGSTOP).expect("it can be stopped");
    web.kill_supervisor();
    // Each waits for its answer as long as a keeper may take.
    let commands: [&[&str]; 4] =
        [&["running", "web"], &["status", "web", "db"], &["list", "--json"], &["status", "web"]];
    let host = &host;
    let [running, statuses, list, status_of_one] = thread::scope(|scope| {
        let threads = commands.map(|words| scope.spawn(move || host.vserver(words)));
        threads.map(|thread| thread.join().expect("it ends"))
    });
    let why = "the keeper of guest 'web' doesn't answer";
    for refused in [&running, &status_of_one, &statuses] {
        let refused = refused.clone().code(1).complains(why);
        refused.complains(&format!("kill -9 {keeper}"));
    }
    assert!(statuses.stdout.contains("Vserver 'db' is running"), "{statuses}");
    let list = list.ok().complains(why).stdout;
    let list: Vec<serde_json::Value> = serde_json::from_str(&list).expect("JSON");
    let states: Vec<_> = list.iter().map(|guest| &guest["state"]).collect();
    assert_eq!(states, ["running", "running"], "both are alive");

    for said in [&events_said as &dyn Fn() -> String, &wait_said] {
        let complained = || said().contains(why).then_some(());
        eventually(DEADLINE, "it is said that one can't be heard", complained);
    }
    db.stop();
    assert_eq!(events.until("stopped").len(), 2, "of another they hear");

    end(Some(keeper));
    let after = web.status();
    assert_eq!((after.init_pid, &*after.state), (status.init_pid, "running"));
    assert!(host.vserver(["logs", "web", "--events"]).ok().stdout.contains(why));
    web.stop();
    assert_eq!(events.until("stopped").len(), 2, "and of this one again");
    assert!(wait.wait().expect("it ends").success());
    for said in [events_said(), wait_said()] {
        assert_eq!(said.matches(why).count(), 1, "{said}");
    }
}

/// What was begun goes on, and tells how it ends.
fn sessions_outlive_supervisor_and_keeper(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let before = Census::after_a_boot(&guest);
    guest.start();
    let mut shell = Terminal::open(&guest.command("enter", [""; 0]));
    shell.type_in("echo shell''-begins\n");
    shell.expect("shell-begins");
    let wait = "until [ -e /go ]; do sleep 0.1; done; exit 7";
    let mut run = guest.command("exec", ["--", "sh", "-c", wait]).spawn().expect("it can be run");
    let console = |word: &str| {
        let mut console = Terminal::open(&guest.command("console", [""; 0]));
        guest.shell(&format!("echo console''-{word} >/dev/console")).ok();
        console.expect(&format!("console-{word}"));
        console
    };
    let mut first = console("first");
    guest.kill_supervisor();
    shell.type_in("echo shell''-without-supervisor\n");
    shell.expect("shell-without-supervisor");
    guest.shell("echo console''-goes-on >/dev/console").ok();
    first.expect("console-goes-on");
    kill_keeper(&guest);
    shell.type_in("echo shell''-without-keeper\n");
    shell.expect("shell-without-keeper");
    kill_both(&guest);
    shell.type_in("echo shell''-without-both\n");
    shell.expect("shell-without-both");
    assert!(run.try_wait().expect("a child").is_none(), "it goes on");
    let mut second = console("second");
    first.expect("console-second");

    guest.shell("touch /go").ok();
    assert_eq!(run.wait().expect("it ends").code(), Some(7));
    shell.type_in("exit 42\n");
    assert_eq!(shell.end(), 42);
    let mut other = Terminal::open(&guest.command("enter", [""; 0]));
    other.type_in("exit 43\n");
    assert_eq!(other.end(), 43);
    second.type_in("\x1d");
    assert_eq!(second.end(), 0);
    guest.vserver("stop", ["--no-kill"]).ok();
    assert_eq!(first.end(), 0, "with the guest");
    before.assert_unchanged(&host);
}
