//! `/etc/inittab` as data: entries, levels and actions, in both dialects.
//!
//! Pure and total: a line that can't be understood is reported with its
//! number and skipped, as the original programs do. What an entry means over
//! time is [`crate::machine`]'s business.

use serde::{Deserialize, Serialize};
use shared::message::Runlevel;

mod busybox;
mod sysv;

pub use busybox::built_in;

/// Which program's inittab it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// sysvinit: `id:runlevels:action:process` (inittab(5)).
    Sysv,
    /// busybox: `tty::action:process` (its `examples/inittab`).
    Busybox,
}

/// A set of runlevels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Levels(u16);

impl Levels {
    /// The levels 0 to 9, which an empty field means.
    pub const NUMBERED: Self = Self(0x3ff);
    /// Halt and reboot.
    pub const DOWN: Self = Self(0x41);
    /// Everything but halt and reboot.
    pub const UP: Self = Self(0x3fff & !0x41);

    /// With this level too.
    pub fn with(self, level: Runlevel) -> Self {
        Self(self.0 | Self::bit(level))
    }

    /// Is it one of them?
    pub fn contains(self, level: Runlevel) -> bool {
        self.0 & Self::bit(level) != 0
    }

    /// The levels whose characters occur in `text`; `None` when one isn't a
    /// runlevel. An empty text means 0 to 9.
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::NUMBERED);
        }
        text.chars().try_fold(Self(0), |set, c| Some(set.with(Runlevel::from_char(c)?)))
    }

    fn bit(level: Runlevel) -> u16 {
        match level.as_char() {
            digit @ '0'..='9' => 1 << (digit as u32 - '0' as u32),
            'S' => 1 << 10,
            'b' => 1 << 12,
            'c' => 1 << 13,
            _ => 1 << 11,
        }
    }
}

/// What is to be done with an entry's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// The default runlevel.
    Initdefault,
    /// At boot, one after another, before everything else.
    Sysinit,
    /// At boot.
    Boot,
    /// At boot, and it is waited for.
    Bootwait,
    /// On entering the level, and it is waited for.
    Wait,
    /// On entering the level.
    Once,
    /// Whenever it isn't running.
    Respawn,
    /// As `Respawn`, after somebody has pressed Enter.
    Askfirst,
    /// As `Respawn`, once its level a, b or c was asked for.
    Ondemand,
    /// Somebody wants a reboot (SIGINT).
    CtrlAltDel,
    /// The power fails, and it is waited for.
    PowerWait,
    /// The power fails.
    PowerFail,
    /// The power is back.
    PowerOkWait,
    /// The power fails within moments.
    PowerFailNow,
    /// A special key combination (SIGWINCH).
    KbRequest,
    /// After a shutdown, in place of the reboot (busybox).
    Restart,
    /// Nothing.
    Off,
}

impl Action {
    /// Does the boot, or a level, wait for it?
    pub fn waits(self) -> bool {
        matches!(self, Self::Sysinit | Self::Bootwait | Self::Wait)
    }

    /// Is it started again when it ends?
    pub fn respawns(self) -> bool {
        matches!(self, Self::Respawn | Self::Askfirst | Self::Ondemand)
    }
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// sysvinit: its identifier. busybox: its terminal, relative to /dev, or
    /// empty for the console.
    pub id: String,
    /// In which levels.
    pub levels: Levels,
    /// What to do.
    pub action: Action,
    /// The command as it stands there, without sysvinit's `+`.
    pub process: String,
    /// Keep it out of utmp (sysvinit's `+`)?
    pub unrecorded: bool,
    /// The terminal it uses, relative to /dev, when it has one of its own.
    pub terminal: Option<String>,
    /// Number of the line.
    pub line: u32,
}

/// A line that was skipped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Its number.
    pub line: u32,
    /// What is wrong with it.
    pub what: String,
}

/// What a text holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inittab {
    /// Its entries, in the order in which they are worked through.
    pub entries: Vec<Entry>,
    /// What was skipped.
    pub problems: Vec<Problem>,
}

/// Most entries that are taken; sysvinit's identifiers allow no more sense.
const MAX_ENTRIES: usize = 512;

/// Reads an inittab.
pub fn parse(text: &str, dialect: Dialect) -> Inittab {
    let mut inittab = Inittab::default();
    for (number, line) in (1u32..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let parsed = if inittab.entries.len() >= MAX_ENTRIES {
            Err("too many lines")
        } else {
            match dialect {
                Dialect::Sysv => sysv::entry(line, number, &inittab.entries),
                Dialect::Busybox => busybox::entry(line, number),
            }
        };
        match parsed {
            Ok(entry) => inittab.entries.push(entry),
            Err(what) => inittab.problems.push(Problem { line: number, what: what.to_owned() }),
        }
    }
    if dialect == Dialect::Busybox {
        busybox::order(&mut inittab.entries);
    }
    inittab
}

/// The dialect that a text has, by its form: busybox leaves all runlevel
/// fields empty and knows no `initdefault`. `None` when no line is an entry.
pub fn dialect_of(text: &str) -> Option<Dialect> {
    let sysv = parse(text, Dialect::Sysv);
    if sysv.entries.iter().any(|entry| entry.action == Action::Initdefault) {
        return Some(Dialect::Sysv);
    }
    let busybox = parse(text, Dialect::Busybox);
    let has_levels = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
        .any(|line| line.split(':').nth(1).is_some_and(|levels| !levels.is_empty()));
    match (busybox.entries.is_empty(), sysv.entries.is_empty()) {
        (false, _) if !has_levels => Some(Dialect::Busybox),
        (_, false) => Some(Dialect::Sysv),
        (false, true) => Some(Dialect::Busybox),
        (true, true) => None,
    }
}

/// The first four fields of a line.
fn fields(line: &str) -> Option<[&str; 4]> {
    let mut parts = line.splitn(4, ':');
    Some([parts.next()?, parts.next()?, parts.next()?, parts.next()?])
}

#[cfg(test)]
mod tests;
