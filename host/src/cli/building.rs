//! The arguments of `vserver build`.
//!
//! Plain data: what was typed, in types that hold only what is allowed.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};
use shared::name::{ContextId, GuestName};

use super::values;
use crate::config::Address;

/// `vserver build`.
#[derive(Clone, Debug, Args)]
pub struct BuildArgs {
    /// Name of the new guest.
    #[arg(value_parser = values::guest)]
    pub name: GuestName,
    /// Where its files come from.
    #[arg(short, long, value_enum, default_value_t = Method::Copy)]
    pub method: Method,
    /// Its number, 2 to 49151; allocated when not given.
    #[arg(long, value_name = "N", value_parser = values::context)]
    pub context: Option<ContextId>,
    /// Its host name; its name when not given.
    #[arg(long)]
    pub hostname: Option<String>,
    /// Directory of its root; a new one below /var/lib/vservers when not
    /// given.
    #[arg(long, value_name = "DIR", value_parser = values::text_path(), value_hint = ValueHint::DirPath)]
    pub root: Option<PathBuf>,
    /// As what its files lie on this host.
    #[command(flatten)]
    pub store: super::StoreArgs,
    /// debootstrap, dnf, apk: the distribution's release, such as 'trixie'.
    #[arg(short, long)]
    pub suite: Option<String>,
    /// debootstrap, dnf, apk: where packages come from; the host's own sources
    /// when not given.
    #[arg(long, value_name = "URL")]
    pub mirror: Option<String>,
    /// debootstrap, apk: sections of the archive, such as 'main,contrib'; those of
    /// the host's own sources when not given.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub components: Vec<String>,
    /// debootstrap: the tool's name for a choice of packages, such as
    /// 'buildd'; 'minbase' when not given.
    #[arg(long, value_name = "NAME")]
    pub variant: Option<String>,
    /// debootstrap, dnf: file of the keys that the release must be signed with;
    /// apk: directory of them. The host's when not given.
    #[arg(long, value_name = "FILE")]
    pub keyring: Option<PathBuf>,
    /// Further packages. copy: of the host's; debootstrap, dnf, pacstrap, apk:
    /// installed with the others; else by the guest's own package manager inside it, over its
    /// network, for which it needs an '--address'.
    #[arg(long, visible_alias = "include", value_name = "PACKAGE", value_delimiter = ',')]
    pub packages: Vec<String>,
    /// A script of the host's that is run inside, as the guest's root and held
    /// as the guest is, when everything else is done. If it fails, there is no
    /// guest.
    #[arg(long, value_name = "FILE")]
    pub run_script: Option<PathBuf>,
    /// File whose first line is root's password.
    #[arg(long, value_name = "FILE", conflicts_with = "root_password")]
    pub root_password_file: Option<PathBuf>,
    /// root's password. Users of this host can see it while the build runs:
    /// better use '--root-password-file'.
    #[arg(long, value_name = "PASSWORD")]
    pub root_password: Option<String>,
    /// File of a public key with which root may log in by ssh; may be given
    /// several times. Keys that came with the guest's files are removed then.
    #[arg(long, value_name = "FILE")]
    pub ssh_key: Vec<PathBuf>,
    /// An address of its own; may be given several times.
    #[arg(long, value_name = "IP[/LEN]")]
    pub address: Vec<Address>,
    /// The same as util-vserver wrote it. Device and mask don't count: an
    /// address is routed to the guest.
    #[arg(
        long,
        value_name = "[SUFFIX=][DEV:]IP[/MASK]",
        value_parser = values::interface
    )]
    pub interface: Vec<Address>,
    /// template: the archive, tar or cpio, plain or compressed with gzip,
    /// bzip2, xz, zstd or lz4; '-' reads it from standard input. May be given
    /// several times: each is laid over those before it. directory:
    /// a guest's root, or what holds it. rsync: as rsync writes it, such as
    /// 'host:/'. oci: a layout directory or an archive of one, as PATH or
    /// PATH:TAG. clone: a guest's name. rpm: a package, or a manifest: a file that lists packages; may
    /// be given several times.
    #[arg(
        long,
        alias = "source",
        value_name = "PATH",
        required_if_eq_any(["template", "directory", "rsync", "oci", "clone"].map(|name| ("method", name)))
    )]
    pub from: Vec<PathBuf>,
    /// template, directory: by how much owners are shifted for a user
    /// namespace, such as 100000, or 0; told by the root's owner when not
    /// given.
    #[arg(long, value_name = "N", value_parser = values::shift)]
    pub shift: Option<u32>,
    /// Set root and configuration of an existing guest of this name aside, as
    /// NAME.~TIME~.
    #[arg(long)]
    pub force: bool,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// If the build fails, leave what there is of the files, as ROOT.~TIME~.
    #[arg(long)]
    pub keep: bool,
    /// What util-vserver's had more.
    #[command(flatten)]
    pub old: super::OldBuildArgs,
    /// debootstrap, dnf, rpm, pacstrap, apk, rsync: handed to the tool as they are.
    #[arg(value_name = "OPTION", last = true)]
    pub options: Vec<OsString>,
}

