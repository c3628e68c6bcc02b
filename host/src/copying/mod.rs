//! Files between the host and guests, stopped or running.
//!
//! A guest's root may change anything of its own while it is copied, so no name
//! is trusted twice: each side is a directory that paths can't leave
//! (`view`), and from there on [`crate::tree`] works with descriptors. A copy
//! is made beside its place and put there when it is whole ([`Staging`]).

mod owners;
mod place;
mod side;
mod stream;
mod view;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rustix::fs::{FileType, Stat};
use shared::name::GuestName;

use crate::build::{LeftOut, remarks};
use crate::error::{Error, Kind, Result};
use crate::interrupt::Interrupt;
use crate::paths::Paths;
use crate::progress::Progress;
use crate::tree::{self, Attributes, Ground, Manner, Passed, Staging};

pub use place::{Named, Place, named};
pub use view::{Turn, View};

use owners::Way;
use side::{Source, Target};
use stream::is_stream;

/// What is to be copied.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// From where; more than one only into a directory that is there.
    pub sources: &'a [Place],
    /// To where.
    pub target: &'a Place,
    /// Owners, set-user-id bits, capabilities, access lists and devices, too.
    pub archive: bool,
    /// Leave what exists as it is.
    pub keep: bool,
    /// Find out what would be done, and do nothing.
    pub dry: bool,
}

/// What was done.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// One line each: from where, to where.
    pub copies: Vec<String>,
    /// What the user should know, one line each.
    pub remarks: Vec<String>,
    /// Sources of which nothing was copied, because that is left out which they are.
    pub missed: Vec<String>,
}

impl Report {
    /// Takes note of how a source went.
    fn note(&mut self, place: &Place, carried: Carried) {
        self.remarks.extend(carried.remarks);
        if carried.names == 0 && matches!(named(place.path().as_os_str()), Named::Itself) {
            self.missed.push(place.to_string());
        }
    }
}

/// What became of one source.
struct Carried {
    /// How many names were copied.
    names: u64,
    remarks: Vec<String>,
}

/// Copies.
///
/// # Errors
/// When a place isn't there, something can't be read or written, or the
/// interrupt came. Of the source that was being copied nothing is there then;
/// only an error that comes while a directory is put into another one that was
/// there leaves, whole, the files that were put until then.
pub fn run(
    request: &Request<'_>,
    paths: &Paths,
    turn: Turn<'_>,
    interrupt: &Interrupt,
    progress: &mut Progress,
) -> Result<Report> {
    sides(request)?;
    if !rustix::process::geteuid().is_root() {
        return Err(Error::of(Kind::Permission, "only root can copy files of guests"));
    }
    let mut call = Call { paths, turn, interrupt, progress };
    if request.sources.iter().any(is_stream) {
        return stream::receive(request, &stream::room(paths)?, &mut call);
    }
    if is_stream(request.target) {
        return stream::send(request, &stream::room(paths)?, &mut call);
    }
    between(request, &mut call)
}

/// What a copy works with.
struct Call<'a> {
    paths: &'a Paths,
    turn: Turn<'a>,
    interrupt: &'a Interrupt,
    progress: &'a mut Progress,
}

fn between(request: &Request<'_>, call: &mut Call<'_>) -> Result<Report> {
    let views = views(request.sources.iter().chain([request.target]), call)?;
    let Call { interrupt, progress, .. } = call;
    let there = view(&views, request.target)?;
    if request.target.guest().is_some() && !request.dry {
        there.act_as_root()?;
    }
    let target = Target::find(there, request.target, request.sources.len() > 1)?;
    let mut report = Report::default();
    progress.lines("copying");
    for place in request.sources {
        let from = view(&views, place)?;
        let source = Source::find(from, place)?;
        report.copies.push(format!("'{place}' to '{}'", target.shown(&source).display()));
        if !request.dry {
            let way = Way { from: from.owners, to: there.owners };
            let carrier = Carrier { request, way, interrupt, progress };
            report.note(place, carrier.run(&source, &target)?);
        }
    }
    progress.end();
    Ok(report)
}

/// The sides by their guests.
type Views = BTreeMap<Option<GuestName>, View>;

/// The sides of these places.
fn views<'a>(places: impl IntoIterator<Item = &'a Place>, call: &Call<'_>) -> Result<Views> {
    // Always in the same order, so that no two commands wait for each other.
    let sides: BTreeSet<_> = places.into_iter().map(|place| place.guest().cloned()).collect();
    let views = sides.into_iter().map(|side| {
        let view = match &side {
            None => View::host()?,
            Some(name) => View::guest(call.paths, name, call.turn, &|| call.interrupt.check())?,
        };
        Ok((side, view))
    });
    views.collect()
}

