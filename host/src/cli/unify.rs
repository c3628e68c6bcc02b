//! Arguments of `vserver unify`.

use std::fmt;

use clap::Args;
use shared::name::GuestName;

use super::args::Guests;
use super::values;
use crate::config::limits::bytes;
use crate::snapshot::SnapshotName;

/// `vserver unify`.
#[derive(Clone, Debug, Args)]
pub struct UnifyArgs {
    /// Guests whose files get the blocks of equal ones of any guest.
    #[command(flatten)]
    pub guests: Guests,
    /// Lay them over this snapshot instead, on any file system: what a guest has
    /// as the snapshot has it goes, and what it has otherwise stays its own. They
    /// have to be stopped. docs/storage.md tells more.
    #[arg(long, value_name = "GUEST@SNAPSHOT", conflicts_with = "minimum", value_parser = base)]
    pub base: Option<Base>,
    /// Pass these by as well: a pattern of paths inside, such as '/srv' or
    /// '*.iso'; may be given several times, and decides before those of the
    /// guests' configurations. With '+' in front: don't pass them by.
    #[arg(long, value_name = "PATTERN", allow_hyphen_values = true, value_parser = pattern)]
    pub exclude: Vec<String>,
    /// Files that are shorter stay as they are; a file has whole blocks.
    #[arg(long, value_name = "SIZE", default_value = "4K", value_parser = size)]
    pub minimum: u64,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// As JSON, in bytes.
    #[arg(long)]
    pub json: bool,
}

/// A snapshot of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// The guest.
    pub guest: GuestName,
    /// The snapshot.
    pub snapshot: SnapshotName,
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.guest, self.snapshot)
    }
}

fn base(text: &str) -> Result<Base, String> {
    let (guest, snapshot) =
        text.split_once('@').ok_or("a base is GUEST@SNAPSHOT, such as 'golden@v1'")?;
    Ok(Base { guest: values::guest(guest)?, snapshot: snapshot.parse()? })
}

fn pattern(text: &str) -> Result<String, String> {
    crate::config::Excluded::new([text]).map(|_| text.to_owned())
}

fn size(text: &str) -> Result<u64, String> {
    bytes(text).ok_or_else(|| format!("'{text}' is no size, such as '64K'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_is_a_snapshot_of_a_guest() {
        assert_eq!(base("golden@v1").map(|base| base.to_string()), Ok("golden@v1".to_owned()));
        for text in ["golden", "golden@", "@v1", "golden@v1@", "a/b@v1"] {
            assert!(base(text).is_err(), "{text}");
        }
    }
}
