//! Options of util-vserver's `vserver build` that scripts still give: what they
//! said stood in files of a guest's directory, and is read as these are.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use shared::name::GuestName;

use super::values;

/// Those that aren't options of this program's own.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Options of util-vserver's")]
pub struct OldBuildArgs {
    /// The interface on which the host answers for the guest's addresses.
    #[arg(long, value_name = "DEV")]
    netdev: Option<String>,
    /// Has no meaning: an address is routed to the guest.
    #[arg(long, value_name = "MASK")]
    netmask: Option<String>,
    /// Has no meaning: an address is routed to the guest.
    #[arg(long, value_name = "LEN")]
    netprefix: Option<String>,
    /// Has no meaning: an address is routed to the guest.
    #[arg(long, value_name = "IP")]
    netbcast: Option<String>,
    /// Flags of its context, such as 'lock,nproc'. Most are every guest's; one
    /// without a counterpart is refused.
    #[arg(long, value_name = "FLAG", value_delimiter = ',')]
    flags: Vec<String>,
    /// Has no meaning: a guest's cgroup has its name.
    #[arg(long, value_name = "NAME")]
    cpuset: Option<String>,
    /// Processors that it may use: 'limits.cpuset'.
    #[arg(long, value_name = "LIST[:excl]")]
    cpusetcpus: Option<String>,
    /// Refused: memory nodes can't be chosen.
    #[arg(long, value_name = "LIST[:excl]")]
    cpusetmems: Option<String>,
    /// Has no meaning: a guest sees the processors that it may use.
    #[arg(long)]
    cpusetvirt: bool,
    /// How it boots: its own files tell. 'minit' is refused.
    #[arg(long, value_name = "STYLE")]
    initstyle: Option<String>,
    /// Directory of guests' roots: the same as '--root DIR/NAME'.
    #[arg(long, value_name = "DIR", conflicts_with = "root", value_parser = values::text_path(), value_hint = ValueHint::DirPath)]
    pub rootdir: Option<PathBuf>,
    /// Refused: a guest's configuration is '/etc/vservers/NAME.toml'.
    #[arg(long, value_name = "DIR")]
    pub confdir: Option<PathBuf>,
    /// Has no meaning: two builds of a guest wait for each other anyway.
    #[arg(long, value_name = "FILE")]
    pub lockfile: Option<PathBuf>,
    /// Has no meaning: what is known of packages is in the guest's own files.
    #[arg(long, value_name = "DIR")]
    pub pkgbase: Option<PathBuf>,
    /// Refused: a build never writes into a directory that is there.
    #[arg(long)]
    pub i_know_its_there: bool,
    /// The guest's name once more, as 'vserver NAME build -n NAME'.
    #[arg(short = 'n', long = "name", value_name = "NAME", value_parser = values::guest)]
    pub again: Option<GuestName>,
    /// What the methods had behind '--'; see `cli/old_method.rs`.
    #[command(flatten)]
    pub method: OldMethodArgs,
}

/// What becomes of arguments of util-vserver's methods that are no option of ours.
#[derive(Clone, Debug, Default, Args)]
pub struct OldMethodArgs {
    /// Has no meaning: the guest's own files tell what it is.
    #[arg(long, value_name = "DIST", hide = true)]
    pub dist: Option<String>,
    /// Has no meaning: device nodes of an archive are left out.
    #[arg(long, hide = true)]
    pub nodevsanity: bool,
    /// Refused: a clone is the whole guest.
    #[arg(long, value_name = "FILE", hide = true)]
    pub exclude_from: Option<PathBuf>,
    /// Refused: debootstrap knows the script of a release.
    #[arg(long, value_name = "SCRIPT", hide = true)]
    pub script: Option<String>,
    /// Refused: packages are named by their paths.
    #[arg(long, value_name = "DIR", hide = true)]
    pub base: Option<PathBuf>,
    /// Refused: a guest without packages is a skeleton.
    #[arg(long, hide = true)]
    pub empty: bool,
}

/// An option that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Its name, as it was typed.
    pub option: &'static str,
    /// The file of util-vserver's directory that says the same.
    pub file: &'static str,
    /// What it says.
    pub text: String,
}

impl OldBuildArgs {
    /// What was given, as files of util-vserver's directory.
    pub fn said(&self) -> Vec<Said> {
        let mut all = Vec::new();
        let mut say = |option, file, text: &str| {
            all.push(Said { option, file, text: text.to_owned() });
        };
        for (option, file, value) in [
            ("--netdev", "interfaces/dev", &self.netdev),
            ("--netmask", "interfaces/mask", &self.netmask),
            ("--netprefix", "interfaces/prefix", &self.netprefix),
            ("--netbcast", "interfaces/bcast", &self.netbcast),
            ("--cpuset", "cpuset/name", &self.cpuset),
            ("--initstyle", "apps/init/style", &self.initstyle),
        ] {
            if let Some(value) = value {
                say(option, file, value);
            }
        }
        for (option, file, exclusive, value) in [
            ("--cpusetcpus", "cpuset/cpus", "cpuset/cpu_exclusive", &self.cpusetcpus),
            ("--cpusetmems", "cpuset/mems", "cpuset/mem_exclusive", &self.cpusetmems),
        ] {
            let Some(value) = value else { continue };
            let (list, is_exclusive) = match value.strip_suffix(":excl") {
                Some(list) => (list, true),
                None => (value.as_str(), false),
            };
            say(option, file, list);
            if is_exclusive {
                say(option, exclusive, "1");
            }
        }
        if self.cpusetvirt {
            say("--cpusetvirt", "cpuset/virtualized", "");
        }
        if !self.flags.is_empty() {
            say("--flags", "flags", &self.flags.join("\n"));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_says_what_its_file_said() {
        let args = OldBuildArgs {
            netdev: Some("eth0".to_owned()),
            flags: vec!["lock".to_owned(), "nproc".to_owned()],
            cpusetcpus: Some("0-1:excl".to_owned()),
            ..OldBuildArgs::default()
        };
        let said = args.said();
        let said = said.iter().map(|said| (said.option, said.file, said.text.as_str()));
        assert_eq!(
            said.collect::<Vec<_>>(),
            [
                ("--netdev", "interfaces/dev", "eth0"),
                ("--cpusetcpus", "cpuset/cpus", "0-1"),
                ("--cpusetcpus", "cpuset/cpu_exclusive", "1"),
                ("--flags", "flags", "lock\nnproc"),
            ]
        );
        assert_eq!(OldBuildArgs::default().said(), []);
    }
}
