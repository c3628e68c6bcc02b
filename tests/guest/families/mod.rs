//! Every init family boots, is up, reboots and stops by its own means, from
//! inside and from outside, at any moment, and is never killed for it.

mod operations;
mod page;
mod untouched;

use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use tests::layouts::After::{Again, Down};
use tests::layouts::{self, After, Layout, MARKS, SLOW, UP, Words};
use tests::random::random;
use tests::{DEADLINE, Guest, Host, Tree, eventually};

use operations::{
    AT_ONCE, FROZEN, HALT, HANGING, INSIDE, MODES, MOMENTS, OUTSIDE, OWN, Outcome, REBOOT, RESTART,
    SOON, START, STOP, STUCK, TYPED, in_turn,
};
use untouched::Files;

/// Makes the tests of each layout.
macro_rules! families {
    ($($layout:ident)+) => {
        $(
            mod $layout {
                use tests::layouts::$layout as layout;

                #[test]
                #[ignore = "root: boots guests"]
                fn boots_reboots_and_stops_from_outside() {
                    super::boots_reboots_and_stops_from_outside(&layout());
                }

                #[test]
                #[ignore = "root: boots guests"]
                fn does_what_is_typed_inside() {
                    super::does_what_is_typed_inside(&layout());
                }

                #[test]
                #[ignore = "root: boots guests"]
                fn stops_at_any_moment() {
                    super::stops_at_any_moment(&layout());
                }
            }
        )+

        /// All of them.
        fn all() -> Vec<Layout> {
            vec![$(layouts::$layout(),)+ layouts::one_command()]
        }
    };
}

families! {
    sysvinit systemd busybox
    runit void openrc openrc_init finit s6 s6_linux_init dinit
    slackware arch gentoo alpine bsd stages unknown
}

/// A guest that has no init, and in which nothing is typed.
mod one_command {
    use tests::layouts::one_command;

    #[test]
    #[ignore = "root: boots guests"]
    fn boots_reboots_and_stops_from_outside() {
        super::boots_reboots_and_stops_from_outside(&one_command());
    }

    #[test]
    #[ignore = "root: boots guests"]
    fn stops_at_any_moment() {
        super::stops_at_any_moment(&one_command());
    }
}

/// `VSERVER_TEST_ROUNDS`, as tests/soak sets it, or a few.
fn rounds() -> usize {
    env::var("VSERVER_TEST_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(5)
}

/// Is it the long run, which leaves nothing out?
fn is_long() -> bool {
    rounds() >= 100
}

fn build<'h>(host: &'h Host, layout: &Layout) -> Guest<'h> {
    let guest = host.guest("web").tree(layout.tree).set("boot.kill_grace", "1s");
    let guest = match layout.command {
        [] => guest.build(),
        words => guest.list("boot.command", words).build(),
    };
    for (path, to) in layout.links {
        let path = place(&guest, path);
        symlink(to, &path).unwrap_or_else(|cause| panic!("cannot link {path:?}: {cause}"));
    }
    for (path, text, mode) in [&UP].into_iter().chain(layout.files) {
        place(&guest, path);
        guest.write(path, text, *mode);
    }
    if !layout.prepare.is_empty() {
        guest.exec(layout.prepare).ok();
    }
    guest
}

/// Makes room for a file, also where the tree has a link.
fn place(guest: &Guest<'_>, path: &str) -> PathBuf {
    let path = guest.root().join(path.trim_start_matches('/'));
    let directory = path.parent().expect("a file is in a directory");
    fs::create_dir_all(directory).expect("a directory can be made");
    let _ = fs::remove_file(&path);
    path
}

/// How often the guest's own shutdown scripts have run.
fn shutdowns(guest: &Guest<'_>) -> usize {
    guest.read(MARKS).lines().count()
}

/// In this mode of `security.users` from its next start on.
fn set_users(guest: &Guest<'_>, users: &str) {
    guest.host().vserver(["config", "set", guest.name(), "security.users", users]).ok();
}

/// Starts it, and checks that it is up then.
fn start(guest: &Guest<'_>, layout: &Layout) {
    guest.start();
    assert_up(guest, layout);
    let status = guest.vserver("status", [""; 0]).ok();
    assert!(status.stdout.contains(layout.reason), "{}\n{status}", layout.reason);
    assert_eq!(guest.status().style.as_deref(), Some(layout.style));
    guest.wait_for_process(layout.service);
}

