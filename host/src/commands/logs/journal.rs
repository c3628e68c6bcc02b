//! Logs that are in the host's journal, read by journalctl(1).

use std::io::Read;
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::cli::LogsArgs;
use crate::commands::Exit;
use crate::error::{Error, Result};
use crate::journal::Boot;

use super::print;

/// The words that find a guest's console, or one boot's part of it. Only root
/// writes under a guest's names.
///
/// A boot's lines come from its keeper. While the log is followed, those of
/// the next boot come from another one, so its time has to do.
pub(super) fn console(identifier: String, boot: Option<&Boot>, follow: bool) -> Vec<String> {
    let mut words = matching(identifier);
    words.push("--output=cat".to_owned());
    if let Some(boot) = boot {
        words.push(format!("_BOOT_ID={}", boot.host_boot));
        if follow {
            words.push(format!("--since=@{}.{:03}", boot.at_ms / 1000, boot.at_ms % 1000));
        } else {
            // Any of several values of one field (journalctl(1)).
            let keepers = [boot.keeper].into_iter().chain(boot.later_keepers.iter().copied());
            words.extend(keepers.map(|pid| format!("_PID={pid}")));
        }
    }
    words
}

/// The words that find what a guest's supervisors have said.
pub(super) fn supervisor(identifier: String) -> Vec<String> {
    let mut words = matching(identifier);
    words.push("--output=short-iso".to_owned());
    words
}

fn matching(identifier: String) -> Vec<String> {
    ["--quiet", "--no-pager", "--all", "_UID=0"]
        .map(str::to_owned)
        .into_iter()
        .chain([format!("SYSLOG_IDENTIFIER={identifier}")])
        .collect()
}

/// Prints what journalctl finds.
pub(super) fn show(words: &[String], args: &LogsArgs) -> Result<Exit> {
    let mut command = Command::new("journalctl");
    command.args(words);
    match args.lines {
        Some(lines) => command.arg(format!("--lines={lines}")),
        None => command.arg("--lines=all"),
    };
    if args.follow {
        command.arg("--follow");
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let fail = |error| {
        Error::os("cannot read the journal with 'journalctl'", error)
            .hint("the guest's log is there: see 'console.log' in its configuration")
    };
    let mut child = command.spawn().map_err(fail)?;
    let shown = relay(&mut child);
    // It may still follow.
    if !matches!(shown, Ok(Relayed::ToItsEnd)) {
        let _ = child.kill();
    }
    let status = child.wait().map_err(fail)?;
    match shown? {
        Relayed::ToItsEnd if !status.success() => {
            Err(Error::new(format!("'journalctl' failed: {status}")))
        }
        _ => Ok(Exit::DONE),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Relayed {
    ToItsEnd,
    UntilNobodyRead,
}

/// Prints whole lines as they come.
fn relay(child: &mut Child) -> Result<Relayed> {
    let Some(stdout) = &mut child.stdout else { return Ok(Relayed::ToItsEnd) };
    let fail = |error| Error::os("cannot read from 'journalctl'", error);
    let own = std::io::stdout();
    let (mut text, mut buffer) = (Vec::new(), [0; 16 * 1024]);
    loop {
        let mut fds = [
            PollFd::new(stdout.as_fd(), PollFlags::POLLIN),
            PollFd::new(own.as_fd(), PollFlags::empty()),
        ];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(error) => return Err(fail(error.into())),
        }
        let [more, reader] = fds.map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
        if reader.intersects(PollFlags::POLLERR | PollFlags::POLLHUP) {
            return Ok(Relayed::UntilNobodyRead);
        }
        if more.is_empty() {
            continue;
        }
        let length = stdout.read(&mut buffer).map_err(fail)?;
        text.extend_from_slice(buffer.get(..length).unwrap_or_default());
        let whole = match text.iter().rposition(|byte| *byte == b'\n') {
            _ if length == 0 => text.len(),
            Some(end) => end + 1,
            None => continue,
        };
        let line: Vec<u8> = text.drain(..whole).collect();
        if print(&line)?.is_break() {
            return Ok(Relayed::UntilNobodyRead);
        }
        if length == 0 {
            return Ok(Relayed::ToItsEnd);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boots_console_is_what_its_keeper_wrote() {
        let boot = Boot {
            keeper: 17,
            host_boot: "ab12".into(),
            at_ms: 1_700_000_000_045,
            ..Boot::now(true, true, None)
        };
        let of = |boot, follow| console("vserver-web/console".to_owned(), boot, follow).join(" ");
        let all =
            "--quiet --no-pager --all _UID=0 SYSLOG_IDENTIFIER=vserver-web/console --output=cat";
        assert_eq!(of(None, true), all);
        assert_eq!(of(Some(&boot), false), format!("{all} _BOOT_ID=ab12 _PID=17"));
        let more = Boot { later_keepers: vec![21, 30], ..boot.clone() };
        let pids = "_PID=17 _PID=21 _PID=30";
        assert_eq!(of(Some(&more), false), format!("{all} _BOOT_ID=ab12 {pids}"));
        let since = "_BOOT_ID=ab12 --since=@1700000000.045";
        assert_eq!(of(Some(&boot), true), format!("{all} {since}"));
    }
}