impl BuildArgs {
    /// Which of the options are given for which some methods have no use
    /// ([`Method::has_use_for`]).
    pub fn given(&self) -> impl Iterator<Item = &'static str> {
        let all = [
            ("suite", self.suite.is_some()),
            ("mirror", self.mirror.is_some()),
            ("components", !self.components.is_empty()),
            ("variant", self.variant.is_some()),
            ("keyring", self.keyring.is_some()),
            ("packages", !self.packages.is_empty()),
            ("run_script", self.run_script.is_some()),
            ("root_password_file", self.root_password_file.is_some()),
            ("root_password", self.root_password.is_some()),
            ("ssh_key", !self.ssh_key.is_empty()),
            ("from", !self.from.is_empty()),
            ("shift", self.shift.is_some()),
            ("force", self.force),
            ("keep", self.keep),
        ];
        all.into_iter().filter(|(_, is_given)| *is_given).map(|(option, _)| option)
    }
}

impl Method {
    /// Does an option of [`BuildArgs`], by its field's name, mean something to it?
    pub fn has_use_for(self, option: &str) -> bool {
        use Method::{
            Apk, Clone, Debootstrap, Directory, Dnf, Oci, Rpm, Rsync, Skeleton, Template,
        };
        if self.is_refused() {
            return true;
        }
        match option {
            "suite" | "mirror" | "keyring" => matches!(self, Debootstrap | Dnf | Apk),
            "components" => matches!(self, Debootstrap | Apk),
            "variant" => self == Debootstrap,
            "from" => matches!(self, Template | Directory | Rsync | Oci | Clone | Rpm),
            "shift" => matches!(self, Template | Directory),
            "packages" => !matches!(self, Rpm | Skeleton | Clone),
            "run_script" => !matches!(self, Skeleton | Clone),
            "root_password_file" | "root_password" | "ssh_key" | "force" | "keep" => self != Clone,
            _ => true,
        }
    }

    /// Those that have a use for an option.
    pub fn with_use_for(option: &str) -> impl Iterator<Item = Self> {
        let all = Self::value_variants().iter().copied();
        all.filter(move |method| !method.is_refused() && method.has_use_for(option))
    }

    /// Is it one of util-vserver's that this program hasn't?
    pub fn is_refused(self) -> bool {
        matches!(self, Self::AptRpm | Self::Fai | Self::Poldek | Self::Urpmi)
    }
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.to_possible_value().map_or(Ok(()), |value| f.write_str(value.get_name()))
    }
}

/// Where a new guest's files come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Method {
    /// This host's own packages, without its data.
    #[value(alias = "legacy")]
    Copy,
    /// mmdebstrap or debootstrap.
    Debootstrap,
    /// dnf, for Fedora and what comes from it.
    #[value(alias = "yum")]
    Dnf,
    /// rpm, from packages that are here.
    Rpm,
    /// pacstrap, for Arch.
    Pacstrap,
    /// apk, for Alpine.
    Apk,
    /// Archives, tar or cpio.
    Template,
    /// A directory of another manager's, or a plain one, that is or holds a
    /// guest's root.
    Directory,
    /// Another machine, by rsync over ssh.
    Rsync,
    /// An image of the Open Container Initiative: a layout or an archive.
    Oci,
    /// Another guest: what 'vserver clone' does.
    Clone,
    /// Empty directories and vserver's own few files.
    Skeleton,
    /// util-vserver's, by a tool that this has no method for: refused.
    #[value(hide = true)]
    AptRpm,
    /// Likewise.
    #[value(hide = true)]
    Fai,
    /// Likewise.
    #[value(hide = true)]
    Poldek,
    /// Likewise.
    #[value(hide = true)]
    Urpmi,
}
