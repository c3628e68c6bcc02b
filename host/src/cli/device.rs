//! Arguments of `vserver device`.

use clap::{Args, Subcommand};
use shared::name::GuestName;

use super::values;

/// `vserver device`.
#[derive(Clone, Debug, Args)]
pub struct DeviceArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: DeviceAction,
}

/// What to do with devices.
#[derive(Clone, Debug, Subcommand)]
pub enum DeviceAction {
    /// Give a guest a device of the host's: at once if it runs, and from its
    /// next start on.
    #[command(after_help = super::help::DEVICE_ADD)]
    Add {
        /// Which guest.
        #[arg(value_parser = values::guest)]
        name: GuestName,
        /// The host's node, below /dev; the guest gets one of the same name.
        #[arg(value_name = "PATH")]
        path: String,
        /// What it may do: r to read, w to write, m to make nodes of it.
        #[arg(value_name = "RIGHTS", default_value = "rw")]
        rights: String,
        /// Only until the running guest's next boot; its file stays as it is.
        #[arg(long)]
        runtime: bool,
    },
    /// Take a device from a guest. What has it open keeps it open.
    #[command(after_help = super::help::DEVICE_REMOVE)]
    Remove {
        /// Which guest.
        #[arg(value_parser = values::guest)]
        name: GuestName,
        /// Its name below /dev.
        #[arg(value_name = "PATH")]
        path: String,
        /// Only until the running guest's next boot; its file stays as it is.
        #[arg(long)]
        runtime: bool,
    },
    /// Show the devices that a guest has beyond what every guest has.
    #[command(after_help = super::help::DEVICE_LIST)]
    List {
        /// Which guest.
        #[arg(value_parser = values::guest)]
        name: GuestName,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}
