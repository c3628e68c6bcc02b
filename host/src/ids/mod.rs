//! Contexts and id ranges: given once to each guest, remembered, and given to
//! another only after the guest was deleted.
//!
//! They stand in `/var/lib/vserver/ids.toml`, which is read and written under
//! a lock. A file that can't be understood is an error, never a fresh start:
//! two guests with one range could reach each other's files.

mod choose;
mod host;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::Path;

use serde::{Deserialize, Serialize};
use shared::name::{ContextId, GuestName};

use crate::config;
use crate::error::{Error, Result};
use crate::paths::Paths;
use crate::store;

pub use choose::RANGE;

/// What a guest has of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allocation {
    /// Its number.
    pub context: ContextId,
    /// The host's id of the guest's root; [`RANGE`] ids from here on are the
    /// guest's.
    pub base: u32,
}

/// Everything given out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Registry {
    guests: BTreeMap<GuestName, Allocation>,
}

/// Gives a guest its context and its id range, and remembers them. A guest
/// that has them keeps them, except that `wanted`, its configuration's
/// context, replaces another one.
///
/// # Errors
/// When `wanted` is another guest's, nothing is left, or the file can't be
/// read or written.
pub fn allocate(paths: &Paths, name: &GuestName, wanted: Option<ContextId>) -> Result<Allocation> {
    let configured = config::contexts(paths)?;
    let others: BTreeMap<u32, &GuestName> =
        configured.iter().map(|(guest, number)| (*number, guest)).collect();
    let allocate = |registry: &mut Registry| {
        let taken = || host::taken(Path::new("/etc"), Path::new("/proc"));
        let allocated = registry.allocate(name, wanted, &others, taken, seed(paths));
        allocated.map_err(|refused| match refused {
            Refused::Taken(context, holder) => context_taken(paths, name, context, &holder),
            Refused::NoContext => Error::new("no context is left"),
            Refused::NoRange => no_range_left(),
        })
    };
    // Most guests have both already, and a disk that nobody can write to keeps none of them
    // from being looked after.
    let mut known = read(&paths.ids())?;
    let given = known.guests.get(name).copied();
    if given.is_some()
        && let Ok(allocated) = allocate(&mut known)
        && given == Some(allocated)
    {
        return Ok(allocated);
    }
    change(paths, allocate)
}

/// [`allocate`] for a guest that is started: with the context of its configuration.
///
/// # Errors
/// As [`allocate`]; also when the configuration names no context.
pub fn of_start(
    paths: &Paths,
    name: &GuestName,
    configured: Option<ContextId>,
) -> Result<Allocation> {
    if configured.is_none() {
        let registry = read(&paths.ids())?;
        let given = registry.guests.get(name).map(|given| given.context);
        let others = config::contexts(paths)?.into_iter().map(|(_, number)| number);
        let all = registry.guests.values().map(|given| given.context.get()).chain(others).collect();
        let number = given.or_else(|| choose::context(&all));
        let number = number.map_or_else(|| "N".to_owned(), |number| number.to_string());
        return Err(Error::new(format!("guest '{name}' has no context"))
            .hint(format!("give it one: vserver config set {name} context {number}")));
    }
    allocate(paths, name, configured)
}

/// The same for a guest that runs: it has what it was started with, whatever its
/// configuration says by now, and whoever else wants that.
///
/// # Errors
/// When the file can't be read; as [`of_start`] where that isn't known any more.
pub fn of_running(
    paths: &Paths,
    name: &GuestName,
    configured: Option<ContextId>,
) -> Result<Allocation> {
    match lookup(paths, name)? {
        Some(given) => Ok(given),
        None => of_start(paths, name, configured),
    }
}

/// What a guest was given, if it was.
///
/// # Errors
/// When the file can't be read.
pub fn lookup(paths: &Paths, name: &GuestName) -> Result<Option<Allocation>> {
    Ok(read(&paths.ids())?.guests.get(name).copied())
}

/// Is this context free for a guest, or its own?
///
/// # Errors
/// When it is another guest's, or the files can't be read.
pub fn check(paths: &Paths, name: &GuestName, wanted: ContextId) -> Result<()> {
    match holders(paths, wanted)?.find(|holder| holder != name) {
        Some(holder) => Err(context_taken(paths, name, wanted, &holder)),
        None => Ok(()),
    }
}

