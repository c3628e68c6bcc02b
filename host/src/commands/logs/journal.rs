//! Logs that are in the host's journal, read by journalctl(1).

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use shared::name::GuestName;

use crate::cli::LogsArgs;
use crate::commands::Exit;
use crate::error::{Error, Result};
use crate::journal::{Boot, Boots, of_console, of_supervisor};

use super::print;

/// A supervisor's first words come before the boot is noted that they are of.
const BEFORE: u64 = 10_000;

/// The words that find a guest's console, or one boot's part of it. Only root
/// writes under a guest's names, but another guest may have had them: before this one's
/// first boot, or since this one has the name that it has now.
///
/// A boot's lines come from its keeper. Those of a boot that is forgotten, or
/// that comes while the log is followed, come from another one, so its time has
/// to do; where it can be told without, a clock that is set back hides nothing.
pub(super) fn console(
    name: &GuestName,
    boots: &Boots,
    boot: Option<&Boot>,
    follow: bool,
) -> Vec<String> {
    let mut words = options("cat");
    let Some(boot) = boot else {
        if let Some(all) = boots.all()
            && !follow
        {
            words.extend(of_boots(name, all));
            return words;
        }
        words.extend(boots.first_ms().map(since));
        words.extend(written_as([of_console(name)]));
        for (other, boot) in boots.under_other_names(name) {
            words.push("+".to_owned());
            words.extend(written_as([of_console(other)]));
            words.extend(by_keepers(&boot.host_boot, boot.keepers()));
        }
        return words;
    };
    let then = boot.name.as_ref().unwrap_or(name);
    if follow {
        words.push(since(boot.at_ms));
        let names: BTreeSet<_> = [then, name].into_iter().map(of_console).collect();
        words.extend(written_as(names));
        words.push(format!("_BOOT_ID={}", boot.host_boot));
    } else {
        words.extend(written_as([of_console(then)]));
        words.extend(by_keepers(&boot.host_boot, boot.keepers()));
    }
    words
}

/// The words that find what a guest's supervisors have said.
pub(super) fn supervisor(name: &GuestName, boots: &Boots) -> Vec<String> {
    let others = boots.under_other_names(name).map(|(other, _)| other);
    let names: BTreeSet<_> = others.chain([name]).map(of_supervisor).collect();
    let mut words = options("short-iso");
    words.extend(boots.first_ms().map(|first| since(first.saturating_sub(BEFORE))));
    words.extend(written_as(names));
    words
}

fn options(output: &str) -> Vec<String> {
    let options = ["--quiet", "--no-pager", "--all"].map(str::to_owned);
    options.into_iter().chain([format!("--output={output}")]).collect()
}

/// Any of several values of one field (journalctl(1)).
fn written_as(identifiers: impl IntoIterator<Item = String>) -> impl Iterator<Item = String> {
    let identifiers = identifiers.into_iter().map(|name| format!("SYSLOG_IDENTIFIER={name}"));
    ["_UID=0".to_owned()].into_iter().chain(identifiers)
}

/// The consoles of these boots, one alternative (journalctl(1)) for all that had a
/// name in a boot of the host.
fn of_boots(name: &GuestName, boots: &[Boot]) -> Vec<String> {
    let mut keepers: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for boot in boots {
        let then = boot.name.as_ref().unwrap_or(name);
        keepers.entry((then, &boot.host_boot)).or_default().extend(boot.keepers());
    }
    let alternatives = keepers.into_iter().map(|((name, host_boot), keepers)| {
        written_as([of_console(name)]).chain(by_keepers(host_boot, keepers)).collect()
    });
    alternatives
        .reduce(|all: Vec<_>, next| [all, vec!["+".to_owned()], next].concat())
        .unwrap_or_default()
}

fn by_keepers(
    host_boot: &str,
    keepers: impl IntoIterator<Item = u32>,
) -> impl Iterator<Item = String> {
    let keepers = keepers.into_iter();
    let host = format!("_BOOT_ID={host_boot}");
    [host].into_iter().chain(keepers.map(|pid| format!("_PID={pid}")))
}

fn since(at_ms: u64) -> String {
    format!("--since=@{}.{:03}", at_ms / 1000, at_ms % 1000)
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
        let lines: Vec<u8> = text.drain(..whole).collect();
        if print(&as_printed(&lines))?.is_break() {
            return Ok(Relayed::UntilNobodyRead);
        }
        if length == 0 {
            return Ok(Relayed::ToItsEnd);
        }
    }
}

