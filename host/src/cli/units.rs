//! Arguments of what has to do with units of systemd, and with supervisors.

use std::path::PathBuf;

use clap::Args;
use shared::name::GuestName;
use uuid::Uuid;

use super::args::Guests;
use super::values;

/// `vserver supervise`.
#[derive(Clone, Debug, Args)]
pub struct SuperviseArgs {
    /// Which guest.
    #[arg(value_parser = values::guest)]
    pub name: GuestName,
    /// As what.
    #[command(flatten)]
    pub role: SuperviseRole,
    /// Only take over a guest that runs.
    #[arg(long, visible_alias = "adopt")]
    pub take_over: bool,
    /// Stay in the caller's cgroup: it waits for the guest's end.
    #[arg(long)]
    pub foreground: bool,
    /// Boot nothing: a context for sessions, which ends with the last one.
    #[arg(long, conflicts_with = "rescue")]
    pub idle: bool,
    /// With --machined: host pid of the machine's leader, if it runs.
    #[arg(long, value_name = "PID", requires = "machined", requires = "root")]
    pub leader: Option<u32>,
    /// Start a leader beside this PID 1, which doesn't understand machinectl(1); its
    /// supervisor calls this.
    #[arg(long, value_name = "PID")]
    pub lead: Option<i32>,
    /// With --machined: the guest's root directory.
    #[arg(long, value_name = "DIR", requires = "leader")]
    pub root: Option<PathBuf>,
    /// With --machined: what the guest is told that its id as a machine is.
    #[arg(long, requires = "leader")]
    pub uuid: Option<Uuid>,
    /// Run this command instead of the boot; takes the rest of the line.
    #[arg(long, value_name = "CMD", num_args = 1.., allow_hyphen_values = true)]
    pub rescue: Option<Vec<String>>,
}

/// What a unit of systemd calls `vserver supervise` for.
#[derive(Clone, Copy, Debug, Default, Args)]
#[group(multiple = false)]
pub struct SuperviseRole {
    /// The unit's own process.
    #[arg(long)]
    pub unit: bool,
    /// Watch over the supervisor, where systemd can't.
    #[arg(long)]
    pub guard: bool,
    /// The supervisor that has such a guard.
    #[arg(long)]
    pub guarded: bool,
    /// The unit is stopped: shut the guest down.
    #[arg(long)]
    pub stop_unit: bool,
    /// The unit has ended: remove what a stop has left.
    #[arg(long)]
    pub unit_stopped: bool,
    /// Tell systemd-machined of the guest; its supervisor calls this.
    #[arg(long)]
    pub machined: bool,
}

/// `vserver enable`.
#[derive(Clone, Debug, Args)]
pub struct EnableArgs {
    /// Which guests.
    #[command(flatten)]
    pub guests: Guests,
    /// Start them as well.
    #[arg(long)]
    pub now: bool,
}

/// `vserver disable`.
#[derive(Clone, Debug, Args)]
pub struct DisableArgs {
    /// Which guests.
    #[command(flatten)]
    pub guests: Guests,
    /// Stop them as well.
    #[arg(long)]
    pub now: bool,
}

/// `vserver reload`.
#[derive(Clone, Debug, Args)]
pub struct ReloadArgs {
    /// Which guests.
    #[command(flatten)]
    pub guests: Guests,
}

/// `vserver reexec`.
#[derive(Clone, Debug, Args)]
pub struct ReexecArgs {
    /// Which guests.
    #[command(flatten)]
    pub guests: Guests,
}

/// `vserver generate`: the three directories of systemd.generator(7).
#[derive(Clone, Debug, Args)]
pub struct GenerateArgs {
    /// For what is between the administrator's units and the vendor's.
    #[arg(value_name = "NORMAL")]
    pub normal: PathBuf,
    /// Nothing goes there.
    #[arg(value_name = "EARLY")]
    pub early: Option<PathBuf>,
    /// Nothing goes there.
    #[arg(value_name = "LATE")]
    pub late: Option<PathBuf>,
}
