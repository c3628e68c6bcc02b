//! What guests' configurations, and the boots that run, say of what no two guests may
//! have: contexts and roots. It is read once, however many guests are judged by it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fmt, fs};

use shared::name::{ContextId, GuestName};

use super::load::{load_kept, names};
use super::parse::{context_in, root_in};
use super::read::text_as_it_is;
use super::roots::real;
use crate::error::Result;
use crate::paths::Paths;
use crate::runtime::RunDir;

/// All guests, as far as others have to do with them.
#[derive(Clone, Debug)]
pub struct Neighbours {
    /// Directories of vserver's own, which hold no guest's files alone.
    own: Vec<PathBuf>,
    guests: Vec<Neighbour>,
}

#[derive(Clone, Debug)]
struct Neighbour {
    name: GuestName,
    context: Option<u32>,
    roots: Vec<Theirs>,
}

/// The root of a guest.
#[derive(Clone, Debug)]
struct Theirs {
    path: PathBuf,
    /// Is it that of the boot that runs?
    is_running: bool,
}

impl Neighbours {
    /// By all that configurations say, whatever mistakes they have else, and by the boots
    /// that run.
    ///
    /// # Errors
    /// When the directory of configurations can't be read.
    pub fn read(paths: &Paths) -> Result<Self> {
        Self::find(paths, |name| {
            let text = text_as_it_is(paths, name).ok();
            let context = text.as_deref().and_then(context_in);
            (context, text.map(|text| root_in(&text).unwrap_or_else(|| paths.root(name))))
        })
    }

    /// By the boots that run only.
    ///
    /// # Errors
    /// As [`Neighbours::read`].
    fn running(paths: &Paths) -> Result<Self> {
        Self::find(paths, |_| (None, None))
    }

    /// `configured` are a guest's context and root, by its configuration.
    fn find(
        paths: &Paths,
        configured: impl Fn(&GuestName) -> (Option<u32>, Option<PathBuf>),
    ) -> Result<Self> {
        let (roots_dir, usual) = (paths.roots_dir(), real(&paths.roots_dir()));
        let guest = |name: GuestName| {
            let (context, root) = configured(&name);
            let kept = load_kept(&RunDir::new(paths, &name).configuration());
            let booted = kept.map(|config| (config.root(paths, &name), true));
            let all = root.map(|root| (root, false)).into_iter().chain(booted);
            // Each also with what the usual directory leads to in place of that.
            let both = all.flat_map(|(root, is_running)| {
                let followed = root.strip_prefix(&roots_dir).ok().map(|rest| usual.join(rest));
                let names = [Some(root), followed].into_iter().flatten();
                names.map(move |path| Theirs { path, is_running })
            });
            Neighbour { context, roots: both.collect(), name }
        };
        // Also those that run without a configuration by now.
        let all: BTreeSet<_> = names(paths)?.into_iter().chain(in_run(paths)).collect();
        let guests = all.into_iter().map(guest).collect();
        let own = [paths.config_dir(), paths.roots_dir(), paths.state_dir(), paths.run_dir()];
        let led = own.each_ref().map(|own| real(own));
        let own = own.into_iter().chain(led).collect();
        Ok(Self { own, guests })
    }

    /// Also by where links lead of all guests' roots: for what removes files, or changes
    /// their places, which waits for a disk that doesn't answer rather than do harm.
    #[must_use]
    pub fn followed(mut self) -> Self {
        for roots in self.guests.iter_mut().map(|guest| &mut guest.roots) {
            let led = |root: &Theirs| Theirs { path: real(&root.path), ..*root };
            let led: Vec<_> = roots.iter().map(led).collect();
            roots.extend(led);
        }
        self
    }

    /// Another guest whose configuration names this context.
    pub(super) fn with_context(&self, name: &GuestName, context: ContextId) -> Option<&GuestName> {
        let mut others = self.guests.iter().filter(|other| other.name != *name);
        others.find(|other| other.context == Some(context.get())).map(|other| &other.name)
    }