/// Whole lines as the guest has printed them: journald drops empty ones, so the keeper
/// has put a blank into each.
fn as_printed(lines: &[u8]) -> Vec<u8> {
    let mut printed = Vec::with_capacity(lines.len());
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        printed.extend_from_slice(if line == b" \n" { b"\n" } else { line });
    }
    printed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_lines_are_empty_again() {
        assert_eq!(as_printed(b" \na\n \n \n b\n  \n"), b"\na\n\n\n b\n  \n");
        assert_eq!(as_printed(b"\n\n"), b"\n\n", "those of others");
        assert_eq!(as_printed(b" "), b" ", "a line has an end");
        assert_eq!(as_printed(b""), b"");
    }

    const OPTIONS: &str = "--quiet --no-pager --all";

    /// A guest's boots at these times, under these names.
    fn boots(noted: &[(u64, &str)]) -> Boots {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("web.boots");
        for (number, (at_ms, name)) in noted.iter().enumerate() {
            let boot = Boot {
                keeper: 17 + u32::try_from(number).unwrap(),
                host_boot: "ab12".into(),
                at_ms: *at_ms,
                ..Boot::now(&name.parse().unwrap(), true, true, None)
            };
            Boots::note(&path, boot).unwrap();
        }
        Boots::read(&path)
    }

    fn web() -> GuestName {
        "web".parse().unwrap()
    }

    #[test]
    fn a_boots_console_is_what_its_keeper_wrote() {
        let boots = boots(&[(1_700_000_000_045, "web")]);
        let boot = boots.back(0).unwrap();
        let of = |boot, follow| console(&web(), &boots, boot, follow).join(" ");
        let since = "--since=@1700000000.045 _UID=0 SYSLOG_IDENTIFIER=vserver-web/console";
        assert_eq!(of(None, true), format!("{OPTIONS} --output=cat {since}"));
        let only = format!("{OPTIONS} --output=cat _UID=0 SYSLOG_IDENTIFIER=vserver-web/console");
        assert_eq!(of(Some(boot), false), format!("{only} _BOOT_ID=ab12 _PID=17"));
        let more = Boot { later_keepers: vec![21, 30], ..boot.clone() };
        let pids = "_PID=17 _PID=21 _PID=30";
        assert_eq!(of(Some(&more), false), format!("{only} _BOOT_ID=ab12 {pids}"));
        assert_eq!(of(Some(boot), true), format!("{OPTIONS} --output=cat {since} _BOOT_ID=ab12"));
    }

    #[test]
    fn what_was_written_under_another_name_is_found() {
        let boots = boots(&[(60_000, "old"), (70_000, "web"), (80_000, "web")]);
        let all = console(&web(), &boots, None, false).join(" ");
        let then = "_UID=0 SYSLOG_IDENTIFIER=vserver-old/console _BOOT_ID=ab12 _PID=17";
        let since = "_UID=0 SYSLOG_IDENTIFIER=vserver-web/console _BOOT_ID=ab12 _PID=18 _PID=19";
        assert_eq!(all, format!("{OPTIONS} --output=cat {then} + {since}"));
        let followed = console(&web(), &boots, None, true).join(" ");
        let now = "_UID=0 SYSLOG_IDENTIFIER=vserver-web/console";
        assert_eq!(followed, format!("{OPTIONS} --output=cat --since=@60.000 {now} + {then}"));
        let before = console(&web(), &boots, boots.back(2), false).join(" ");
        assert_eq!(before, format!("{OPTIONS} --output=cat {then}"));
        // The next boot has the new name.
        let followed = console(&web(), &boots, boots.back(2), true).join(" ");
        assert!(followed.contains("vserver-old/console SYSLOG_IDENTIFIER=vserver-web/console"));
        let events = supervisor(&web(), &boots).join(" ");
        let both = "_UID=0 SYSLOG_IDENTIFIER=vserver-old SYSLOG_IDENTIFIER=vserver-web";
        assert_eq!(events, format!("{OPTIONS} --output=short-iso --since=@50.000 {both}"));
    }

    #[test]
    fn forgotten_boots_are_found_by_their_time() {
        let noted: Vec<_> = (1..80).map(|number| (number * 1000, "web")).collect();
        let words = console(&web(), &boots(&noted), None, false).join(" ");
        let all = "--since=@1.000 _UID=0 SYSLOG_IDENTIFIER=vserver-web/console";
        assert_eq!(words, format!("{OPTIONS} --output=cat {all}"));
    }
}
