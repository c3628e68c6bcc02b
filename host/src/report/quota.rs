//! `vserver quota`: what a guest's users have and may have.

use serde::Serialize;
use serde_json::json;

use super::stat::size;
use super::{printable, status, table};

/// A user. As JSON, fields are added, never changed; a limit that there isn't is
/// null.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Its name inside; the number where it has none.
    pub user: String,
    /// Its number inside.
    pub uid: u32,
    /// Bytes on the disk.
    pub used_bytes: u64,
    /// More than these for a week at most.
    pub soft_bytes: Option<u64>,
    /// Never more than these.
    pub limit_bytes: Option<u64>,
    /// Its files.
    pub files: u64,
    /// As with bytes.
    pub soft_files: Option<u64>,
    /// As with bytes.
    pub limit_files: Option<u64>,
}

/// The table.
pub fn text(rows: &[Row]) -> String {
    let shown = |value: Option<u64>, how: fn(u64) -> String| value.map_or("-".to_owned(), how);
    let number = |number: u64| number.to_string();
    let lines = rows.iter().map(|row| {
        [
            printable(&row.user),
            size(row.used_bytes),
            shown(row.soft_bytes, size),
            shown(row.limit_bytes, size),
            number(row.files),
            shown(row.soft_files, number),
            shown(row.limit_files, number),
        ]
    });
    table(["USER", "USE", "SOFT", "LIMIT", "FILES", "SOFT", "LIMIT"], lines)
}

/// `--json`: an object.
pub fn json(name: &str, rows: &[Row]) -> String {
    status::json(&json!({ "name": name, "users": rows }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_limited_has_a_dash() {
        let row = Row {
            user: "www\x1b[2J".into(),
            uid: 33,
            used_bytes: 4096,
            soft_bytes: None,
            limit_bytes: Some(1 << 30),
            files: 2,
            soft_files: None,
            limit_files: Some(10),
        };
        let shown = text(std::slice::from_ref(&row));
        let line: Vec<_> = shown.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(line, ["www\\x1b[2J", "4K", "-", "1G", "2", "-", "10"]);
        let json: serde_json::Value = serde_json::from_str(&json("web", &[row])).unwrap();
        assert_eq!(json["users"][0]["limit_bytes"], 1 << 30);
        assert!(json["users"][0]["soft_bytes"].is_null());
    }
}