    /// Why this can't be a guest's root.
    ///
    /// Links are followed of this root, and on the way to the usual place: that of another
    /// guest may be on a disk that doesn't answer ([`Neighbours::followed`]).
    pub fn conflicts(&self, name: &GuestName, root: &Path) -> Vec<Conflict> {
        let mine = [root.to_owned(), real(root)];
        let conflict = |relation, at: &Path, other: Option<&GuestName>, is_running| Conflict {
            relation,
            root: root.to_owned(),
            at: at.to_owned(),
            other: other.cloned(),
            is_running,
        };
        let own = self.own.iter().filter(|own| mine.iter().any(|mine| own.starts_with(mine)));
        let own = own.map(|own| conflict(Relation::Around, own, None, false));
        let others = self.guests.iter().filter(|other| other.name != *name);
        let theirs = others.flat_map(|other| other.roots.iter().map(move |root| (other, root)));
        let others = theirs.filter_map(|(other, Theirs { path, is_running })| {
            let relation = mine.iter().find_map(|mine| Relation::of(mine, path))?;
            Some(conflict(relation, path, Some(&other.name), *is_running))
        });
        own.chain(others).collect()
    }

    /// The first of those that count for a guest that has this root already: at its usual
    /// place it is kept from nothing by what the configuration of another one says, which
    /// isn't started then.
    pub fn conflict_of_own(
        &self,
        paths: &Paths,
        name: &GuestName,
        root: &Path,
    ) -> Option<Conflict> {
        let is_usual = root == paths.root(name);
        self.conflicts(name, root).into_iter().find(|found| !is_usual || found.is_at_work())
    }
}

/// Those that run, and others of which a directory is left there.
fn in_run(paths: &Paths) -> Vec<GuestName> {
    let entries = fs::read_dir(paths.run_dir()).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// How a root lies to another directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    /// It is the same.
    Same,
    /// It lies in it.
    Within,
    /// The other one lies in it.
    Around,
}

impl Relation {
    fn of(mine: &Path, theirs: &Path) -> Option<Self> {
        match (mine.starts_with(theirs), theirs.starts_with(mine)) {
            (true, true) => Some(Self::Same),
            (true, false) => Some(Self::Within),
            (false, true) => Some(Self::Around),
            (false, false) => None,
        }
    }
}

/// Why a directory can't be a guest's root: another guest has it, or it and another
/// guest's lie in one another, or vserver's own files would be in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// How it lies to the other one.
    relation: Relation,
    root: PathBuf,
    at: PathBuf,
    other: Option<GuestName>,
    is_running: bool,
}

impl Conflict {
    /// Is the other one in use, whatever any configuration says?
    pub(super) fn is_at_work(&self) -> bool {
        self.is_running || self.other.is_none()
    }

    /// What there is to do with the other guest, if it is that one that should have
    /// another root.
    pub fn remedy(&self) -> Option<String> {
        let other = self.other.as_ref()?;
        Some(match self.is_running {
            true => format!("guest '{other}' runs there: vserver stop {other}"),
            false => format!("if that of '{other}' is the wrong one: vserver config edit {other}"),
        })
    }

    /// What there is to do: what a guest can do by itself, or else the remedy.
    pub fn hint(&self, own: &str) -> String {
        match self.remedy() {
            Some(other) => format!("{own}; {other}"),
            None => own.to_owned(),
        }
    }
}

/// As a sentence.
impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (root, at) = (self.root.display(), self.at.display());
        match (&self.other, self.relation) {
            (None, _) => write!(f, "'{root}' holds vserver's own '{at}'"),
            (Some(other), Relation::Same) => write!(f, "'{root}' is the root of guest '{other}'"),
            (Some(other), Relation::Within) => {
                write!(f, "'{root}' lies in '{at}', the root of guest '{other}'")
            }
            (Some(other), Relation::Around) => {
                write!(f, "'{root}' holds '{at}', the root of guest '{other}'")
            }
        }
    }
}