/// It is up, and not only said to be.
fn assert_up(guest: &Guest<'_>, layout: &Layout) {
    assert_eq!(guest.status().state, "running");
    if layout.signs {
        guest.exec(["test", "-e", "/run/up"]).ok();
    }
}

/// The state isn't that of a guest that is up while it boots. Its next boot is a slow
/// one, from which `start` doesn't return before it is up.
fn is_up_when_its_boot_is_over(guest: &Guest<'_>, layout: &Layout) {
    if !layout.signs {
        return;
    }
    guest.write(SLOW, "while [ -e /etc/slow ]; do sleep 0.1; done\n", 0o644);
    guest.vserver("start", ["--no-wait"]).ok();
    wait_for_boot(guest);
    assert_eq!(guest.status().state, "booting");
    let slow = guest.root().join(SLOW.trim_start_matches('/'));
    fs::remove_file(&slow).expect("it is there");
    eventually(DEADLINE, "it is up", || (guest.status().state == "running").then_some(()));
    assert_up(guest, layout);
    guest.stop();
    guest.write(SLOW, "sleep 1\n", 0o644);
}

/// Waits until its boot is at the step that takes as long as [`SLOW`] says.
fn wait_for_boot(guest: &Guest<'_>) {
    eventually(DEADLINE, "it boots", || {
        (guest.exec(["test", "-e", "/run/booting"]).code == 0).then_some(())
    });
}

fn boots_reboots_and_stops_from_outside(layout: &Layout) {
    let host = Host::new();
    let guest = build(&host, layout);
    let files = Files::of(&guest);
    let outcome = Outcome::new(layout, OUTSIDE);
    is_up_when_its_boot_is_over(&guest, layout);
    for users in MODES {
        let before = shutdowns(&guest);
        let ended = |times, how| {
            assert_eq!(shutdowns(&guest), before + times, "{how} {users}\n{}", guest.log());
        };
        set_users(&guest, users);
        start(&guest, layout);
        outcome.has(&START, users);
        let _ = fs::remove_file(guest.root().join(SLOW.trim_start_matches('/')));
        for (times, verb, operation) in [(1, "reboot", &REBOOT), (2, "restart", &RESTART)] {
            let old = guest.init_pid();
            guest.vserver(verb, [""; 0]).ok();
            assert_ne!(guest.init_pid(), old);
            assert_up(&guest, layout);
            ended(times, verb);
            guest.wait_for_process(layout.service);
            outcome.has(operation, users);
        }
        guest.stop();
        ended(3, "stop");
        outcome.has(&STOP, users);
    }
    files.assert_untouched(&guest);
    outcome.assert_as_on_the_page();
}

fn does_what_is_typed_inside(layout: &Layout) {
    let host = Host::new();
    let guest = build(&host, layout);
    let outcome = Outcome::new(layout, INSIDE);
    for users in MODES {
        set_users(&guest, users);
        for (after, words) in
            [(Again, layout.reboot), (Down, layout.halt), (Down, layout.power_off)]
        {
            typed(&guest, layout, after, words, 1);
        }
        outcome.has(&TYPED, users);
        let is_due = |index: usize| is_long() || in_turn(index) == *users;
        let own = layout.own.iter().enumerate();
        for (_, (after, words)) in own.filter(|(index, _)| is_due(*index)) {
            typed(&guest, layout, *after, words, 1);
            outcome.has(&OWN, users);
        }
        // It asks nobody.
        typed(&guest, layout, Down, &["sh", "-c", HALT_NOW], 0);
        outcome.has(&HALT, users);
    }
    outcome.assert_as_on_the_page();
}

/// reboot(2) with LINUX_REBOOT_CMD_HALT.
const HALT_NOW: &str = "if [ -e /usr/bin/perl ]; then
    exec perl -e 'syscall(169, 0xfee1dead, 672274793, 0xcdef0123)'; fi; exec busybox halt -f";

