//! Files that may have an equal one: noted by walking the guests.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::file::{GROUND, Identity};
use super::sizes::{Sizes, round};
use super::{Member, Stop};
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::tree::{Step, walk_on};

/// Bytes that the notes of a round take, more or less.
pub(super) const BUDGET: u64 = 64 * 1024 * 1024;

/// What a note takes besides its path.
const NOTE: u64 = 64;

/// Rounds in which all guests are walked, more or less: a guest adds no more than
/// its share of them, or half a one where they are many.
const ROUNDS: u64 = 16;

/// No longer path can be opened (`PATH_MAX`, path_resolution(7)).
const LONGEST: usize = 4095;

/// A file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Candidate {
    pub(super) volume: usize,
    pub(super) identity: Identity,
    /// It may not be changed. Of two names of a file the one that it may by
    /// comes first.
    pub(super) is_fixed: bool,
    /// Whose it is.
    pub(super) member: usize,
    pub(super) path: Box<Path>,
}

impl Candidate {
    /// Are they equal, if anything is?
    pub(super) fn is_like(&self, other: &Self) -> bool {
        (self.volume, self.identity.size) == (other.volume, other.identity.size)
    }
}

/// Finds them, in rounds.
pub(super) struct Candidates<'i> {
    minimum: u64,
    budget: u64,
    interrupt: &'i Interrupt,
    sizes: Sizes,
    rounds: u64,
}

impl<'i> Candidates<'i> {
    pub(super) fn new(minimum: u64, budget: u64, interrupt: &'i Interrupt) -> Self {
        Self { minimum, budget, interrupt, sizes: Sizes::new(), rounds: 1 }
    }

    /// Counts lengths; gives the number of rounds.
    pub(super) fn survey(
        &mut self,
        members: &mut [Member],
        progress: &Progress,
    ) -> Result<u64, Stop> {
        let mut cost = 0u64;
        let most = most_of_one(self.budget, members.len() as u64);
        for member in members {
            let (volume, is_target) = (member.volume, member.guest.is_target);
            let (mut files, mut own) = (0, 0u64);
            let sizes = &mut self.sizes;
            each(member, self.minimum, self.interrupt, progress, &mut |path, identity, links| {
                files += 1;
                // A file is noted once, by one of its names.
                own = own.saturating_add(cost_of(path).div_ceil(links.max(1)));
                sizes.note(volume, identity.size, is_target);
            })?;
            (member.done.shared.files, member.cost) = (files, own.min(most));
            cost = cost.saturating_add(member.cost);
        }
        self.rounds = cost / self.budget + 1;
        Ok(self.rounds)
    }

    /// Those of a round, those of one length and file system together.
    pub(super) fn of_round(
        &self,
        number: u64,
        members: &mut [Member],
        progress: &Progress,
    ) -> Result<Vec<Candidate>, Stop> {
        let mut found = Vec::new();
        for (at, member) in members.iter_mut().enumerate() {
            let (volume, is_fixed) = (member.volume, !member.guest.is_target);
            // Nobody with files all of one length keeps the others out.
            let most = (member.cost / self.rounds).saturating_mul(2) + self.budget / 64;
            let (mut cost, mut left, mut linked) = (0, 0, BTreeSet::new());
            each(member, self.minimum, self.interrupt, progress, &mut |path, identity, links| {
                let size = identity.size;
                if round(size, self.rounds) != number || !self.sizes.may_repeat(volume, size) {
                    return;
                }
                if linked.contains(&identity) {
                    return;
                }
                cost += cost_of(path);
                if cost > most {
                    left += 1;
                    return;
                }
                if links > 1 {
                    linked.insert(identity);
                }
                found.push(Candidate { volume, identity, is_fixed, member: at, path: path.into() });
            })?;
            member.done.shared.left_files += left;
        }
        found.sort_unstable();
        // Names of one file.
        found.dedup_by(|one, other| (one.volume, one.identity) == (other.volume, other.identity));
        Ok(found)
    }
}

