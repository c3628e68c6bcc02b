//! The root file systems that tests boot, made by tests/setup.

use std::env;
use std::path::{Path, PathBuf};

/// A root file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tree {
    /// Debian 12 with sysvinit, cron and sshd.
    Bookworm,
    /// Debian 13 with sysvinit, cron and sshd.
    Trixie,
    /// Debian 12 with systemd, cron and sshd.
    Systemd,
    /// Debian 13 with systemd, cron and sshd.
    SystemdTrixie,
    /// Debian 12 with sysvinit and what customers run: web, mail, database and
    /// name servers.
    Services,
    /// Two megabytes: busybox as init and as everything else.
    Busybox,
    /// Debian 12 with runit.
    Runit,
    /// Debian 12 with OpenRC under sysvinit.
    Openrc,
    /// Debian 12 with finit.
    Finit,
    /// Debian 12 with s6 beside sysvinit, and nothing that boots with it.
    S6,
    /// What `vserver build --method copy` takes from this host.
    Copy,
}

impl Tree {
    /// Its name, as in tests/trees.sh.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
            Self::Systemd => "systemd",
            Self::SystemdTrixie => "systemd_trixie",
            Self::Services => "services",
            Self::Busybox => "busybox",
            Self::Runit => "runit",
            Self::Openrc => "openrc",
            Self::Finit => "finit",
            Self::S6 => "s6",
            Self::Copy => "copy",
        }
    }

    /// Is it a Debian with sysvinit's tools?
    pub fn is_debian(self) -> bool {
        matches!(self, Self::Bookworm | Self::Trixie)
    }

    /// The archive of it.
    ///
    /// # Panics
    /// When it hasn't been made, and for [`Tree::Copy`], which has none.
    pub fn archive(self) -> PathBuf {
        assert!(self != Self::Copy, "the copy tree is made by vserver itself");
        archive(self.name())
    }
}

/// The archive of this name that tests/setup has made.
///
/// # Panics
/// When it hasn't.
pub fn archive(name: &str) -> PathBuf {
    cached(&format!("{name}.tar"))
}

/// A program of a package that tests/setup has unpacked without installing
/// it, by its path there: `acct/usr/bin/lastcomm`.
///
/// # Panics
/// When it hasn't.
pub fn unpacked(path: &str) -> PathBuf {
    cached(path)
}

fn cached(path: &str) -> PathBuf {
    let cache = env::var_os("VSERVER_TEST_CACHE").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache"));
    let found = cache.join(path);
    assert!(found.exists(), "{found:?} is missing; run as root: tests/setup");
    found
}
