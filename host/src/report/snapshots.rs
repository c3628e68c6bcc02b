//! `vserver snapshot list`.

use super::{status, table};
use crate::snapshot::Snapshot;

/// The table of a guest's snapshots; empty when there is none.
pub fn snapshots(all: &[Snapshot]) -> String {
    if all.is_empty() {
        return String::new();
    }
    let rows = all.iter().map(|snapshot| {
        let state = match (snapshot.whole, snapshot.made.live) {
            (false, _) => "half deleted",
            (true, true) => "running",
            (true, false) => "stopped",
        };
        [snapshot.name.to_string(), snapshot.made.created.clone(), state.to_owned()]
    });
    table(["SNAPSHOT", "CREATED", "GUEST"], rows)
}

/// `snapshot list --json`: an array of name, whole, created (RFC 3339), live and
/// storage.
pub fn snapshots_json(all: &[Snapshot]) -> String {
    status::json(&all)
}
