//! From an action to the one file that carries it out.
//!
//! One file a verb, each with `run(&Args, &Paths) -> Result<Exit>`. The
//! dispatcher decides nothing.

pub mod output;
pub mod select;

mod abreast;
mod based;
mod belongings;
mod build;
mod candidates;
mod chbind;
mod chcontext;
mod clone;
mod completion;
mod config;
mod config_import;
mod console;
mod cp;
mod delete;
mod demo;
mod device;
mod doctor;
mod dry_run;
mod enable;
mod enter;
mod events;
mod exec;
mod export;
mod foreground;
mod generate;
mod import;
mod info;
mod install;
mod lifecycle;
mod limits;
mod list;
mod logs;
mod man;
mod metrics;
mod r#move;
mod observe;
mod old_build;
mod pause;
mod progress;
mod provision;
mod quota;
mod reboot;
mod reducecap;
mod reexec;
mod reload;
mod remote;
mod rename;
mod restart;
mod running;
mod snapshot;
mod start;
mod stat;
mod status;
mod stop;
mod suexec;
mod supervise;
mod top;
mod turn;
mod unify;
mod unknown;
mod usage;
mod vkill;
mod vps;
mod wait;
mod watch;

use std::ffi::OsString;
use std::fs;

use nix::sys::stat::{Mode, umask};
use shared::name::GuestName;
use shared::outcome::Outcome;

use crate::cli::{self, Action, Tool};
use crate::error::{Error, Kind, Result};
use crate::paths::Paths;
use crate::runtime::Lock;

pub use build::options_of_build;
pub use unknown::explain;

/// The exit code of a command that did what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exit(u8);

impl Exit {
    /// Done, or: yes.
    pub const DONE: Self = Self(0);
    /// No (`running`), or: there are mistakes (`config check`, `doctor`).
    pub const NO: Self = Self(1);
    /// The guest is stopped (`status`).
    pub const NOT_RUNNING: Self = Self(3);
    /// Done, but for settings without counterpart (`config import`).
    pub const INCOMPLETE: Self = Self(6);

    /// That of another process of this program.
    fn of(code: u8) -> Self {
        Self(code)
    }

    /// This one, or that of a failure if that is larger.
    fn or_failed(self, error: &Error) -> Self {
        self.max(Self(error.kind().exit_code()))
    }

    /// The number for the shell.
    pub fn code(self) -> u8 {
        self.0
    }
}

/// A command in a guest ended like this.
impl From<Outcome> for Exit {
    fn from(outcome: Outcome) -> Self {
        Self(outcome.code())
    }
}

/// What vserver's own failure in `exec` and `suexec` exits with, as env(1).
const EXEC_FAILED: u8 = 125;

/// Carries out what is not to cost a parser: `supervise --guard`, if it is that.
pub fn run_unparsed(argv: &[OsString], paths: &Paths) -> Option<Result<Exit>> {
    supervise::as_guard(argv, paths)
}

/// Carries out an action.
///
/// # Errors
/// What the verb's file says; to be printed by the caller.
pub fn run(action: &Action, paths: &Paths) -> Result<Exit> {
    let end = carry_out(action, paths);
    let code = match &end {
        Ok(exit) => exit.0,
        Err(error) => error.kind().exit_code(),
    };
    if code == Kind::NoSuchGuest.exit_code() {
        remove_strays(paths);
    }
    end
}

/// Removes the locks of names that no guest has: they were made to find that out.
fn remove_strays(paths: &Paths) {
    for entry in fs::read_dir(paths.run_dir()).into_iter().flatten().flatten() {
        let file = entry.file_name();
        let name = file.to_str().and_then(|file| file.strip_prefix(".lock-"));
        let Some(Ok(name)) = name.map(str::parse::<GuestName>) else { continue };
        if crate::config::text(paths, &name).is_err_and(|error| error.kind() == Kind::NoSuchGuest)
            && let Ok(Some(lock)) = Lock::try_now(&entry.path())
            && lock.is_at(&entry.path())
        {
            lock.remove(&entry.path());
        }
    }
}

