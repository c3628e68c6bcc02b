//! Arguments of `vserver quota`.

use clap::Args;
use shared::name::GuestName;

use super::values;
use crate::config::limits::bytes;

/// `vserver quota`.
#[derive(Clone, Debug, Args)]
pub struct QuotaArgs {
    /// Which guest; it has an image of its own.
    #[arg(value_parser = values::guest)]
    pub name: GuestName,
    /// One of its users, by the name that it has inside, or by number.
    pub user: Option<String>,
    /// The most that the user's files may take, such as '1G'; 'max' for no
    /// limit.
    #[arg(requires = "user", value_parser = size)]
    pub size: Option<u64>,
    /// What they may take for a week, at most.
    #[arg(long, value_name = "SIZE", requires = "user", value_parser = size)]
    pub soft: Option<u64>,
    /// How many files the user may have, 'max' for no limit; directories and
    /// links count.
    #[arg(long, value_name = "N", requires = "user", value_parser = count)]
    pub files: Option<u64>,
    /// How many for a week, at most.
    #[arg(long, value_name = "N", requires = "user", value_parser = count)]
    pub soft_files: Option<u64>,
    /// Check, say what would be done, and do nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// As JSON, in bytes.
    #[arg(long, conflicts_with_all = ["size", "soft", "files", "soft_files", "dry_run"])]
    pub json: bool,
}

impl QuotaArgs {
    /// Is anything to be changed?
    pub fn changes(&self) -> bool {
        [self.size, self.soft, self.files, self.soft_files].iter().any(Option::is_some)
    }
}

/// 0 is no limit, for the kernel too (quotactl(2)).
fn number(text: &str, parsed: Option<u64>, what: &str) -> Result<u64, String> {
    match (text, parsed) {
        ("max", _) => Ok(0),
        (_, Some(0)) => Err("the least is 1; 'max' is no limit".to_owned()),
        (_, Some(number)) => Ok(number),
        (_, None) => Err(format!("'{text}' is no {what}, nor 'max'")),
    }
}

fn size(text: &str) -> Result<u64, String> {
    number(text, bytes(text), "size such as '1G'")
}

fn count(text: &str) -> Result<u64, String> {
    number(text, text.parse().ok(), "number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_locked_out_by_what_means_no_limit() {
        assert_eq!((size("1M"), size("max"), count("7")), (Ok(1 << 20), Ok(0), Ok(7)));
        for wrong in ["0", "0K", "-1", "x", ""] {
            assert!(size(wrong).is_err() && count(wrong).is_err(), "{wrong}");
        }
    }
}