/// Types it in a guest that is started for it if it is down.
fn typed(guest: &Guest<'_>, layout: &Layout, after: After, words: Words, expected: usize) {
    if !guest.is_running() {
        start(guest, layout);
    }
    let (old, before) = (guest.init_pid(), shutdowns(guest));
    // How it ends depends on what dies first.
    let end = guest.exec(words);
    println!("{words:?} inside\n{end}");
    match after {
        Again => {
            guest.wait_for_reboot(old);
            assert_up(guest, layout);
            guest.wait_for_process(layout.service);
        }
        Down => {
            guest.wait_until_stopped();
            let status = guest.vserver("status", [""; 0]).code(3);
            assert!(status.stdout.contains("is stopped"), "{words:?}\n{status}");
            guest.vserver("running", [""; 0]).code(1);
            // Not taken for a crash, which would have been started again.
            let log = guest.host().prefix().join("var/log/vserver/web.supervisor.log");
            let log = fs::read_to_string(log).expect("the supervisor has a log");
            assert!(!log.contains("crashed"), "{words:?}\n{log}");
        }
    }
    let marks = shutdowns(guest) - before;
    assert_eq!(marks, expected, "{words:?} inside\n{end}\n{}", guest.log());
}

/// A process that no service manager knows of.
const DEAF: &str = "(trap '' HUP INT TERM; while :; do sleep 1; done) >/dev/null 2>&1 </dev/null &";

fn stops_at_any_moment(layout: &Layout) {
    let host = Host::new();
    let guest = build(&host, layout);
    let outcome = Outcome::new(layout, MOMENTS);
    let mut random = random();
    let stops = |users: &str, after: u64| {
        set_users(&guest, users);
        guest.vserver("start", ["--no-wait"]).ok();
        thread::sleep(Duration::from_millis(after));
        guest.vserver("stop", ["--no-kill"]).ok();
        assert!(!guest.is_running(), "{users}, {after} ms");
    };
    for round in 0..rounds().max(MODES.len()) {
        stops(in_turn(round), 0);
        outcome.has(&AT_ONCE, in_turn(round));
    }
    for round in 0..(rounds() / 2).max(MODES.len()) {
        stops(in_turn(round), random.u64(1..800));
        outcome.has(&SOON, in_turn(round));
    }
    // With a process that ignores SIGTERM.
    for users in MODES {
        let before = shutdowns(&guest);
        set_users(&guest, users);
        start(&guest, layout);
        guest.shell(DEAF).ok();
        guest.vserver("pause", [""; 0]).ok();
        guest.stop();
        assert_eq!(shutdowns(&guest), before + 1, "{users}\n{}", guest.log());
        outcome.has(&FROZEN, users);
    }
    // A step of its boot that hangs.
    if layout.signs {
        guest.write(SLOW, "sleep 1000\n", 0o644);
        for users in STUCK.modes(layout, is_long()) {
            set_users(&guest, users);
            guest.vserver("start", ["--no-wait"]).ok();
            wait_for_boot(&guest);
            let stop = guest.vserver("stop", ["--timeout", "1"]).ok();
            assert!(stop.took < Duration::from_secs(40), "{stop}");
            assert!(!guest.is_running(), "nothing is left");
            outcome.has(&STUCK, users);
        }
        fs::remove_file(guest.root().join(SLOW.trim_start_matches('/'))).expect("it is there");
    }
    // A shutdown script that hangs.
    let (path, text, mode) = layout.hanging;
    guest.write(path, text, mode);
    for users in HANGING.modes(layout, is_long()) {
        set_users(&guest, users);
        start(&guest, layout);
        let stop = guest.vserver("stop", ["--timeout", "1"]).ok();
        let expected = Duration::from_secs(1)..Duration::from_secs(40);
        assert!(expected.contains(&stop.took), "{stop}");
        // Else guest-init has cut it off.
        if layout.style == "init" {
            assert!(stop.stderr.contains("guest 'web' had to be killed"), "{stop}");
        }
        assert!(!guest.is_running(), "nothing is left");
        outcome.has(&HANGING, users);
    }
    outcome.assert_as_on_the_page();
}

on! { Busybox: [an_init_that_could_be_followed_is_pid_1_if_told_so] }

