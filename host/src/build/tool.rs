//! Runs a tool of the host for a build: what it says becomes the progress,
//! its last lines the error, and nothing of it stays when it is interrupted.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::error::{Error, Result};

use super::dates::EPOCH;
use crate::interrupt::Interrupt;
use crate::progress::Progress;

/// Lines of output that an error quotes.
const QUOTED: usize = 12;

/// setpriv's arguments, then unshare's: if we are killed without a chance to
/// clean up, the tool dies too, and with it all that it has started.
const CONFINED: &str = "--pdeathsig KILL -- unshare --mount --propagation private \
    --pid --fork --kill-child --mount-proc --";

/// From SIGTERM to SIGKILL when a build is interrupted.
const GRACE: Duration = Duration::from_secs(3);

/// How often an interrupt is looked for while a tool says nothing.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Runs a [`confined`] command in a process group of its own, with no input.
///
/// # Errors
/// When it can't be run, doesn't succeed (its last lines are quoted), or the
/// build is interrupted.
pub(super) fn run(
    program: &str,
    arguments: &[impl AsRef<OsStr>],
    interrupt: &Interrupt,
    progress: &mut Progress,
) -> Result<()> {
    follow(confined(program, arguments), program, interrupt, progress)
}

/// A command in namespaces of its own, so that mounts and processes that it
/// leaves end with it.
pub(super) fn confined(program: &str, arguments: &[impl AsRef<OsStr>]) -> Command {
    let mut command = Command::new("setpriv");
    command.args(CONFINED.split(' ')).arg(program).args(arguments);
    command.env_clear().envs(environment());
    command
}

/// Runs a command in a process group of its own, with no input.
///
/// # Errors
/// When it can't be run, doesn't succeed (its last lines are quoted, and
/// `program` is its name there), or the build is interrupted.
pub fn follow(
    mut command: Command,
    program: &str,
    interrupt: &Interrupt,
    progress: &mut Progress,
) -> Result<()> {
    let (reader, writer) =
        std::io::pipe().map_err(|cause| Error::os("cannot make a pipe", cause))?;
    let also = writer.try_clone().map_err(|cause| Error::os("cannot make a pipe", cause))?;
    command.stdin(Stdio::null()).stdout(writer).stderr(also).process_group(0);
    let mut child = command
        .spawn()
        .map_err(|cause| Error::os(format_args!("cannot run '{program}'"), cause))?;
    // The pipe's writing ends in `command` would keep the reader from its end.
    drop(command);
    progress.lines("");
    let result = listen(reader, &mut child, interrupt, progress);
    if result.is_err() {
        end(&mut child);
    }
    let (status, last) = result?;
    if status.success() {
        return Ok(());
    }
    Err(Error::new(format!("'{program}' failed ({}):\n{}", describe(status), last.join("\n"))))
}

/// PATH, and of the caller's the proxy settings that apt needs, and [`EPOCH`], which
/// mmdebstrap(1) knows.
fn environment() -> impl Iterator<Item = (String, String)> {
    let is_kept = |name: &str| name == EPOCH || name.to_ascii_lowercase().ends_with("_proxy");
    let proxies = std::env::vars().filter(move |(name, _)| is_kept(name));
    let fixed = [
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("LC_ALL", "C.UTF-8"),
        ("DEBIAN_FRONTEND", "noninteractive"),
        ("HOME", "/root"),
    ];
    fixed.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().chain(proxies)
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (_, Some(signal)) => format!("signal {signal}"),
        _ => "unknown status".to_owned(),
    }
}

/// Shows what the tool says until it has ended.
fn listen(
    mut reader: std::io::PipeReader,
    child: &mut Child,
    interrupt: &Interrupt,
    progress: &mut Progress,
) -> Result<(ExitStatus, Vec<String>)> {
    let failed = |cause: std::io::Error| Error::os("cannot read a tool's output", cause);
    let mut lines = Lines::default();
    let mut buffer = [0u8; 4096];
    loop {
        interrupt.check()?;
        let mut fds = [PollFd::new(&reader, PollFlags::IN)];
        match poll(&mut fds, Some(&PAUSE)) {
            Ok(0) | Err(Errno::INTR) => continue,
            Ok(_) => {}
            Err(cause) => return Err(failed(cause.into())),
        }
        let length = reader.read(&mut buffer).map_err(failed)?;
        if length == 0 {
            let status = child.wait().map_err(failed)?;
            return Ok((status, lines.last()));
        }
        if let Some(line) = lines.add(buffer.get(..length).unwrap_or_default()) {
            progress.say(line);
        }
    }
}

