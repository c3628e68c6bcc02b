//! Which context a process is in, and which processes a context has: from
//! the kernel's cgroups and PID namespaces, never from what a process says
//! about itself.

mod process;
mod word;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use shared::name::GuestName;

use crate::cgroup::{self, Places};
use crate::config;
use crate::context::Contexts;
use crate::error::{Error, Kind, Result};
use crate::ids;
use crate::paths::Paths;
use crate::runtime::{RunDir, State};

pub use process::{Process, inside, open, signal};
pub use word::{MAX, Word};

/// A context.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Context {
    /// The host: number 0.
    Main,
    /// The spectator: number 1, which sees all and has no process of its own.
    Watch,
    /// A guest.
    Guest(GuestName),
    /// One without a guest, made by `chcontext`; it has no name.
    Bare(u32),
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Main => f.pad("MAIN"),
            Self::Watch => f.pad("ALL_PROC"),
            Self::Guest(name) => fmt::Display::fmt(name, f),
            Self::Bare(number) => fmt::Display::fmt(number, f),
        }
    }
}

/// What is known of contexts at one moment.
#[derive(Clone, Debug)]
pub struct Membership {
    /// Where guests' cgroups are.
    places: Places,
    /// The outer cgroups of guests.
    outers: BTreeMap<GuestName, PathBuf>,
    /// Numbers of the guests that have a configuration.
    numbers: BTreeMap<GuestName, u32>,
    /// Contexts without guests.
    bare: Contexts,
    paths: Paths,
}

impl Membership {
    /// Looks.
    ///
    /// # Errors
    /// When no cgroup v2 hierarchy is mounted.
    pub fn read(paths: &Paths) -> Result<Self> {
        let places = Places::new(paths)?;
        let outers = places.outers();
        // Whoever may not read configurations sees names without numbers.
        let mut numbers: BTreeMap<_, _> =
            config::contexts(paths).unwrap_or_default().into_iter().collect();
        for name in outers.keys() {
            if !numbers.contains_key(name)
                && let Ok(Some(given)) = ids::lookup(paths, name)
            {
                numbers.insert(name.clone(), given.context.get());
            }
        }
        let bare = Contexts::read(paths);
        Ok(Self { places, outers, numbers, bare, paths: paths.clone() })
    }

    /// Id of the map in which a guest's traffic is counted.
    pub fn traffic(&self, name: &GuestName) -> Option<u32> {
        State::read(&RunDir::new(&self.paths, name).state()).traffic
    }

    /// The number of a context, if this user can know it.
    pub fn number(&self, context: &Context) -> Option<u32> {
        match context {
            Context::Main => Some(0),
            Context::Watch => Some(1),
            Context::Guest(name) => self.numbers.get(name).copied(),
            Context::Bare(number) => Some(*number),
        }
    }

    /// The context of a process; `None` when there is no such process.
    pub fn of(&self, pid: i32) -> Option<Context> {
        // Below its own cgroup a guest gives any names.
        let lines = fs::read(format!("/proc/{pid}/cgroup")).ok()?;
        Some(match self.named_by(&String::from_utf8_lossy(&lines)) {
            Context::Main => self.bare.number_of(pid).map_or(Context::Main, Context::Bare),
            other => other,
        })
    }

    /// The context that `/proc/PID/cgroup` (cgroups(7)) names. A guest's
    /// keeper is a process of the host's, though below the guest's cgroup.
    fn named_by(&self, lines: &str) -> Context {
        match cgroup::path_in(lines).and_then(|path| self.places.guest_of(path)) {
            Some((name, part)) if is_inside(part) => Context::Guest(name),
            _ => Context::Main,
        }
    }