fn an_init_that_could_be_followed_is_pid_1_if_told_so(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).set("boot.style", "init").build();
    for round in 1..=3 {
        guest.vserver("start", ["--no-wait"]).ok();
        guest.vserver("stop", ["--no-kill"]).ok();
        assert!(!guest.is_running(), "round {round}");
    }
    guest.start();
    guest.exec(["cat", "/proc/1/comm"]).ok().says("init\n");
    let first = guest.init_pid();
    guest.vserver("reboot", [""; 0]).ok();
    assert_ne!(guest.init_pid(), first);
    guest.stop();
}

#[test]
#[ignore = "root: boots guests"]
fn the_next_supervisor_knows_the_family() {
    let host = Host::new();
    let layout = layouts::unknown();
    let guest = build(&host, &layout);
    start(&guest, &layout);
    guest.kill_supervisor();
    let status = guest.vserver("status", [""; 0]).ok();
    assert!(status.stdout.contains(layout.reason), "{status}");
    guest.stop();
    assert_eq!(shutdowns(&guest), 1, "{}", guest.log());
}

/// One made for hardware mounts its /run, and ends when it can't.
#[test]
#[ignore = "root: boots guests"]
fn s6_linux_init_that_mounts_its_run_is_told_what_to_do() {
    const MOUNTS: &str = "#!/bin/sh\nmount -t tmpfs tmpfs /run || exit 111\n\
        cp -a /etc/s6/service /run/service\nexec s6-svscan /run/service\n";
    let host = Host::new();
    let guest = build(&host, &layouts::s6_linux_init());
    guest.write("/usr/bin/s6-linux-init", MOUNTS, 0o755);
    let start = guest.vserver("start", [""; 0]).code(1);
    assert!(start.stderr.contains("security.nesting = true"), "{start}");
    guest.vserver("stop", [""; 0]);
    host.vserver(["config", "set", guest.name(), "security.nesting", "true"]).ok();
    guest.start().stop();
    assert_eq!(shutdowns(&guest), 1, "{}", guest.log());
}

#[test]
#[ignore = "root: boots guests"]
fn one_command_is_a_guest() {
    const SERVER: &str = "#!/bin/sh\ntrap 'date >>/var/log/shutdowns; exit 1' TERM\n\
        touch /run/$1\nwhile [ ! -e /run/fail ]; do sleep 0.1; done\nexit 3\n";
    let host = Host::new();
    let guest = host.guest("web").list("boot.command", &["/bin/server", "serving"]).build();
    guest.write("/bin/server", SERVER, 0o755);
    for users in ["private", "identity", "host"] {
        host.vserver(["config", "set", guest.name(), "security.users", users]).ok();
        guest.start();
        assert_eq!(guest.status().style.as_deref(), Some("command"));
        eventually(DEADLINE, "it serves", || {
            (guest.exec(["test", "-e", "/run/serving"]).code == 0).then_some(())
        });
        guest.stop();
    }
    assert_eq!(shutdowns(&guest), 3, "{}", guest.log());
    guest.start();
    let first = guest.init_pid();
    guest.vserver("reboot", [""; 0]).ok();
    let second = guest.init_pid();
    assert_ne!(first, second);
    guest.exec(["touch", "/run/fail"]).ok();
    guest.wait_for_reboot(second);
    guest.vserver("pause", [""; 0]).ok();
    guest.stop();
}

/// Its other processes end in order; itself it is killed, or, with
/// `--no-kill`, not.
#[test]
#[ignore = "root: boots guests"]
fn a_pid_1_that_hears_nothing_is_killed_or_said_to_be_deaf() {
    const DEAF: &str = "#!/bin/sh\n\
        sh -c 'trap \"date >>/var/log/shutdowns; exit\" TERM; while :; do sleep 1; done' &\n\
        sleep 100000\nwait\nsleep 100000\n";
    let host = Host::new();
    let guest = host.guest("web").set("boot.kill_grace", "2s").build();
    place(&guest, "/sbin/init");
    guest.write("/sbin/init", DEAF, 0o755);
    guest.start();
    let stop = guest.vserver("stop", ["--no-kill"]).code(1);
    assert!(stop.stderr.contains("hears no signal"), "{stop}");
    assert!(stop.took < Duration::from_secs(50), "before the timeout\n{stop}");
    assert!(guest.is_running());
    assert_eq!(shutdowns(&guest), 1, "{}", guest.log());
    guest.vserver("stop", [""; 0]);
    assert!(!guest.is_running());
}