/// SIGTERM, a grace, SIGKILL, to the whole group.
fn end(child: &mut Child) {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let Some(group) = group else { return };
    let _ = kill_process_group(group, Signal::TERM);
    let deadline = Instant::now() + GRACE;
    while Instant::now() < deadline {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = kill_process_group(group, Signal::KILL);
    let _ = child.wait();
}

/// The last lines of an output.
#[derive(Debug, Default)]
struct Lines {
    last: VecDeque<String>,
    partial: Vec<u8>,
}

impl Lines {
    /// Takes in some output; gives the newest whole line in it.
    fn add(&mut self, bytes: &[u8]) -> Option<String> {
        let mut newest = None;
        for &byte in bytes {
            if !matches!(byte, b'\n' | b'\r') {
                self.partial.push(byte);
                continue;
            }
            let line = printable(&std::mem::take(&mut self.partial));
            let said = without_progress(&line);
            if !said.is_empty() {
                self.last.push_back(said.to_owned());
            }
            if !line.is_empty() {
                newest = Some(line);
            }
            if self.last.len() > QUOTED {
                self.last.pop_front();
            }
        }
        newest
    }

    fn last(mut self) -> Vec<String> {
        self.add(b"\n");
        self.last.into()
    }
}

/// A line without rsync's progress, behind which its errors begin.
fn without_progress(line: &str) -> &str {
    let checked = ["to-chk=", "ir-chk="].iter().find_map(|word| line.find(word));
    let end = checked.and_then(|at| line.get(at..)?.find(')').map(|end| at + end + 1));
    end.and_then(|end| line.get(end..)).unwrap_or(line)
}

fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.trim_end().chars().map(|c| if c.is_control() { ' ' } else { c }).take(500).collect()
}

/// The first of these programs that the host has.
pub(super) fn first_of<'a>(programs: &[&'a str]) -> Option<&'a str> {
    let directories =
        ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    let is_there = |program: &&&str| {
        directories.iter().any(|dir| std::path::Path::new(dir).join(program).is_file())
    };
    programs.iter().find(is_there).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, interrupt: &Interrupt) -> Result<()> {
        run("sh", &["-c", script], interrupt, &mut Progress::silent())
    }

    #[test]
    fn the_last_lines_are_kept() {
        let mut lines = Lines::default();
        let text: String = (0..30).map(|i| format!("line {i}\n")).collect();
        assert_eq!(lines.add(text.as_bytes()).as_deref(), Some("line 29"));
        lines.add(b"no end");
        let last = lines.last();
        assert_eq!(last.len(), QUOTED);
        assert_eq!(last.last().map(String::as_str), Some("no end"));
    }

    #[test]
    fn an_error_is_told_without_the_progress_before_it() {
        let mut lines = Lines::default();
        let progress = b"      1,024   3%    9.99MB/s    0:00:01 (xfr#3, ir-chk=1001/1004)\r";
        assert!(lines.add(progress).is_some_and(|line| line.contains("3%")));
        lines.add(b"   0 100%    0.00kB/s    0:00:00 (xfr#0, to-chk=0/0)rsync error: some\n");
        assert_eq!(lines.last(), ["rsync error: some"]);
    }

    #[test]
    #[ignore = "root: makes namespaces"]
    fn a_failure_quotes_the_tools_last_words() {
        let error = sh("echo first; echo cannot >&2; exit 7", &Interrupt::default()).unwrap_err();
        assert_eq!(error.to_string(), "'sh' failed (exit status 7):\nfirst\ncannot");
    }

    #[test]
    #[ignore = "root: makes namespaces"]
    fn an_interrupted_tool_ends_with_all_its_children() {
        let marker = tempfile::NamedTempFile::new().unwrap();
        let interrupt = Interrupt::asked_after(Duration::from_millis(300));
        let script =
            format!("setsid sh -c 'sleep 2; echo x > {}' & sleep 60", marker.path().display());
        let begin = Instant::now();
        assert_eq!(sh(&script, &interrupt).unwrap_err().to_string(), "interrupted");
        assert!(begin.elapsed() < Duration::from_secs(50));
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(std::fs::read(marker.path()).unwrap(), b"");
    }
}