/// The guest that has a context, by its configuration or the file.
///
/// # Errors
/// When a file can't be read.
pub fn holder(paths: &Paths, context: ContextId) -> Result<Option<GuestName>> {
    Ok(holders(paths, context)?.next())
}

fn holders(paths: &Paths, context: ContextId) -> Result<impl Iterator<Item = GuestName>> {
    let configured = config::contexts(paths)?.into_iter();
    let given = read(&paths.ids())?.guests.into_iter();
    let all = configured.chain(given.map(|(guest, given)| (guest, given.context.get())));
    Ok(all.filter(move |(_, number)| *number == context.get()).map(|(guest, _)| guest))
}

/// Takes back what a deleted guest had. No allocation is no mistake.
///
/// # Errors
/// When the file can't be read or written.
pub fn release(paths: &Paths, name: &GuestName) -> Result<()> {
    change(paths, |registry| {
        registry.guests.remove(name);
        Ok(())
    })
}

/// Gives a guest's context and range to its new name.
///
/// # Errors
/// When the new name has its own, or the file can't be read or written.
pub fn rename(paths: &Paths, old: &GuestName, new: &GuestName) -> Result<()> {
    change(paths, |registry| {
        if registry.guests.contains_key(new) {
            return Err(Error::new(format!("guest '{new}' has a context of its own")));
        }
        if let Some(allocation) = registry.guests.remove(old) {
            registry.guests.insert(new.clone(), allocation);
        }
        Ok(())
    })
}

impl Registry {
    /// The pure heart of [`allocate`]. `configured` are the contexts in
    /// configuration files, `taken` the host's ids that others have.
    fn allocate(
        &mut self,
        name: &GuestName,
        wanted: Option<ContextId>,
        configured: &BTreeMap<u32, &GuestName>,
        taken: impl FnOnce() -> Vec<Range<u64>>,
        seed: u32,
    ) -> Result<Allocation, Refused> {
        let given = self.guests.iter().map(|(guest, given)| (given.context.get(), guest));
        let holders: BTreeMap<u32, &GuestName> = configured
            .iter()
            .map(|(number, guest)| (*number, *guest))
            .chain(given)
            .filter(|(_, guest)| *guest != name)
            .collect();
        let known = self.guests.get(name).copied();
        let context = match wanted.or(known.map(|known| known.context)) {
            Some(wanted) => match holders.get(&wanted.get()) {
                Some(holder) => return Err(Refused::Taken(wanted, (*holder).clone())),
                None => wanted,
            },
            None => {
                let numbers: BTreeSet<u32> = holders.keys().copied().collect();
                choose::context(&numbers).ok_or(Refused::NoContext)?
            }
        };
        let base = match known {
            Some(known) => known.base,
            None => {
                let mut ranges = taken();
                ranges.extend(self.guests.values().map(|given| choose::range(given.base)));
                choose::base(&ranges, seed).ok_or(Refused::NoRange)?
            }
        };
        let allocation = Allocation { context, base };
        self.guests.insert(name.clone(), allocation);
        Ok(allocation)
    }
}

/// Where the search for a range starts.
fn seed(paths: &Paths) -> u32 {
    u32::from_str_radix(&paths.instance(), 16).unwrap_or(0)
}

/// Why nothing is given.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Refused {
    /// The context is this guest's.
    Taken(ContextId, GuestName),
    /// All are.
    NoContext,
    /// All ids of the host's are somebody's.
    NoRange,
}

fn context_taken(paths: &Paths, name: &GuestName, context: ContextId, holder: &GuestName) -> Error {
    let hint = match paths.config(holder).exists() {
        true => "without '--context' a free one is chosen".to_owned(),
        // Nobody else could say where it has gone.
        false if paths.config(name).exists() => format!(
            "there is no guest '{holder}'; if its rename was cut short: vserver rename {name} \
             {holder}; else: vserver delete {holder}"
        ),
        false => format!("there is no guest '{holder}' any more: vserver delete {holder}"),
    };
    Error::new(format!("context {context} is guest '{holder}''s")).hint(hint)
}

