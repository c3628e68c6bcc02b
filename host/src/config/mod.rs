//! A guest's configuration: `/etc/vservers/NAME.toml` as types.
//!
//! The types and their defaults stand here, in one place; a key that is not
//! here is refused. Reading the text is `parse`'s, rules between keys are
//! `check`'s; both are pure. Only `load` touches files.

mod address;
mod after;
pub mod check;
mod credential;
mod device;
pub mod edit;
pub mod init;
pub mod limits;
mod load;
mod mistakes;
mod mount;
mod neighbours;
mod network;
mod next;
pub mod parse;
pub mod problem;
mod read;
mod roots;
pub mod schema;
mod storage;
pub mod template;
mod unify;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shared::message::{RcMode, Runlevel, StyleChoice};
use shared::name::{ContextId, GuestName};

use crate::paths::Paths;

pub use load::{
    Change, change, effective, guest_of_file, judge_change, judge_edited, judge_text, load,
    load_kept, load_of_running, names, set_text, settle, text, write_new, write_new_text,
};
pub use read::{
    contexts, doubts, is_autostarted, marks_as_they_are, misnamed, text_as_it_is, utf8,
};

/// Everything that a guest's configuration file can say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GuestConfig {
    /// The guest's number. `build` allocates it; a guest without one can't
    /// be started.
    pub context: Option<ContextId>,
    /// Host name inside; the guest's name when not given.
    pub hostname: Option<String>,
    /// NIS domain name inside, rarely wanted.
    pub domainname: Option<String>,
    /// Free text, shown by `list` and `status`.
    pub description: String,
    /// Directory of the guest's root; `/var/lib/vservers/NAME` when not given.
    pub root: Option<PathBuf>,
    /// Is it started when the host boots?
    pub autostart: bool,
    /// Words by which groups of guests are chosen (`--mark`).
    pub marks: Vec<String>,
    /// Guests that are up before this one is started with them, and that are
    /// stopped after it.
    pub after: Vec<GuestName>,
    /// How it boots and stops.
    pub boot: Boot,
    /// Its console.
    pub console: Console,
    /// How it is joined to networks.
    pub network: Network,
    /// What its root may do.
    pub security: Security,
    /// Which device nodes it may use.
    pub devices: Devices,
    /// As what its files lie on the host.
    pub storage: Storage,
    /// Which of them never share blocks with other guests'.
    pub unify: Unify,
    /// What it sees besides its own files.
    pub mounts: Mounts,
    /// How much of the host it may have.
    pub limits: Limits,
    /// What is kept of what it did.
    pub accounting: Accounting,
}

impl GuestConfig {
    /// The directory of the guest's root.
    pub fn root(&self, paths: &Paths, name: &GuestName) -> PathBuf {
        self.root.clone().unwrap_or_else(|| paths.root(name))
    }

    /// Where its files are, and as what.
    pub fn place(&self, paths: &Paths, name: &GuestName) -> Place {
        Place::new(self.root(paths, name), &self.storage)
    }

    /// The host name inside.
    pub fn hostname<'a>(&'a self, name: &'a GuestName) -> &'a str {
        self.hostname.as_deref().unwrap_or(name.as_str())
    }
}

/// How long a shutdown may take.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// The same where systemd is the guest's PID 1, which waits for itself: 90
/// seconds for a unit that doesn't end (`DefaultTimeoutStopSec=`,
/// systemd-system.conf(5)), 120 for what a user has left (user@.service(5)),
/// and at the end 90 once more for what is in no unit.
pub const STOP_TIMEOUT_OF_SYSTEMD: Duration = Duration::from_secs(360);

/// From SIGTERM to SIGKILL, if nothing is configured.
pub const KILL_GRACE: Duration = Duration::from_secs(5);

/// `[boot]`: how a guest boots, stops and is restarted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Boot {
    /// Which boot files are followed.
    pub style: StyleChoice,
    /// How the distribution's stock rc runner is treated.
    pub rc: RcMode,
    /// Default runlevel in place of the guest's own.
    pub runlevel: Option<Runlevel>,
    /// One command that is the whole guest; empty for a guest that boots.
    pub command: Vec<String>,
    /// From the order to stop until what remains is killed; when not given,
    /// [`STOP_TIMEOUT`], or [`STOP_TIMEOUT_OF_SYSTEMD`].
    #[serde(with = "duration::optional")]
    pub stop_timeout: Option<Duration>,
    /// Between SIGTERM and SIGKILL at the end of a shutdown.
    #[serde(with = "duration")]
    pub kill_grace: Duration,
    /// What happens when PID 1 dies without reboot or halt.
    pub restart: RestartPolicy,
    /// Variables for everything that is booted.
    pub environment: BTreeMap<String, String>,
    /// What its root alone is handed, by name.
    pub credentials: BTreeMap<String, Credential>,
}

impl Default for Boot {
    fn default() -> Self {
        Self {
            style: StyleChoice::Auto,
            rc: RcMode::Written,
            runlevel: None,
            command: Vec::new(),
            stop_timeout: None,
            kill_grace: KILL_GRACE,
            restart: RestartPolicy::OnCrash,
            environment: BTreeMap::new(),
            credentials: BTreeMap::new(),
        }
    }
}

