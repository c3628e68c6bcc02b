//! `chcontext`: a command in a new or an existing context.

use std::ffi::{CString, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;

use caps::Capability;
use shared::name::GuestName;
use shared::reducecap::sets::{self, Changes, Mask, Sets};

use crate::chcontext::{self, Meaning, Wish};
use crate::cli::tools::ChcontextArgs;
use crate::commands::{Exit, output};
use crate::context;
use crate::error::{Error, Kind, Result};
use crate::launch::bound_capabilities;
use crate::membership::{Context, Membership, Word};
use crate::paths::Paths;
use crate::session::{self, Session};
use crate::sys;

/// Inode of the host's PID namespace (linux/proc_ns.h, `PROC_PID_INIT_INO`).
const HOST_NAMESPACE: u64 = 0xeffffffc;

/// Where the command is to run.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// Where the caller is.
    Here,
    /// Where the caller is, without signals.
    Spectator,
    /// In a context without a guest; in a new one with a number that is given
    /// out if there is none.
    Context(Option<u32>),
    Guest(GuestName),
}

/// What the flags come to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Flags {
    is_own_init: bool,
    is_persistent: bool,
    is_private: bool,
}

/// Returns with the command's exit code.
pub(super) fn run(args: &ChcontextArgs, paths: &Paths) -> Result<Exit> {
    let flags = flags(&args.flag)?;
    if flags.is_own_init && flags.is_persistent {
        return Err(Error::usage("a context whose PID 1 is the command ends with it")
            .hint("leave one of the flags 'fakeinit' and 'persistent' out"));
    }
    if flags.is_persistent && !rustix::process::geteuid().is_root() {
        return Err(Error::usage("nobody could join a persistent context of an ordinary user's")
            .hint("leave the flag 'persistent' out, or run chcontext as root"));
    }
    let keep = keep(args)?;
    match place(args, paths)? {
        Place::Here => {
            refuse_for_new(args, "the command runs in the caller's context")?;
            here(&args.command, keep.as_deref())
        }
        Place::Spectator => {
            refuse_for_new(args, "the spectator is no context of its own")?;
            chcontext::become_spectator()
                .map_err(|error| Error::os("cannot become the spectator", error))?;
            here(&args.command, keep.as_deref())
        }
        Place::Guest(name) => {
            refuse_for_new(args, "guests have these in their configuration")?;
            if keep.is_some() {
                return Err(Error::usage("'--cap' and '--secure' are not for guests")
                    .hint("'[security] capabilities' in a guest's configuration is"));
            }
            session::protect()?;
            let session = Session { command: Some(args.command.clone()), user: None };
            session::run(paths, &name, &session, &output::warn).map(Exit::from)
        }
        Place::Context(number) => {
            let wish = Wish {
                command: words(&args.command)?,
                number,
                keep,
                is_secure: args.secure,
                is_own_init: flags.is_own_init,
                is_persistent: flags.is_persistent,
                is_private: flags.is_private,
                hostname: args.hostname.clone(),
                domainname: args.domainname.clone(),
                is_disconnected: args.disconnect,
            };
            let mut made = |number: u32| match args.quiet {
                true => Ok(()),
                false => output::print(&format!("New security context is {number}\n")),
            };
            chcontext::run(paths, &wish, &mut made).map(Exit::from)
        }
    }
}

/// # Errors
/// When the word names nothing, or something that can't be entered from here.
fn place(args: &ChcontextArgs, paths: &Paths) -> Result<Place> {
    let Some(word) = &args.context else { return Ok(Place::Context(None)) };
    let own = context::own_number();
    let number = match word {
        Word::Own => return Ok(Place::Here),
        Word::Number(context::HOST) if is_host() => return Ok(Place::Here),
        Word::Number(context::HOST) => {
            return Err(Error::new("context 0 is the host, which can't be reached from inside"));
        }
        Word::Number(context::SPECTATOR) if is_host() => return Ok(Place::Spectator),
        Word::Number(context::SPECTATOR) => {
            return Err(Error::new("context 1 sees all processes, which nobody inside may"));
        }
        Word::Number(number) if own == Some(*number) => return Ok(Place::Here),
        Word::Number(number) => Some(*number),
        Word::Name(_) => None,
    };
    // A number is a guest's or not; a name is none or a guest's.
    let membership = Membership::read(paths);
    let found = membership.and_then(|known| Ok((known.find(word)?, known)));
    match (found, number) {
        (Ok((Context::Guest(name), known)), _) => {
            // Its processes are not among those that a context knows. A guest
            // with guests of its own enters them as the host does.
            if own.is_some() {
                return Err(Error::new(format!("guest '{name}' can't be entered from a context")));
            }
            if known.init(&Context::Guest(name.clone())).is_none() {
                return Err(Error::not_running(&name));
            }
            Ok(Place::Guest(name))
        }
        (_, Some(number)) => Ok(Place::Context(Some(number))),
        (Ok(_), None) => Ok(Place::Here),
        (Err(error), None) => Err(error),
    }
}

