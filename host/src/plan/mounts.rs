//! What is mounted in a guest, in order, as data.
//!
//! Targets are relative to the guest's root and are resolved inside it. What
//! covers parts of /proc and /sys comes last.

use crate::config::{GuestConfig, HidePid, Tmpfs, UserMode};

use super::Layer;
use super::masks;

/// One step; `launch` executes them in order. A failure names it by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mount {
    /// A fresh file system; the target directory is made if it is missing.
    New {
        /// Its type, also its source as shown in `/proc/mounts`.
        kind: &'static str,
        /// Where, relative to the root.
        target: &'static str,
        /// Options with values (fsconfig(2)).
        options: &'static [(&'static str, &'static str)],
        /// What it allows.
        access: Access,
    },
    /// /dev, which the host has made and filled with device nodes.
    Devices,
    /// The host's /sys, read-only: the kernel gives nobody a new one who has
    /// no network namespace of their own.
    HostSys,
    /// What the guest's own systemd would mount on /tmp and may not, if it
    /// would.
    Tmp,
    /// One of the host's directories or files.
    Bind {
        /// Its number in the plan.
        number: usize,
        /// Where, relative to the root.
        target: String,
    },
    /// Memory as files, as configured.
    Memory(Tmpfs),
    /// A symbolic link.
    Link {
        /// Where, relative to the root.
        at: &'static str,
        /// What it says.
        to: &'static str,
    },
    /// A directory.
    Directory {
        /// Where, relative to the root.
        at: &'static str,
        /// Its permission bits.
        mode: u32,
    },
    /// A part of an existing mount, read-only from here on, but for some
    /// places below it. What this kernel doesn't have is passed over.
    ReadOnly {
        /// Where, relative to the root.
        target: &'static str,
        /// What stays writable below it.
        except: &'static [&'static str],
    },
    /// A part of an existing mount that can't be opened from here on, or is
    /// empty. What this kernel doesn't have is passed over.
    Hidden(&'static str),
    /// Registers and memory of the machine's devices ([`masks::REGISTERS`]).
    HiddenRegisters,
}

impl Mount {
    /// What the step is about, for error messages.
    pub fn describe(&self) -> String {
        match self {
            Self::New { kind, target, .. } => format!("'{kind}' on '/{target}'"),
            Self::Devices => "'tmpfs' on '/dev'".to_owned(),
            Self::HostSys => "the host's '/sys' on '/sys'".to_owned(),
            Self::Tmp => "'tmpfs' on '/tmp'".to_owned(),
            Self::Bind { target, .. } => format!("the host's on '/{target}'"),
            Self::Memory(tmpfs) => format!("'tmpfs' on '/{}'", tmpfs.target),
            Self::Link { at, .. } => format!("link '/{at}'"),
            Self::Directory { at, .. } => format!("directory '/{at}'"),
            Self::ReadOnly { target, .. } => format!("'/{target}' read-only"),
            Self::Hidden(target) => format!("a cover over '/{target}'"),
            Self::HiddenRegisters => format!("a cover over '/{}'", masks::REGISTERS.target),
        }
    }
}

/// What a mount allows. All are nosuid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Writable, no devices, nothing executable.
    Data,
    /// Read-only, no devices, nothing executable.
    ReadOnly,
    /// Device nodes work; nothing executable.
    Devices,
    /// Programs run; no devices.
    Programs,
}

/// Links in /dev; `ptmx` leads to the guest's own devpts.
const LINKS: [(&str, &str); 5] = [
    ("dev/ptmx", "pts/ptmx"),
    ("dev/fd", "/proc/self/fd"),
    ("dev/stdin", "/proc/self/fd/0"),
    ("dev/stdout", "/proc/self/fd/1"),
    ("dev/stderr", "/proc/self/fd/2"),
];

/// Pseudo-terminals of a guest. All but the host's own devpts share 3,072
/// (`kernel.pty.max` less `kernel.pty.reserve`; the kernel's
/// Documentation/filesystems/devpts.rst): one guest that opens them all would
/// leave none for a session in another.
const TERMINALS: &str = "512";

const SYS: Mount =
    Mount::New { kind: "sysfs", target: "sys", options: &[], access: Access::ReadOnly };