/// What happens when a guest's PID 1 dies without having asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// The guest stays down.
    Never,
    /// It is started again, with growing pauses.
    OnCrash,
}

/// `[console]`: the guest's `/dev/console` on the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Console {
    /// Where what it prints is kept.
    pub log: ConsoleLog,
    /// Bytes after which the log is rotated (one old one is kept); 0 for no
    /// log.
    pub log_size: u64,
}

impl Default for Console {
    fn default() -> Self {
        Self { log: ConsoleLog::Auto, log_size: 1024 * 1024 }
    }
}

/// Where the console is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConsoleLog {
    /// In the host's journal where that takes what the supervisor says, else
    /// in the file.
    Auto,
    /// In the file.
    File,
    /// In the file, and in the journal if there is one.
    Both,
}

/// `[security]`: what a guest's root may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Security {
    /// Whose ids the guest's users have on the host.
    pub users: UserMode,
    /// Changes to the default capability set.
    pub capabilities: Capabilities,
    /// May it make user namespaces, and containers in them?
    pub nesting: bool,
    /// May its programs use io_uring?
    pub io_uring: bool,
    /// What its users see of each other's processes.
    pub hidepid: HidePid,
    /// AppArmor profile of everything in it, loaded on the host.
    pub apparmor: Option<String>,
    /// SELinux label of everything in it.
    pub selinux: Option<String>,
}

/// `[accounting]`: what is kept of what a guest did, besides the account that
/// every guest has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Accounting {
    /// Does the kernel record each of its processes?
    pub processes: bool,
}

/// What users of a guest see of other users' processes in /proc: the mount
/// option of the same name (proc(5)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HidePid {
    /// All of it.
    #[default]
    Off,
    /// That they are there, and nothing more.
    NoAccess,
    /// Nothing.
    Invisible,
    /// Nothing but of processes that they could trace.
    Ptraceable,
}

/// `[devices]`: which device nodes a guest may use besides those of every
/// guest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Devices {
    /// `PATH` or `PATH RIGHTS`, as systemd's `DeviceAllow=`.
    pub allow: Vec<DeviceRule>,
}

/// Whose ids a guest's users have on the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UserMode {
    /// An own range of 65,536 ids, allocated once.
    #[default]
    Private,
    /// The host's ids 0–65535, in an own user namespace: for file systems
    /// that can't map ids.
    Identity,
    /// The host's ids, no user namespace.
    Host,
}

pub use address::{Address, Machine};
pub use after::Order;
pub use credential::{Credential, CredentialFile, MOST as MOST_CREDENTIALS};
pub use device::DeviceRule;
pub use limits::Limits;
pub use mistakes::mistakes;
pub use mount::{Bind, Mounts, Tmpfs};
pub use neighbours::{Conflict, Neighbours, conflict, conflict_of_own};
pub use network::{Network, NetworkMode};
pub use next::Next;
pub use roots::{is_of_host, lies_in, may_name, real as real_path, root_of};
pub use storage::{Files, Place, Storage, StorageKind};
pub use unify::{Excluded, Unify};

/// `security.capabilities`: changes to the default set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Capabilities {
    /// Names to add, with or without `CAP_`, in any case.
    pub add: Vec<String>,
    /// Names to take away.
    pub drop: Vec<String>,
}

/// Durations are written like "90s" or "1h 30m"; a bare number is seconds.
mod duration {
    use core::fmt;

    use super::Duration;
    use serde::de::{Deserializer, Error, Visitor};
    use serde::ser::Serializer;

    pub(super) fn serialize<S: Serializer>(d: &Duration, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&humantime::format_duration(*d))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
        d.deserialize_any(Written)
    }

    /// Those without a default.
    pub(super) mod optional {
        use super::{Deserializer, Duration, Serializer};

        pub(in super::super) fn serialize<S: Serializer>(
            d: &Option<Duration>,
            s: S,
        ) -> Result<S::Ok, S::Error> {
            match d {
                Some(d) => super::serialize(d, s),
                None => s.serialize_none(),
            }
        }

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
            d: D,
        ) -> Result<Option<Duration>, D::Error> {
            super::deserialize(d).map(Some)
        }
    }

    struct Written;

    impl Visitor<'_> for Written {
        type Value = Duration;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a duration like \"90s\" or \"1m 30s\"")
        }

        fn visit_u64<E: Error>(self, seconds: u64) -> Result<Duration, E> {
            Ok(Duration::from_secs(seconds))
        }

        fn visit_i64<E: Error>(self, seconds: i64) -> Result<Duration, E> {
            let seconds = u64::try_from(seconds);
            seconds.map(Duration::from_secs).map_err(|_| E::custom("a duration can't be negative"))
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
            humantime::parse_duration(text).map_err(|_| {
                E::custom(format_args!(
                    "a duration is written like \"90s\" or \"1m 30s\", not {text:?}"
                ))
            })
        }
    }
}
