//! `vserver events`: what is worth a line, and the line.

use std::time::SystemTime;

use serde::Serialize;
use shared::name::GuestName;

use super::State;

/// How a guest was at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// When.
    pub time: SystemTime,
    /// Its number.
    pub context: Option<u32>,
    /// As in `list`.
    pub state: State,
    /// Number of the boot, counted from the guest's start.
    pub boot: Option<u32>,
    /// Host pid of its PID 1.
    pub init_pid: Option<i32>,
    /// How the boot before ended, or why the guest wasn't started.
    pub last_end: Option<String>,
}

/// The form that scripts depend on.
#[derive(Serialize)]
struct Line<'h> {
    time: String,
    name: &'h str,
    context: Option<u32>,
    state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    boot: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    init_pid: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_end: Option<&'h str>,
}

impl Happening {
    /// Is this a change? A supervisor that has just taken a guest over takes
    /// it for booting until guest-init has told where it is; no boot goes
    /// back to that.
    pub fn is_news_after(&self, last: Option<&Self>) -> bool {
        let Some(last) = last else { return true };
        if self.state == State::Stopped && last.state == State::Stopped {
            return self.last_end.is_some() && self.last_end != last.last_end;
        }
        if self.boot != last.boot {
            return true;
        }
        let has_booted = matches!(last.state, State::Running | State::Stopping | State::Session);
        self.state != last.state && !(self.state == State::Booting && has_booted)
    }

    /// The line.
    pub fn line(&self, name: &GuestName) -> String {
        let line = Line {
            time: humantime::format_rfc3339_millis(self.time).to_string(),
            name: name.as_str(),
            context: self.context,
            state: self.state,
            boot: self.boot,
            init_pid: self.init_pid,
            last_end: self.last_end.as_deref(),
        };
        // Plain fields of plain types: it can't fail.
        let mut text = serde_json::to_string(&line).unwrap_or_default();
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn at(state: State, boot: u32) -> Happening {
        Happening {
            time: UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
            context: Some(40001),
            state,
            boot: Some(boot),
            init_pid: None,
            last_end: None,
        }
    }

    #[test]
    fn only_changes_are_news() {
        let running = at(State::Running, 2);
        assert!(running.is_news_after(None));
        assert!(!running.is_news_after(Some(&running)));
        assert!(at(State::Stopping, 2).is_news_after(Some(&running)));
        // What a new supervisor thinks at first.
        assert!(!at(State::Booting, 2).is_news_after(Some(&running)));
        assert!(at(State::Booting, 3).is_news_after(Some(&running)));
        assert!(at(State::Running, 3).is_news_after(Some(&running)));
        assert!(at(State::Booting, 2).is_news_after(Some(&at(State::Paused, 2))));
        // Down is told once, whoever says it; a failed start is.
        let (told, gone) =
            (at(State::Stopped, 2), Happening { boot: None, ..at(State::Stopped, 0) });
        assert!(told.is_news_after(Some(&running)) && !gone.is_news_after(Some(&told)));
        let failed = Happening { last_end: Some("not started: x".into()), ..told.clone() };
        assert!(failed.is_news_after(Some(&gone)) && !gone.is_news_after(Some(&failed)));
    }

    #[test]
    fn a_line_is_one_object() {
        let happening =
            Happening { last_end: Some("a\n\u{1b}\"b".into()), ..at(State::Running, 1) };
        assert_eq!(
            happening.line(&"web".parse().unwrap()),
            "{\"time\":\"2023-11-14T22:13:20.123Z\",\"name\":\"web\",\"context\":40001,\
             \"state\":\"running\",\"boot\":1,\"last_end\":\"a\\n\\u001b\\\"b\"}\n"
        );
    }
}
