//! Arguments of what makes a guest out of another one, or carries one away.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum, ValueHint};
use shared::name::{ContextId, GuestName};

use super::args::Shutdown;
use super::values;
use crate::config_import::Format;
use crate::copying::Place;
use crate::snapshot::SnapshotName;

/// `vserver clone`.
#[derive(Clone, Debug, Args)]
pub struct CloneArgs {
    /// The guest that is copied; it is stopped, or has a '--snapshot'.
    #[arg(value_name = "NAME", value_parser = values::guest)]
    pub source: GuestName,
    /// Name of the new guest.
    #[arg(value_name = "NEW", value_parser = values::guest)]
    pub name: GuestName,
    /// Its number, 2 to 49151; allocated when not given.
    #[arg(long, value_name = "N", value_parser = values::context)]
    pub context: Option<ContextId>,
    /// Its host name; its name when not given.
    #[arg(long)]
    pub hostname: Option<String>,
    /// An address of its own; may be given several times. It has none when not
    /// given: those of the other guest stay that guest's.
    #[arg(long, value_name = "IP[/LEN]")]
    pub address: Vec<String>,
    /// Directory of its root; a new one below /var/lib/vservers when not
    /// given.
    #[arg(long, value_name = "DIR", value_parser = values::text_path(), value_hint = ValueHint::DirPath)]
    pub root: Option<PathBuf>,
    /// Copy the files of this snapshot; then the other guest may run.
    #[arg(long)]
    pub snapshot: Option<SnapshotName>,
    /// As what its files lie on this host.
    #[command(flatten)]
    pub store: super::StoreArgs,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// `vserver rename`.
#[derive(Clone, Debug, Args)]
pub struct RenameArgs {
    /// The guest; it is stopped.
    #[arg(value_name = "OLD", value_parser = values::guest)]
    pub old: GuestName,
    /// Its new name.
    #[arg(value_name = "NEW", value_parser = values::guest)]
    pub new: GuestName,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// `vserver export`.
#[derive(Clone, Debug, Args)]
pub struct ExportArgs {
    /// The guest; it is stopped.
    #[arg(value_name = "NAME", value_parser = values::guest)]
    pub name: GuestName,
    /// The file that is written; '-' is standard output.
    pub file: PathBuf,
    /// How much zstd tries, 1 to 19.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(i32).range(1..=19))]
    pub level: i32,
    /// Replace a file that exists; a device or a link is never replaced.
    #[arg(long)]
    pub force: bool,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// `vserver import`.
#[derive(Clone, Debug, Args)]
pub struct ImportArgs {
    /// The file; '-' is standard input.
    pub file: PathBuf,
    /// Name of the guest here; the one it had when not given.
    #[arg(value_name = "NAME", value_parser = values::guest)]
    pub name: Option<GuestName>,
    /// Its number, 2 to 49151; the one it had, if that is free, when not given.
    #[arg(long, value_name = "N", value_parser = values::context)]
    pub context: Option<ContextId>,
    /// Its host name; the one it had when not given.
    #[arg(long)]
    pub hostname: Option<String>,
    /// Its address here; may be given several times. Those it had when not
    /// given.
    #[arg(long, value_name = "IP[/LEN]")]
    pub address: Vec<String>,
    /// Directory of its root; a new one below /var/lib/vservers when not
    /// given.
    #[arg(long, value_name = "DIR", value_parser = values::text_path(), value_hint = ValueHint::DirPath)]
    pub root: Option<PathBuf>,
    /// It is a copy: another context, host name, machine-id and ssh host keys.
    #[arg(long)]
    pub new_identity: bool,
    /// As what its files lie here.
    #[command(flatten)]
    pub store: super::StoreArgs,
    /// Take over its actions, which the host runs as root, credentials that are
    /// files of this host, and that it is started with the host, whatever it has of that.
    #[arg(long)]
    pub actions: bool,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// `vserver move`.
#[derive(Clone, Debug, Args)]
pub struct MoveArgs {
    /// The guest.
    #[arg(value_parser = values::guest)]
    pub name: GuestName,
    /// To which host, as ssh knows it: HOST or USER@HOST.
    #[arg(value_name = "HOST", value_parser = values::ssh_host)]
    pub host: String,
    /// Its name there; the same when not given.
    #[arg(value_name = "NEW", value_parser = values::guest)]
    pub new: Option<GuestName>,
    /// Its number there, 2 to 49151; the one it has, if that is free there,
    /// when not given.
    #[arg(long, value_name = "N", value_parser = values::context)]
    pub context: Option<ContextId>,
    /// Its address there; may be given several times. Those it has when not
    /// given.
    #[arg(long, value_name = "IP[/LEN]")]
    pub address: Vec<String>,
    /// As what its files lie there.
    #[command(flatten)]
    pub store: super::StoreArgs,
    /// Take its actions along, which the other host runs as root, credentials
    /// that are files of the other host, and that it is started with that host,
    /// whatever it has of it.
    #[arg(long)]
    pub actions: bool,
    /// Delete it here when it is there.
    #[arg(long)]
    pub delete: bool,
    /// Don't start it there, though it runs here.
    #[arg(long)]
    pub no_start: bool,
    /// How it is stopped here.
    #[command(flatten)]
    pub shutdown: Shutdown,
    /// An option of ssh_config(5), such as 'Port=2222'; may be given several
    /// times.
    #[arg(long, value_name = "OPTION")]
    pub ssh_option: Vec<String>,
    /// What vserver is called there.
    #[arg(long, value_name = "PROGRAM", default_value = "vserver")]
    pub vserver: String,
    /// Ask the other host whether it takes the guest, and do nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// `vserver cp`.
#[derive(Clone, Debug, Args)]
pub struct CpArgs {
    /// What is copied, one or more, and last to where: GUEST:PATH, or a path of
    /// the host's. '-' as the host's side is an archive of tar's: from standard
    /// input, or to standard output.
    #[arg(
        required = true,
        num_args = 2..,
        value_names = ["SRC", "DST"],
        value_hint = ValueHint::AnyPath,
        value_parser = values::place()
    )]
    pub places: Vec<Place>,
    /// Keep owners, set-user-id bits, access lists and capabilities, and, out
    /// of a guest, device nodes.
    #[arg(long, short)]
    pub archive: bool,
    /// Leave files that exist as they are.
    #[arg(long, short)]
    pub no_clobber: bool,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// `vserver snapshot`.
#[derive(Clone, Debug, Args)]
pub struct SnapshotArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: SnapshotAction,
}

/// What to do with snapshots.
#[derive(Clone, Debug, Subcommand)]
pub enum SnapshotAction {
    /// Copy the files of a guest.
    #[command(after_help = super::help::SNAPSHOT_CREATE)]
    Create {
        /// Which guest.
        #[arg(value_parser = values::guest)]
        name: GuestName,
        /// Name of the snapshot; the time when not given.
        snapshot: Option<SnapshotName>,
        /// Say what would be done, and do nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Show the snapshots of a guest.
    #[command(after_help = super::help::SNAPSHOT_LIST)]
    List {
        /// Which guest.
        #[arg(value_parser = values::guest)]
        name: GuestName,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Put a copy of a snapshot in the place of a stopped guest's files.
    #[command(after_help = super::help::SNAPSHOT_RESTORE)]
    Restore {
        /// Which guest; it is stopped.
        #[arg(value_parser = values::guest)]
        name: GuestName,
        /// Which snapshot; it is kept.
        snapshot: SnapshotName,
        /// Don't ask.
        #[arg(long, short)]
        yes: bool,
        /// Say what would be done, and do nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Delete a snapshot.
    #[command(after_help = super::help::SNAPSHOT_DELETE)]
    Delete {
        /// Which guest.
        #[arg(value_parser = values::guest)]
        name: GuestName,
        /// Which snapshot.
        snapshot: SnapshotName,
        /// Don't ask.
        #[arg(long, short)]
        yes: bool,
        /// Say what would be done, and do nothing.
        #[arg(long)]
        dry_run: bool,
    },
}

/// `vserver config import`.
#[derive(Clone, Debug, Args)]
pub struct ConfigImportArgs {
    /// Their file, or the directory that holds it.
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
    /// Name of the guest; as it was called when not given.
    #[arg(long, value_name = "NAME", value_parser = values::guest)]
    pub name: Option<GuestName>,
    /// Whose it is; told by what it holds when not given.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Origin::Auto)]
    pub from: Origin,
    /// The guest's files, to be used where they are. Without it 'vserver build'
    /// copies them afterwards.
    #[arg(long, value_name = "DIR", value_parser = values::text_path(), value_hint = ValueHint::DirPath)]
    pub root: Option<PathBuf>,
    /// Print the configuration instead of writing it.
    #[arg(long)]
    pub dry_run: bool,
    /// As JSON: the configuration, and every setting with what became of it.
    #[arg(long)]
    pub json: bool,
}

/// Whose a configuration is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Origin {
    /// Told by what it holds.
    Auto,
    /// util-vserver's NAME.conf.
    Legacy,
    /// util-vserver's directory.
    Directory,
    /// LXC's config.
    Lxc,
    /// systemd-nspawn's NAME.nspawn.
    Nspawn,
    /// OpenVZ's CTID.conf.
    Openvz,
    /// What 'incus query /1.0/instances/NAME' prints, or LXD's 'lxc query'; or
    /// 'backup.yaml', or a backup's 'index.yaml'.
    Incus,
}

impl Origin {
    /// The format that was asked for.
    pub fn format(self) -> Option<Format> {
        match self {
            Self::Auto => None,
            Self::Legacy => Some(Format::Legacy),
            Self::Directory => Some(Format::Directory),
            Self::Lxc => Some(Format::Lxc),
            Self::Nspawn => Some(Format::Nspawn),
            Self::Openvz => Some(Format::Openvz),
            Self::Incus => Some(Format::Incus),
        }
    }
}
