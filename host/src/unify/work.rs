//! Compares files of one length, and lets those that are equal share blocks.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use super::alike::{self, Alike, Class, Digest};
use super::candidates::{Candidate, Candidates};
use super::file::{self, Layout};
use super::{Member, Stop};
use crate::build::{Interrupt, Progress};
use crate::report::unify::Shared;

/// The guests, and what is done to their files.
pub(super) struct Work<'i> {
    members: Vec<Member>,
    dry_run: bool,
    interrupt: &'i Interrupt,
}

impl<'i> Work<'i> {
    pub(super) fn new(members: Vec<Member>, dry_run: bool, interrupt: &'i Interrupt) -> Self {
        Self { members, dry_run, interrupt }
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
    fn read(&self, class: &Class, group: &[Candidate]) -> Result<Option<Digest>, Stop> {
        for candidate in class.members.iter().filter_map(|member| group.get(*member)) {
            let digest = self
                .open(candidate)
                .and_then(|file| file::content(&file, candidate.identity.size, &|| self.check()));
            self.stop()?;
            if let Ok(digest) = digest {
                return Ok(Some(digest));
            }
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
        let sources = alike.source.members.iter().filter_map(|member| group.get(*member));
        let Some(source) = sources.filter_map(|file| self.open(file).ok()).next() else {
            return Ok(());
        };
        let others = alike.others.iter().flat_map(|class| &class.members);
        for (candidate, layout) in others.filter_map(|at| group.get(*at).zip(layouts.get(*at))) {
            if !candidate.is_fixed {
                self.share(&source, candidate, layout)?;
            }
        }
        Ok(())
    }

    fn share(&mut self, source: &File, candidate: &Candidate, layout: &Layout) -> Result<(), Stop> {
        let (size, mut bytes) = (candidate.identity.size, 0);
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
        done.saved_bytes += if bytes < size { bytes.min(layout.own) } else { layout.own };
        match shared {
            Ok(()) => done.shared_files += 1,
            Err(_) if is_interrupted => {}
            Err(cause) => {
                done.left_files += 1;
                let (name, path) = (&done.name, candidate.path.display());
                tracing::info!("'{path}' of guest '{name}' stays as it is: {cause}");
            }
        }
        self.stop()
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
