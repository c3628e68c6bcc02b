//! `vserver top`: what a terminal shows of it, what its keys do, and that the
//! terminal is as it was afterwards. A terminal emulator reads the screen.

use std::num::NonZero;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::terminal::Terminal;
use tests::{DEADLINE, Guest, Host, Tree, eventually, process};
use vt100::Parser;

on! { Busybox: [
    top_shows_opens_signals_and_stops,
    top_gives_the_terminal_back_after_signals,
    top_stops_goes_on_and_follows_its_window,
    top_obeys_no_name_of_a_process,
] }

/// What the shell that runs it prints before it and afterwards: the modes of
/// the terminal, and the exit code.
const SHELL: &str = "stty -g; \"$@\"; code=$?; stty -g; echo code=$code";

/// The first row of a table.
const FIRST: u16 = 2;

/// `vserver top` on a terminal.
struct Top {
    terminal: Terminal,
    size: (u16, u16),
}

impl Top {
    fn open(host: &Host) -> Self {
        let mut top = host.command(["top", "--interval", "0.3"]);
        let terminal = Terminal::shell(SHELL, top.env("TERM", "xterm"));
        let mut top = Self { terminal, size: (24, 80) };
        top.wait("its table", |screen| screen.contents().contains("vserver top"));
        top
    }

    fn screen(&mut self) -> Parser {
        let side = |length| NonZero::new(length).expect("a terminal has a size");
        let mut screen = Parser::new(side(self.size.0), side(self.size.1), 0);
        screen.process(self.terminal.seen().as_bytes());
        screen
    }

    #[track_caller]
    fn wait(&mut self, what: &str, shows: impl Fn(&vt100::Screen) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let screen = self.screen();
            if shows(screen.screen()) {
                return;
            }
            let now = screen.screen().contents();
            assert!(Instant::now() < deadline, "the screen never showed {what}:\n{now}");
        }
    }

    #[track_caller]
    fn wait_for(&mut self, text: &str) {
        self.wait(text, |screen| screen.contents().contains(text));
    }

    /// Chooses the line that ends with this text.
    #[track_caller]
    fn choose(&mut self, end: &str) {
        self.wait_for(end);
        // No key before it is seen what the last one has done, which may take a while.
        eventually(DEADLINE, &format!("a line that ends with {end:?} is chosen"), || {
            self.terminal.type_in("\x1b[H");
            let (mut row, mut line) = self.chosen(|row| row == FIRST)?;
            while !line.trim_end().ends_with(end) {
                self.terminal.type_in("\x1b[B");
                (row, line) = self.chosen(|now| now != row)?;
            }
            Some(())
        });
    }

    /// Where the chosen line is, and its text, once it is where it is to be; none if it
    /// doesn't come there.
    fn chosen(&mut self, is_there: impl Fn(u16) -> bool) -> Option<(u16, String)> {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(5) {
            let screen = self.screen();
            let screen = screen.screen();
            let is_chosen = |row: &u16| screen.cell(*row, 0).is_some_and(|cell| cell.inverse());
            if let Some(row) = (FIRST..22).find(is_chosen)
                && is_there(row)
            {
                return Some((row, screen.rows(0, 80).nth(row.into())?));
            }
        }
        None
    }

    /// Its own pid.
    fn pid(&self, host: &Host) -> Pid {
        let processes = host.processes();
        let is_top = |arguments: &[String]| arguments.get(1).is_some_and(|word| word == "top");
        let own = processes.iter().find(|one| one.comm == "vserver" && is_top(&one.arguments));
        Pid::from_raw(own.expect("it runs").pid)
    }

    /// It has ended with this code, and the terminal is as it was.
    #[track_caller]
    fn has_left(&mut self, code: i32) {
        self.terminal.end();
        let screen = self.screen();
        let screen = screen.screen();
        assert!(!screen.alternate_screen() && !screen.hide_cursor(), "{}", screen.contents());
        let contents = screen.contents();
        let modes: Vec<&str> = contents.lines().filter(|line| line.contains(":1c:")).collect();
        assert!(modes.len() == 2 && modes[0] == modes[1], "modes of the terminal:\n{contents}");
        assert!(contents.contains(&format!("code={code}")), "{contents}");
    }
}

/// Starts a process that only waits; its pid on the host.
fn sleeper(guest: &Guest<'_>, seconds: &str) -> i32 {
    guest.shell(&format!("sleep {seconds} >/dev/null 2>&1 & :")).ok();
    eventually(DEADLINE, "a process waits inside", || {
        let line = format!("sleep\0{seconds}\0");
        let found = process::processes(|directory| {
            std::fs::read(directory.join("cmdline")).is_ok_and(|bytes| bytes == line.as_bytes())
        });
        found.first().map(|process| process.pid)
    })
}

fn wait_for_end(pid: i32) {
    eventually(DEADLINE, "the process has ended", || (!process::is_alive(pid)).then_some(()));
}