/// What the notes of one of so many guests take at most, in all rounds.
fn most_of_one(budget: u64, guests: u64) -> u64 {
    (budget.saturating_mul(ROUNDS) / guests.max(1)).max(budget / 2)
}

fn cost_of(path: &Path) -> u64 {
    NOTE + path.as_os_str().len() as u64
}

/// Calls `found` for each name of a guest's file that takes part, with how many
/// the file has. A guest that can't
/// be read to its end takes part as far as it can.
fn each(
    member: &mut Member,
    minimum: u64,
    interrupt: &Interrupt,
    progress: &Progress,
    found: &mut dyn FnMut(&Path, Identity, u64),
) -> Result<(), Stop> {
    let (name, excluded) = (&member.guest.name, &member.guest.excluded);
    let count = Cell::new(0u64);
    let check = || {
        progress.say(format!("looking at files of {name}: {}", count.get()));
        interrupt.check()
    };
    let walked = walk_on(&member.root, GROUND, &check, |step| {
        let Step::Enter(entry, None) = step else { return Ok(()) };
        count.set(count.get() + 1);
        let path = entry.path;
        if let Some(identity) = Identity::of(entry.stat, minimum)
            && path.as_os_str().as_bytes().len() <= LONGEST
            && !excluded.has(&path.to_string_lossy())
        {
            found(path, identity, entry.stat.st_nlink);
        }
        Ok(())
    });
    match walked {
        Err(_) if interrupt.is_asked() => Err(Stop::Interrupted),
        Err(error) => {
            member.done.fail(format!("not all of its files can be looked at: {error}"));
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::config::Excluded;
    use crate::fsroot::RootDir;
    use crate::unify::{Done, Guest};

    fn member(root: &Path, name: &str, is_target: bool) -> Member {
        let name: shared::name::GuestName = name.parse().unwrap();
        let excluded = Excluded::new(["/tmp"]).unwrap();
        Member {
            root: RootDir::open(root).unwrap(),
            done: Done::new(&name, None),
            guest: Guest { name, root: root.to_owned(), excluded, is_target },
            volume: 0,
            cost: 0,
            may_read: 0,
        }
    }

    /// Two empty directories, gone with the first.
    fn two_roots(names: [&str; 2]) -> (tempfile::TempDir, [PathBuf; 2]) {
        let scene = tempfile::tempdir().unwrap();
        let roots = names.map(|name| scene.path().join(name));
        roots.iter().for_each(|root| fs::create_dir(root).unwrap());
        (scene, roots)
    }

    /// All that is found, in rounds, and how many those were.
    fn find(members: &mut [Member], budget: u64) -> (u64, Vec<Candidate>) {
        let interrupt = Interrupt::default();
        let mut candidates = Candidates::new(1, budget, &interrupt);
        let progress = Progress::silent();
        let Ok(rounds) = candidates.survey(members, &progress) else { panic!("interrupted") };
        let mut all = Vec::new();
        for number in 0..rounds {
            let Ok(found) = candidates.of_round(number, members, &progress) else { panic!() };
            all.extend(found);
        }
        (rounds, all)
    }

    #[test]
    fn every_length_that_repeats_is_noted_once_in_some_round() {
        let (_scene, roots) = two_roots(["a", "b"]);
        for (number, root) in roots.iter().enumerate() {
            fs::create_dir_all(root.join("tmp")).unwrap();
            for size in 1..200 {
                fs::write(root.join(format!("f{size}")), vec![b'x'; size]).unwrap();
            }
            fs::write(root.join("alone"), vec![b'x'; 500 + number]).unwrap();
            fs::write(root.join("tmp/passed"), vec![b'x'; 7]).unwrap();
            fs::hard_link(root.join("f7"), root.join("again")).unwrap();
            std::os::unix::fs::symlink("f7", root.join("link")).unwrap();
        }
        for budget in [1 << 20, 1 << 12] {
            let mut members = [member(&roots[0], "a", true), member(&roots[1], "b", false)];
            let (rounds, all) = find(&mut members, budget);
            assert_eq!(rounds > 3, budget == 1 << 12, "{rounds} rounds");
            let mut sizes = BTreeMap::<u64, Vec<usize>>::new();
            for one in all {
                sizes.entry(one.identity.size).or_default().push(one.member);
            }
            sizes.values_mut().for_each(|members| members.sort_unstable());
            assert!(sizes.values().all(|members| *members == [0, 1]), "{sizes:?}");
            assert_eq!(sizes.into_keys().collect::<Vec<_>>(), (1..200).collect::<Vec<_>>());
            assert_eq!(members.map(|member| member.done.shared.files), [201, 201]);
        }
    }

    #[test]
    fn a_flood_of_one_length_keeps_no_other_guest_out() {
        const FLOOD: u64 = 3000;
        let (_scene, roots) = two_roots(["flood", "other"]);
        for number in 0..FLOOD {
            fs::write(roots[0].join(format!("f{number}")), "same").unwrap();
        }
        for number in 0..5 {
            fs::write(roots[1].join(format!("f{number}")), "same").unwrap();
        }
        let mut members = [member(&roots[0], "flood", true), member(&roots[1], "other", true)];
        let (rounds, all) = find(&mut members, 1 << 16);
        let count = |member: usize| all.iter().filter(|one| one.member == member).count() as u64;
        let most = FLOOD * 2 / rounds + 20;
        assert!((1..=most).contains(&count(0)), "{} in {rounds} rounds", count(0));
        assert_eq!(members[0].done.shared.left_files, FLOOD - count(0));
        assert_eq!((count(1), members[1].done.shared.left_files), (5, 0));
    }

    #[test]
    fn names_of_one_file_cost_no_more_than_one() {
        const NAMES: u64 = 1000;
        let (_scene, roots) = two_roots(["linked", "other"]);
        for root in &roots {
            fs::write(root.join("f"), "same").unwrap();
        }
        for number in 1..NAMES {
            fs::hard_link(roots[0].join("f"), roots[0].join(format!("f{number}"))).unwrap();
        }
        let mut members = [member(&roots[0], "linked", true), member(&roots[1], "other", true)];
        let (rounds, all) = find(&mut members, 1 << 12);
        assert_eq!((rounds, all.len()), (1, 2));
        assert_eq!(members.map(|member| member.done.shared.left_files), [0, 0]);
    }

    #[test]
    fn nobody_adds_more_than_its_share_of_rounds() {
        const NAMES: usize = 4000;
        let (_scene, roots) = two_roots(["flood", "other"]);
        for size in 1..=NAMES {
            // Twice each length.
            for name in ["a", "b"] {
                let file = fs::File::create(roots[0].join(format!("{name}{size}"))).unwrap();
                std::io::Write::write_all(&mut &file, &vec![1; size]).unwrap();
            }
        }
        for size in 1..=5 {
            fs::write(roots[1].join(format!("f{size}")), vec![1; size]).unwrap();
        }
        let mut members = [member(&roots[0], "flood", true), member(&roots[1], "other", true)];
        let (rounds, all) = find(&mut members, 1 << 12);
        assert!(rounds <= ROUNDS, "{rounds} rounds");
        let count = |member: usize| all.iter().filter(|one| one.member == member).count();
        assert!((1..2 * NAMES).contains(&count(0)));
        let left = members.each_ref().map(|member| member.done.shared.left_files);
        assert_eq!(left, [(2 * NAMES - count(0)) as u64, 0]);
        assert_eq!(count(1), 5);
        let rounds = |guests: u64| most_of_one(BUDGET, guests) * guests / BUDGET;
        assert_eq!([1, 16, 32, 100].map(rounds), [16, 16, 16, 50]);
    }
}
