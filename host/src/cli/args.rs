//! The arguments of each verb.
//!
//! Plain data: what was typed, in types that hold only what is allowed.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use shared::name::GuestName;

use super::transfer::ConfigImportArgs;
use super::values;

/// One or more guests, by name or by choice.
#[derive(Clone, Debug, Default, Args)]
#[group(required = true, multiple = false)]
pub struct Guests {
    /// Names of guests.
    #[arg(value_name = "NAME", value_parser = values::guest)]
    pub names: Vec<GuestName>,
    /// All guests.
    #[arg(long)]
    pub all: bool,
    /// All guests that are started with the host.
    #[arg(long)]
    pub enabled: bool,
    /// All guests with this mark; may be given several times.
    #[arg(long, value_name = "MARK")]
    pub mark: Vec<String>,
}

/// How long a shutdown may take and how it ends.
#[derive(Clone, Debug, Default, Args)]
pub struct Shutdown {
    /// Fail rather than kill what doesn't end by itself.
    #[arg(long)]
    pub no_kill: bool,
    /// Seconds (or '2m') until what remains is killed; the guest's
    /// 'boot.stop_timeout' when not given.
    #[arg(long, value_name = "S", allow_negative_numbers = true, value_parser = values::duration)]
    pub timeout: Option<Duration>,
}

/// `vserver start`.
#[derive(Clone, Debug, Args)]
pub struct StartArgs {
    /// Which guests.
    #[command(flatten)]
    pub guests: Guests,
    /// Stay in the foreground as the guest's supervisor.
    #[arg(long, conflicts_with_all = ["all", "enabled", "mark", "no_wait"])]
    pub foreground: bool,
    /// Don't wait until the guest has reached its runlevel.
    #[arg(long)]
    pub no_wait: bool,
    /// Seconds (or '2m') until a guest that isn't up is no longer waited for, which
    /// then goes on booting. When not given, of several guests each is waited for
    /// while something happens within five minutes, and for half an hour in all; one
    /// alone until it is up.
    #[arg(
        long,
        value_name = "S",
        allow_negative_numbers = true,
        value_parser = values::duration,
        conflicts_with_all = ["foreground", "no_wait"]
    )]
    pub timeout: Option<Duration>,
    /// Forget everything that is written in the guest when it is down again.
    /// Its reboots don't: it is forgotten when it stops.
    #[arg(long)]
    pub ephemeral: bool,
    /// Run this command instead of the boot; takes the rest of the line.
    #[arg(
        long,
        value_name = "CMD",
        num_args = 1..,
        allow_hyphen_values = true,
        conflicts_with_all = ["all", "enabled", "mark"]
    )]
    pub rescue: Option<Vec<String>>,
    /// Show the plan, and do nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// `vserver stop`.
