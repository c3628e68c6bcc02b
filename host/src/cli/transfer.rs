//! Arguments of what makes a guest out of another one, or carries one away.

use std::path::PathBuf;

use clap::Args;
use shared::name::{ContextId, GuestName};

use super::values;

/// `vserver clone`.
#[derive(Clone, Debug, Args)]
pub struct CloneArgs {
    /// The guest that is copied; it is stopped.
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
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
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
