//! The real guest-init as PID 1: boots, reaps, obeys, and goes down.

use std::fs;
use std::io::Write;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use shared::message::{
    BootMode, FromGuest, GuestState, Power, RcMode, Runlevel, Style, StyleChoice, ToGuest,
};
use shared::outcome::Outcome;

mod support;

use support::{Builder, Guest, eventually};

const INITTAB: &str = "id:2:initdefault:\nsi::sysinit:/etc/boot\nl0:0:wait:/etc/down 0\n\
    l2:2:wait:/etc/up\nl6:6:wait:/etc/down 6\n";

fn sysv() -> Builder {
    Builder::new(BootMode::Boot)
        .file("inittab", INITTAB)
        .script("boot", "env | sort > /tmp/environment; echo boot >> /tmp/order")
        .script("up", "echo up $RUNLEVEL $PREVLEVEL >> /tmp/order")
        .script("down", "echo down $1 $RUNLEVEL $PREVLEVEL $INIT_HALT >> /tmp/order")
}

fn running(mut builder: Builder) -> Guest {
    builder.order.kill_grace_ms = 1_000;
    let mut guest = builder.start();
    guest.await_running();
    guest
}

fn initctl(guest: &Guest, cmd: i32, runlevel: u8, data: &[u8]) {
    let mut bytes = Vec::new();
    for word in [0x0309_1969, cmd, i32::from(runlevel), 0] {
        bytes.extend(word.to_ne_bytes());
    }
    bytes.extend(data);
    bytes.resize(384, 0);
    let path = guest.path("/run/initctl");
    fs::File::options().write(true).open(path).unwrap().write_all(&bytes).unwrap();
}

#[test]
fn boots_and_stops_in_order() {
    let mut guest = running(sysv());
    let hello = guest.messages.first().unwrap().clone();
    assert!(matches!(hello, FromGuest::Hello { style: Style::Sysv, .. }), "{hello:?}");
    let comm = fs::read_to_string(format!("/proc/{}/comm", guest.init_pid())).unwrap();
    assert_eq!(comm, "guest-init\n");
    guest.stop(Power::PowerOff, 30_000);
    assert_eq!(guest.await_end(), Some(Signal::SIGINT));
    assert_eq!(guest.log("order"), "boot\nup 2 N\ndown 0 0 2 POWEROFF\n");
    let environment = guest.log("environment");
    for line in ["FROM_ORDER=yes", "PREVLEVEL=N", "RUNLEVEL=S", "container=vserver"] {
        assert!(environment.lines().any(|l| l == line), "{line} is not in\n{environment}");
    }
    let states: Vec<GuestState> = guest
        .messages
        .iter()
        .filter_map(|m| match m {
            FromGuest::State(state) => Some(*state),
            _ => None,
        })
        .collect();
    let level = Runlevel::MULTI;
    assert_eq!(
        states,
        [
            GuestState::Booting(level),
            GuestState::Running(level),
            GuestState::Stopping(Power::PowerOff),
            GuestState::Killing(Power::PowerOff)
        ]
    );
}

#[test]
fn a_reboot_is_told_by_sighup() {
    let mut guest = running(sysv());
    guest.stop(Power::Reboot, 30_000);
    assert_eq!(guest.await_end(), Some(Signal::SIGHUP));
    assert!(guest.log("order").ends_with("down 6 6 2 POWEROFF\n"));
}

#[test]
fn a_stop_right_after_the_start_works() {
    let mut guest = sysv().script("boot", "sleep 600").start();
    guest.stop(Power::PowerOff, 30_000);
    assert_eq!(guest.await_end(), Some(Signal::SIGINT));
    assert!(guest.log("order").starts_with("down 0 0"));
}

#[test]
fn a_hanging_shutdown_script_is_cut_at_the_deadline() {
    let mut guest = running(sysv().script("down", "trap '' TERM; sleep 600; sleep 600"));
    let begun = Instant::now();
    guest.stop(Power::PowerOff, 1_500);
    assert_eq!(guest.await_end(), Some(Signal::SIGINT));
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(1_500) && took < Duration::from_secs(40), "{took:?}");
}