fn top_shows_opens_signals_and_stops(tree: Tree) {
    let host = Host::new();
    let (web, db) = (host.guest("web").tree(tree).build(), host.guest("db").tree(tree).build());
    web.start();
    db.start();
    let (first, second) = (sleeper(&web, "70101"), sleeper(&web, "70102"));
    let other = sleeper(&db, "70103");
    let mut top = Top::open(&host);
    top.wait_for(" root server");
    top.wait_for("CTX   PROC    VSZ    RSS  userTIME   sysTIME    UPTIME   %CPU NAME");
    top.terminal.type_in("n");
    top.choose(" web");
    top.terminal.type_in("\r");
    top.wait_for("guest 'web', processes: ");
    top.choose(" sleep 70101");
    let shown = top.screen().screen().contents();
    assert!(!shown.contains("70103") && shown.contains(&format!(" {first} ")), "{shown}");

    // Neither a no nor the same key again sends anything.
    top.terminal.type_in("kk");
    top.wait_for(&format!("Signal to 'sleep', pid {first} ("));
    top.terminal.type_in("n");
    top.wait("the question is gone", |screen| !screen.contents().contains("Signal to"));
    assert!(process::is_alive(first));
    top.terminal.type_in("k");
    top.wait_for(&format!("Signal to 'sleep', pid {first} ("));
    top.terminal.type_in("t");
    top.wait_for("SIGTERM was sent");
    wait_for_end(first);
    top.choose(" sleep 70102");
    top.terminal.type_in("k");
    top.wait_for(&format!("Signal to 'sleep', pid {second} ("));
    // It ends meanwhile: the signal hits nobody else.
    kill(Pid::from_raw(second), Signal::SIGKILL).expect("it is there");
    eventually(DEADLINE, "it is reaped", || (!process::is_there(second)).then_some(()));
    top.terminal.type_in("K");
    top.wait_for("cannot send SIGKILL: No such process");

    top.terminal.type_in("\x1b");
    top.wait_for("root server");
    top.choose(" web");
    top.terminal.type_in("s");
    top.wait_for("Stop guest 'web'?");
    top.terminal.type_in("y");
    top.wait_for("guest 'web' is stopped");
    assert!(!web.is_running() && db.is_running() && process::is_alive(other));
    top.wait("the guest is gone", |screen| {
        !screen.rows(0, 80).any(|row| row.trim_end().ends_with(" web"))
    });
    top.terminal.type_in("q");
    top.has_left(0);
    db.stop();
}

fn top_gives_the_terminal_back_after_signals(tree: Tree) {
    let host = Host::new();
    host.guest("web").tree(tree).build().start();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        let mut top = Top::open(&host);
        kill(top.pid(&host), signal).expect("it runs");
        top.has_left(128 + signal as i32);
    }
    let mut top = Top::open(&host);
    top.terminal.type_in("\x03");
    top.has_left(0);
    // Nobody to give it back to.
    let top = Top::open(&host);
    let pid = top.pid(&host);
    top.terminal.hang_up();
    wait_for_end(pid.as_raw());
}

fn top_stops_goes_on_and_follows_its_window(tree: Tree) {
    let host = Host::new();
    host.guest("web").tree(tree).build().start();
    let mut top = Top::open(&host);
    let pid = top.pid(&host);
    for _ in 0..2 {
        kill(pid, Signal::SIGTSTP).expect("it runs");
        eventually(DEADLINE, "it stands still", || {
            (process::state(pid.as_raw()) == 'T').then_some(())
        });
        top.wait("the terminal is the shell's", |screen| !screen.alternate_screen());
        kill(pid, Signal::SIGCONT).expect("it is there");
        top.wait("it is back", |screen| {
            screen.alternate_screen() && screen.contents().contains(" web")
        });
    }
    top.terminal.resize(30, 120);
    top.size = (30, 120);
    top.wait_for("WRITE/s  RECV/s  SENT/s NAME");
    top.terminal.resize(3, 10);
    top.size = (3, 10);
    top.wait("a very small screen", |screen| screen.contents().starts_with("vserver to"));
    top.terminal.resize(24, 80);
    top.size = (24, 80);
    top.wait_for("Sort: c cpu");
    top.terminal.type_in("q");
    top.terminal.end();
}

fn top_obeys_no_name_of_a_process(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let evil = "f=\"/$(printf 'a\\033]0;evil\\007')\"; printf '#!/bin/sh\\nsleep 70104\\n' >\"$f\"; \
                chmod 755 \"$f\"; \"$f\" </dev/null >/dev/null 2>&1 &";
    guest.shell(evil).ok();
    guest.wait_for_process("a\x1b]0;evil\x07");
    let mut top = Top::open(&host);
    top.choose(" web");
    top.terminal.type_in("\r");
    top.choose(" /bin/sh /a\\x1b]0;evil\\x07");
    top.terminal.type_in("k");
    top.wait_for("Signal to 'a\\x1b]0;evil\\x07', pid");
    top.terminal.type_in("n");
    assert!(!top.terminal.seen().contains("\x1b]0;evil"), "an escape sequence went through");
    top.terminal.type_in("q");
    top.has_left(0);
}
