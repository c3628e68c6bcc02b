//! Which files a copy gets, from where, and how each is known to be as it
//! was shipped.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rustix::fs::FileType;

use crate::build::dpkg::database::Database;
use crate::build::dpkg::status::Package;
use crate::build::kind_of;
use crate::error::Result;
use crate::fsroot::RootDir;

/// Directories at the root that merged systems have as links into /usr
/// (file-hierarchy(7)). Packages ship files under either name.
const MERGED: [&str; 7] = ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/libo32"];

/// A file of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Where it is on the host, when that is elsewhere than in the guest.
    pub(super) source: Option<String>,
    /// What it must be like to be taken.
    pub(super) expected: Expected,
    /// Do other files lie below it? Then it must be a directory.
    pub(super) is_parent: bool,
}

/// What a regular file must be like to be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// Exactly this MD5 sum, in hexadecimal.
    Md5(String),
    /// Unknown, but the package has no sums at all and the file lies in /usr.
    Any,
    /// Not known to be the package's: left out.
    Nothing,
}

/// Everything that a copy gets, by its path in the guest. Parents stand
/// before what they hold.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    pub(super) entries: BTreeMap<String, Entry>,
    /// Links like `/bin` to `usr/bin`, to be made first.
    pub(super) merged: Vec<(&'static str, String)>,
}

impl Inventory {
    /// Asks the database about all chosen packages.
    pub(super) fn read(
        database: &Database<'_>,
        packages: &[&Package],
        host: &RootDir,
    ) -> Result<Self> {
        let mut inventory = Self { merged: merged(host)?, ..Self::default() };
        let chosen: BTreeSet<&str> = packages.iter().map(|package| package.name.as_str()).collect();
        for package in packages {
            let sums = database.md5sums(package)?;
            for path in database.files(package)? {
                let expected = expected(package, &sums, &path);
                let (place, source) = divert(database, package, &chosen, &path);
                inventory.add(place, source, expected);
            }
        }
        for (path, (md5, package)) in &database.ucf {
            if chosen.contains(package.as_str()) {
                inventory.add(path.clone(), path.clone(), Expected::Md5(md5.clone()));
            }
        }
        inventory.mark_parents();
        Ok(inventory)
    }

    fn add(&mut self, place: String, source: String, expected: Expected) {
        let place = self.canonical(&place);
        if place.is_empty() || self.merged.iter().any(|(link, _)| *link == place) {
            return;
        }
        let source = self.canonical(&source);
        let source = (source != place).then_some(source);
        self.entries.entry(place).or_insert(Entry { source, expected, is_parent: false });
    }

    /// `/bin/x` as `/usr/bin/x` where /bin is a link; without a final `/.`.
    fn canonical(&self, path: &str) -> String {
        let path = path.trim_end_matches("/.").trim_end_matches('/');
        for (link, target) in &self.merged {
            if let Some(rest) = path.strip_prefix(link).filter(|rest| rest.starts_with('/')) {
                return format!("/{target}{rest}");
            }
        }
        path.to_owned()
    }

    fn mark_parents(&mut self) {
        let parents: BTreeSet<String> = self
            .entries
            .keys()
            .filter_map(|path| path.rsplit_once('/').map(|(parent, _)| parent.to_owned()))
            .collect();
        for (path, entry) in &mut self.entries {
            entry.is_parent = parents.contains(path);
        }
    }
}

/// Which of [`MERGED`] are links on the host, and to what.
fn merged(host: &RootDir) -> Result<Vec<(&'static str, String)>> {
    let mut links = Vec::new();
    for link in MERGED {
        let is_link = host.stat(link)?.is_some_and(|stat| kind_of(&stat) == FileType::Symlink);
        let Some(target) = host.read_link(link)?.filter(|_| is_link) else { continue };
        let expected = Path::new("usr").join(link.trim_start_matches('/'));
        if target.strip_prefix("/").unwrap_or(&target) == expected {
            links.push((link, expected.to_string_lossy().into_owned()));
        }
    }
    Ok(links)
}

/// What a package says about one of its files.
fn expected(package: &Package, sums: &BTreeMap<String, String>, path: &str) -> Expected {
    let conffile = package.conffiles.iter().find(|conffile| conffile.path == path);
    match conffile.map(|conffile| &conffile.md5).or_else(|| sums.get(path)) {
        Some(md5) => Expected::Md5(md5.clone()),
        None if sums.is_empty() && path.starts_with("/usr/") => Expected::Any,
        None => Expected::Nothing,
    }
}

/// Where a file goes, and where the host has it. A file that another package
/// has had moved away on the host gets its own place back if that package
/// isn't in the guest.
fn divert(
    database: &Database<'_>,
    package: &Package,
    chosen: &BTreeSet<&str>,
    path: &str,
) -> (String, String) {
    match database.diversions.get(path) {
        Some((elsewhere, by)) if *by != package.name => {
            let place = if chosen.contains(by.as_str()) { elsewhere } else { path };
            (place.to_owned(), elsewhere.clone())
        }
        _ => (path.to_owned(), path.to_owned()),
    }
}
