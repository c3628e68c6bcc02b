//! Decides which of the host's packages a copy gets. Pure.
//!
//! A copy is a small server: what every system must have, and of a list of
//! services whatever the host has, with all that these need. What can't have
//! what it needs stays out, so that the guest's own package manager finds
//! nothing amiss.

use std::collections::{BTreeMap, BTreeSet};

use super::status::Package;
use super::wishes::{self, REFUSED, UNLOVED, WANTED};

/// What was chosen.
#[derive(Debug, PartialEq, Eq)]
pub struct Choice {
    /// Indices into the packages, in the order of their names.
    pub packages: Vec<usize>,
    /// "PACKAGE, which needs NAME" for what had to stay out.
    pub left_out: Vec<String>,
    /// "PACKAGE needs NAME" for what is in nevertheless, being essential.
    pub unmet: Vec<String>,
}

/// Chooses from the host's packages; `native` is its architecture, `include`
/// names packages wanted besides the usual ones.
pub fn choose(packages: &[Package], native: &str, include: &[String]) -> Choice {
    let mut search =
        Search { packages, names: Names::of(packages), native, barred: barred(packages) };
    let mut left_out = Vec::new();
    loop {
        let (chosen, unmet) = search.closure(include);
        let is_spared = |index: &usize| packages.get(*index).is_some_and(|p| !p.essential);
        match unmet.iter().find(|(index, _)| is_spared(index)) {
            // Each round bars one more, so this ends.
            Some((index, group)) => {
                search.barred.insert(*index);
                left_out.push(sentence(packages, *index, ", which needs ", group));
            }
            None => {
                let unmet = unmet.iter().map(|(i, group)| sentence(packages, *i, " needs ", group));
                return Choice {
                    packages: sorted(packages, chosen),
                    left_out,
                    unmet: unmet.collect(),
                };
            }
        }
    }
}

/// The packages that are refused whatever needs them.
fn barred(packages: &[Package]) -> BTreeSet<usize> {
    let is_refused = |p: &Package| wishes::reason(REFUSED, &p.name).is_some();
    packages.iter().enumerate().filter(|(_, p)| is_refused(p)).map(|(index, _)| index).collect()
}

fn sentence(packages: &[Package], index: usize, link: &str, group: &[String]) -> String {
    let name = packages.get(index).map_or("", |package| package.name.as_str());
    format!("{name}{link}{}", group.join(" or "))
}

fn sorted(packages: &[Package], chosen: BTreeSet<usize>) -> Vec<usize> {
    let mut chosen: Vec<usize> = chosen.into_iter().collect();
    chosen.sort_by_key(|&index| packages.get(index).map(|p| (&p.name, &p.architecture)));
    chosen
}

struct Search<'a> {
    packages: &'a [Package],
    names: Names<'a>,
    native: &'a str,
    /// Packages that can't be chosen.
    barred: BTreeSet<usize>,
}

/// A package, and a group of which it needs one that can't be chosen.
type Unmet<'a> = (usize, &'a [String]);

impl<'a> Search<'a> {
    /// All wanted packages with what they need.
    fn closure(&self, include: &[String]) -> (BTreeSet<usize>, Vec<Unmet<'a>>) {
        let mut chosen = BTreeSet::new();
        let mut unmet = Vec::new();
        let mut todo: Vec<usize> = (0..self.packages.len())
            .rev()
            .filter(|index| !self.barred.contains(index))
            .filter(|&index| self.packages.get(index).is_some_and(|p| self.is_wanted(p, include)))
            .collect();
        while let Some(index) = todo.pop() {
            let Some(package) = self.packages.get(index) else { continue };
            if !chosen.insert(index) {
                continue;
            }
            for group in &package.depends {
                match self.best(group, package, &chosen) {
                    Some(needed) => todo.push(needed),
                    None => unmet.push((index, group.as_slice())),
                }
            }
        }
        (chosen, unmet)
    }

    fn is_wanted(&self, package: &Package, include: &[String]) -> bool {
        let at_home = package.architecture == self.native || package.architecture == "all";
        let ranked = matches!(package.priority.as_str(), "required" | "important");
        let listed = WANTED.contains(&package.name.as_str());
        let is_liked = wishes::reason(UNLOVED, &package.name).is_none();
        include.contains(&package.name)
            || at_home && is_liked && (package.essential || ranked || listed)
    }

    /// The package of a group that serves best: one that is chosen already,
    /// else a liked one before an unloved one, a real one before a provided
    /// one, one of the same architecture before another, and then in the
    /// order of the alternatives.
    fn best(&self, group: &[String], of: &Package, chosen: &BTreeSet<usize>) -> Option<usize> {
        let home = if of.architecture == "all" { self.native } else { &of.architecture };
        let candidates = self.names.candidates(group);
        let merit = |&(index, is_real): &(usize, bool)| {
            let package = self.packages.get(index);
            let is_near =
                package.is_some_and(|p| p.architecture == home || p.architecture == "all");
            let is_liked = package.is_some_and(|p| wishes::reason(UNLOVED, &p.name).is_none());
            (!chosen.contains(&index), !is_liked, !is_real, !is_near)
        };
        let able = candidates.into_iter().filter(|(index, _)| !self.barred.contains(index));
        able.min_by_key(merit).map(|(index, _)| index)
    }
}

