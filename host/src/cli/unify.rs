//! Arguments of `vserver unify`.

use clap::Args;

use super::args::Guests;
use crate::config::limits::bytes;

/// `vserver unify`.
#[derive(Clone, Debug, Args)]
pub struct UnifyArgs {
    /// Guests whose files get the blocks of equal ones of any guest.
    #[command(flatten)]
    pub guests: Guests,
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

fn pattern(text: &str) -> Result<String, String> {
    crate::config::Excluded::new([text]).map(|_| text.to_owned())
}

fn size(text: &str) -> Result<u64, String> {
    bytes(text).ok_or_else(|| format!("'{text}' is no size, such as '64K'"))
}
