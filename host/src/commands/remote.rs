//! vserver on another host, by ssh(1).

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::tree::Check;

/// What ssh exits with when it is ssh that failed.
const SSH_FAILED: i32 = 255;

/// What a shell exits with when there is no such program, or none that it may
/// execute.
const NO_PROGRAM: [i32; 2] = [126, 127];

/// Nobody is asked anything, and a host that doesn't answer is no host: within
/// a moment when it is called, after a minute later on. By default the kernel
/// goes on trying for two minutes, and a server that accepts and says nothing
/// holds ssh(1) for ever.
const OPTIONS: [&str; 5] = [
    "BatchMode=yes",
    "ConnectTimeout=20",
    "ConnectionAttempts=1",
    "ServerAliveInterval=15",
    "ServerAliveCountMax=4",
];

/// How long the other side may take to refuse what was cut short.
const FAREWELL: Duration = Duration::from_secs(30);

/// Between two looks whether nobody wants to hear it any more.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// No line that is waited for is longer.
const LONGEST_LINE: usize = 4096;

/// How a command there ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// With this exit code.
    Code(i32),
    /// The link has failed, or was cut: what became of the command isn't known.
    Unknown,
}

impl End {
    fn of(status: ExitStatus) -> Self {
        match status.code() {
            Some(SSH_FAILED) | None => Self::Unknown,
            Some(code) => Self::Code(code),
        }
    }
}

/// The other host.
#[derive(Clone, Debug)]
pub(super) struct Remote<'a> {
    /// As ssh knows it.
    pub(super) host: &'a str,
    /// Options of ssh_config(5).
    pub(super) options: &'a [String],
    /// What vserver is called there.
    pub(super) program: &'a str,
}

impl Remote<'_> {
    /// Runs vserver there without input. What it says to standard error is
    /// shown.
    ///
    /// # Errors
    /// When ssh can't be run.
    pub(super) fn run(&self, words: &[&str]) -> Result<(End, String)> {
        let mut ssh = self.ssh(words);
        let output = ssh.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
        let output = output.map_err(no_ssh)?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok((End::of(output.status), said))
    }

    /// Runs vserver there with what `write` gives it to read, and may hear what
    /// it answers: what that has returned, unless nobody there read on.
    ///
    /// # Errors
    /// When ssh can't be run; those of `write` that have another reason than
    /// the other side.
    pub(super) fn feed<T>(
        &self,
        words: &[&str],
        write: impl FnOnce(&mut dyn Write, &mut Answer<'_>) -> Result<T>,
    ) -> Result<(End, Option<T>)> {
        let mut ssh = self.ssh(words);
        ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = Killed(ssh.spawn().map_err(no_ssh)?);
        let is_closed = &Cell::new(false);
        let pipes = child.0.stdin.take().zip(child.0.stdout.take());
        let (input, output) = pipes.ok_or_else(|| Error::new("ssh has no input"))?;
        // Who can't say a last word fails: it is held until the end.
        let mut answer = Answer { output, line: Vec::new(), is_closed };
        let written = write(&mut Noting { pipe: input, is_closed }, &mut answer);
        // The end of an archive is part of it: one that was cut short is
        // refused there. What refuses says why, if the link still stands.
        let deadline = Instant::now() + FAREWELL;
        while written.is_err() && Instant::now() < deadline {
            if !matches!(child.0.try_wait(), Ok(None)) {
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
        if written.is_err() {
            let _ = child.0.kill();
        }
        let status = child.0.wait().map_err(|cause| Error::os("cannot wait for ssh", cause))?;
        match written {
            Ok(written) => Ok((End::of(status), Some(written))),
            Err(_) if is_closed.get() => Ok((End::of(status), None)),
            Err(error) => Err(error),
        }
    }

    /// Is there a vserver? Its version.
    ///
    /// # Errors
    /// When the host can't be reached, or has none.
    pub(super) fn version(&self) -> Result<String> {
        let (host, program) = (self.host, self.program);
        match self.run(&["--version"])? {
            (End::Code(0), said) => {
                let mut words = said.split_whitespace();
                match (words.next(), words.next()) {
                    (Some("vserver"), Some(version)) => Ok(version.to_owned()),
                    _ => Err(Error::new(format!("'{program}' on '{host}' is another program"))
                        .hint("another vserver there is named by '--vserver PROGRAM'")),
                }
            }
            (End::Code(code), _) if NO_PROGRAM.contains(&code) => {
                Err(Error::new(format!("there is no '{program}' on '{host}'"))
                    .hint("install it there, or name it by '--vserver /path/to/vserver'"))
            }
            (End::Code(code), _) => {
                Err(Error::new(format!("'{program}' on '{host}' fails with exit code {code}")))
            }
            (End::Unknown, _) => Err(Error::new(format!("cannot reach '{host}' by ssh"))
                .hint(format!("see that 'ssh -o BatchMode=yes {host} true' works"))),
        }
    }

    fn ssh(&self, words: &[&str]) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.arg("-T");
        // The first of several counts (ssh_config(5)): the user's.
        for option in self.options.iter().map(String::as_str).chain(OPTIONS) {
            ssh.args(["-o", option]);
        }
        ssh.args(["--", self.host]).arg(line(self.program, words));
        ssh
    }
}

/// Notes whether it is the other end that stops a writer.
struct Noting<'a> {
    pipe: ChildStdin,
    is_closed: &'a Cell<bool>,
}

