//! Compares files of one length, and lets those that are equal share blocks.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use super::alike::{self, Alike, Class, Digest};
use super::candidates::{Candidate, Candidates};
use super::file::{self, Layout};
use super::volume::{self, Known};
use super::{Member, Stop};
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::report::unify::Shared;

/// The guests, and what is done to their files.
pub(super) struct Work<'i> {
    members: Vec<Member>,
    known: Vec<Known>,
    dry_run: bool,
    interrupt: &'i Interrupt,
}

impl<'i> Work<'i> {
    pub(super) fn new(
        members: Vec<Member>,
        known: Vec<Known>,
        dry_run: bool,
        interrupt: &'i Interrupt,
    ) -> Self {
        Self { members, known, dry_run, interrupt }
    }

    pub(super) fn into_members(self) -> Vec<Member> {
        self.members
    }

    /// All of it.
    pub(super) fn run(
        &mut self,
        mut candidates: Candidates<'_>,
        progress: &mut Progress,
    ) -> Result<(), Stop> {
        if !self.members.iter().any(|member| member.guest.is_target) {
            return Ok(());
        }
        progress.lines("looking at files");
        let rounds = candidates.survey(&mut self.members, progress)?;
        for round in 0..rounds {
            progress.lines("looking at files");
            let found = candidates.of_round(round, &mut self.members, progress)?;
            progress.files("comparing", found.len() as u64);
            let mut at = 0;
            for group in found.chunk_by(Candidate::is_like) {
                progress.at(at);
                at += group.len() as u64;
                if group.len() > 1 && group.iter().any(|file| !file.is_fixed) {
                    self.group(group)?;
                }
            }
        }
        Ok(())
    }

    /// Files of one length on one file system.
    fn group(&mut self, group: &[Candidate]) -> Result<(), Stop> {
        let mut layouts = Vec::with_capacity(group.len());
        for candidate in group {
            let layout =
                self.open(candidate).and_then(|file| file::layout(file.as_fd(), &|| self.check()));
            // What can't be opened is alone, and found out again.
            layouts.push(layout.unwrap_or(Layout { blocks: None, own: 0 }));
            self.stop()?;
        }
        let known = layouts.iter().zip(group);
        let classes = alike::classes(known.map(|(it, file)| (it.blocks, !file.is_fixed)));
        if let [only] = classes.as_slice() {
            self.note_shared(only, group);
            return Ok(());
        }
        let mut read = Vec::with_capacity(classes.len());
        for class in classes {
            read.push((self.read(&class, group)?, class));
        }
        for alike in alike::alike(read) {
            self.alike(&alike, group, &layouts)?;
        }
        Ok(())
    }

    /// What is in the files of a class; `None` if that can't be read.
    fn read(&mut self, class: &Class, group: &[Candidate]) -> Result<Option<Digest>, Stop> {
        let mut is_too_much = false;
        for candidate in class.members.iter().filter_map(|member| group.get(*member)) {
            if !self.may_read(candidate) {
                is_too_much = true;
                continue;
            }
            let digest = self.open(candidate).and_then(|file| {
                file::content(&file, candidate.identity.size, &mut io::sink(), &|| self.check())
            });
            self.stop()?;
            if let Ok(digest) = digest {
                return Ok(Some(digest));
            }
        }
        if is_too_much {
            self.leave(class.members.iter().filter_map(|member| group.get(*member)));
        }
        Ok(None)
    }

    fn alike(
        &mut self,
        alike: &Alike,
        group: &[Candidate],
        layouts: &[Layout],
    ) -> Result<(), Stop> {
        self.note_shared(&alike.source, group);
        let of = |class: &Class| {
            let files = class.members.iter().filter_map(|at| group.get(*at).zip(layouts.get(*at)));
            files.collect::<Vec<_>>()
        };
        let theirs = of(&alike.source);
        let mut targets: Vec<_> = alike.others.iter().flat_map(of).collect();
        targets.retain(|(candidate, _)| !candidate.is_fixed);
        let Some((first, _)) = targets.first() else { return Ok(()) };
        let is_own = theirs.iter().chain(&targets).all(|(it, _)| it.member == first.member);
        let needs_own = !is_own && self.known.get(first.volume).is_some_and(Known::needs_own);
        let mut debt = 0;
        let source = if !needs_own || self.dry_run {
            theirs.iter().find_map(|(file, _)| self.open(file).ok())
        } else {
            let found = self.copy(&alike.content, theirs.iter().chain(&targets))?;
            if let Some(copy) = &found {
                debt = self.give(copy, &theirs)?;
            } else {
                self.leave(targets.iter().map(|(file, _)| *file));
            }
            found
        };
        let Some(source) = source else { return Ok(()) };
        for (candidate, layout) in targets {
            self.share(&source, candidate, layout.own, &mut debt)?;
        }
        Ok(())
    }

