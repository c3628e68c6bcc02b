//! `vserver usage --commands`: what processes that have ended have used, by
//! their names.

use std::fmt::Write;

use serde::Serialize;

use super::{printable, seconds, status, table};
use crate::accounting::Command;

/// Processes of one name in one guest.
#[derive(Clone, Debug)]
pub struct Row {
    /// The guest's name.
    pub name: String,
    /// The processes'.
    pub command: String,
    /// What they have used.
    pub sums: Command,
}

/// The form that scripts depend on: fields are added, never changed.
#[derive(Serialize)]
struct Object<'r> {
    name: &'r str,
    command: &'r str,
    processes: u64,
    user_seconds: f64,
    system_seconds: f64,
    elapsed_seconds: f64,
    average_seconds: f64,
    uids: Vec<u32>,
}

impl<'r> From<&'r Row> for Object<'r> {
    fn from(row: &'r Row) -> Self {
        let sums = &row.sums;
        let elapsed = seconds(sums.elapsed);
        Self {
            name: &row.name,
            command: &row.command,
            processes: sums.processes,
            user_seconds: seconds(sums.user),
            system_seconds: seconds(sums.system),
            elapsed_seconds: elapsed,
            average_seconds: elapsed / sums.processes.max(1) as f64,
            uids: sums.uids.iter().copied().collect(),
        }
    }
}

/// The table; empty when there is nothing.
pub fn text(all: &[Row]) -> String {
    /// Uids that are shown.
    const FEW: usize = 4;
    if all.is_empty() {
        return String::new();
    }
    let rows = all.iter().map(|row| {
        let object = Object::from(row);
        let mut uids = words(object.uids.get(..FEW).unwrap_or(&object.uids));
        if object.uids.len() > FEW {
            uids.push_str(" ...");
        }
        [
            object.name.to_owned(),
            printable(object.command),
            object.processes.to_string(),
            format!("{:.2}s", object.user_seconds),
            format!("{:.2}s", object.system_seconds),
            format!("{:.2}s", object.average_seconds),
            uids,
        ]
    });
    table(["NAME", "COMMAND", "PROCESSES", "USER", "SYSTEM", "AVERAGE", "UIDS"], rows)
}

/// `--json`: an array.
pub fn json(all: &[Row]) -> String {
    status::json(&all.iter().map(Object::from).collect::<Vec<_>>())
}

/// `--csv` (RFC 4180, with plain newlines). A process chooses its name, so it
/// is quoted, and what would act on a terminal is written as in tables.
pub fn csv(all: &[Row]) -> String {
    let mut text = String::from(
        "name,command,processes,user_seconds,system_seconds,elapsed_seconds,average_seconds,uids\n",
    );
    for row in all {
        let o = Object::from(row);
        let _ = writeln!(
            text,
            "{},\"{}\",{},{},{},{},{},{}",
            o.name,
            printable(o.command).replace('"', "\"\""),
            o.processes,
            o.user_seconds,
            o.system_seconds,
            o.elapsed_seconds,
            o.average_seconds,
            words(&o.uids),
        );
    }
    text
}

fn words(uids: &[u32]) -> String {
    uids.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn row(command: &str, uids: &[u32]) -> Row {
        let sums = Command {
            processes: 4,
            user: Duration::from_millis(1500),
            system: Duration::from_millis(20),
            elapsed: Duration::from_secs(6),
            uids: uids.iter().copied().collect(),
        };
        Row { name: "web".into(), command: command.into(), sums }
    }

    #[test]
    fn all_forms_say_the_same() {
        let rows = [row("sh", &[0, 33]), row("cron", &[0, 1, 2, 3, 4])];
        let wanted = "\
NAME  COMMAND  PROCESSES  USER   SYSTEM  AVERAGE  UIDS
web   sh       4          1.50s  0.02s   1.50s    0 33
web   cron     4          1.50s  0.02s   1.50s    0 1 2 3 ...
";
        assert_eq!(text(&rows), wanted);
        assert!(csv(&rows).contains("\nweb,\"sh\",4,1.5,0.02,6,1.5,0 33\n"));
        let json: serde_json::Value = serde_json::from_str(&json(&rows)).unwrap();
        assert_eq!(json[1]["uids"][4], 4);
        for title in csv(&[]).trim().split(',') {
            assert!(json[0].get(title).is_some(), "{title}");
        }
        assert_eq!(text(&[]), "");
    }

    #[test]
    fn names_cannot_pass_for_anything_else() {
        let rows = [row("a\",\nweb,\u{1b}[2J", &[0])];
        assert_eq!(csv(&rows).lines().count(), 2);
        assert!(csv(&rows).contains("\nweb,\"a\"\",\\x0aweb,\\x1b[2J\",4,"));
        assert_eq!(text(&rows).lines().count(), 2);
        assert!(!text(&rows).contains('\u{1b}'));
    }
}
