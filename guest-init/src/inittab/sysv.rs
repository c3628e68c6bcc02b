//! A line of sysvinit's inittab, inittab(5).

use super::{Action, Entry, Levels, fields};

/// Longest identifier (inittab(5): 1–4 characters; sysvinit takes 8 with
/// today's utmp).
const MAX_ID: usize = 8;

/// Longest process field; sysvinit: 127 characters, we are more generous.
const MAX_PROCESS: usize = 1024;

/// Reads one line.
pub(super) fn entry(line: &str, number: u32, before: &[Entry]) -> Result<Entry, &'static str> {
    let [id, levels, action, process] = fields(line).ok_or("it has fewer than four fields")?;
    if id.is_empty() || id.len() > MAX_ID {
        return Err("its identifier is empty or too long");
    }
    if before.iter().any(|other| other.id == id) {
        return Err("its identifier is not unique");
    }
    let action = self::action(action).ok_or("its action is unknown")?;
    if process.len() > MAX_PROCESS {
        return Err("its process field is too long");
    }
    let levels = match action {
        Action::Ondemand => levels.to_ascii_lowercase(),
        _ => levels.to_owned(),
    };
    let levels = Levels::parse(&levels).ok_or("its runlevels are not of 0-9, S and a-c")?;
    let (unrecorded, process) = match process.strip_prefix('+') {
        Some(rest) => (true, rest),
        None => (false, process),
    };
    if process.trim().is_empty() && !matches!(action, Action::Initdefault | Action::Off) {
        return Err("it has no process");
    }
    Ok(Entry {
        id: id.to_owned(),
        levels,
        action,
        process: process.trim().to_owned(),
        unrecorded,
        terminal: terminal_of(process),
        line: number,
    })
}

fn action(word: &str) -> Option<Action> {
    Some(match word.to_ascii_lowercase().as_str() {
        "initdefault" => Action::Initdefault,
        "sysinit" => Action::Sysinit,
        "boot" => Action::Boot,
        "bootwait" => Action::Bootwait,
        "wait" => Action::Wait,
        "once" => Action::Once,
        "respawn" => Action::Respawn,
        "ondemand" => Action::Ondemand,
        "ctrlaltdel" => Action::CtrlAltDel,
        "powerwait" => Action::PowerWait,
        "powerfail" => Action::PowerFail,
        "powerokwait" => Action::PowerOkWait,
        "powerfailnow" => Action::PowerFailNow,
        "kbrequest" => Action::KbRequest,
        "off" => Action::Off,
        _ => return None,
    })
}

/// The console that a getty is given: an argument that is the name of a
/// virtual console or a serial line.
fn terminal_of(process: &str) -> Option<String> {
    let mut words = process.split_whitespace();
    let program = words.next()?;
    let name = program.rsplit('/').next()?;
    if !name.contains("getty") {
        return None;
    }
    let device = words.map(|word| word.strip_prefix("/dev/").unwrap_or(word)).find(is_terminal)?;
    Some(device.to_owned())
}

/// Is it a terminal's name, like tty1, ttyS0, ttyAMA0 or hvc0?
fn is_terminal(word: &&str) -> bool {
    let number = word.strip_prefix("tty").or_else(|| word.strip_prefix("hvc"));
    number.is_some_and(|rest| {
        rest.ends_with(|c: char| c.is_ascii_digit())
            && rest.chars().all(|c| c.is_ascii_alphanumeric())
    }) || *word == "console"
}