impl Write for Noting<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.pipe.write(bytes);
        let is_closed = |cause: &io::Error| cause.kind() == io::ErrorKind::BrokenPipe;
        if written.as_ref().is_err_and(is_closed) {
            self.is_closed.set(true);
        }
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        self.pipe.flush()
    }
}

/// What the other side says.
pub(super) struct Answer<'a> {
    output: ChildStdout,
    /// The line so far.
    line: Vec<u8>,
    is_closed: &'a Cell<bool>,
}

impl Answer<'_> {
    /// Waits until this line has come. A shell there may say something first.
    ///
    /// # Errors
    /// When the other side ends instead, or `check` says no.
    pub(super) fn wait_for(&mut self, line: &str, check: Check<'_>) -> Result<()> {
        let failed = |cause| Error::os("cannot hear the other side", cause);
        loop {
            check()?;
            match poll(&mut [PollFd::new(&self.output, PollFlags::IN)], Some(&PAUSE)) {
                Ok(0) | Err(Errno::INTR) => continue,
                other => other.map_err(|cause| failed(cause.into()))?,
            };
            let mut buffer = [0; LONGEST_LINE];
            let length = self.output.read(&mut buffer).map_err(failed)?;
            if length == 0 {
                self.is_closed.set(true);
                return Err(Error::new("the other side has ended"));
            }
            self.line.extend(buffer.iter().take(length));
            while let Some(end) = self.line.iter().position(|byte| *byte == b'\n') {
                let said: Vec<u8> = self.line.drain(..=end).collect();
                if said.strip_suffix(b"\n").is_some_and(|said| said.ends_with(line.as_bytes())) {
                    return Ok(());
                }
            }
            if self.line.len() > LONGEST_LINE {
                self.line.clear();
            }
        }
    }
}

/// Ended with us, whatever becomes of us.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        if self.0.try_wait().ok().flatten().is_none() {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

fn no_ssh(cause: io::Error) -> Error {
    let is_missing = cause.kind() == io::ErrorKind::NotFound;
    let error = Error::os("cannot run 'ssh'", cause);
    if is_missing { error.hint("install it: apt-get install openssh-client") } else { error }
}

/// The line for the other host's shell, where each word stays one.
fn line(program: &str, words: &[&str]) -> String {
    let words: Vec<_> = [program].iter().chain(words).map(|word| quoted(word)).collect();
    words.join(" ")
}

/// A word of any text for a shell (sh(1), "Quoting").
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn plain_words_stay_plain() {
        assert_eq!(
            line("vserver", &["import", "-", "web", "--address=2001:db8::1/64"]),
            "vserver import - web --address=2001:db8::1/64"
        );
        assert_eq!(line("/a b/vserver", &["", "it's"]), r"'/a b/vserver' '' 'it'\''s'");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn a_shell_reads_what_was_meant(words in proptest::collection::vec("[^\\x00]{0,12}", 1..5)) {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let script = line("printf", &[&["%s\\0"], words.as_slice()].concat());
            let output = Command::new("sh").arg("-c").arg(script).output().unwrap();
            let expected: String = words.iter().map(|word| format!("{word}\0")).collect();
            prop_assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
        }
    }
}