fn no_range_left() -> Error {
    let pool = choose::POOL;
    Error::new(format!("no range of {RANGE} ids is free from {} to {}", pool.start, pool.end - 1))
        .hint("see /etc/subuid and /etc/subgid for ranges that nobody needs")
}

/// Reads, changes and writes the registry under its lock.
fn change<T>(paths: &Paths, work: impl FnOnce(&mut Registry) -> Result<T>) -> Result<T> {
    let _lock = store::lock(&paths.ids_lock())?;
    let path = paths.ids();
    let mut registry = read(&path)?;
    let before = registry.clone();
    let result = work(&mut registry)?;
    if registry != before {
        store::replace(&path, &render(&registry)?, 0o644)?;
    }
    Ok(result)
}

fn read(path: &Path) -> Result<Registry> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Registry::default()),
        Err(error) => return Err(Error::path("read", path, error)),
    };
    toml::from_str(&text).map_err(|error: toml::de::Error| {
        Error::new(format!("cannot understand '{}': {}", path.display(), error.message()))
            .hint("put back a good copy: each guest's context and first id stand in it")
    })
}

fn render(registry: &Registry) -> Result<String> {
    let body = toml::to_string(registry)
        .map_err(|error| Error::new(format!("cannot write the id registry: {error}")))?;
    Ok(format!(
        "# Contexts and id ranges of vserver's guests. Don't edit while guests exist.\n{body}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn guest(name: &str) -> GuestName {
        name.parse().unwrap()
    }

    fn prefix() -> (tempfile::TempDir, Paths) {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::new(directory.path());
        (directory, paths)
    }

    #[test]
    fn what_was_given_is_kept_until_released() {
        let (_directory, paths) = prefix();
        let web = allocate(&paths, &guest("web"), None).unwrap();
        let db = allocate(&paths, &guest("d.b"), None).unwrap();
        assert_eq!((web.context.get(), db.context.get()), (40_000, 40_001));
        assert!(web.base.abs_diff(db.base) >= RANGE);
        assert_eq!(allocate(&paths, &guest("web"), None).unwrap(), web);
        assert_eq!(lookup(&paths, &guest("d.b")).unwrap(), Some(db));
        rename(&paths, &guest("d.b"), &guest("data")).unwrap();
        assert_eq!(lookup(&paths, &guest("data")).unwrap(), Some(db));
        release(&paths, &guest("web")).unwrap();
        release(&paths, &guest("web")).unwrap();
        assert_eq!(lookup(&paths, &guest("web")).unwrap(), None);
        assert_eq!(allocate(&paths, &guest("new"), None).unwrap().context, web.context);
    }

    #[test]
    fn contexts_in_configuration_files_are_taken() {
        let (_directory, paths) = prefix();
        fs::create_dir_all(paths.config_dir()).unwrap();
        fs::write(paths.config(&guest("a")), "context = 40000\nbroken =").unwrap();
        fs::write(paths.config(&guest("b")), "context = 40002").unwrap();
        assert_eq!(allocate(&paths, &guest("c"), None).unwrap().context.get(), 40_001);
        let error = allocate(&paths, &guest("d"), 40_002.try_into().ok()).unwrap_err();
        assert_eq!(error.to_string(), "context 40002 is guest 'b''s");
        assert_eq!(error.remedy(), Some("without '--context' a free one is chosen"));
        let own = allocate(&paths, &guest("b"), 40_002.try_into().ok()).unwrap();
        assert_eq!(own.context.get(), 40_002);
    }

    #[test]
    fn a_context_of_a_guest_that_isnt_there_is_told_with_what_frees_it() {
        let (_directory, paths) = prefix();
        fs::create_dir_all(paths.config_dir()).unwrap();
        let shop = allocate(&paths, &guest("shop"), None).unwrap();
        let refused = || allocate(&paths, &guest("web"), Some(shop.context)).unwrap_err();
        assert!(refused().remedy().unwrap().ends_with("vserver delete shop"));
        fs::write(paths.config(&guest("web")), "").unwrap();
        assert!(refused().remedy().unwrap().contains("vserver rename web shop"));
    }

    #[test]
    fn a_guest_without_a_context_is_shown_its_own_or_a_free_one() {
        let (_directory, paths) = prefix();
        fs::create_dir_all(paths.config_dir()).unwrap();
        fs::write(paths.config(&guest("a")), "context = 40000").unwrap();
        let hint =
            || of_start(&paths, &guest("web"), None).unwrap_err().remedy().map(str::to_owned);
        assert!(hint().unwrap().ends_with("vserver config set web context 40001"));
        allocate(&paths, &guest("web"), 77.try_into().ok()).unwrap();
        assert!(hint().unwrap().ends_with("vserver config set web context 77"));
    }

    #[test]
    fn a_guest_that_runs_keeps_its_context_whatever_stands_in_its_file() {
        let (_directory, paths) = prefix();
        fs::create_dir_all(paths.config_dir()).unwrap();
        let web = allocate(&paths, &guest("web"), 77.try_into().ok()).unwrap();
        fs::write(paths.config(&guest("web")), "").unwrap();
        fs::write(paths.config(&guest("shop")), "context = 77").unwrap();
        let other = 78.try_into().ok();
        for configured in [None, Some(web.context), other] {
            assert_eq!(of_running(&paths, &guest("web"), configured).unwrap(), web);
        }
        // What was given to it is lost.
        assert_eq!(of_running(&paths, &guest("db"), other).unwrap().context.get(), 78);
        assert!(of_running(&paths, &guest("mail"), None).is_err());
    }

    #[test]
    fn a_changed_context_keeps_the_range() {
        let (_directory, paths) = prefix();
        let before = allocate(&paths, &guest("web"), None).unwrap();
        let after = allocate(&paths, &guest("web"), 77.try_into().ok()).unwrap();
        assert_eq!((after.context.get(), after.base), (77, before.base));
    }

    #[test]
    fn two_prefixes_get_different_ranges() {
        let bases = ["/", "/a", "/b"].map(|prefix| choose::base(&[], seed(&Paths::new(prefix))));
        assert_ne!(bases[0], bases[1]);
        assert_ne!(bases[1], bases[2]);
    }

    #[test]
    fn a_damaged_registry_is_an_error() {
        let (_directory, paths) = prefix();
        fs::create_dir_all(paths.state_dir()).unwrap();
        fs::write(paths.ids(), "[guests.web]\ncontext = 1\n").unwrap();
        assert!(allocate(&paths, &guest("web"), None).is_err());
        assert_eq!(fs::read_to_string(paths.ids()).unwrap(), "[guests.web]\ncontext = 1\n");
    }

    #[test]
    fn allocations_at_the_same_time_differ() {
        let (_directory, paths) = prefix();
        let given: Vec<Allocation> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|n| {
                    let paths = &paths;
                    scope.spawn(move || allocate(paths, &guest(&format!("g{n}")), None).unwrap())
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let contexts: BTreeSet<_> = given.iter().map(|given| given.context).collect();
        let bases: BTreeSet<_> = given.iter().map(|given| given.base).collect();
        assert_eq!((contexts.len(), bases.len()), (8, 8));
    }

    proptest! {
        #[test]
        fn nothing_is_given_twice(
            steps in proptest::collection::vec((0u8..12, any::<bool>(), proptest::option::of(39_998u32..40_010)), 0..60),
            seed: u32,
        ) {
            let mut registry = Registry::default();
            for (number, delete, wanted) in steps {
                let name = guest(&format!("g{number}"));
                if delete {
                    registry.guests.remove(&name);
                } else {
                    let wanted = wanted.and_then(|wanted| wanted.try_into().ok());
                    let _ = registry.allocate(&name, wanted, &BTreeMap::new(), Vec::new, seed);
                }
                let contexts: BTreeSet<_> = registry.guests.values().map(|g| g.context).collect();
                let bases: BTreeSet<_> = registry.guests.values().map(|g| g.base / RANGE).collect();
                prop_assert_eq!(contexts.len(), registry.guests.len());
                prop_assert_eq!(bases.len(), registry.guests.len());
                prop_assert_eq!(&toml::from_str::<Registry>(&render(&registry).unwrap()).unwrap(), &registry);
            }
        }
    }
}