/// Is this process neither in a context nor in a guest?
fn is_host() -> bool {
    context::pid_namespace("self").is_ok_and(|inode| inode == HOST_NAMESPACE)
}

fn refuse_for_new(args: &ChcontextArgs, reason: &str) -> Result<()> {
    let given = [
        ("--flag", !args.flag.is_empty()),
        ("--hostname", args.hostname.is_some()),
        ("--domainname", args.domainname.is_some()),
        ("--disconnect", args.disconnect),
    ];
    match given.iter().find(|(_, given)| *given) {
        Some((option, _)) => Err(Error::usage(format!("'{option}' has no meaning here: {reason}"))),
        None => Ok(()),
    }
}

/// Comes back only if the command was not executed.
fn here(command: &[OsString], keep: Option<&[Capability]>) -> Result<Exit> {
    if let Some(keep) = keep {
        bound_capabilities(keep)
            .map_err(|error| Error::os("cannot reduce the capabilities", error))?;
    }
    sys::reset_broken_pipe();
    let cause = chcontext::execute(&words(command)?);
    let program = command.first().map(|word| word.to_string_lossy()).unwrap_or_default();
    Err(Error::exec(program, cause))
}

pub(super) fn words(command: &[OsString]) -> Result<Vec<CString>> {
    let words = command.iter().map(|word| CString::new(word.as_bytes()));
    words.collect::<std::result::Result<_, _>>().map_err(|error| {
        Error::of(Kind::CannotExecute, format!("cannot execute the command: {error}"))
    })
}

/// The most that the command may do, if that is less than the caller.
fn keep(args: &ChcontextArgs) -> Result<Option<Vec<Capability>>> {
    let mut changes = Changes::default();
    for list in &args.cap {
        changes.add(list).map_err(Error::usage)?;
    }
    if !args.secure && changes.take == 0 {
        return Ok(None);
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bounding = Sets::read(&status).map_or(Mask::MAX, |sets| sets.bounding);
    let kept = sets::kept(bounding, args.secure, changes);
    let known = caps::all().into_iter().filter(|known| known.bitmask() & kept != 0);
    Ok(Some(known.collect()))
}

/// Reads lists of flags, with commas; `!` or `~` in front takes one back.
fn flags(lists: &[String]) -> Result<Flags> {
    let mut flags = Flags::default();
    for item in lists.iter().flat_map(|list| list.split(',')) {
        let taken = item.strip_prefix(['!', '~']);
        let name = taken.unwrap_or(item);
        let is_set = taken.is_none();
        match chcontext::meaning(name) {
            Some(Meaning::Init) => flags.is_own_init = is_set,
            Some(Meaning::Persistent) => flags.is_persistent = is_set,
            Some(Meaning::Private) => flags.is_private = is_set,
            Some(Meaning::Always) => {}
            Some(Meaning::Ignored(_) | Meaning::Refused(_)) if !is_set => {}
            Some(Meaning::Ignored(reason)) => {
                output::warn(format_args!("flag '{name}' does nothing: {reason}"));
            }
            Some(Meaning::Refused(reason)) => {
                return Err(Error::usage(format!("flag '{name}' is not possible: {reason}")));
            }
            None => {
                return Err(Error::usage(format!("there is no flag '{}'", name.escape_default())));
            }
        }
    }
    Ok(flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lists: &[&str]) -> Result<Flags> {
        flags(&lists.iter().map(|list| (*list).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn flags_come_in_lists_and_are_taken_back() {
        let none = Flags::default();
        let init = Flags { is_own_init: true, ..Flags::default() };
        let both = Flags { is_persistent: true, is_private: true, ..Flags::default() };
        assert_eq!(read(&[]).unwrap(), none);
        assert_eq!(read(&["lock,fakeinit", "nproc"]).unwrap(), init);
        assert_eq!(read(&["persistent", "private"]).unwrap(), both);
        assert_eq!(read(&["fakeinit", "!fakeinit,~sched_pause"]).unwrap(), none);
        for wrong in ["", "fakeinitt", "sched_pause", "lock,,"] {
            assert!(read(&[wrong]).is_err(), "{wrong:?} was taken");
        }
    }
}
