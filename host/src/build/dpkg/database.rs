//! Reads the host's dpkg database from its files.
//!
//! They belong to the host and are trusted as its package manager is; the
//! host's root is a parameter, so that tests can show another one.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::fsroot::RootDir;

use super::status::{self, Package};

const DIRECTORY: &str = "/var/lib/dpkg";

/// No file of the database is longer than this.
pub const LONGEST: usize = 256 * 1024 * 1024;

/// The database of a host.
#[derive(Debug)]
pub struct Database<'a> {
    host: &'a RootDir,
    /// All installed packages.
    pub packages: Vec<Package>,
    /// The host's own architecture.
    pub native: String,
    /// Where dpkg has put a file instead, and for which package (empty for
    /// the administrator); dpkg-divert(1).
    pub diversions: BTreeMap<String, (String, String)>,
    /// MD5 sums of files that ucf(1) has put in place, with their packages.
    pub ucf: BTreeMap<String, (String, String)>,
}

impl<'a> Database<'a> {
    /// Reads what is installed on the host with this root.
    ///
    /// # Errors
    /// When the host has no dpkg database, or it can't be read.
    pub fn read(host: &'a RootDir) -> Result<Self> {
        let status = text(host, &format!("{DIRECTORY}/status"))?.ok_or_else(|| {
            Error::new("this host has no dpkg database to copy from")
                .hint("use '--method template --from FILE' or '--method debootstrap'")
        })?;
        let packages = status::parse(&status);
        let dpkg = packages.iter().find(|package| package.name == "dpkg");
        let native = dpkg.map_or_else(|| "all".to_owned(), |dpkg| dpkg.architecture.clone());
        let diversions = text(host, &format!("{DIRECTORY}/diversions"))?.unwrap_or_default();
        Ok(Self {
            host,
            packages,
            native,
            diversions: parse_diversions(&diversions),
            ucf: ucf(host)?,
        })
    }

    /// The absolute paths that a package owns, as it ships them.
    ///
    /// # Errors
    /// When the list is missing.
    pub fn files(&self, package: &Package) -> Result<Vec<String>> {
        let list = self.info(package, "list")?.ok_or_else(|| {
            Error::new(format!("dpkg has no list of the files of '{}'", package.name))
        })?;
        Ok(list.lines().filter(|line| line.starts_with('/')).map(str::to_owned).collect())
    }

    /// MD5 sums by absolute path; empty when the package has none.
    ///
    /// # Errors
    /// When they can't be read.
    pub fn md5sums(&self, package: &Package) -> Result<BTreeMap<String, String>> {
        let sums = self.info(package, "md5sums")?.unwrap_or_default();
        let sum = |line: &str| {
            let (sum, path) = line.split_once("  ")?;
            Some((format!("/{}", path.trim_start_matches("./")), sum.to_owned()))
        };
        Ok(sums.lines().filter_map(sum).collect())
    }

    /// A text file of the database about a package; `None` when it has none.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn info(&self, package: &Package, kind: &str) -> Result<Option<String>> {
        text(self.host, &format!("{DIRECTORY}/info/{}.{kind}", info_name(package)))
    }
}

/// What the files of a package are called in the database.
pub fn info_name(package: &Package) -> String {
    if package.same {
        format!("{}:{}", package.name, package.architecture)
    } else {
        package.name.clone()
    }
}

/// A trusted text file of the host; bytes that are no UTF-8 are replaced.
///
/// # Errors
/// When it can't be read.
pub fn text(host: &RootDir, path: &str) -> Result<Option<String>> {
    let bytes = host.read(path, LONGEST)?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// Groups of three lines: path, path instead, package or `:`.
fn parse_diversions(text: &str) -> BTreeMap<String, (String, String)> {
    let mut lines = text.lines();
    let mut diversions = BTreeMap::new();
    while let (Some(from), Some(to), Some(package)) = (lines.next(), lines.next(), lines.next()) {
        let package = if package == ":" { "" } else { package };
        diversions.insert(from.to_owned(), (to.to_owned(), package.to_owned()));
    }
    diversions
}

/// ucf's hash file and registry: what maintainer scripts put in place.
fn ucf(host: &RootDir) -> Result<BTreeMap<String, (String, String)>> {
    let registry = text(host, "/var/lib/ucf/registry")?.unwrap_or_default();
    let packages: BTreeMap<&str, &str> = registry
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let package = words.next()?;
            Some((words.next()?, package))
        })
        .collect();
    let hashes = text(host, "/var/lib/ucf/hashfile")?.unwrap_or_default();
    let entry = |line: &str| {
        let (sum, path) = line.split_once("  ")?;
        let package = packages.get(path)?;
        Some((path.to_owned(), (sum.to_owned(), (*package).to_owned())))
    };
    Ok(hashes.lines().filter_map(entry).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn diversions_are_read_in_threes() {
        let read = parse_diversions("/bin/sh\n/bin/sh.distrib\ndash\n/a\n/b\n:\n/rest\n");
        assert_eq!(read.len(), 2);
        assert_eq!(read["/bin/sh"], ("/bin/sh.distrib".to_owned(), "dash".to_owned()));
        assert_eq!(read["/a"].1, "");
    }
}