/// Which packages have a name, or provide it.
struct Names<'a> {
    real: BTreeMap<&'a str, Vec<usize>>,
    provided: BTreeMap<&'a str, Vec<usize>>,
}

impl<'a> Names<'a> {
    fn of(packages: &'a [Package]) -> Self {
        let mut names = Self { real: BTreeMap::new(), provided: BTreeMap::new() };
        for (index, package) in packages.iter().enumerate() {
            names.real.entry(package.name.as_str()).or_default().push(index);
            for name in &package.provides {
                names.provided.entry(name.as_str()).or_default().push(index);
            }
        }
        names
    }

    /// All that could stand for a group, in its order; is each by that name
    /// itself?
    fn candidates(&self, group: &[String]) -> Vec<(usize, bool)> {
        let named = |map: &BTreeMap<&str, Vec<usize>>, is_real: bool| -> Vec<(usize, bool)> {
            let indices = group.iter().filter_map(|name| map.get(name.as_str())).flatten();
            indices.map(|&index| (index, is_real)).collect()
        };
        let mut candidates = named(&self.real, true);
        candidates.extend(named(&self.provided, false));
        candidates
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn package(name: &str, priority: &str, depends: &[&[&str]]) -> Package {
        let group = |names: &&[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        Package {
            name: name.to_owned(),
            architecture: "amd64".to_owned(),
            priority: priority.to_owned(),
            depends: depends.iter().map(group).collect(),
            ..Package::default()
        }
    }

    fn chosen(packages: &[Package]) -> Vec<&str> {
        let choice = choose(packages, "amd64", &[]);
        choice.packages.iter().map(|&i| packages[i].name.as_str()).collect()
    }

    #[test]
    fn required_packages_come_with_what_they_need() {
        let mut mta = package("exim4", "optional", &[]);
        mta.provides.push("mail-transport-agent".to_owned());
        let packages = [
            package("bash", "required", &[&["libtinfo6"], &["none", "base"]]),
            package("libtinfo6", "optional", &[]),
            package("base", "optional", &[]),
            package("game", "optional", &[]),
            package("cron", "optional", &[&["mail-transport-agent"]]),
            mta,
        ];
        assert_eq!(chosen(&packages), ["base", "bash", "cron", "exim4", "libtinfo6"]);
    }

    #[test]
    fn the_hosts_init_and_kernel_stay_out() {
        let packages = [
            package("systemd-sysv", "important", &[&["systemd"]]),
            package("systemd", "important", &[]),
            package("init", "important", &[&["systemd-sysv", "sysvinit-core"]]),
            package("linux-image-6.1.0-1-amd64", "required", &[]),
            package("bash", "required", &[]),
        ];
        assert_eq!(chosen(&packages), ["bash"]);
        assert_eq!(choose(&packages, "amd64", &[]).left_out, [""; 0]);
    }

    #[test]
    fn an_unloved_package_gets_in_if_nothing_else_serves() {
        let mut packages = vec![
            package("cron", "optional", &[&["systemd", "systemd-standalone-sysusers"]]),
            package("systemd", "important", &[]),
        ];
        assert_eq!(chosen(&packages), ["cron", "systemd"]);
        packages.push(package("systemd-standalone-sysusers", "optional", &[]));
        assert_eq!(chosen(&packages), ["cron", "systemd-standalone-sysusers"]);
    }

    #[test]
    fn what_needs_a_refused_package_stays_out_unless_essential() {
        let mut essential = package("core", "required", &[&["grub-pc"]]);
        essential.essential = true;
        let packages = [
            package("needy", "required", &[&["systemd-sysv"]]),
            package("needier", "required", &[&["needy"]]),
            package("systemd-sysv", "important", &[]),
            essential,
        ];
        assert_eq!(chosen(&packages), ["core"]);
        let choice = choose(&packages, "amd64", &[]);
        assert_eq!(
            choice.left_out,
            ["needy, which needs systemd-sysv", "needier, which needs needy"]
        );
        assert_eq!(choice.unmet, ["core needs grub-pc"]);
    }

    proptest! {
        #[test]
        fn every_dependency_of_what_is_chosen_is_met(
            edges in prop::collection::vec((0usize..12, 0usize..14), 0..40),
            wanted in prop::collection::vec(any::<bool>(), 12),
        ) {
            let mut packages: Vec<Package> = (0..12)
                .map(|i| package(&format!("p{i}"), if wanted[i] { "required" } else { "optional" }, &[]))
                .collect();
            for (from, to) in edges {
                packages[from].depends.push(vec![format!("p{to}")]);
            }
            let choice = choose(&packages, "amd64", &[]);
            for &index in &choice.packages {
                for group in &packages[index].depends {
                    let met = choice.packages.iter().any(|&other| group.contains(&packages[other].name));
                    prop_assert!(met, "{} has no {group:?}", packages[index].name);
                }
            }
        }
    }
}
