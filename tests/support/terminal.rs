//! A terminal with a person at it: a program on a pty, typed at and read.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;
use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::wait::{DEADLINE, eventually};

/// A program that runs on a terminal of its own.
pub struct Terminal {
    child: Child,
    master: File,
    output: Receiver<Vec<u8>>,
    closed: Arc<AtomicBool>,
    seen: String,
    read: usize,
}

impl Terminal {
    /// Starts it in a session of its own on a terminal of 24 lines of 80
    /// characters, which is a dumb one unless the command says another TERM.
    ///
    /// # Panics
    /// When there is no pty or no such program.
    pub fn open(program: &Command) -> Self {
        let (master, slave) = pair();
        // env(1) and setsid(1) do without a fork hook, which would be unsafe
        // code here, what a login does: keys that end a program do so, also
        // where a shell has started the tests in its background and so with
        // these signals ignored (POSIX, 2.11); and the terminal is the
        // controlling one.
        let mut command = Command::new("env");
        command.args(["--default-signal=INT,QUIT", "setsid", "--ctty", "--wait"]);
        command.arg(program.get_program()).args(program.get_args());
        command.env("TERM", "dumb");
        for (key, value) in program.get_envs() {
            command.env(key, value.unwrap_or_default());
        }
        let clone = || slave.try_clone().expect("a descriptor can be copied");
        command.stdin(clone()).stdout(clone()).stderr(clone());
        let child = command.spawn().expect("setsid(1) can be run");
        // Else the end of the program wouldn't end the output.
        drop(command);
        drop(slave);

        let reader = master.try_clone().expect("a descriptor can be copied");
        let closed = Arc::new(AtomicBool::new(false));
        let (sender, output) = mpsc::channel();
        let stop = Arc::clone(&closed);
        thread::spawn(move || read_until_closed(reader, &stop, &sender));
        let mut terminal = Self { child, master, output, closed, seen: String::new(), read: 0 };
        terminal.resize(24, 80);
        terminal
    }

    /// The same of a line of shell, in which the program is `"$@"`.
    pub fn shell(line: &str, program: &Command) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", line, "sh"]).arg(program.get_program()).args(program.get_args());
        shell.envs(program.get_envs().filter_map(|(key, value)| Some((key, value?))));
        Self::open(&shell)
    }

    /// The same, with the program's pid.
    #[track_caller]
    pub fn open_known(program: &Command) -> (Self, Pid) {
        let mut terminal = Self::shell("echo pid=$$.; exec \"$@\"", program);
        terminal.expect("pid=");
        terminal.expect(".");
        let number = terminal.seen.split_once("pid=").and_then(|(_, rest)| rest.split_once('.'));
        let number = number.and_then(|(number, _)| number.parse().ok());
        (terminal, Pid::from_raw(number.expect("the shell has said it")))
    }

    /// Changes the size of its window.
    pub fn resize(&mut self, lines: u16, columns: u16) {
        let size = Winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.master, size).expect("a pty has a window size");
    }

    /// Is it as a program has it that wants each key itself?
    pub fn is_raw(&self) -> bool {
        let modes = tcgetattr(&self.master).expect("a terminal has modes");
        !modes.local_modes.contains(LocalModes::ICANON)
    }

    /// Types something.
    pub fn type_in(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).expect("a terminal can be typed at");
    }

    /// Waits until this text has appeared after what was awaited before.
    ///
    /// # Panics
    /// When it never does.
    #[track_caller]
    pub fn expect(&mut self, text: &str) {
        let start = Instant::now();
        loop {
            if let Some(place) = self.seen[self.read..].find(text) {
                self.read += place + text.len();
                return;
            }
            let left = DEADLINE.saturating_sub(start.elapsed());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("{text:?} did not appear; on the terminal:\n{}", self.seen),
            }
        }
    }

    /// Waits for the program's end, and for all that it has said, and returns its
    /// exit code, or 128+n after signal n.
    #[track_caller]
    pub fn end(&mut self) -> i32 {
        let what = format!("the program on the terminal ends; so far:\n{}", self.seen);
        let status = eventually(DEADLINE, &what, || {
            self.child.try_wait().expect("a child can be waited for")
        });
        // It is read by a thread, which ends with the last word, unless somebody else has
        // the terminal still.
        while let Ok(bytes) = self.output.recv_timeout(Duration::from_secs(2)) {
            self.seen.push_str(&String::from_utf8_lossy(&bytes));
        }
        status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
    }

    /// Everything that has appeared so far.
    pub fn seen(&mut self) -> &str {
        while let Ok(bytes) = self.output.recv_timeout(Duration::from_millis(50)) {
            self.seen.push_str(&String::from_utf8_lossy(&bytes));
        }
        &self.seen
    }

    /// Takes the terminal away, as a lost connection does, and waits for
    /// the program's end.
    #[track_caller]
    pub fn hang_up(mut self) {
        self.closed.store(true, Ordering::Relaxed);
        // The reader lets go of its descriptor, which ends the channel.
        while self.output.recv().is_ok() {}
        self.master = File::open("/dev/null").expect("/dev/null can be opened");
        self.end();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Both ends of a new pty, closed in every program that is executed: a
/// terminal hangs up when the last copy of its master is closed.
fn pair() -> (File, File) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags).expect("a pty can be opened");
    grantpt(&master).expect("a pty can be granted");
    unlockpt(&master).expect("a pty can be unlocked");
    let name = ptsname(&master, Vec::new()).expect("a pty has a name");
    let name = name.into_string().expect("the name of a pty is text");
    let mut options = OpenOptions::new();
    let slave = options.read(true).write(true).custom_flags(OFlags::NOCTTY.bits().cast_signed());
    (File::from(master), slave.open(name).expect("the other end of a pty can be opened"))
}

fn read_until_closed(mut master: File, closed: &AtomicBool, sender: &mpsc::Sender<Vec<u8>>) {
    let mut buffer = [0; 4096];
    while !closed.load(Ordering::Relaxed) {
        let mut ready = [PollFd::new(master.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ready, PollTimeout::from(50_u8)) == Ok(0) {
            continue;
        }
        match master.read(&mut buffer) {
            Ok(count @ 1..) if sender.send(buffer[..count].to_vec()).is_ok() => {}
            _ => return,
        }
    }
}
