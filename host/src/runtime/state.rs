//! The state file: what a new supervisor can't learn from the kernel.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use shared::family::Family;
use shared::message::{Power, Style};

use crate::cgroup::ServingIds;

/// What outlives a supervisor. A missing or damaged file means the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Number of the running boot, counted from the start.
    pub boot: u32,
    /// Clock of the host (CLOCK_BOOTTIME, milliseconds) at that boot.
    pub booted_at_ms: u64,
    /// Has that boot reached its runlevel?
    pub up: bool,
    /// Restarts after crashes in a row.
    pub crashes: u32,
    /// How the last boot ended.
    pub last_end: Option<String>,
    /// The version in which that boot's guest-init speaks (`shared::message::PROTOCOL`); 0
    /// if that isn't known.
    pub protocol: u16,
    /// Which boot files are followed: an own init doesn't tell a second time.
    #[serde(deserialize_with = "if_known")]
    pub style: Option<Style>,
    /// Why these.
    pub reason: String,
    /// Which family the guest's own init is of.
    #[serde(deserialize_with = "if_known")]
    pub family: Option<Family>,
    /// Does the guest's own init say itself when that boot is done?
    pub notifies: bool,
    /// How guest-init has said that boot is about to end.
    #[serde(deserialize_with = "if_known")]
    pub power: Option<Power>,
    /// How somebody on the host has ordered it to end.
    #[serde(deserialize_with = "if_known")]
    pub order: Option<Order>,
    /// Has the administrator's script been run that comes before that?
    pub pre_stop: bool,
    /// That script while it is at work, whatever for.
    #[serde(deserialize_with = "if_known")]
    pub script: Option<Script>,
    /// Has it ended, and is the guest to be booted again?
    pub is_due: bool,
    /// Does it stand still for somebody's connection, which is to end with it?
    pub held: bool,
    /// Is it only a context, without a boot?
    pub idle: bool,
    /// Command of a rescue start.
    pub rescue: Option<Vec<String>>,
    /// Addresses of that boot; the configuration may have others meanwhile.
    pub addresses: Vec<IpAddr>,
    /// The host's interface on whose network it answers for them.
    pub proxy: Option<String>,
    /// What its link lacks that nobody but an administrator can mend.
    pub faults: Vec<String>,
    /// Address on the host's loopback interface that is its ::1.
    pub loopback: Option<Ipv6Addr>,
    /// By which the maps of its listening sockets are found.
    #[serde(deserialize_with = "if_known")]
    pub serving: Option<ServingIds>,
    /// Id of the map in which that boot's traffic is counted.
    pub traffic: Option<u32>,
    /// Id of the map in which that boot's processes are counted.
    pub forks: Option<u32>,
}

/// An order to stop, for a supervisor that comes in the place of the one that got it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// What comes after.
    pub power: Power,
    /// When what remains is killed, by the clock of [`State::booted_at_ms`].
    pub until_ms: u64,
    /// Rather fail than kill.
    pub no_kill: bool,
}

/// The administrator's script at work, for a supervisor that comes in the place of the one
/// that has called it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Script {
    /// What for.
    pub action: String,
    /// Its process, which leads a group of its own.
    pub pid: i32,
    /// When that was started, in milliseconds: a pid may be given again.
    pub started_ms: u64,
    /// When it is killed, by the clock of [`State::booted_at_ms`].
    pub until_ms: u64,
}

impl State {
    /// Reads the file; whatever is wrong with it gives the default.
    pub fn read(path: &Path) -> Self {
        fs::read(path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// Those of open(2), write(2) and rename(2).
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let text = serde_json::to_vec(self)?;
        let temporary = path.with_extension("new");
        let written = fs::write(&temporary, text).and_then(|()| fs::rename(&temporary, path));
        // Half a file takes room where there is none.
        written.inspect_err(|_| drop(fs::remove_file(&temporary)))
    }
}

/// What another version has written, and this one doesn't know, is none: all else in
/// the file counts.
fn if_known<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    from: D,
) -> Result<Option<T>, D::Error> {
    let value = serde_json::Value::deserialize(from)?;
    Ok(serde_json::from_value(value).unwrap_or(None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_version_knows_costs_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.json");
        let text = r#"{"boot":3,"family":"future","style":"sysv","power":"hibernate",
            "order":{"power":"sleep","until_ms":1,"no_kill":false},"serving":7,"new":[]}"#;
        fs::write(&path, text).unwrap();
        let expected = State { boot: 3, style: Some(Style::Sysv), ..State::default() };
        assert_eq!(State::read(&path), expected);
        let order = Some(Order { power: Power::Reboot, until_ms: 7, no_kill: true });
        let state = State { family: Some(Family::Runit), order, ..expected };
        state.write(&path).unwrap();
        assert_eq!(State::read(&path), state);
    }
}