/// The side that a place is on.
fn view<'a>(views: &'a Views, place: &Place) -> Result<&'a View> {
    let view = views.get(&place.guest().cloned());
    view.ok_or_else(|| Error::new(format!("'{place}' can't be reached")))
}

/// # Errors
/// When not exactly one side is in a guest, or a stream is one of several sources.
fn sides(request: &Request<'_>) -> Result<()> {
    if request.sources.len() > 1 && request.sources.iter().any(is_stream) {
        return Err(Error::usage("standard input is copied alone")
            .hint("a file of this name is written './-'"));
    }
    let is_wrong = |source: &&Place| source.guest().is_some() == request.target.guest().is_some();
    let Some(source) = request.sources.iter().find(is_wrong) else { return Ok(()) };
    Err(match source.guest() {
        Some(_) => Error::usage(format!("'{source}' and '{}' are both in a guest", request.target))
            .hint("copy to the host first, and from there to the other guest"),
        None => Error::usage(format!("neither '{source}' nor '{}' is in a guest", request.target))
            .hint("what is in a guest is written GUEST:PATH"),
    })
}

/// One source on its way.
struct Carrier<'a> {
    request: &'a Request<'a>,
    way: Way,
    interrupt: &'a Interrupt,
    progress: &'a Progress,
}

impl Carrier<'_> {
    /// Copies it; says what there is to know.
    fn run(&self, source: &Source, target: &Target) -> Result<Carried> {
        let (left_out, count) = (RefCell::new(LeftOut::default()), Cell::new(0));
        let check = || {
            self.progress.say(format!("copying: {} files", count.get()));
            self.interrupt.check()
        };
        let change = |path: &Path, stat: &mut Stat, attributes: &mut Attributes| {
            self.change(path, stat, attributes, &mut left_out.borrow_mut())
        };
        let passed = |path: &Path, why| {
            let why = match why {
                Passed::Gone => "what went away meanwhile is left out",
                Passed::Kernel => "what is the kernel's and no file is left out",
                Passed::Mount => "what is mounted is left out",
                Passed::Whiteout => "what the other file system would take for removed is left out",
            };
            left_out.borrow_mut().add(why, path);
        };
        let manner = Manner {
            check: &check,
            change: &change,
            ground: Ground { mounts: true, moving: true },
            passed: &passed,
            without: None,
        };
        let staging = Staging::make(&target.directory, self.request.keep)?;
        let copied = match source {
            Source::File { parent, name } => {
                count.set(1);
                staging.copy_file(parent, name, &manner)?
            }
            Source::Directory { directory, .. } => {
                let shown = target.shown(source);
                staging.copy_directory(directory, &shown, &manner, |files| count.set(files))?
            }
        };
        self.interrupt.check()?;
        let placed = match target.name(source) {
            Some(name) => staging.place(name, &check)?,
            None => staging.place_content(&check)?,
        };
        let mut said: Vec<_> = remarks(&left_out.into_inner()).collect();
        said.extend(tree::without_attributes(copied.without_attributes));
        if placed.left > 0 {
            said.push(format!("{} names were there and are left as they were", placed.left));
        }
        Ok(Carried { names: copied.files, remarks: said })
    }

    /// What a name becomes on the other side; false if it has no place there.
    fn change(
        &self,
        path: &Path,
        stat: &mut Stat,
        attributes: &mut Attributes,
        left_out: &mut LeftOut,
    ) -> bool {
        let archive = self.request.archive;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Socket => {
                left_out.add("sockets are left out", path);
                return false;
            }
            // The host makes a guest's devices, and one that a guest has is
            // made on the host only for who wants all there is.
            FileType::CharacterDevice | FileType::BlockDevice
                if !tree::is_whiteout(stat)
                    && (!archive || self.request.target.guest().is_some()) =>
            {
                left_out.add("device nodes are left out", path);
                return false;
            }
            _ => {}
        }
        if archive {
            let (user, unknown) = self.way.owner(stat.st_uid);
            let (group, also) = self.way.owner(stat.st_gid);
            if unknown || also {
                left_out.add("owners that the other side doesn't have became nobody", path);
            }
            (stat.st_uid, stat.st_gid) = (user, group);
            attributes.change(|name, value| self.way.attribute(name, value));
            return true;
        }
        // A program would run as another user than its maker meant, and one out
        // of a guest as the host's root.
        stat.st_mode &= !SET_IDS;
        let root = self.way.to.root();
        (stat.st_uid, stat.st_gid) = (root, root);
        attributes.change(|name, value| name.starts_with(b"user.").then(|| value.to_vec()));
        true
    }
}

/// The set-user-id and set-group-id bits (inode(7)).
const SET_IDS: u32 = 0o6000;
