//! What the user sees: guests' states as lines, tables and JSON. Pure text.
//!
//! The first lines of `status` are util-vserver's, to the letter: scripts
//! read them. Text that comes from inside a guest goes through [`printable`].

pub mod config_import;
pub mod devices;
pub mod doctor;
pub mod effective;
mod events;
pub mod info;
pub mod limits;
mod list;
pub mod metrics;
pub mod ps;
pub mod quota;
mod snapshots;
pub mod stat;
mod status;
pub mod unify;
pub mod usage;
pub mod usage_commands;

use std::fmt::Write;
use std::time::Duration;

use shared::name::{ContextId, GuestName};
use tabled::Table;
use tabled::builder::Builder;
use tabled::settings::object::Columns;
use tabled::settings::{Padding, Style};

use crate::config::StorageKind;
pub use events::Happening;
pub use list::{list, list_json};
pub use snapshots::{snapshots, snapshots_json};
pub use status::{status, status_json, statuses_json};

/// As a number of seconds, of whole microseconds: with no more digits than it has.
fn seconds(time: Duration) -> f64 {
    micros(time) as f64 / 1e6
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// How a guest is, as far as it is known. What a stopped guest doesn't have
/// is `None` or empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestStatus {
    /// Its name.
    pub name: GuestName,
    /// Its number; `None` when its configuration has none or can't be read.
    pub context: Option<ContextId>,
    /// Its state.
    pub state: State,
    /// The boot style that was chosen, and why.
    pub style: Option<(String, String)>,
    /// The runlevel it has reached or is on the way to.
    pub runlevel: Option<char>,
    /// Host pid of its PID 1.
    pub init_pid: Option<i32>,
    /// Pid of its keeper.
    pub keeper_pid: Option<i32>,
    /// Pid of its supervisor.
    pub supervisor_pid: Option<i32>,
    /// Since its PID 1 was started.
    pub uptime: Option<Duration>,
    /// How many processes are in it.
    pub processes: Option<u64>,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// Whose ids its users have ("private, 1879048192-1879113727").
    pub users: Option<String>,
    /// As what its files lie on the host.
    pub storage: StorageKind,
    /// Bytes that its files take, and the most that they may, where that is
    /// limited.
    pub disk: Option<(u64, u64)>,
    /// Is what it writes forgotten at its end?
    pub ephemeral: bool,
    /// How often it was started again after crashes.
    pub restarts: u32,
    /// How it ended the last time.
    pub last_end: Option<String>,
    /// How many of its processes were killed for want of memory in this boot;
    /// `None` where the host doesn't count them.
    pub kills: Option<u64>,
    /// What its link to the network lacks.
    pub faults: Vec<String>,
    /// Its description, from the configuration.
    pub description: String,
    /// Its marks, from the configuration.
    pub marks: Vec<String>,
    /// Is it started with the host? `None` when its configuration can't be read.
    pub autostart: Option<bool>,
}

impl GuestStatus {
    /// A guest of which nothing is known but that it is stopped.
    pub fn stopped(name: GuestName, context: Option<ContextId>, description: String) -> Self {
        Self {
            name,
            context,
            state: State::Stopped,
            style: None,
            runlevel: None,
            init_pid: None,
            keeper_pid: None,
            supervisor_pid: None,
            uptime: None,
            processes: None,
            addresses: Vec::new(),
            users: None,
            storage: StorageKind::default(),
            disk: None,
            ephemeral: false,
            restarts: 0,
            last_end: None,
            kills: None,
            faults: Vec::new(),
            description,
            marks: Vec::new(),
            autostart: None,
        }
    }
}

pub use crate::control::Phase as State;

/// Most characters of one foreign text that are shown.
const MAX_FOREIGN: usize = 256;

/// Makes text of unknown origin fit to be shown on a terminal and in a log:
/// one line, no control characters, none that reorder or hide others, not
/// longer than a few lines of a terminal.
pub fn printable(text: &str) -> String {
    let mut shown = harmless(text.chars().take(MAX_FOREIGN));
    if text.chars().nth(MAX_FOREIGN).is_some() {
        shown.push_str("...");
    }
    shown
}

/// A line of any length in which foreign text may stand, without what acts on a
/// terminal; tabs stay.
pub fn harmless_line(text: &str) -> String {
    text.split('\t').map(|part| harmless(part.chars())).collect::<Vec<_>>().join("\t")
}

fn harmless(text: impl Iterator<Item = char>) -> String {
    let mut shown = String::new();
    for c in text {
        let _ = match c {
            _ if !is_deceptive(c) => write!(shown, "{c}"),
            '\0'..='\u{ff}' => write!(shown, "\\x{:02x}", u32::from(c)),
            _ => write!(shown, "\\u{{{:x}}}", u32::from(c)),
        };
    }
    shown
}

/// Does this character act on others instead of showing something? Control
/// characters, separators of lines, and Unicode's format characters for
/// direction, joining and tags (UAX #9, UTR #36).
fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// util-vserver's form of an uptime: hours and minutes, days in front.
fn uptime(uptime: Duration) -> String {
    let minutes = uptime.as_secs() / 60;
    let (days, hours, minutes) = (minutes / 1440, minutes / 60 % 24, minutes % 60);
    match days {
        0 => format!("{hours:02}:{minutes:02}"),
        1 => format!("1 day, {hours:02}:{minutes:02}"),
        _ => format!("{days} days, {hours:02}:{minutes:02}"),
    }
}

/// Columns under headings, two blanks apart, without frames and without
/// blanks at the ends of lines.
fn table<const N: usize>(
    headings: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut builder = Builder::default();
    builder.push_record(headings);
    for row in rows {
        builder.push_record(row);
    }
    let mut table: Table = builder.build();
    table.with(Style::empty()).modify(Columns::new(..), Padding::new(0, 2, 0, 0));
    let text = table.to_string();
    text.lines().fold(String::new(), |all, line| all + line.trim_end() + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn uptimes_are_util_vservers() {
        for (seconds, text) in [
            (0, "00:00"),
            (300, "00:05"),
            (86_399, "23:59"),
            (86_400, "1 day, 00:00"),
            (3 * 86_400 + 4 * 3600 + 16 * 60, "3 days, 04:16"),
        ] {
            assert_eq!(uptime(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn tables_have_straight_columns() {
        let rows = [["a".to_owned(), "1".to_owned()], ["longer".to_owned(), String::new()]];
        assert_eq!(table(["NAME", "N"], rows), "NAME    N\na       1\nlonger\n");
    }

    #[test]
    fn escapes_are_shown_not_obeyed() {
        assert_eq!(printable("ok\x1b[2J\n"), "ok\\x1b[2J\\x0a");
        assert_eq!(harmless_line("ok\t\x1b[2J"), "ok\t\\x1b[2J");
        assert_eq!(harmless_line(&"x".repeat(1000)).len(), 1000);
        assert_eq!(printable("a\u{202e}b"), "a\\u{202e}b");
        assert_eq!(printable("né"), "né");
        assert_eq!(printable(&"x".repeat(1000)).len(), MAX_FOREIGN + 3);
    }

    proptest! {
        #[test]
        fn printable_text_is_one_harmless_line(text in any::<String>()) {
            let shown = printable(&text);
            prop_assert!(!shown.chars().any(is_deceptive));
            prop_assert_eq!(printable(&shown).lines().count(), shown.lines().count());
        }
    }
}
