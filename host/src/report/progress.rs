//! A boot's or shutdown's progress, a line an event.

use shared::message::{FromGuest, GuestState, Power};

use super::printable;

/// How good a line's news is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Good,
    Bad,
    Plain,
}

/// Columns of a script's name and argument before its time.
const NAME_WIDTH: usize = 44;

/// The line for what a guest says; `None` for what needs none, such as the
/// start of a script, whose end gets the line. `colour` adds the escapes for
/// it.
pub fn line(event: &FromGuest, argument: &str, colour: bool) -> Option<String> {
    let (mood, text) = match event {
        FromGuest::Hello { style, reason, .. } => {
            (Mood::Plain, format!("boot style {}: {}", style.name(), printable(reason)))
        }
        FromGuest::State(state) => (Mood::Plain, state_text(*state)),
        FromGuest::ScriptEnded { name, outcome, millis, .. } => {
            let what = format!("{} {}", printable(name), printable(argument));
            let seconds = f64::from(*millis) / 1000.0;
            let took = format!("{:<NAME_WIDTH$} {seconds:6.2} s", what.trim_end());
            match outcome.success() {
                true => (Mood::Good, took),
                false => (Mood::Bad, format!("{took}  {outcome}")),
            }
        }
        FromGuest::Note(text) => (Mood::Plain, printable(text)),
        FromGuest::Requested(power) => {
            let what = match power {
                Power::Reboot => "a reboot",
                Power::Halt => "a halt",
                Power::PowerOff => "power off",
            };
            (Mood::Plain, format!("{what} was asked for inside"))
        }
        FromGuest::ScriptStarted { .. } | FromGuest::ExecEnded { .. } => return None,
    };
    Some(format!("{} {text}", mark(mood, colour)))
}

fn state_text(state: GuestState) -> String {
    match state {
        GuestState::Booting(level) => format!("booting to runlevel {level}"),
        GuestState::Running(level) => format!("runlevel {level} reached"),
        GuestState::Stopping(Power::Reboot) => "shutting down to reboot".to_owned(),
        GuestState::Stopping(_) => "shutting down".to_owned(),
        GuestState::Killing(_) => "ending what still runs".to_owned(),
        GuestState::HandedOver => "the guest's own init takes over".to_owned(),
    }
}

/// Six columns that say how it went.
fn mark(mood: Mood, colour: bool) -> &'static str {
    match (mood, colour) {
        (Mood::Good, false) => "[ ok ]",
        (Mood::Good, true) => "[\x1b[32m ok \x1b[0m]",
        (Mood::Bad, false) => "[fail]",
        (Mood::Bad, true) => "[\x1b[31mfail\x1b[0m]",
        (Mood::Plain, _) => "      ",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::message::{PROTOCOL, Runlevel, Style};
    use shared::outcome::Outcome;

    fn ended(name: &str, outcome: Outcome) -> FromGuest {
        FromGuest::ScriptEnded { id: 1, name: name.into(), outcome, millis: 1234 }
    }

    #[test]
    fn each_script_gets_one_line() {
        let good = ended("/etc/init.d/cron", Outcome::Exited(0));
        let bad = ended("x\x1b[2J", Outcome::Exited(3));
        assert_eq!(
            line(&good, "start", false).unwrap(),
            "[ ok ] /etc/init.d/cron start                         1.23 s"
        );
        assert_eq!(
            line(&bad, "", false).unwrap(),
            "[fail] x\\x1b[2J                                       1.23 s  exit status 3"
        );
        let coloured = line(&bad, "", true).unwrap();
        assert!(coloured.starts_with("[\x1b[31mfail\x1b[0m] x\\x1b[2J"), "{coloured}");
    }

    #[test]
    fn states_are_told() {
        let hello = FromGuest::Hello {
            protocol: PROTOCOL,
            style: Style::Sysv,
            reason: "/etc/inittab has sysvinit's form".into(),
        };
        assert_eq!(
            line(&hello, "", false).unwrap(),
            "       boot style sysv: /etc/inittab has sysvinit's form"
        );
        let running = FromGuest::State(GuestState::Running(Runlevel::MULTI));
        assert_eq!(line(&running, "", false).unwrap(), "       runlevel 2 reached");
    }
}