#[test]
fn a_process_that_ignores_sigterm_is_killed_after_the_grace() {
    // What is ignored is inherited: it is deaf from its start.
    let up = "trap '' TERM; (sleep 600; sleep 600) & echo up";
    let mut guest = running(sysv().script("up", up));
    let begun = Instant::now();
    guest.stop(Power::PowerOff, 30_000);
    assert_eq!(guest.await_end(), Some(Signal::SIGINT));
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(25), "{took:?}");
}

#[test]
fn a_shutdown_with_nothing_left_does_not_wait() {
    let mut builder = sysv();
    builder.order.kill_grace_ms = 30_000;
    let mut guest = builder.start();
    guest.await_running();
    let begun = Instant::now();
    guest.stop(Power::PowerOff, 60_000);
    assert_eq!(guest.await_end(), Some(Signal::SIGINT));
    assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
}

#[test]
fn initctl_requests_are_obeyed() {
    let mut guest = running(sysv());
    initctl(&guest, 6, 0, b"INIT_HALT=HALT\0");
    fs::File::options()
        .write(true)
        .open(guest.path("/run/initctl"))
        .unwrap()
        .write_all(b"x")
        .unwrap();
    initctl(&guest, 1, b'0', b"");
    assert_eq!(guest.await_end(), Some(Signal::SIGINT));
    assert!(guest.messages.contains(&FromGuest::Requested(Power::Halt)), "{:?}", guest.messages);
    assert!(guest.log("order").ends_with("down 0 0 2 HALT\n"));
}

#[test]
fn a_runlevel_change_is_obeyed() {
    let text = INITTAB.to_owned() + "l3:3:wait:/etc/up\nx:2:once:/bin/sleep 600\n";
    let mut guest = running(sysv().file("inittab", &text));
    guest.order(&ToGuest::Runlevel(Runlevel::from_char('3').unwrap()));
    guest.await_state(GuestState::Running(Runlevel::from_char('3').unwrap()));
    assert!(guest.log("order").ends_with("up 3 2\n"));
}

#[test]
fn an_entry_that_dies_at_once_is_disabled() {
    let text = INITTAB.to_owned() + "x:2:respawn:/bin/false\ny:2:respawn:/nowhere\n";
    let mut guest = running(sysv().file("inittab", &text));
    for id in ["'x'", "'y'"] {
        guest.await_message("too fast", |m| {
            matches!(m, FromGuest::Note(text) if text.contains(id) && text.contains("too fast"))
        });
    }
    assert_idle(&guest);
}

#[test]
fn a_missing_console_is_said_once() {
    let text = INITTAB.to_owned() + "1:2:respawn:/sbin/getty 38400 tty1\n";
    let mut guest = running(sysv().file("inittab", &text));
    guest.await_message("note", |m| matches!(m, FromGuest::Note(t) if t.contains("tty1")));
    initctl(&guest, 1, b'q', b"");
    guest.order(&ToGuest::Exec { id: 1, argv: vec!["true".into()] });
    guest.await_message("end", |m| matches!(m, FromGuest::ExecEnded { id: 1, .. }));
    let notes = guest.messages.iter().filter(|m| matches!(m, FromGuest::Note(_)));
    assert_eq!(notes.count(), 1);
}

#[test]
fn commands_are_executed_and_their_end_told() {
    let mut guest = running(sysv());
    for (id, argv, code) in [(1, vec!["sh", "-c", "exit 7"], 7), (2, vec!["/nowhere"], 127)] {
        let argv = argv.into_iter().map(str::to_owned).collect();
        guest.order(&ToGuest::Exec { id, argv });
        let outcome = Outcome::Exited(code);
        guest.await_message("end", |m| *m == FromGuest::ExecEnded { id, outcome });
    }
}

