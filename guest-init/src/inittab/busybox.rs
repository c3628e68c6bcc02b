//! A line of busybox's inittab: `tty::action:process`.
//!
//! Source: the comments of busybox's `examples/inittab`. Its order of work
//! is by action, not by line: all `sysinit`, all `wait`, all `once`, then
//! `respawn` and `askfirst`.

use super::{Action, Entry, Levels, fields};

/// What busybox does without an inittab (its documentation, `init`): start
/// scripts, shells on the consoles, and the usual tidying at the end.
const BUILT_IN: &str = "\
::sysinit:/etc/init.d/rcS
::askfirst:-/bin/sh
tty2::askfirst:-/bin/sh
tty3::askfirst:-/bin/sh
tty4::askfirst:-/bin/sh
::ctrlaltdel:/sbin/reboot
::shutdown:/sbin/swapoff -a
::shutdown:/bin/umount -a -r
::restart:/sbin/init
";

/// The inittab that busybox has built in.
pub fn built_in() -> super::Inittab {
    super::parse(BUILT_IN, super::Dialect::Busybox)
}

/// Reads one line.
pub(super) fn entry(line: &str, number: u32) -> Result<Entry, &'static str> {
    let [tty, _, word, process] = fields(line).ok_or("it has fewer than four fields")?;
    let tty = tty.strip_prefix("/dev/").unwrap_or(tty);
    if tty.len() > 32 || tty.split('/').any(|part| part == "..") {
        return Err("its terminal is no name below /dev");
    }
    let (action, levels) = match word {
        "sysinit" => (Action::Sysinit, Levels::UP),
        "wait" => (Action::Wait, Levels::UP),
        "once" => (Action::Once, Levels::UP),
        "respawn" => (Action::Respawn, Levels::UP),
        "askfirst" => (Action::Askfirst, Levels::UP),
        "ctrlaltdel" => (Action::CtrlAltDel, Levels::UP),
        "shutdown" => (Action::Wait, Levels::DOWN),
        "restart" => (Action::Restart, Levels::UP),
        _ => return Err("its action is unknown"),
    };
    if process.trim().is_empty() {
        return Err("it has no process");
    }
    Ok(Entry {
        id: tty.to_owned(),
        levels,
        action,
        process: process.trim().to_owned(),
        unrecorded: true,
        terminal: (!tty.is_empty()).then(|| tty.to_owned()),
        line: number,
    })
}

/// Brings entries into busybox's order of work.
pub(super) fn order(entries: &mut [Entry]) {
    entries.sort_by_key(|entry| match entry.action {
        Action::Sysinit => 0,
        Action::Wait => 1,
        Action::Once => 2,
        _ => 3,
    });
}
