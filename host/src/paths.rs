//! Every path that vserver uses, from one prefix. No other file spells one.

use std::env;
use std::path::{Path, PathBuf};

use shared::name::GuestName;

use crate::variables;

/// Where vserver's files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    prefix: PathBuf,
}

impl Paths {
    /// Paths below `prefix`; `/` for the real ones.
    pub fn new(prefix: impl Into<PathBuf>) -> Self {
        Self { prefix: prefix.into() }
    }

    /// Paths below `$VSERVER_PREFIX`, or the real ones. A relative prefix is
    /// taken from the current directory.
    pub fn from_environment() -> Self {
        let prefix = env::var_os(variables::PREFIX).filter(|value| !value.is_empty());
        let prefix = prefix.map_or_else(|| PathBuf::from("/"), PathBuf::from);
        Self::new(std::path::absolute(&prefix).unwrap_or(prefix))
    }

    /// The prefix itself.
    pub fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// Tells installations on one machine apart: empty for the real paths,
    /// else 8 hexadecimal digits that depend on the prefix only.
    pub fn instance(&self) -> String {
        if self.prefix == Path::new("/") {
            return String::new();
        }
        // FNV-1a (RFC 9923): stable between versions and machines, unlike the
        // standard library's hasher.
        let bytes = self.prefix.as_os_str().as_encoded_bytes();
        let hash = bytes.iter().fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
        });
        format!("{hash:08x}")
    }

    /// `/etc/vservers`: configuration files.
    pub fn config_dir(&self) -> PathBuf {
        self.prefix.join("etc/vservers")
    }

    /// `/etc/vservers/NAME.toml`.
    pub fn config(&self, name: &GuestName) -> PathBuf {
        self.config_dir().join(format!("{name}.toml"))
    }

    /// `/etc/vservers/.NAME.toml.next`: its configuration, as long as it waits for
    /// other files of the guest.
    pub fn next_config(&self, name: &GuestName) -> PathBuf {
        self.config_dir().join(format!(".{name}.toml.next"))
    }

    /// `/etc/vservers/.NAME.toml.renaming`: the name that the guest is being given.
    pub fn renaming(&self, name: &GuestName) -> PathBuf {
        self.config_dir().join(format!(".{name}.toml.renaming"))
    }

    /// `/etc/vservers/NAME.sh`: actions on the host.
    pub fn actions(&self, name: &GuestName) -> PathBuf {
        self.config_dir().join(format!("{name}.sh"))
    }

    /// `/etc/vservers/defaults.toml`: site-wide defaults for every guest.
    pub fn defaults(&self) -> PathBuf {
        self.config_dir().join("defaults.toml")
    }

    /// `/etc/vservers/build.options`: options that every build has.
    pub fn build_options(&self) -> PathBuf {
        self.config_dir().join("build.options")
    }

    /// `/var/lib/vservers`: guests' root directories.
    pub fn roots_dir(&self) -> PathBuf {
        self.prefix.join("var/lib/vservers")
    }

    /// `/var/lib/vservers/NAME`: a guest's root unless configured otherwise.
    pub fn root(&self, name: &GuestName) -> PathBuf {
        self.roots_dir().join(name.as_str())
    }

    /// `/var/lib/vserver`: id ranges, guest-init.
    pub fn state_dir(&self) -> PathBuf {
        self.prefix.join("var/lib/vserver")
    }

    /// `/var/lib/vserver/usage`: what guests have used.
    pub fn usage_dir(&self) -> PathBuf {
        self.state_dir().join("usage")
    }

    /// `/run/vserver/.usage-NAME.json`: the account of a guest, while there is no
    /// room where it belongs. No guest's name begins with a dot.
    pub fn usage_aside(&self, name: &GuestName) -> PathBuf {
        self.run_dir().join(format!(".usage-{name}.json"))
    }

    /// `/var/lib/vserver/usage/NAME.pacct`: where the kernel records a guest's
    /// processes.
    pub fn process_records(&self, name: &GuestName) -> PathBuf {
        self.usage_dir().join(format!("{name}.pacct"))
    }

    /// `/var/lib/vserver/ids.toml`: contexts and id ranges, each a guest's
    /// for as long as it exists.
    pub fn ids(&self) -> PathBuf {
        self.state_dir().join("ids.toml")
    }

    /// `/var/lib/vserver/.ids.lock`: serialises changes of [`Paths::ids`].
    pub fn ids_lock(&self) -> PathBuf {
        self.state_dir().join(".ids.lock")
    }

    /// `/var/lib/vserver/.configurations.lock`: serialises changes of configurations.
    pub fn configurations_lock(&self) -> PathBuf {
        self.state_dir().join(".configurations.lock")
    }

    /// `/var/lib/vserver/supervisors/NAME`: whoever has locked it is the guest's
    /// supervisor, also when somebody has emptied `/run`.
    pub fn supervisor_lock(&self, name: &GuestName) -> PathBuf {
        self.state_dir().join("supervisors").join(name.as_str())
    }

    /// `/run/vserver`: what is lost at a reboot of the host.
    pub fn run_dir(&self) -> PathBuf {
        self.prefix.join("run/vserver")
    }

    /// `/run/vserver/NAME`: a running guest's sockets and state.
    pub fn guest_run_dir(&self, name: &GuestName) -> PathBuf {
        self.run_dir().join(name.as_str())
    }

    /// `/run/vserver/.lock-NAME`: serialises commands on one guest.
    pub fn lock(&self, name: &GuestName) -> PathBuf {
        self.run_dir().join(format!(".lock-{name}"))
    }

    /// `/var/lib/vserver/.starts.lock`: whoever has locked it takes addresses, or attaches
    /// what all guests share. No directory, which any user of the host may open and lock.
    pub fn starts_lock(&self) -> PathBuf {
        self.state_dir().join(".starts.lock")
    }

    /// `/run/vserver/.move-NAME`: whoever has locked it moves the guest to another
    /// host; signed, when the guest is down here for that.
    pub fn move_lock(&self, name: &GuestName) -> PathBuf {
        self.run_dir().join(format!(".move-{name}"))
    }

    /// `/run/vserver/.rest-NAME`: whoever has locked it is at work with the files of
    /// the guest, which is down, and keeps its supervisor from booting it.
    pub fn rest_lock(&self, name: &GuestName) -> PathBuf {
        self.run_dir().join(format!(".rest-{name}"))
    }

    /// `/run/vserver/.contexts`: one file for each running context that is no
    /// guest. No guest's name begins with a dot.
    pub fn contexts_dir(&self) -> PathBuf {
        self.run_dir().join(".contexts")
    }

    /// `/var/log/vserver`: console logs.
    pub fn log_dir(&self) -> PathBuf {
        self.prefix.join("var/log/vserver")
    }

    /// `/var/log/vserver/NAME.log`.
    pub fn log(&self, name: &GuestName) -> PathBuf {
        self.log_dir().join(format!("{name}.log"))
    }

    /// `/var/log/vserver/NAME.supervisor.log`.
    pub fn supervisor_log(&self, name: &GuestName) -> PathBuf {
        self.log_dir().join(format!("{name}.supervisor.log"))
    }

    /// `/var/log/vserver/NAME.boots`: where the logs of its boots begin.
    pub fn boots(&self, name: &GuestName) -> PathBuf {
        self.log_dir().join(format!("{name}.boots"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_prefixes_have_two_instances() {
        assert_eq!(Paths::new("/").instance(), "");
        assert_ne!(Paths::new("/a").instance(), Paths::new("/b").instance());
        assert_eq!(Paths::new("/a").instance().len(), 8);
    }
}