#[test]
fn nonsense_on_the_link_is_survived_and_a_query_answered() {
    let mut guest = running(sysv());
    let fd = std::os::fd::AsFd::as_fd(guest.link.as_ref().unwrap()).try_clone_to_owned().unwrap();
    for _ in 0..50 {
        let _ = nix::unistd::write(&fd, &[0xff; 300]);
    }
    guest.messages.clear();
    eventually("the query", || guest.link.as_ref().unwrap().send(&ToGuest::Query).ok());
    guest.await_running();
    assert!(matches!(
        guest.messages.iter().find(|m| !matches!(m, FromGuest::Note(_))),
        Some(FromGuest::Hello { .. })
    ));
}

#[test]
fn a_lost_supervisor_is_survived() {
    let mut guest = running(sysv());
    guest.link = None;
    std::thread::sleep(Duration::from_millis(200));
    assert_idle(&guest);
    initctl(&guest, 1, b'6', b"");
    assert_eq!(guest.await_end(), Some(Signal::SIGHUP));
}

#[test]
fn rc_directories_are_run_in_order_and_reversed() {
    let note = |name: &str| format!("echo {name} $1 >> /tmp/order");
    let mut guest = running(
        Builder::new(BootMode::Boot)
            .script("rcS.d/S01first", &note("first"))
            .script("rc2.d/S20second", &note("second"))
            .script("rc2.d/S10fails", "exit 3")
            .file("rc2.d/S30data", "not executable")
            .script("rc.local", &note("local")),
    );
    assert!(matches!(guest.messages[0], FromGuest::Hello { style: Style::Rc, .. }));
    assert_eq!(guest.log("order"), "first start\nsecond start\nlocal start\n");
    let failed = guest.messages.iter().find(|m| {
        matches!(m, FromGuest::ScriptEnded { name, outcome: Outcome::Exited(3), .. }
            if name == "/etc/rc2.d/S10fails")
    });
    assert!(failed.is_some(), "{:#?}", guest.messages);
    guest.stop(Power::Reboot, 30_000);
    assert_eq!(guest.await_end(), Some(Signal::SIGHUP));
    assert!(guest.log("order").ends_with("second stop\nfirst stop\n"), "{}", guest.log("order"));
}

#[test]
fn independent_scripts_run_side_by_side() {
    let header = |needs: &str| {
        format!("### BEGIN INIT INFO\n# Required-Start: {needs}\n### END INIT INFO\n")
    };
    // Each waits for the other to have begun.
    let meet = |own: &str, other: &str| {
        header("") + &format!("touch /tmp/{own}; until [ -e /tmp/{other} ]; do sleep 0.02; done")
    };
    let guest = running(
        Builder::new(BootMode::Boot)
            .script("rc2.d/S01a", &meet("a", "b"))
            .script("rc2.d/S01b", &meet("b", "a"))
            .script("rc2.d/S01c", &(header("a b") + "ls /tmp > /tmp/seen")),
    );
    assert_eq!(guest.log("seen"), "a\nb\nseen\n");
}

#[test]
fn busybox_signals_work() {
    let inittab = "::sysinit:/etc/boot\n::shutdown:/etc/down\n::respawn:/bin/sleep 600\n";
    for (signal, end) in [(Signal::SIGTERM, Signal::SIGHUP), (Signal::SIGUSR2, Signal::SIGINT)] {
        let mut builder = sysv().file("inittab", inittab);
        builder.order.style = StyleChoice::Busybox;
        let mut guest = running(builder);
        guest.signal(signal);
        assert_eq!(guest.await_end(), Some(end));
        assert!(guest.log("order").contains("down"));
    }
}

#[test]
fn a_rescue_has_the_console_and_ends_with_its_command() {
    let script =
        "test -t 0 && tty > /tmp/tty; ps -o tty= -p $$ > /tmp/ps; cat /dev/tty & wait; true";
    let argv = vec!["sh".into(), "-c".into(), format!("{script} < /dev/null")];
    let mut guest = Builder::new(BootMode::Rescue(argv)).start();
    assert_eq!(guest.await_end(), Some(Signal::SIGINT));
    assert!(!guest.log("ps").trim().is_empty() && guest.log("ps").trim() != "?");
}

