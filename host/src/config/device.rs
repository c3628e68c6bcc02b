//! A line of `devices.allow`: which node, and what may be done with it.

use core::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A device node of the host's that a guest may use, written `PATH` or
/// `PATH RIGHTS` as in systemd's `DeviceAllow=` (systemd.resource-control(5)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeviceRule {
    /// The node below /dev, the same on the host and in the guest, without
    /// the leading "/dev/".
    pub name: String,
    /// May it be read?
    pub read: bool,
    /// May it be written?
    pub write: bool,
    /// May nodes of this device be made?
    pub make: bool,
}

/// What the guest has of its own in /dev.
const OWN: [&str; 9] =
    ["console", "fd", "mqueue", "ptmx", "pts", "shm", "stderr", "stdin", "stdout"];

/// Rights when none are written: read and write.
const DEFAULT_RIGHTS: &str = "rw";

impl FromStr for DeviceRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split_ascii_whitespace();
        let path = words.next().unwrap_or_default();
        let rights = words.next().unwrap_or(DEFAULT_RIGHTS);
        let wrong = |why: &str| {
            let shown = text.escape_debug();
            Err(format!("{why}, like \"/dev/fuse rw\", not \"{shown}\""))
        };
        if words.next().is_some() {
            return wrong("a device is written as a path and rights");
        }
        let Some(name) = path.strip_prefix("/dev/") else {
            return wrong("a device is a path below /dev and rights");
        };
        let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
        if !name.split('/').all(plain) || name.contains(char::is_control) {
            return wrong("a device is a path below /dev without '..'");
        }
        if OWN.iter().any(|own| name.split('/').next() == Some(own)) {
            return wrong("a device is one that guests don't have of their own");
        }
        let has = |right| rights.contains(right);
        if rights.chars().any(|right| !"rwm".contains(right)) {
            return wrong("rights are of the letters r, w and m");
        }
        Ok(Self { name: name.to_owned(), read: has('r'), write: has('w'), make: has('m') })
    }
}

impl TryFrom<String> for DeviceRule {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<DeviceRule> for String {
    fn from(rule: DeviceRule) -> Self {
        rule.to_string()
    }
}

impl fmt::Display for DeviceRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/dev/{} ", self.name)?;
        for (letter, has) in [('r', self.read), ('w', self.write), ('m', self.make)] {
            if has {
                write!(f, "{letter}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_a_path_and_rights() {
        let fuse: DeviceRule = "/dev/fuse".parse().unwrap();
        assert_eq!(fuse.to_string(), "/dev/fuse rw");
        let tun: DeviceRule = "/dev/net/tun  rwm".parse().unwrap();
        assert!(tun.make && tun.name == "net/tun");
        for wrong in
            ["", "fuse", "/dev/", "/dev/../x", "/dev//x", "/dev/a x", "/dev/a r w", "/etc/x"]
                .into_iter()
                .chain(["/dev/pts/0", "/dev/console rw"])
        {
            assert!(wrong.parse::<DeviceRule>().is_err(), "{wrong}");
        }
    }
}
