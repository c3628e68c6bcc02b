//! Makes a guest's root directory, whole or not at all.
//!
//! Every method fills a directory in a workspace beside the target; the same
//! tidy follows; one rename puts it in place, and then the configuration is
//! written by the caller's closure. Until that rename nothing of the guest
//! can be seen, and whatever goes wrong afterwards takes it away again.

mod access;
mod accounts;
mod apt_sources;
mod clone;
mod copy;
mod dates;
mod debootstrap;
mod directory;
mod distribution;
mod dpkg;
mod fstab;
mod host_keys;
mod identity;
mod import;
mod installer;
mod layout;
mod oci;
mod over;
mod rclinks;
mod removal;
mod resolver;
mod rsync;
mod skeleton;
mod snapshot;
mod store;
mod template;
mod tidy;
mod tool;
mod unpack;
mod workspace;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode};
use rustix::io::Errno;
use shared::name::GuestName;

use crate::config::{self, Place};
use crate::control::at_rest;
use crate::error::{Error, Result};
use crate::fsroot::RootDir;
use crate::interrupt::Interrupt;
use crate::paths::Paths;
use crate::progress::Progress;
use crate::way;

pub use crate::storage::{Blank, Size};
pub use access::Access;
pub use distribution::Distribution;
use host_keys::Keys;
pub use import::Incoming;
pub use installer::Installer;
pub use over::{Laid, Over};
pub use removal::{Doomed, real as real_root};
pub use snapshot::Snapshots;
pub use store::Store;
pub(crate) use template::unpack as unpack_archive;
pub use tool::follow;
use unpack::Shift;
pub(crate) use unpack::{ACCESS, CAPABILITY, DEFAULT, IDS, LeftOut, NOBODY, acl, remarks};
use workspace::Leftovers;

/// Where a new guest's files come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method {
    /// The host's own packages, and these besides the usual ones.
    Copy {
        /// Names of packages that the host has.
        include: Vec<String>,
    },
    /// mmdebstrap or debootstrap.
    Debootstrap(Distribution),
    /// A package manager of another family.
    Install(Installer, Distribution),
    /// Another machine, by rsync.
    Rsync {
        /// As rsync writes it, such as `host:/`.
        from: PathBuf,
        /// Handed to rsync as they are.
        options: Vec<OsString>,
    },
    /// Archives, tar or cpio.
    Template {
        /// Their paths, from the bottom up; `-` is standard input.
        from: Vec<PathBuf>,
        /// By how much owners are shifted; found out when not given.
        shift: Option<u32>,
    },
    /// A directory that is or holds a root, such as other managers keep.
    Directory {
        /// Its path.
        from: PathBuf,
        /// By how much owners are shifted; found out when not given.
        shift: Option<u32>,
    },
    /// An image of the Open Container Initiative.
    Oci {
        /// A layout directory or an archive, and `:TAG` if need be.
        from: PathBuf,
    },
    /// Empty directories and vserver's own few files.
    Skeleton,
    /// Another guest, which is stopped.
    Clone {
        /// Its name.
        source: GuestName,
        /// Its files, unless they are where the new guest's are made already.
        files: Option<Place>,
        /// Its host name, which files inside may hold.
        hostname: String,
    },
}

impl Method {
    /// Does the guest go on as who it was, somewhere else?
    fn is_move(&self) -> bool {
        matches!(self, Self::Directory { .. } | Self::Rsync { .. })
    }
}

/// What a guest's files say of its configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Variables for everything that is booted.
    pub environment: BTreeMap<String, String>,
    /// One command that is the whole guest; empty for a guest that boots.
    pub command: Vec<String>,
}

