//! Running a command to its end, with a deadline.

use std::fmt;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A command that has ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The command line, for messages.
    pub line: String,
    /// Exit code, or 128+n after signal n.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// How long it took.
    pub took: Duration,
}

/// Runs it with empty standard input, and collects what it says.
///
/// # Panics
/// When it can't be started, and when it hasn't ended or one of its output
/// pipes hasn't been closed at the deadline. The second is how a background
/// process that keeps its caller's descriptors shows itself.
#[track_caller]
pub fn run(command: &mut Command, deadline: Duration) -> Finished {
    let line = line(command);
    let start = Instant::now();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|cause| panic!("cannot run '{line}': {cause}"));
    let pid = child.id();
    let stdout = collect(child.stdout.take().expect("stdout is a pipe"));
    let stderr = collect(child.stderr.take().expect("stderr is a pipe"));
    let (sender, status) = mpsc::channel();
    thread::spawn(move || sender.send(child.wait()));

    let left = || deadline.saturating_sub(start.elapsed());
    let Ok(status) = status.recv_timeout(left()) else {
        // Its pid can't have been given to another: it hasn't been waited for.
        let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
        let said = |pipe: &mpsc::Receiver<Vec<u8>>| {
            text(pipe.recv_timeout(Duration::from_secs(1)).unwrap_or_default())
        };
        let (out, err) = (said(&stdout), said(&stderr));
        panic!("'{line}' had not ended after {deadline:?}\nstdout: {out}\nstderr: {err}");
    };
    let status = status.unwrap_or_else(|cause| panic!("cannot wait for '{line}': {cause}"));
    let took = start.elapsed();
    let open = |name: &str| format!("'{line}' has ended, but something holds its {name} open");
    let pause = left().max(Duration::from_secs(2));
    let stdout = stdout.recv_timeout(pause).unwrap_or_else(|_| panic!("{}", open("stdout")));
    let stderr = stderr.recv_timeout(pause).unwrap_or_else(|_| panic!("{}", open("stderr")));
    Finished { line, code: code(status), stdout: text(stdout), stderr: text(stderr), took }
}

fn collect(mut pipe: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        sender.send(bytes)
    });
    receiver
}

fn code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

fn line(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    let program = program.rsplit('/').next().unwrap_or_default().to_owned();
    let words = command.get_args().map(|word| word.to_string_lossy().into_owned());
    std::iter::once(program).chain(words).collect::<Vec<_>>().join(" ")
}

impl Finished {
    /// Demands this exit code.
    #[track_caller]
    pub fn code(self, expected: i32) -> Self {
        assert!(self.code == expected, "expected exit code {expected}\n{self}");
        self
    }

    /// Demands exit code 0.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.code(0)
    }

    /// Demands this standard output, all of it.
    #[track_caller]
    pub fn says(self, expected: &str) -> Self {
        assert!(self.stdout == expected, "expected stdout {expected:?}\n{self}");
        self
    }

    /// Demands this text somewhere on standard error.
    #[track_caller]
    pub fn complains(self, expected: &str) -> Self {
        assert!(self.stderr.contains(expected), "expected {expected:?} on stderr\n{self}");
        self
    }

    /// Standard output without surrounding white space.
    pub fn trimmed(&self) -> &str {
        self.stdout.trim()
    }
}

impl fmt::Display for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "command: {}", self.line)?;
        writeln!(f, "exit code: {} after {:.2} s", self.code, self.took.as_secs_f64())?;
        write!(f, "stdout:\n{}\nstderr:\n{}", indented(&self.stdout), indented(&self.stderr))
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}