#[derive(Clone, Debug, Args)]
pub struct StopArgs {
    /// Which guests.
    #[command(flatten)]
    pub guests: Guests,
    /// How.
    #[command(flatten)]
    pub shutdown: Shutdown,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// `vserver restart` and `vserver condrestart`.
#[derive(Clone, Debug, Args)]
pub struct RestartArgs {
    /// Which guests.
    #[command(flatten)]
    pub guests: Guests,
    /// How they are stopped.
    #[command(flatten)]
    pub shutdown: Shutdown,
    /// Don't wait until the guest has reached its runlevel.
    #[arg(long)]
    pub no_wait: bool,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// `vserver reboot`.
#[derive(Clone, Debug, Args)]
pub struct RebootArgs {
    /// Which guests.
    #[command(flatten)]
    pub guests: Guests,
    /// How they are stopped.
    #[command(flatten)]
    pub shutdown: Shutdown,
    /// Don't wait until the guest has reached its runlevel.
    #[arg(long)]
    pub no_wait: bool,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// `vserver enter`.
#[derive(Clone, Debug, Args)]
pub struct EnterArgs {
    /// Which guest.
    #[arg(value_parser = values::guest)]
    pub name: GuestName,
    /// One of the guest's users, by name or number; root when not given.
    #[arg(short, long)]
    pub user: Option<String>,
}

/// `vserver exec`.
#[derive(Clone, Debug, Args)]
pub struct ExecArgs {
    /// Which guest.
    #[arg(value_parser = values::guest)]
    pub name: GuestName,
    /// The command and its arguments.
    #[arg(value_name = "CMD", required = true, trailing_var_arg = true)]
    pub command: Vec<OsString>,
}

/// `vserver suexec`.
#[derive(Clone, Debug, Args)]
pub struct SuexecArgs {
    /// One of the guest's users, by name or number.
    pub user: String,
    /// Which guest.
    #[arg(value_parser = values::guest)]
    pub name: GuestName,
    /// The command and its arguments.
    #[arg(value_name = "CMD", required = true, trailing_var_arg = true)]
    pub command: Vec<OsString>,
}

/// `vserver console`.
#[derive(Clone, Debug, Args)]
pub struct ConsoleArgs {
    /// Which guest.
    #[arg(value_parser = values::guest)]
    pub name: GuestName,
}

/// `vserver status`.
#[derive(Clone, Debug, Args)]
pub struct StatusArgs {
    /// Which guests.
    #[command(flatten)]
    pub guests: Guests,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
}

/// `vserver running`.
#[derive(Clone, Debug, Args)]
pub struct RunningArgs {
    /// Which guest.
    #[arg(value_parser = values::guest)]
    pub name: GuestName,
}

/// `vserver pause` and `vserver resume`.
#[derive(Clone, Debug, Args)]
pub struct PauseArgs {
    /// Which guests.
    #[command(flatten)]
    pub guests: Guests,
    /// Say which guests it would be, and do nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// `vserver list`.
#[derive(Clone, Debug, Args)]
pub struct ListArgs {
    /// Only guests with this mark; may be given several times.
    #[arg(long, value_name = "MARK")]
    pub mark: Vec<String>,
    /// Only guests that are started with the host.
    #[arg(long)]
    pub enabled: bool,
    /// Only guests that run.
    #[arg(long, conflicts_with = "stopped")]
    pub running: bool,
    /// Only guests that are stopped.
    #[arg(long)]
    pub stopped: bool,
    /// Only the names, one a line.
    #[arg(long, conflicts_with = "json")]
    pub names: bool,
    /// As JSON: an array of name, context, state, uptime_seconds, addresses, marks,
    /// autostart and description.
    #[arg(long)]
    pub json: bool,
}

/// `vserver logs`.
#[derive(Clone, Debug, Args)]
pub struct LogsArgs {
    /// Which guest.
    #[arg(value_parser = values::guest)]
    pub name: GuestName,
    /// Go on with what the guest writes from now on.
    #[arg(short, long)]
    pub follow: bool,
    /// Only the last N lines.
    #[arg(short = 'n', long, value_name = "N", value_parser = values::count)]
    pub lines: Option<usize>,
    /// Only this boot of the guest, or the one before it by N.
    #[arg(
        short,
        long,
        value_name = "N",
        num_args = 0..=1,
        default_missing_value = "0",
        value_parser = values::count
    )]
    pub boot: Option<usize>,
    /// What the guest's supervisor has logged, instead of the console.
    #[arg(long, conflicts_with = "boot")]
    pub events: bool,
}

/// `vserver delete`.
#[derive(Clone, Debug, Args)]
pub struct DeleteArgs {
    /// Which guests.
    #[arg(value_name = "NAME", required = true, value_parser = values::guest)]
    pub names: Vec<GuestName>,
    /// Don't ask.
    #[arg(short, long)]
    pub yes: bool,
    /// Say what would be deleted, and do nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// `vserver wait`.
#[derive(Clone, Debug, Args)]
pub struct WaitArgs {
    /// Which guests. One that is deleted or renamed meanwhile is no longer waited for.
    #[arg(value_name = "NAME", required = true, value_parser = values::guest)]
    pub names: Vec<GuestName>,
    /// Which state.
    #[arg(long = "for", value_name = "STATE", value_enum, default_value_t = Awaited::Stopped)]
    pub state: Awaited,
    /// Seconds (or '2m') after which waiting fails.
    #[arg(long, value_name = "S", allow_negative_numbers = true, value_parser = values::duration)]
    pub timeout: Option<Duration>,
}

/// What can be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Awaited {
    /// The guest has reached its runlevel.
    Running,
    /// The guest is down.
    Stopped,
}

/// `vserver events`.
#[derive(Clone, Debug, Args)]
pub struct EventsArgs {
    /// Which guests; all when none is given, also those that are built later.
    #[arg(value_name = "NAME", value_parser = values::guest)]
    pub names: Vec<GuestName>,
    /// As JSON: the only form there is.
    #[arg(long)]
    pub json: bool,
}

/// `vserver config`.
#[derive(Clone, Debug, Args)]
pub struct ConfigArgs {
    /// What to do with it.
    #[command(subcommand)]
    pub action: ConfigAction,
}

/// What to do with a configuration.
#[derive(Clone, Debug, Subcommand)]
pub enum ConfigAction {
    /// Print a guest's configuration.
    #[command(after_help = super::help::CONFIG_SHOW)]
    Show {
        /// Which guest.
        #[arg(value_parser = values::guest)]
        name: GuestName,
        /// With the site's and the built-in defaults of what it doesn't say.
        #[arg(long)]
        effective: bool,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Check configurations and show every mistake; exit code 1 if there is
    /// one.
    #[command(after_help = super::help::CONFIG_CHECK)]
    Check {
        /// Which guests; all when none is given.
        #[arg(value_name = "NAME", value_parser = values::guest)]
        names: Vec<GuestName>,
    },
    /// Change keys, keeping comments and everything else as it is.
    #[command(after_help = super::help::CONFIG_SET)]
    Set {
        /// Which guest.
        #[arg(value_parser = values::guest)]
        name: GuestName,
        /// The key with its section, such as 'boot.stop_timeout'; or
        /// KEY=VALUE, as many as there are keys to be changed at once, and
        /// one of the same KEY for each value of a list.
        #[arg(value_name = "KEY")]
        key: String,
        /// The value; several for a list.
        #[arg(value_name = "VALUE", allow_negative_numbers = true)]
        values: Vec<String>,
        /// Print the changed file instead of writing it.
        #[arg(long)]
        dry_run: bool,
    },
    /// Remove keys, so that their defaults hold again.
    #[command(after_help = super::help::CONFIG_UNSET)]
    Unset {
        /// Which guest.
        #[arg(value_parser = values::guest)]
        name: GuestName,
        /// A key with its section, such as 'boot.stop_timeout'; all are removed, or
        /// none.
        #[arg(required = true, value_name = "KEY")]
        keys: Vec<String>,
        /// Print the changed file instead of writing it.
        #[arg(long)]
        dry_run: bool,
    },
    /// Make the configuration of a guest out of another manager's, and list
    /// what has no counterpart.
    #[command(after_help = super::help::CONFIG_IMPORT)]
    Import(ConfigImportArgs),
    /// Open a guest's configuration in $VISUAL or $EDITOR; it is kept only if
    /// it is right.
    #[command(after_help = super::help::CONFIG_EDIT)]
    Edit {
        /// Which guest.
        #[arg(value_parser = values::guest)]
        name: GuestName,
    },
}

/// `vserver doctor`.
#[derive(Clone, Debug, Args)]
pub struct DoctorArgs {
    /// As JSON.
    #[arg(long)]
    pub json: bool,
}

/// `vserver completion`.
#[derive(Clone, Debug, Args)]
pub struct CompletionArgs {
    /// For which shell.
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Shells whose completion can be generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// bash.
    Bash,
    /// zsh.
    Zsh,
    /// fish.
    Fish,
}

/// `vserver demo`.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// Leave the guest for you to play with.
    #[arg(long)]
    pub keep: bool,
}

/// `vserver install`.
#[derive(Clone, Debug, Args)]
pub struct InstallArgs {
    /// Below which directory; /usr/local when not given.
    #[arg(long, value_name = "DIR")]
    pub prefix: Option<PathBuf>,
    /// Remove what was installed there.
    #[arg(long)]
    pub remove: bool,
    /// Install 'reducecap' without its capability: only root can use it.
    #[arg(long, conflicts_with = "remove")]
    pub no_capability: bool,
    /// Programs into 'sbin' instead of 'bin'.
    #[arg(long, conflicts_with = "remove")]
    pub sbin: bool,
    /// For packages: put all of it below this directory, which will be '/', and
    /// keep no list of it.
    #[arg(long, value_name = "DIR", conflicts_with = "remove")]
    pub destdir: Option<PathBuf>,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// `vserver man`.
#[derive(Clone, Debug, Args)]
pub struct ManArgs {
    /// Where the pages are written to.
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
}