/// Why this can't be the root of a guest that is to have it. What is there is set aside for
/// it if `takes` says so.
///
/// # Errors
/// When the directory of configurations can't be read.
pub fn conflict(
    paths: &Paths,
    name: &GuestName,
    root: &Path,
    takes: bool,
) -> Result<Option<Conflict>> {
    let others = Neighbours::read(paths)?;
    let others = if takes { others.followed() } else { others };
    Ok(others.conflicts(name, root).into_iter().next())
}

/// Why nothing can be done with the root of a guest, which has it already: at its usual
/// place, only because another guest runs there.
///
/// # Errors
/// As [`conflict`].
pub fn conflict_of_own(paths: &Paths, name: &GuestName, root: &Path) -> Result<Option<Conflict>> {
    let all = match root == paths.root(name) {
        true => Neighbours::running(paths)?,
        false => Neighbours::read(paths)?,
    };
    Ok(all.conflict_of_own(paths, name, root))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::super::load::tests::host;
    use super::super::{judge_text, mistakes};
    use super::*;

    fn guest(name: &str) -> GuestName {
        name.parse().unwrap()
    }

    /// What is said of it, or nothing.
    fn said(found: Result<Option<Conflict>>) -> String {
        found.unwrap().map(|found| found.to_string()).unwrap_or_default()
    }

    /// A guest runs there.
    fn runs(paths: &Paths, name: &str, root: &str) {
        let kept = RunDir::new(paths, &guest(name)).configuration();
        fs::create_dir_all(kept.parent().unwrap()).unwrap();
        fs::write(kept, format!("root = \"{root}\"\n")).unwrap();
    }

    #[test]
    fn a_root_is_one_guests() {
        let latin: &[u8] = b"description = \"M\xfcller\"\nroot = \"/srv/m\"\n";
        let (_directory, paths) = host(&[
            ("a.toml", &b"context = 7\n"[..]),
            ("b.toml", &b"root = \"/srv/b\"\nwrong = 1\n"[..]),
            ("m.toml", latin),
            ("web.toml", &b"root = \"/srv/b\"\n"[..]),
        ]);
        let web = guest("web");
        let of = |root: &Path| said(conflict(&paths, &web, root, false));
        assert!(of("/srv/b".as_ref()).contains("is the root of guest 'b'"));
        assert!(of("/srv/b/".as_ref()).contains("is the root of guest 'b'"));
        assert!(of("/srv/b/srv/web".as_ref()).contains("lies in '/srv/b', the root of guest 'b'"));
        assert!(of("/srv".as_ref()).contains("holds '/srv/b', the root of guest 'b'"));
        assert!(of("/srv/m".as_ref()).contains("is the root of guest 'm'"));
        assert!(of(&paths.root(&guest("a"))).contains("is the root of guest 'a'"));
        assert!(of(&paths.roots_dir()).contains("vserver's own"));
        assert!(of(&paths.prefix().join("etc")).contains("vserver's own"));
        for root in ["/srv/bb", "/srv/web", "/b"] {
            assert_eq!(of(root.as_ref()), "", "{root}");
        }
        assert_eq!(of(&paths.root(&web)), "");
    }

    #[test]
    fn links_lead_to_another_guests_root() {
        let (directory, paths) = host(&[("a.toml", "context = 7\n"), ("web.toml", "")]);
        let (web, shelf) = (guest("web"), directory.path().join("shelf"));
        fs::create_dir_all(shelf.join("a")).unwrap();
        fs::create_dir_all(paths.roots_dir().parent().unwrap()).unwrap();
        symlink(&shelf, paths.roots_dir()).unwrap();
        symlink("a", shelf.join("link")).unwrap();
        for root in [shelf.join("a"), shelf.join("link"), shelf.join("a/not/there")] {
            assert!(conflict(&paths, &web, &root, false).unwrap().is_some(), "{root:?}");
        }
        assert_eq!(conflict(&paths, &web, &shelf.join("b"), true).unwrap(), None);
        // Vserver's own are where they lead to.
        assert!(said(conflict(&paths, &web, &shelf, false)).contains("vserver's own"));
        // And a root of another one where that is, for what takes it away.
        let far = directory.path().join("far");
        fs::create_dir(&far).unwrap();
        fs::remove_dir(shelf.join("a")).unwrap();
        symlink(&far, shelf.join("a")).unwrap();
        assert_eq!(said(conflict(&paths, &web, &far, false)), "");
        assert!(said(conflict(&paths, &web, &far, true)).contains("the root of guest 'a'"));
    }

    #[test]
    fn the_root_of_a_boot_counts_as_long_as_it_runs() {
        let (_directory, paths) = host(&[("a.toml", "root = \"/srv/new\"\n"), ("web.toml", "")]);
        runs(&paths, "a", "/srv/old");
        for (root, runs) in [("/srv/old", true), ("/srv/new", false)] {
            let found = conflict(&paths, &guest("web"), root.as_ref(), false);
            let found = found.unwrap().unwrap();
            assert_eq!(found.is_at_work(), runs, "{root}");
            let verb = if runs { "vserver stop a" } else { "vserver config edit a" };
            assert!(found.remedy().unwrap().ends_with(verb));
        }
        fs::remove_file(paths.config(&guest("a"))).unwrap();
        let of = |root: &str| said(conflict(&paths, &guest("web"), root.as_ref(), false));
        assert!(of("/srv/old").contains("is the root of guest 'a'"));
        assert_eq!(of("/srv/new"), "");
    }

    #[test]
    fn what_anothers_file_says_changes_nothing_for_a_guest_that_stays_where_it_is() {
        let (_directory, paths) = host(&[("web.toml", "context = 7\n")]);
        let (web, root) = (guest("web"), paths.root(&guest("web")).display().to_string());
        fs::write(paths.config(&guest("shop")), format!("context = 8\nroot = \"{root}\"\n"))
            .unwrap();
        let judge = |text: &str| judge_text(&paths, &web, text);
        let mistakes = |name| {
            mistakes(&paths, &guest(name), &Neighbours::read(&paths).unwrap()).unwrap().join("\n")
        };
        judge("context = 7\nhostname = \"w\"\n").unwrap();
        assert_eq!(said(conflict_of_own(&paths, &web, root.as_ref())), "");
        assert_eq!(mistakes("web"), "");
        // The other one's is wrong, and it is said where that is mended.
        assert!(mistakes("shop").contains("shop.toml:2:8"), "{}", mistakes("shop"));
        fs::write(paths.config(&web), "context = 7\nroot = \"/srv/web\"\n").unwrap();
        let refused = judge("context = 7\n").unwrap_err().to_string();
        assert!(refused.contains("is the root of guest 'shop'"), "{refused}");
        assert!(refused.contains("vserver config edit shop"), "{refused}");
        judge("context = 7\nroot = \"/srv/web\"\nhostname = \"w\"\n").unwrap();
        // While it runs there, nothing else can be.
        fs::write(paths.config(&web), "context = 7\n").unwrap();
        runs(&paths, "shop", &root);
        assert!(judge("context = 7\nhostname = \"w\"\n").is_err());
        assert!(mistakes("web").contains("vserver stop shop"), "{}", mistakes("web"));
        assert!(said(conflict_of_own(&paths, &web, root.as_ref())).contains("guest 'shop'"));
    }

    #[test]
    fn what_was_read_once_is_enough() {
        let files = [("a.toml", "context = 7\nroot = \"/srv/a\"\n"), ("b.toml", "context = 7\n")];
        let (_directory, paths) = host(&files);
        let all = Neighbours::read(&paths).unwrap();
        fs::remove_file(paths.config(&guest("a"))).unwrap();
        fs::write(paths.config(&guest("b")), "context = 7\nroot = \"/srv/a\"\n").unwrap();
        let found = mistakes(&paths, &guest("b"), &all).unwrap().join("\n");
        assert!(found.contains("context 7 is also guest 'a''s"), "{found}");
        assert!(found.contains("'/srv/a' is the root of guest 'a'"), "{found}");
    }
}
