//! Equal files of many guests in the same blocks of the disk.
//!
//! The kernel compares what is to be shared, byte by byte, while nobody can
//! write to it, and whoever writes later gets blocks of their own
//! (ioctl_fideduperange(2)). So no mistake here, and nothing that guests do
//! meanwhile, can change a file; owners, times, names and links stay as well,
//! and guests may run. At worst something isn't shared.
//!
//! Every guest is walked at least twice: first lengths are counted, then the
//! files of those lengths that occur more than once are noted and compared. What
//! is noted has a bound; where there is more, lengths are taken in rounds.
//! How many those are, and how much is read for a guest, has one as well.
//!
//! On btrfs no guest gets the blocks of another: an extent stays whole while
//! anybody has a piece of it. There what several guests have is written once
//! more, by the host, and given to all of them.

mod alike;
mod candidates;
mod file;
mod sizes;
mod volume;
mod work;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use shared::name::GuestName;

use crate::config::Excluded;
use crate::error::{Error, Result};
use crate::fsroot::RootDir;
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::report::unify::Shared;

use candidates::Candidates;
use volume::{Known, Volume};

/// A guest whose files are a directory.
#[derive(Debug)]
pub struct Guest {
    /// Its name.
    pub name: GuestName,
    /// Its root.
    pub root: PathBuf,
    /// What is passed by.
    pub excluded: Excluded,
    /// Are its files given the blocks of others? Else others are given its.
    pub is_target: bool,
}

/// What is to be done.
#[derive(Debug)]
pub struct Request {
    /// The guests.
    pub guests: Vec<Guest>,
    /// Files are at least this long.
    pub minimum: u64,
    /// Only find out.
    pub dry_run: bool,
}

/// What was done to the files of a guest.
#[derive(Clone, Debug)]
pub struct Done {
    /// As it is shown.
    pub shared: Shared,
    /// Could not all be done that was to be?
    pub has_failed: bool,
}

impl Done {
    /// A guest that is passed by, or of which nothing is known yet.
    pub fn new(name: &GuestName, skipped: Option<String>) -> Self {
        let shared = Shared {
            name: name.clone(),
            files: 0,
            shared_files: 0,
            shared_bytes: 0,
            saved_bytes: 0,
            already_files: 0,
            left_files: 0,
            skipped,
        };
        Self { shared, has_failed: false }
    }

    fn fail(&mut self, why: impl Into<String>) {
        self.shared.skipped.get_or_insert_with(|| why.into());
        self.has_failed = true;
    }
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The guests whose files were to be changed.
    pub guests: Vec<Done>,
    /// Was it told to end before the end?
    pub is_interrupted: bool,
    /// Names of guests whose file system can't share blocks.
    pub unable: Vec<GuestName>,
}

/// A guest that takes part.
struct Member {
    guest: Guest,
    root: RootDir,
    /// The number of its file system.
    volume: usize,
    done: Done,
    /// What its files would take if all were noted.
    cost: u64,
    /// Bytes of its files that may still be read.
    may_read: u64,
}

/// The work ends before its end.
enum Stop {
    Interrupted,
}

/// Bytes of a file in blocks that nothing else has.
///
/// # Errors
/// When its file system doesn't tell.
pub fn own_bytes(file: BorrowedFd<'_>) -> io::Result<u64> {
    file::layout(file, &|| Ok(())).map(|layout| layout.own)
}

/// Lets equal files of guests share blocks.
/// What fails with one guest is in what is said of it, and keeps no other back.
pub fn unify(request: Request, interrupt: &Interrupt, progress: &mut Progress) -> Outcome {
    unify_within(request, interrupt, progress, candidates::BUDGET)
}

fn unify_within(
    request: Request,
    interrupt: &Interrupt,
    progress: &mut Progress,
    budget: u64,
) -> Outcome {
    let (mut known, mut outcome) = (Vec::new(), Outcome::default());
    let mut members = Vec::new();
    for guest in request.guests {
        let (name, is_target) = (guest.name.clone(), guest.is_target);
        match admit(guest, &mut known) {
            Ok(Some(member)) => members.push(member),
            Ok(None) if is_target => outcome.unable.push(name),
            Err(error) if is_target => {
                let mut done = Done::new(&name, None);
                done.fail(error.to_string());
                outcome.guests.push(done);
            }
            Ok(None) | Err(_) => {}
        }
    }
    let candidates = Candidates::new(request.minimum, budget, interrupt);
    let mut work = work::Work::new(members, known, request.dry_run, interrupt);
    outcome.is_interrupted = matches!(work.run(candidates, progress), Err(Stop::Interrupted));
    progress.end();
    let members = work.into_members().into_iter();
    outcome.guests.extend(members.filter(|it| it.guest.is_target).map(|it| it.done));
    outcome
}

/// How often the bytes that a file system has are read for a guest, at most: to
/// find out what is in them, to copy it, to compare it. A guest's files can be
/// of many times that, and all lie in the same few blocks.
const READS: u64 = 4;

/// Opens a guest's root, if its file system can share blocks.
fn admit(guest: Guest, known: &mut Vec<Known>) -> Result<Option<Member>> {
    let root = RootDir::open(&guest.root)?;
    let failed = |cause: io::Error| Error::path("examine", &guest.root, cause);
    let directory = volume::directory(&root).map_err(failed)?;
    let volume = Volume::of(directory.as_fd()).map_err(failed)?;
    let above = volume::above(&root, volume);
    let number = known.iter().position(|it| it.volume == volume).unwrap_or(known.len());
    match known.get_mut(number) {
        Some(it) => it.above = it.above.take().or(above),
        None => {
            let on = above.as_ref().map_or(directory.as_fd(), |above| above.as_fd());
            let can_share = volume::can_share(on).map_err(failed)?;
            known.push(Known { volume, can_share, above });
        }
    }
    if !known.get(number).is_some_and(|it| it.can_share) {
        return Ok(None);
    }
    let may_read = volume::used(directory.as_fd()).map_err(failed)?.saturating_mul(READS);
    let done = Done::new(&guest.name, None);
    Ok(Some(Member { guest, root, volume: number, done, cost: 0, may_read }))
}