/// Which guest is made, and where.
#[derive(Clone, Debug)]
pub struct Site {
    /// The new guest.
    pub name: GuestName,
    /// Its host name; its name when not given.
    pub hostname: Option<String>,
    /// Its root directory; the usual place when not given.
    pub root: Option<PathBuf>,
    /// Move an existing root and configuration aside, instead of refusing; `None` if
    /// that can't be asked for.
    pub force: Option<bool>,
    /// Leave what there is of its files when the build fails.
    pub keep: bool,
    /// As what its files lie on the host.
    pub store: Store,
    /// How its administrator gets in.
    pub access: Access,
    /// Is it complete only when `register` has done some work inside?
    pub goes_on_inside: bool,
    /// Has it a configuration that has been waiting for its files?
    pub is_configured: bool,
}

impl Site {
    /// Where the guest's root will be.
    pub fn target(&self, paths: &Paths) -> PathBuf {
        self.root.clone().unwrap_or_else(|| paths.root(&self.name))
    }

    /// Is what there is of such a guest set aside?
    pub fn sets_aside(&self) -> bool {
        self.force == Some(true)
    }

    /// The host name that the guest gets.
    pub fn hostname(&self) -> &str {
        self.hostname.as_deref().unwrap_or(self.name.as_str())
    }
}

/// What to build.
#[derive(Clone, Debug)]
pub struct Request {
    /// The new guest.
    pub site: Site,
    /// Where its files come from.
    pub method: Method,
}

/// What was built.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The guest's root.
    pub root: PathBuf,
    /// One sentence on where its files came from.
    pub summary: String,
    /// What the user should know, one line each.
    pub remarks: Vec<String>,
}

/// What the methods work with.
struct Work<'a> {
    root: &'a RootDir,
    interrupt: &'a Interrupt,
    progress: &'a mut Progress,
    remarks: &'a mut Vec<String>,
    keys: Keys,
}

/// Builds a guest's root, and calls `register` (which writes the
/// configuration) when it is in place, or before, if the guest has waited for it. If
/// that fails, the root goes again; what `register` has made is its own to undo.
///
/// # Errors
/// When the guest exists, a method can't do its work, or the build was
/// interrupted. Nothing is left then.
pub fn build(
    request: &Request,
    paths: &Paths,
    interrupt: &Interrupt,
    progress: Progress,
    register: impl FnOnce(&Settings) -> Result<()>,
) -> Result<Report> {
    let filled = |work: &mut Work<'_>| {
        let filled = fill(request, work)?;
        match &request.method {
            Method::Clone { hostname, .. } => {
                identity::renew(hostname, request.site.hostname(), work)?;
            }
            _ => tidy::tidy(request, work)?,
        }
        Ok(filled)
    };
    let is_new = !request.method.is_move() && !matches!(request.method, Method::Clone { .. });
    make(&request.site, paths, interrupt, progress, is_new, filled, register)
}

/// The same for a guest that comes out of an archive of `vserver export`,
/// `as_new` with an identity of its own.
///
/// # Errors
/// As [`build`].
pub fn import(
    site: &Site,
    incoming: Incoming,
    as_new: bool,
    paths: &Paths,
    interrupt: &Interrupt,
    progress: Progress,
    register: impl FnOnce() -> Result<()>,
) -> Result<Report> {
    let filled = |work: &mut Work<'_>| {
        let hostname = incoming.head().manifest.hostname.clone();
        let summary = incoming.fill(work)?;
        if as_new {
            identity::renew(&hostname, site.hostname(), work)?;
        }
        Ok((summary, Settings::default()))
    };
    make(site, paths, interrupt, progress, false, filled, |_| register())
}

