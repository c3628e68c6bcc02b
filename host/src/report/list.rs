//! `vserver list`.

use serde::Serialize;

use super::{GuestStatus, State, printable, status, table, uptime};

/// The table of all guests; empty when there is none.
pub fn list(guests: &[GuestStatus]) -> String {
    if guests.is_empty() {
        return String::new();
    }
    let rows = guests.iter().map(|guest| {
        [
            guest.name.to_string(),
            guest.context.map_or_else(|| "-".to_owned(), |context| context.to_string()),
            guest.state.to_string(),
            guest.uptime.map_or_else(|| "-".to_owned(), uptime),
            printable(&guest.description),
        ]
    });
    table(["NAME", "CONTEXT", "STATE", "UPTIME", "DESCRIPTION"], rows)
}

/// The form that scripts depend on.
#[derive(Serialize)]
struct Entry<'g> {
    name: &'g str,
    context: Option<u32>,
    state: State,
    uptime_seconds: Option<u64>,
    addresses: &'g [String],
    marks: &'g [String],
    autostart: Option<bool>,
    description: &'g str,
}

/// `list --json`: an array of objects.
pub fn list_json(guests: &[GuestStatus]) -> String {
    let entries: Vec<_> = guests
        .iter()
        .map(|guest| Entry {
            name: guest.name.as_str(),
            context: guest.context.map(|context| context.get()),
            state: guest.state,
            uptime_seconds: guest.uptime.map(|uptime| uptime.as_secs()),
            addresses: &guest.addresses,
            marks: &guest.marks,
            autostart: guest.autostart,
            description: &guest.description,
        })
        .collect();
    status::json(&entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_stand_in_a_table() {
        let stopped = |name: &str, context, text: &str| {
            GuestStatus::stopped(name.parse().unwrap(), context, text.into())
        };
        let guests = [stopped("web", 40_000.try_into().ok(), "a b"), stopped("d", None, "")];
        let wanted = "\
NAME  CONTEXT  STATE    UPTIME  DESCRIPTION
web   40000    stopped  -       a b
d     -        stopped  -
";
        assert_eq!(list(&guests), wanted);
        assert_eq!(list(&[]), "");
        let json: serde_json::Value = serde_json::from_str(&list_json(&guests)).unwrap();
        let first = serde_json::json!({
            "name": "web", "context": 40000, "state": "stopped", "uptime_seconds": null,
            "addresses": [], "marks": [], "autostart": null, "description": "a b",
        });
        assert_eq!(json[0], first);
        assert_eq!(list_json(&[]), "[]\n");
    }
}
