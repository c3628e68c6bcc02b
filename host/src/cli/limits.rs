//! Arguments of `vserver limits`.

use clap::Args;
use shared::name::GuestName;

use super::values;

/// `vserver limits`.
#[derive(Clone, Debug, Args)]
pub struct LimitsArgs {
    /// Which guest.
    #[arg(value_parser = values::guest)]
    pub name: GuestName,
    /// What to change: a key of the section 'limits' and its new value;
    /// without a value, or with 'default', what the guest's file says of it is
    /// removed. Devices in 'io_max' are separated by commas.
    #[arg(value_name = "KEY=VALUE", value_parser = change)]
    pub changes: Vec<Change>,
    /// Give the running guest the limits of its file as that is.
    #[arg(long, conflicts_with = "changes")]
    pub apply: bool,
    /// Also below what the guest uses: of memory, the kernel then kills
    /// processes.
    #[arg(long)]
    pub force: bool,
    /// Check, say what would be done, and do nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// As JSON, in bytes and plain numbers.
    #[arg(long, conflicts_with_all = ["changes", "apply"])]
    pub json: bool,
}

impl LimitsArgs {
    /// `vserver limits NAME --apply`.
    pub fn apply(name: &GuestName) -> Self {
        let name = name.clone();
        Self { name, changes: Vec::new(), apply: true, force: false, dry_run: false, json: false }
    }
}

/// A key, and its new value if it is to have one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key in its section.
    pub key: String,
    /// The value.
    pub value: Option<String>,
}

fn change(text: &str) -> Result<Change, String> {
    let (key, value) = text.split_once('=').ok_or("a change is written KEY=VALUE")?;
    let key = key.strip_prefix("limits.").unwrap_or(key).to_owned();
    let value = Some(value.to_owned()).filter(|value| !value.is_empty() && value != "default");
    Ok(Change { key, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_a_key_and_a_value() {
        let wanted = |key: &str, value: Option<&str>| Change {
            key: key.to_owned(),
            value: value.map(str::to_owned),
        };
        assert_eq!(change("memory=1G"), Ok(wanted("memory", Some("1G"))));
        assert_eq!(change("limits.cpus=default"), Ok(wanted("cpus", None)));
        assert_eq!(change("io_max=8:0 wbps=1"), Ok(wanted("io_max", Some("8:0 wbps=1"))));
        assert_eq!(change("cpus="), Ok(wanted("cpus", None)));
        assert!(change("memory").is_err());
    }
}