#[test]
fn an_idle_context_stops() {
    let mut guest = running(Builder::new(BootMode::Idle));
    assert_idle(&guest);
    guest.stop(Power::PowerOff, 5_000);
    assert_eq!(guest.await_end(), Some(Signal::SIGINT));
}

#[test]
fn a_foreign_init_takes_over() {
    let builder = Builder::new(BootMode::Boot).init("/bin/sleep");
    let mut guest = builder.start();
    guest.await_state(GuestState::HandedOver);
    // sleep(1) without an argument fails at once.
    assert_eq!(guest.await_end(), None);
}

#[test]
fn without_the_right_to_reboot_it_exits_at_the_end() {
    let mut builder = sysv();
    builder.may_not_reboot = true;
    let mut guest = running(builder);
    guest.stop(Power::PowerOff, 10_000);
    assert_eq!(guest.await_status().code(), Some(70));
    assert!(guest.log("order").ends_with("down 0 0 2 POWEROFF\n"));
}

#[test]
fn boot_and_runlevel_are_recorded() {
    let inittab = INITTAB.to_owned() + "x:2:respawn:/bin/sleep 600\n";
    let guest = running(
        sysv().file("inittab", &inittab).script("boot", ": > /run/utmp; : > /var/log/wtmp"),
    );
    let utmp = guest.path("/run/utmp");
    eventually("three records", || (fs::metadata(&utmp).ok()?.len() == 3 * 384).then_some(()));
    let who = |what: &str| {
        let out = std::process::Command::new("who").args([what]).arg(&utmp).output().unwrap();
        String::from_utf8(out.stdout).unwrap()
    };
    assert!(who("-b").contains("system boot"), "{}", who("-b"));
    assert!(who("-r").contains("run-level 2"), "{}", who("-r"));
    assert_eq!(fs::metadata(guest.path("/var/log/wtmp")).unwrap().len(), 3 * 384);
}

#[test]
fn direct_mode_needs_a_stock_runner() {
    let mut builder = sysv()
        .file("inittab", "id:2:initdefault:\nl2:2:wait:/etc/init.d/rc 2\n")
        .script("init.d/rc", "echo own runner $1 >> /tmp/order")
        .script("rc2.d/S01a", "echo not this >> /tmp/order");
    builder.order.rc = RcMode::Direct;
    let guest = running(builder);
    assert_eq!(guest.log("order"), "own runner 2\n");
}

fn storm(count: u32) {
    // Each child leaves a grandchild behind that PID 1 has to reap.
    let perl = format!(
        "for (1..{count}) {{ my $p = fork; if (!defined $p) {{ select(undef,undef,undef,0.01); redo }} \
         if (!$p) {{ my $q = fork; exit 0 if $q; exit 0 }} waitpid($p, 0) }}"
    );
    let mut guest = running(sysv());
    guest.patience = Duration::from_secs(600);
    guest.order(&ToGuest::Exec { id: 9, argv: vec!["perl".into(), "-e".into(), perl] });
    let outcome = Outcome::Exited(0);
    guest.await_message("the storm's end", |m| *m == FromGuest::ExecEnded { id: 9, outcome });
    let children = format!("/proc/{0}/task/{0}/children", guest.init_pid());
    eventually("no orphan left", || fs::read_to_string(&children).ok()?.is_empty().then_some(()));
    assert_idle(&guest);
}

/// guest-init uses no processor time within a second.
fn assert_idle(guest: &Guest) {
    let ticks = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", guest.init_pid())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    let before = ticks();
    std::thread::sleep(Duration::from_secs(1));
    assert!(ticks() - before <= 1, "guest-init is busy");
}

#[test]
fn orphans_are_reaped_at_full_speed() {
    storm(20_000);
}

#[test]
#[ignore = "root: the soak, which takes two minutes"]
fn a_hundred_thousand_orphans_are_reaped() {
    storm(100_000);
}

#[test]
fn outside_a_guest_it_refuses_with_one_sentence() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_guest-init")).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.starts_with("guest-init: this is PID 1 of a vserver guest"), "{text}");
}
