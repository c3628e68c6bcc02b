//! How much of the disk a guest's files may take.

use crate::config::limits::Amount;
use crate::config::{GuestConfig, StorageKind, UserMode};
use crate::error::{Error, Result};

/// A limit on the disk, and for whom it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    /// The number under which a file system counts it: the first id of the
    /// guest's range, which no other guest has.
    pub project: u32,
    /// The most bytes; none for no limit.
    pub bytes: Option<u64>,
    /// The most inodes where they are limited, too; none for its share.
    pub inodes: Option<u64>,
    /// May the guest's root give files to other projects? Then only an image
    /// holds it.
    pub may_leave: bool,
}

impl Disk {
    /// The limit of a guest whose range of ids begins with `base`.
    ///
    /// # Errors
    /// Why it can't be enforced, and the remedy.
    pub fn plan(config: &GuestConfig, base: u32) -> Result<Self> {
        let bytes = match config.limits.disk {
            Some(Amount::Bytes(bytes)) => Some(bytes),
            // A share is refused by the configuration's check.
            Some(Amount::Percent(_) | Amount::Max) | None => None,
        };
        let may_leave = config.security.users == UserMode::Host;
        let is_image = config.storage.kind == StorageKind::Image;
        if bytes.is_some() && may_leave && !is_image {
            return Err(Self::not_held());
        }
        Ok(Self { project: base, bytes, inodes: config.limits.inodes.map(u64::from), may_leave })
    }

    /// The error of who can't be held by a project.
    pub fn not_held() -> Error {
        let text = "limits.disk can't be enforced with security.users = \"host\": the guest's \
                    root could give its files to another project";
        Error::new(text).hint(
            "use private or identity, or lay the guest in an image: \
             vserver clone NAME NEW --storage image --size SIZE",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_cannot_leave_the_project_is_held_by_it() {
        let bytes = |text: &str| {
            let config = crate::config::parse::parse(text).unwrap();
            Disk::plan(&config, 7).map(|disk| disk.bytes).ok()
        };
        let limited = "limits.disk = \"2G\"\n";
        assert_eq!(bytes(limited), Some(Some(2 << 30)));
        assert_eq!(bytes(&format!("{limited}security.users = \"identity\"")), Some(Some(2 << 30)));
        let host = "security.users = \"host\"\n";
        assert_eq!(bytes(&format!("{limited}{host}")), None);
        assert_eq!(bytes(&format!("{limited}{host}storage.kind = \"image\"")), Some(Some(2 << 30)));
        assert_eq!(bytes(&format!("limits.disk = \"max\"\n{host}")), Some(None));
        assert_eq!(bytes(host), Some(None));
        let config = crate::config::parse::parse("limits.inodes = 5000").unwrap();
        assert_eq!(Disk::plan(&config, 7).unwrap().inodes, Some(5000));
    }
}