    /// Writes what is in these equal files to one of the host's, which goes when
    /// it is closed; its blocks stay with those who got them. No guest's own file
    /// shall lend others what it may be a small part of.
    fn copy<'c>(
        &mut self,
        content: &Digest,
        files: impl Iterator<Item = &'c (&'c Candidate, &'c Layout)>,
    ) -> Result<Option<File>, Stop> {
        let mut asked = BTreeSet::new();
        for (candidate, _) in files {
            // A file of each guest is enough of a try.
            if !asked.insert(candidate.member) || !self.may_read(candidate) {
                continue;
            }
            let Some(above) = self.known.get(candidate.volume).and_then(|it| it.above.as_ref())
            else {
                tracing::info!("no directory above the guests' roots is on their file system");
                return Ok(None);
            };
            let mut copy = match volume::unnamed(above.as_fd()) {
                Ok(copy) => copy,
                Err(cause) => {
                    tracing::info!("no file can be made beside the guests' roots: {cause}");
                    return Ok(None);
                }
            };
            let written = self.open(candidate).and_then(|file| {
                file::content(&file, candidate.identity.size, &mut copy, &|| self.check())
            });
            self.stop()?;
            match written {
                Ok(found) if found == *content => return Ok(Some(copy)),
                // It has changed, or has gone.
                Ok(_) => {}
                Err(cause) if matches!(cause.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT)) => {
                    tracing::info!("there is no room beside the guests' roots: {cause}");
                    return Ok(None);
                }
                Err(_) => {}
            }
        }
        Ok(None)
    }

    /// Gives files that would have lent their blocks those of their copy. Tells
    /// what that takes of the disk: nothing, once nobody has the former blocks.
    fn give(&mut self, copy: &File, files: &[(&Candidate, &Layout)]) -> Result<u64, Stop> {
        let mut debt = 0;
        for (candidate, _) in files {
            let (size, mut bytes) = (candidate.identity.size, 0);
            let may_read = self.may_read(candidate);
            let given = self.open(candidate).and_then(|target| {
                if !may_read {
                    return Err(io::Error::from_raw_os_error(libc::EFBIG));
                }
                file::share(copy.as_fd(), target.as_fd(), size, &|| self.check(), &mut bytes)
            });
            self.stop()?;
            if let Err(cause) = given {
                debt = size;
                self.keep(candidate, &cause);
            }
        }
        Ok(debt)
    }

    fn share(
        &mut self,
        source: &File,
        candidate: &Candidate,
        own: u64,
        debt: &mut u64,
    ) -> Result<(), Stop> {
        let (size, mut bytes) = (candidate.identity.size, 0);
        if !self.dry_run && !self.may_read(candidate) {
            self.leave([candidate]);
            return Ok(());
        }
        let shared = self.open(candidate).and_then(|target| {
            if self.dry_run {
                bytes = size;
                return Ok(());
            }
            let check = || self.check();
            file::share(source.as_fd(), target.as_fd(), size, &check, &mut bytes)
        });
        let is_interrupted = self.interrupt.is_asked();
        let Some(done) = self.shared(candidate) else { return Ok(()) };
        done.shared_bytes += bytes;
        // The last block is whole on the disk.
        let free = if bytes < size { bytes.min(own) } else { own };
        done.saved_bytes += free.saturating_sub(*debt);
        *debt = debt.saturating_sub(free);
        match shared {
            Ok(()) => done.shared_files += 1,
            Err(_) if is_interrupted => {}
            Err(cause) => self.keep(candidate, &cause),
        }
        self.stop()
    }

    fn keep(&mut self, candidate: &Candidate, cause: &io::Error) {
        let Some(done) = self.shared(candidate) else { return };
        done.left_files += 1;
        let (name, path) = (&done.name, candidate.path.display());
        tracing::info!("'{path}' of guest '{name}' stays as it is: {cause}");
    }

    fn leave<'c>(&mut self, files: impl IntoIterator<Item = &'c Candidate>) {
        for candidate in files {
            if let Some(done) = self.shared(candidate) {
                done.left_files += 1;
            }
        }
    }

    /// May a file be read, once, of all that may be read for its guest?
    fn may_read(&mut self, candidate: &Candidate) -> bool {
        let Some(member) = self.members.get_mut(candidate.member) else { return false };
        let rest = member.may_read.checked_sub(candidate.identity.size);
        if rest.is_none() {
            let why = "not all of its files are read: they are longer than all that is on their \
                       file system";
            member.done.shared.skipped.get_or_insert_with(|| why.to_owned());
        }
        member.may_read = rest.unwrap_or(member.may_read);
        rest.is_some()
    }

    /// Files of a class share their blocks if there are several.
    fn note_shared(&mut self, class: &Class, group: &[Candidate]) {
        if class.members.len() < 2 {
            return;
        }
        for candidate in class.members.iter().filter_map(|member| group.get(*member)) {
            if let Some(done) = self.shared(candidate) {
                done.already_files += 1;
            }
        }
    }

    fn shared(&mut self, candidate: &Candidate) -> Option<&mut Shared> {
        self.members.get_mut(candidate.member).map(|member| &mut member.done.shared)
    }

    fn open(&self, candidate: &Candidate) -> io::Result<File> {
        let member = self.members.get(candidate.member);
        let member = member.ok_or_else(|| io::Error::from_raw_os_error(libc::ESTALE))?;
        file::open(&member.root, &candidate.path, candidate.identity)
    }

    fn check(&self) -> io::Result<()> {
        if self.interrupt.is_asked() { Err(io::ErrorKind::Other.into()) } else { Ok(()) }
    }

    fn stop(&self) -> Result<(), Stop> {
        if self.interrupt.is_asked() { Err(Stop::Interrupted) } else { Ok(()) }
    }
}
