//! What distinguishes a copy of a guest from the guest: its name and the keys
//! by which others know it. Everything else stays as it is.

use std::path::Path;

use crate::error::Result;
use crate::fsroot::RootDir;

use super::{Work, host_keys, tidy};

/// Files that hold the host name and nothing else (hostname(5); Debian's name
/// in the addresses of mails).
const NAMES: [&str; 2] = ["etc/hostname", "etc/mailname"];

/// What a machine must not have in common with another: the seeds of random
/// numbers (systemd-random-seed.service(8), and Debian's init script), and what
/// it calls itself when it asks for an address.
const SEEDS: [&str; 3] =
    ["var/lib/systemd/random-seed", "var/lib/urandom/random-seed", "var/lib/dhcp/dhclient6.leases"];

/// Gives a copy its own identity. `old` is the host name of the original.
pub(super) fn renew(old: &str, new: &str, work: &mut Work<'_>) -> Result<()> {
    let root = work.root;
    for path in NAMES {
        rewrite(root, path, |text| (text.trim() == old).then(|| format!("{new}\n")))?;
    }
    rewrite(root, "etc/hosts", |text| renamed(text, old, new))?;
    // An empty one is filled at the first boot (machine-id(5)).
    rewrite(root, "etc/machine-id", |text| (!text.is_empty()).then(String::new))?;
    let second = "var/lib/dbus/machine-id";
    if root.stat(second)?.is_some() && root.read_link(second)?.is_none() {
        root.allow_changes(second)?;
        root.symlink("/etc/machine-id", second)?;
    }
    for seed in SEEDS {
        if root.stat(seed)?.is_some() {
            root.allow_changes(seed)?;
        }
        root.remove(seed)?;
    }
    host_keys::renew_existing(work)
}

/// Writes a file anew, with its old permissions, if there is something to
/// change.
fn rewrite(root: &RootDir, path: &str, change: impl Fn(&str) -> Option<String>) -> Result<()> {
    let Some(stat) = root.stat(path)? else { return Ok(()) };
    let Some(bytes) = root.read(path, tidy::LONGEST)? else { return Ok(()) };
    // What is no text is no such file.
    let Some(new) = str::from_utf8(&bytes).ok().and_then(change) else { return Ok(()) };
    // A snapshot of a subvolume has all that chattr(1) has set.
    root.allow_changes(path)?;
    root.write_for(Path::new(path), new.as_bytes(), stat.st_mode & 0o777, stat.st_gid)
}

/// hosts(5) with another name for this machine, on whatever lines it stands.
fn renamed(text: &str, old: &str, new: &str) -> Option<String> {
    let short = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
    let (old_short, new_short) = (short(old), short(new));
    if matches!(old_short.as_str(), "" | "localhost") {
        return None;
    }
    let word = |word: &str| match word {
        _ if word == old => new.to_owned(),
        _ if word == old_short => new_short.clone(),
        _ => word.to_owned(),
    };
    let line = |line: &str| {
        let (names, comment) = line.split_at(line.find('#').unwrap_or(line.len()));
        let parts = names.split_inclusive(char::is_whitespace).map(|part| {
            let bare = part.trim_end();
            format!("{}{}", word(bare), part.get(bare.len()..).unwrap_or_default())
        });
        parts.collect::<String>() + comment
    };
    let changed: String = text.split_inclusive('\n').map(line).collect();
    (changed != text).then_some(changed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hosts_names_the_copy_where_it_named_the_original() {
        let old =
            "127.0.0.1\tlocalhost\n127.0.1.1\tweb.example.org web  # web is me\n10.0.0.1 webs\n";
        let new =
            "127.0.0.1\tlocalhost\n127.0.1.1\tshop.example.org shop  # web is me\n10.0.0.1 webs\n";
        assert_eq!(renamed(old, "web.example.org", "shop.example.org").as_deref(), Some(new));
        assert_eq!(renamed(new, "web.example.org", "x"), None);
        assert_eq!(renamed("127.0.0.1 localhost\n", "localhost", "x"), None);
    }

    proptest! {
        #[test]
        fn nothing_but_names_changes(text in "[a-c .#\\t\\n]{0,60}") {
            let new = renamed(&text, "a", "a").unwrap_or_else(|| text.clone());
            prop_assert_eq!(new, text.clone());
            let new = renamed(&text, "ab", "xy").unwrap_or_else(|| text.clone());
            prop_assert_eq!(new.len(), text.len());
            let uncommented = |text: &str| text.lines().map(|line| line.split('#').next().unwrap_or_default().to_owned() + " ").collect::<String>();
            let named = uncommented(&new);
            prop_assert!(!named.split_whitespace().any(|word| word == "ab"));
        }
    }
}