fn carry_out(action: &Action, paths: &Paths) -> Result<Exit> {
    // What belongs to an installation or a guest is not a matter of who has typed this.
    if !action.keeps_umask() {
        umask(Mode::from_bits_truncate(0o022));
    }
    match action {
        Action::Build(args) => build::run(args, paths),
        Action::Start(args) => start::run(args, paths),
        Action::Stop(args) => stop::run(args, paths),
        Action::Restart(args) => restart::run(args, paths),
        Action::Condrestart(args) => restart::run_if_running(args, paths),
        Action::Reboot(args) => reboot::run(args, paths),
        Action::Pause(args) => pause::pause(args, paths),
        Action::Resume(args) => pause::resume(args, paths),
        Action::Enter(args) => enter::run(args, paths),
        Action::Exec(args) => exec::run(args, paths),
        Action::Suexec(args) => suexec::run(args, paths),
        Action::Console(args) => console::run(args, paths),
        Action::Status(args) => status::run(args, paths),
        Action::Running(args) => running::run(args, paths),
        Action::List(args) => list::run(args, paths),
        Action::Usage(args) => usage::run(args, paths),
        Action::Metrics(args) => metrics::run(args, paths),
        Action::Stat(args) => stat::run(args, true, paths),
        Action::Top(args) => top::run(args, paths),
        Action::Limits(args) => limits::run(args, paths),
        Action::Logs(args) => logs::run(args, paths),
        Action::Enable(args) => enable::run(&args.guests, args.now, true, paths),
        Action::Disable(args) => enable::run(&args.guests, args.now, false, paths),
        Action::Reload(args) => reload::run(args, paths),
        Action::Reexec(args) => reexec::run(args, paths),
        Action::Clone(args) => clone::run(args, paths),
        Action::Rename(args) => rename::run(args, paths),
        Action::Export(args) => export::run(args, paths),
        Action::Import(args) => import::run(args, paths),
        Action::Move(args) => r#move::run(args, paths),
        Action::Cp(args) => cp::run(args, paths),
        Action::Device(args) => device::run(args, paths),
        Action::Snapshot(args) => snapshot::run(args, paths),
        Action::Quota(args) => quota::run(args, paths),
        Action::Unify(args) => unify::run(args, paths),
        Action::Delete(args) => delete::run(args, paths),
        Action::Wait(args) => wait::run(args, paths),
        Action::Events(args) => events::run(args, paths),
        Action::Config(args) => config::run(args, paths),
        Action::Doctor(args) => doctor::run(args, paths),
        Action::Completion(args) => completion::run(args, paths),
        Action::Candidates(args) => candidates::run(args, paths),
        Action::Install(args) => install::run(args, paths),
        Action::Demo(args) => demo::run(args, paths),
        Action::Supervise(args) => supervise::run(args, paths),
        Action::Man(args) => man::run(args, paths),
        Action::Generate(args) => generate::run(args, paths),
        Action::Tool(tool) => match tool {
            Tool::Chbind(args) => chbind::run(args, paths),
            Tool::Chcontext(args) => chcontext::run(args, paths),
            Tool::Reducecap(args) => reducecap::run(args, paths),
            Tool::Vps(args) => vps::run(args, paths),
            Tool::Vpstree(args) => watch::tree(args, paths),
            Tool::Vtop(args) => watch::top(args, paths),
            Tool::Vkill(args) => vkill::run(args, paths),
            Tool::Stat(args) => stat::run(args, false, paths),
            Tool::Info(args) => info::run(args, paths),
        },
    }
}

/// The exit code of a line that can't be understood, and of `--help`, which
/// clap's number is for; as the tools' other failures if it was one of them.
pub fn exit_code_of_usage(tool: Option<&str>, clap: i32) -> u8 {
    match (clap, tool) {
        (0, _) => 0,
        (_, Some(tool)) => cli::tools::failure(tool),
        (code, None) => code.try_into().unwrap_or(Kind::Usage.exit_code()),
    }
}

/// The exit code of an action that failed.
pub fn exit_code_of_failure(action: &Action, error: &Error) -> u8 {
    match (error.kind(), action) {
        (kind @ (Kind::CannotExecute | Kind::CommandNotFound), _) => kind.exit_code(),
        // What can't be known is no "no".
        (Kind::Permission, Action::Tool(Tool::Info(_))) => Kind::Permission.exit_code(),
        (_, Action::Tool(tool)) => cli::tools::failure(tool.name()),
        _ if action.passes_exit_code() => EXEC_FAILED,
        (kind, _) => kind.exit_code(),
    }
}

/// The same for groups of guests, one group after the other.
///
/// # Errors
/// As [`each`].
pub fn each_of(
    groups: impl IntoIterator<Item = Vec<GuestName>>,
    work: impl Fn(&GuestName) -> Result<Exit> + Sync,
) -> Result<Exit> {
    let groups: Vec<_> = groups.into_iter().collect();
    if let [only] = groups.as_slice() {
        return each(only, work);
    }
    let mut worst = Exit::DONE;
    for group in groups {
        let end = each(&group, &work).unwrap_or_else(|error| {
            output::complain(&error);
            Exit(error.kind().exit_code())
        });
        worst = worst.max(end);
    }
    Ok(worst)
}

/// So many guests are started, stopped and the like at a time: a thread that waits costs
/// little, but a host has only so many.
const SIDE_BY_SIDE: usize = 256;

/// Does the same for every guest, side by side when there are several. The
/// failure of one doesn't keep the others back: with several guests each
/// failure is printed when it happens, and the largest exit code is returned.
///
/// # Errors
/// With one guest, its error.
pub fn each(
    guests: &[GuestName],
    work: impl Fn(&GuestName) -> Result<Exit> + Sync,
) -> Result<Exit> {
    if let [only] = guests {
        return work(only);
    }
    let one = |name: &GuestName| match work(name) {
        Ok(exit) => exit,
        Err(error) => {
            output::complain(&error);
            Exit(error.kind().exit_code())
        }
    };
    let ends = abreast::abreast(guests, SIDE_BY_SIDE, one);
    Ok(ends.into_iter().map(|end| end.unwrap_or(Exit::NO)).max().unwrap_or(Exit::DONE))
}