    /// The context that a word names. Whether it has any process is not asked.
    ///
    /// # Errors
    /// When there is none.
    pub fn find(&self, word: &Word) -> Result<Context> {
        let guest = match word {
            Word::Number(0) => return Ok(Context::Main),
            Word::Number(1) => return Ok(Context::Watch),
            Word::Own => return Ok(self.of_caller()),
            Word::Number(number) => {
                let holder = self.numbers.iter().find(|(_, other)| *other == number);
                if holder.is_none() && self.bare.numbers().any(|bare| bare == *number) {
                    return Ok(Context::Bare(*number));
                }
                let none = || {
                    Error::of(Kind::NoSuchGuest, format!("there is no context {number}"))
                        .hint("'vserver list' shows all guests and their contexts")
                };
                return holder.map(|(name, _)| Context::Guest(name.clone())).ok_or_else(none);
            }
            Word::Name(name) => name,
        };
        let exists = self.numbers.contains_key(guest) || self.outers.contains_key(guest);
        exists.then(|| Context::Guest(guest.clone())).ok_or_else(|| Error::no_such_guest(guest))
    }

    fn of_caller(&self) -> Context {
        let own = std::process::id().try_into().ok();
        own.and_then(|own| self.of(own)).unwrap_or(Context::Main)
    }

    /// The cgroups that hold a guest's processes; other contexts have none.
    pub fn cgroups(&self, context: &Context) -> Vec<PathBuf> {
        let Context::Guest(name) = context else { return Vec::new() };
        let Some(outer) = self.outers.get(name) else { return Vec::new() };
        let entries = fs::read_dir(outer).into_iter().flatten().flatten();
        let inside = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_inside));
        inside.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
    }

    /// The processes of a context but the host's, with their pids inside it.
    pub fn processes(&self, context: &Context) -> Vec<Process> {
        if let Context::Bare(_) = context {
            let all = fs::read_dir("/proc").into_iter().flatten().flatten();
            let all = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
            let own: Vec<_> = all.filter(|pid| self.of(*pid).as_ref() == Some(context)).collect();
            return inside(&own);
        }
        let mut pids = Vec::new();
        for directory in self.cgroups(context) {
            collect(&directory, &mut pids);
        }
        inside(&pids)
    }

    /// Opens a process for [`signal`] if it is in the context. That is asked
    /// after it was opened: if it has ended since it was found, the pid may be
    /// another's by now.
    ///
    /// # Errors
    /// ESRCH when there is no such process in the context; those of
    /// pidfd_open(2).
    pub fn open(&self, context: &Context, pid: i32) -> io::Result<OwnedFd> {
        let opened = open(pid)?;
        match self.of(pid) {
            Some(other) if other == *context => Ok(opened),
            _ => Err(io::Error::from_raw_os_error(libc::ESRCH)),
        }
    }

    /// A context's PID 1, if it has one.
    pub fn init(&self, context: &Context) -> Option<Process> {
        self.processes(context).into_iter().find(|process| process.inner == 1)
    }
}

/// Is this the name of a guest's cgroup whose processes are the guest's?
fn is_inside(part: &str) -> bool {
    part == "session" || part.starts_with("guest-")
}

fn collect(directory: &Path, pids: &mut Vec<i32>) {
    let own = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    pids.extend(own.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0));
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), pids);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_names_its_guest() {
        let membership = Membership {
            places: Places::at("/sys/fs/cgroup", &Paths::new("/")),
            outers: BTreeMap::new(),
            numbers: BTreeMap::new(),
            bare: Contexts::default(),
            paths: Paths::new(PathBuf::from("/")),
        };
        let web = Context::Guest("web".parse().unwrap());
        for (line, context) in [
            ("0::/vserver/web/guest-1", &web),
            ("0::/vserver/web/guest-12/system.slice/x", &web),
            ("1:name=systemd:/vserver/db/guest-1\n0::/vserver/web/session", &web),
            ("0::/vserver.slice/vserver@web.service/payload/guest-1/inside/root", &web),
            ("0::/vserver.slice/vserver@web.service/payload/keeper", &Context::Main),
            ("0::/vserver.slice/vserver@web.service/supervisor", &Context::Main),
            ("0::/vserver/web/keeper", &Context::Main),
            ("0::/vserver/web", &Context::Main),
            ("0::/vserver-1234/web/guest-1", &Context::Main),
            ("0::/vserver/../x/guest-1", &Context::Main),
            ("0::/", &Context::Main),
            ("", &Context::Main),
        ] {
            assert_eq!(&membership.named_by(line), context, "{line}");
        }
    }
}