/// Makes a root beside its place, and puts it there when it is whole. One that is new
/// can be made once more. What has been somewhere before has the dates that it had
/// there, and is on the disk before it is here: who hears of it may delete the original.
fn make(
    site: &Site,
    paths: &Paths,
    interrupt: &Interrupt,
    mut progress: Progress,
    is_new: bool,
    fill: impl FnOnce(&mut Work<'_>) -> Result<(String, Settings)>,
    register: impl FnOnce(&Settings) -> Result<()>,
) -> Result<Report> {
    let epoch = if is_new { dates::epoch()? } else { None };
    let target = site.target(paths);
    refuse(site, paths)?;
    let parent = prepare_parent(site, paths, &target)?;
    let left = Leftovers::take_back(&parent, paths, &site.name)?;
    // What that has put back may be in the way.
    refuse(site, paths)?;
    left.remove_all(paths, &site.name, interrupt, &mut progress)?;
    let workspace = workspace::Workspace::create(&parent, &site.name)?;
    let mut keys = Keys::beside(&workspace.root());
    if let Some(copied) = site.store.copied() {
        keys.begin_for(&RootDir::open(copied)?)?;
    }
    let open = site.store.make(&workspace, interrupt, &mut progress)?;
    let root = &open.root;
    let mut remarks = Vec::new();
    let mut work = Work { root, interrupt, progress: &mut progress, remarks: &mut remarks, keys };
    let filled = fill(&mut work).and_then(|filled| {
        site.access.grant(root)?;
        if let Some(epoch) = epoch {
            dates::clamp(root, epoch, interrupt)?;
        }
        interrupt.check()?;
        Ok(filled)
    });
    let (summary, settings) = match filled {
        Err(error) if site.keep => {
            open.close();
            return Err(kept(error, workspace.set_aside(&target)));
        }
        other => other?,
    };
    let summary = match &open.how {
        Some(how) => format!("{summary} ({how})"),
        None => summary,
    };
    open.close();
    progress.end();
    if !is_new {
        workspace.sync(&mut progress)?;
    }

    // One that has waited for its files is complete as soon as they are there.
    let (before, after) =
        if site.is_configured { (Some(register), None) } else { (None, Some(register)) };
    if let Some(Err(error)) = before.map(|register| register(&settings)) {
        return Err(if site.keep { kept(error, workspace.set_aside(&target)) } else { error });
    }
    let config = paths.config(&site.name);
    let placed = workspace.place(&target, &config, site.goes_on_inside, site.sets_aside())?;
    if let Some(Err(error)) = after.map(|register| register(&settings)) {
        return Err(if site.keep { kept(error, placed.set_aside(&target)) } else { error });
    }
    remarks.extend(placed.keep());
    Ok(Report { root: target, summary, remarks })
}

/// An error that says where the files of a failed build are.
fn kept(error: Error, place: Result<PathBuf>) -> Error {
    let said = match place {
        Ok(place) => format!("what there is of it was kept: '{}'", place.display()),
        Err(other) => format!("nothing was kept: {other}"),
    };
    let hint = match error.remedy() {
        Some(remedy) => format!("{remedy}; {said}"),
        None => said,
    };
    error.hint(hint)
}

/// What stands in the way, before any work. It is only looked at.
///
/// # Errors
/// When the user isn't root, the guest exists, something else is at the place of its root,
/// or that is none for a guest, or others than root may change what is there; when its host
/// name is none.
pub fn refuse(site: &Site, paths: &Paths) -> Result<()> {
    let name = &site.name;
    let target = site.target(paths);
    if !rustix::process::geteuid().is_root() {
        return Err(Error::os(format_args!("cannot build guest '{name}'"), Errno::PERM)
            .hint("a guest's files belong to many users, which only root can make"));
    }
    let wrong = |root: &PathBuf| config::check::wrong_directory(root, "a guest's root");
    if let Some(wrong) = site.root.as_ref().and_then(wrong) {
        return Err(Error::usage(format!("'--root {}': {wrong}", target.display())));
    }
    // Neither could it be deleted.
    way::follow(&target)
        .map_err(|doubt| doubt.into_error(&format!("cannot build guest '{name}'"), &target))?;
    if let Some(why) = config::conflict(paths, name, &target, site.sets_aside())? {
        return Err(Error::new(format!("cannot build guest '{name}': {why}"))
            .hint(why.hint("give a '--root' that isn't there yet, or none")));
    }
    let file = paths.config(name);
    let is_there = |path: &Path| path.symlink_metadata().is_ok();
    // What one that was killed at its end had put in place is no guest.
    if is_there(&target) && workspace::is_left(&target)? {
        // What it has begun inside may go on for a moment.
        at_rest::check(paths, name)?;
        return tidy::check_hostname(site.hostname());
    }
    // Whatever else is there may be anybody's, also of the host's own.
    let is_its_own = target == paths.root(name)
        || config::root_of(paths, name).is_some_and(|root| root == target);
    if is_there(&target) && !is_its_own {
        let text = format!("'{}' is there already, and isn't guest '{name}''s", target.display());
        return Err(Error::new(text).hint("give a '--root' that isn't there yet, or none"));
    }
    let others = (!site.is_configured).then_some(&file);
    let exists = std::iter::once(&target).chain(others).find(|path| is_there(path));
    if let Some(path) = exists.filter(|_| !site.sets_aside()) {
        let force = if site.force.is_some() { ", '--force' to set it aside" } else { "" };
        let text = format!("guest '{name}' exists: there is '{}'", path.display());
        return Err(Error::new(text)
            .hint(format!("choose another name{force}, or 'vserver delete {name}'")));
    }
    tidy::check_hostname(site.hostname())
}

/// Is what is at a guest's root what a killed build has left, which was to do more inside?
/// The next one takes it away.
pub fn is_cut_short(root: &Path) -> bool {
    // Where nothing can be read, nothing was left.
    workspace::is_cut_short(root).unwrap_or(false)
}

/// What can be told of a method before it begins.
///
/// # Errors
/// When what it needs isn't there.
pub fn check(method: &Method) -> Result<()> {
    match method {
        Method::Copy { include } => copy::check(&RootDir::open(Path::new("/"))?, include),
        Method::Debootstrap(wanted) => debootstrap::check(wanted),
        Method::Install(by, wanted) => installer::check(*by, wanted),
        Method::Rsync { from, .. } => rsync::check(from),
        Method::Template { from, .. } => template::check(from),
        Method::Directory { from, .. } => directory::check(from),
        Method::Oci { from } => oci::check(from),
        Method::Skeleton | Method::Clone { .. } => Ok(()),
    }
}

/// The directory that will hold the guest's root. The usual one is closed to
/// everybody but root: guests' set-user-id programs must not be executable by
/// the host's users.
fn prepare_parent(site: &Site, paths: &Paths, target: &Path) -> Result<PathBuf> {
    let parent = target.parent().unwrap_or(target);
    std::fs::create_dir_all(parent)
        .map_err(|cause| Error::path("create directory", parent, cause))?;
    if site.root.is_none() || parent == paths.roots_dir() {
        rustix::fs::chmod(parent, Mode::RWXU)
            .map_err(|cause| Error::path("change the permissions of", parent, cause))?;
    }
    Ok(parent.to_owned())
}

fn fill(request: &Request, work: &mut Work<'_>) -> Result<(String, Settings)> {
    let summary = match &request.method {
        Method::Copy { include } => {
            let host = RootDir::open(Path::new("/"))?;
            copy::fill(&host, include, work)?
        }
        Method::Debootstrap(wanted) => debootstrap::fill(wanted, work)?,
        Method::Install(by, wanted) => installer::fill(*by, wanted, work)?,
        Method::Rsync { from, options } => rsync::fill(from, options, work)?,
        Method::Template { from, shift } => template::fill(from, shift.and_then(Shift::by), work)?,
        Method::Directory { from, shift } => {
            directory::fill(from, shift.and_then(Shift::by), work)?
        }
        Method::Oci { from } => return oci::fill(from, work),
        Method::Skeleton => skeleton::fill(work)?,
        Method::Clone { source, files, .. } => clone::fill(source, files.as_ref(), work)?,
    };
    Ok((summary, Settings::default()))
}

/// The kind of file that `stat(2)`'s mode tells.
fn kind_of(stat: &rustix::fs::Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}
