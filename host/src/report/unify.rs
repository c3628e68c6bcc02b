//! `vserver unify`: what it has saved.

use serde::Serialize;
use serde_json::json;
use shared::name::GuestName;

use super::stat::size;
use super::{status, table};

/// What equal files have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Common<'a> {
    /// Blocks, with those of any guest.
    Blocks,
    /// All, with the snapshot of this name over which they are laid.
    Base(&'a str),
}

/// What was done to the files of a guest. As JSON, fields are added, never
/// changed.
#[derive(Clone, Debug, Serialize)]
pub struct Shared {
    /// The guest.
    pub name: GuestName,
    /// Files that were looked at.
    pub files: u64,
    /// Files that share their blocks now, or are the base's, and didn't.
    pub shared_files: u64,
    /// Their bytes.
    pub shared_bytes: u64,
    /// Bytes of blocks that only these files had: so much of the disk is free
    /// again.
    pub saved_bytes: u64,
    /// Files that shared theirs before.
    pub already_files: u64,
    /// Files that stay as they are: changed meanwhile, or the file system
    /// refuses; over a base, those that it hasn't, or has otherwise.
    pub left_files: u64,
    /// Why not all of its files, or none, took part.
    pub skipped: Option<String>,
}

/// The table, and the sum.
pub fn text(guests: &[Shared], common: Common<'_>, dry_run: bool) -> String {
    let took_part = || guests.iter().filter(|it| it.files > 0 || it.skipped.is_none());
    if took_part().next().is_none() {
        return String::new();
    }
    let rows = took_part().map(|it| {
        let numbers = [it.files, it.already_files, it.shared_files].map(|count| count.to_string());
        let [files, already, shared] = numbers;
        let (bytes, saved) = (size(it.shared_bytes), size(it.saved_bytes));
        [it.name.to_string(), files, already, shared, bytes, saved, it.left_files.to_string()]
    });
    let head = ["GUEST", "FILES", "ALREADY", "SHARED", "BYTES", "SAVED", "LEFT"];
    let [files, bytes, saved] = sums(guests);
    let now = match (common, dry_run) {
        (Common::Blocks, false) => "share blocks with others now".to_owned(),
        (Common::Blocks, true) => "would share blocks with others".to_owned(),
        (Common::Base(base), false) => format!("are those of {base} now"),
        (Common::Base(base), true) => format!("would be those of {base}"),
    };
    let free = if dry_run { "would be free" } else { "are free again" };
    format!(
        "{}\n{files} files ({}) {now}; {} of the disk {free}\n",
        table(head, rows),
        size(bytes),
        size(saved)
    )
}

fn sums(guests: &[Shared]) -> [u64; 3] {
    let sum = |of: fn(&Shared) -> u64| guests.iter().map(of).sum();
    [sum(|it| it.shared_files), sum(|it| it.shared_bytes), sum(|it| it.saved_bytes)]
}

/// `--json`: an object.
pub fn json(guests: &[Shared], common: Common<'_>, dry_run: bool, interrupted: bool) -> String {
    let [files, bytes, saved] = sums(guests);
    let base = match common {
        Common::Blocks => None,
        Common::Base(base) => Some(base),
    };
    status::json(&json!({
        "base": base,
        "dry_run": dry_run,
        "interrupted": interrupted,
        "shared_files": files,
        "shared_bytes": bytes,
        "saved_bytes": saved,
        "guests": guests,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(name: &str, shared_files: u64, skipped: Option<&str>) -> Shared {
        Shared {
            name: name.parse().unwrap(),
            files: shared_files * 3,
            shared_files,
            shared_bytes: shared_files * 4096,
            saved_bytes: shared_files * 2048,
            already_files: 1,
            left_files: 0,
            skipped: skipped.map(str::to_owned),
        }
    }

    #[test]
    fn the_sum_is_of_all_guests() {
        let guests = [shared("web", 2, None), shared("db", 4, None), shared("img", 0, Some("x"))];
        let shown = text(&guests, Common::Blocks, false);
        assert_eq!(
            shown,
            "GUEST  FILES  ALREADY  SHARED  BYTES  SAVED  LEFT\n\
             web    6      1        2       8K     4K     0\n\
             db     12     1        4       16K    8K     0\n\n\
             6 files (24K) share blocks with others now; 12K of the disk are free again\n"
        );
        let over = text(&guests, Common::Base("golden@v1"), false);
        assert!(over.ends_with(
            "6 files (24K) are those of golden@v1 now; 12K of the disk are free again\n"
        ));
        assert!(text(&guests, Common::Blocks, true).ends_with(
            "6 files (24K) would share blocks with others; 12K of the disk would be free\n"
        ));
        let json: serde_json::Value =
            serde_json::from_str(&json(&guests, Common::Blocks, true, false)).unwrap();
        assert_eq!(json["saved_bytes"], 12288);
        assert_eq!(json["guests"][2]["skipped"], "x");
    }

    #[test]
    fn nothing_is_said_of_guests_without_files() {
        assert_eq!(text(&[shared("img", 0, Some("x"))], Common::Blocks, false), "");
    }
}