/// The mounts of a guest.
///
/// /proc and /sys come first, while the host's are still visible: in a user
/// namespace the kernel allows new ones only beside a fully visible old one.
///
/// With `nesting` nothing is covered: the kernel would refuse a fresh /proc
/// to the containers inside. A user namespace then keeps the guest's root
/// from what the covers keep from it otherwise.
///
/// With `shares_network` there is no network namespace, and no setting of it
/// that the guest may change.
///
/// What is configured comes when everything that it may lie in is there; of two,
/// what lies in the other comes later.
pub fn plan(config: &GuestConfig, shares_network: bool, without: &[Layer]) -> Vec<Mount> {
    let security = &config.security;
    let options = proc_options(security.hidepid);
    let mut steps = vec![
        Mount::New { kind: "proc", target: "proc", options, access: Access::Data },
        if shares_network { Mount::HostSys } else { SYS },
        Mount::New { kind: "cgroup2", target: "sys/fs/cgroup", options: &[], access: Access::Data },
        Mount::Devices,
        Mount::Directory { at: "dev/pts", mode: 0o755 },
        Mount::New {
            kind: "devpts",
            target: "dev/pts",
            options: &[("mode", "0620"), ("ptmxmode", "0666"), ("gid", "5"), ("max", TERMINALS)],
            access: Access::Devices,
        },
        Mount::Directory { at: "dev/shm", mode: 0o1777 },
        Mount::New {
            kind: "tmpfs",
            target: "dev/shm",
            options: &[("mode", "1777")],
            access: Access::Data,
        },
        Mount::Directory { at: "dev/mqueue", mode: 0o1777 },
        Mount::New { kind: "mqueue", target: "dev/mqueue", options: &[], access: Access::Data },
    ];
    steps.extend(LINKS.map(|(at, to)| Mount::Link { at, to }));
    steps.extend([
        Mount::New {
            kind: "tmpfs",
            target: "run",
            options: &[("mode", "0755"), ("size", "20%")],
            access: Access::Programs,
        },
        Mount::Directory { at: "run/lock", mode: 0o1777 },
        Mount::New {
            kind: "tmpfs",
            target: "run/lock",
            options: &[("mode", "1777"), ("size", "5M")],
            access: Access::Data,
        },
        Mount::Tmp,
    ]);
    steps.extend(configured(config));
    if without.contains(&Layer::Masks) || security.nesting {
        return steps;
    }
    steps.extend(masks::READ_ONLY.map(|mask| {
        let except: &[&str] = match mask.target {
            "proc/sys" => own_settings(shares_network),
            _ => &[],
        };
        Mount::ReadOnly { target: mask.target, except }
    }));
    // First: what it shows again has nothing mounted on it.
    if security.users != UserMode::Private {
        steps.push(Mount::HiddenRegisters);
    }
    steps.extend(masks::HIDDEN.map(|mask| Mount::Hidden(mask.target)));
    steps
}

fn configured(config: &GuestConfig) -> impl Iterator<Item = Mount> {
    let binds = config.mounts.bind.iter().enumerate();
    let binds = binds.map(|(number, bind)| Mount::Bind { number, target: bind.target.clone() });
    let tmpfs = config.mounts.tmpfs.iter().cloned().map(Mount::Memory);
    let mut all: Vec<Mount> = binds.chain(tmpfs).collect();
    all.sort_by_key(|step| match step {
        Mount::Bind { target, .. } | Mount::Memory(Tmpfs { target, .. }) => {
            target.split('/').count()
        }
        _ => 0,
    });
    all.into_iter()
}

/// Those of the network come first.
fn own_settings(shares_network: bool) -> &'static [&'static str] {
    let all: &'static [&'static str] = &masks::OWN_SETTINGS;
    if shares_network { all.get(1..).unwrap_or_default() } else { all }
}

/// proc(5), "Mount options"; by name since Linux 5.8.
fn proc_options(hidepid: HidePid) -> &'static [(&'static str, &'static str)] {
    match hidepid {
        HidePid::Off => &[],
        HidePid::NoAccess => &[("hidepid", "noaccess")],
        HidePid::Invisible => &[("hidepid", "invisible")],
        HidePid::Ptraceable => &[("hidepid", "ptraceable")],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Security;

    #[test]
    fn what_lies_in_another_mount_comes_later() {
        let text = "[mounts]\nbind = [\"/a:/srv/x/y\", \"/b:/srv\"]\ntmpfs = [\"/srv/x\"]\n";
        let config = crate::config::parse::parse(text).unwrap();
        let steps: Vec<String> = configured(&config).map(|step| step.describe()).collect();
        assert_eq!(
            steps,
            ["the host's on '/srv'", "'tmpfs' on '/srv/x'", "the host's on '/srv/x/y'"]
        );
    }

    #[test]
    fn settings_of_a_shared_network_are_read_only() {
        assert!(own_settings(false).contains(&"net"));
        assert!(!own_settings(true).contains(&"net"));
        assert!(own_settings(true).contains(&"fs/mqueue"));
    }

    #[test]
    fn nesting_covers_nothing() {
        let plain = plan(&GuestConfig::default(), false, &[]);
        assert!(plain.contains(&Mount::Hidden("proc/kcore")));
        assert!(!plain.contains(&Mount::HiddenRegisters));
        for users in [UserMode::Identity, UserMode::Host] {
            let security = Security { users, ..Security::default() };
            let config = GuestConfig { security, ..GuestConfig::default() };
            assert!(plan(&config, false, &[]).contains(&Mount::HiddenRegisters), "{users:?}");
        }
        let security = Security { nesting: true, ..Security::default() };
        let nesting = plan(&GuestConfig { security, ..GuestConfig::default() }, false, &[]);
        assert!(!nesting.iter().any(|step| matches!(
            step,
            Mount::Hidden(_) | Mount::HiddenRegisters | Mount::ReadOnly { .. }
        )));
    }
}
