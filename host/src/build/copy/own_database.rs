//! A copy's own dpkg database: the host's, cut down to what was copied, so
//! that `dpkg -l`, `apt install` and `update-alternatives` work inside.

use std::collections::BTreeSet;

use crate::build::dpkg::alternatives::Group;
use crate::build::dpkg::database::{self, Database};
use crate::build::dpkg::status::Package;
use crate::error::Result;
use crate::fsroot::RootDir;

const DIRECTORY: &str = "var/lib/dpkg";

/// Files about a package that hold nothing but what it shipped. Answers to
/// its questions lie elsewhere and are not copied.
const INFO: [&str; 13] = [
    "conffiles",
    "config",
    "list",
    "md5sums",
    "postinst",
    "postrm",
    "preinst",
    "prerm",
    "shlibs",
    "symbols",
    "templates",
    "triggers",
    "i18n",
];

/// Writes the database of these packages.
pub(super) fn write(
    host: &RootDir,
    database: &Database<'_>,
    packages: &[&Package],
    root: &RootDir,
) -> Result<()> {
    for directory in ["", "info", "updates", "parts", "triggers", "alternatives"] {
        root.create_dir_all(format!("{DIRECTORY}/{directory}"), 0o755)?;
    }
    let mut status = String::new();
    for package in packages {
        status.push_str(&package.paragraph);
        status.push('\n');
        for kind in INFO {
            if let Some(text) = database.info(package, kind)? {
                let mode = if is_script(kind) { 0o755 } else { 0o644 };
                let name = format!("{}.{kind}", database::info_name(package));
                root.write(format!("{DIRECTORY}/info/{name}"), text.as_bytes(), mode)?;
            }
        }
    }
    root.write(format!("{DIRECTORY}/info/format"), b"1\n", 0o644)?;
    root.write(format!("{DIRECTORY}/status"), status.as_bytes(), 0o644)?;
    for empty in ["available", "statoverride"] {
        root.write(format!("{DIRECTORY}/{empty}"), b"", 0o644)?;
    }
    let chosen: BTreeSet<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    root.write(format!("{DIRECTORY}/diversions"), diversions(database, &chosen).as_bytes(), 0o644)?;
    triggers(host, &chosen, root)?;
    alternatives(host, root)
}

fn is_script(kind: &str) -> bool {
    matches!(kind, "config" | "postinst" | "postrm" | "preinst" | "prerm")
}

/// The diversions of the chosen packages; the administrator's stay behind.
fn diversions(database: &Database<'_>, chosen: &BTreeSet<&str>) -> String {
    let kept = database.diversions.iter().filter(|(_, (_, by))| chosen.contains(by.as_str()));
    kept.map(|(from, (to, by))| format!("{from}\n{to}\n{by}\n")).collect()
}

/// Which package waits for what: `File` has lines of "PATH PACKAGE", every
/// other file is a trigger's name and holds packages.
fn triggers(host: &RootDir, chosen: &BTreeSet<&str>, root: &RootDir) -> Result<()> {
    let is_chosen = |who: Option<&str>| {
        let name = who.unwrap_or_default().split(['/', ':']).next().unwrap_or_default();
        chosen.contains(name)
    };
    for name in host.list(format!("/{DIRECTORY}/triggers"))? {
        let Some(name) = name.to_str().filter(|name| !matches!(*name, "Lock" | "Unincorp")) else {
            continue;
        };
        let path = format!("{DIRECTORY}/triggers/{name}");
        let text = database::text(host, &format!("/{path}"))?.unwrap_or_default();
        let who = |line: &&str| is_chosen(line.split_whitespace().next_back());
        let kept: String = text.lines().filter(who).map(|line| format!("{line}\n")).collect();
        if !kept.is_empty() {
            root.write(path, kept.as_bytes(), 0o644)?;
        }
    }
    root.write(format!("{DIRECTORY}/triggers/Unincorp"), b"", 0o644)
}

fn alternatives(host: &RootDir, root: &RootDir) -> Result<()> {
    root.create_dir_all("etc/alternatives", 0o755)?;
    for name in host.list(format!("/{DIRECTORY}/alternatives"))? {
        let Some(name) = name.to_str() else { continue };
        let path = format!("{DIRECTORY}/alternatives/{name}");
        let text = database::text(host, &format!("/{path}"))?.unwrap_or_default();
        let group = Group::parse(name, &text).and_then(|g| g.restricted_to(|p| root.exists(p)));
        let Some(group) = group else { continue };
        for link in group.links() {
            // Directories of manual pages may not have been unpacked at all.
            let parent = link.path.rsplit_once('/').map_or("", |(parent, _)| parent);
            if root.is_dir(parent) {
                root.symlink(&link.target, &link.path)?;
            }
        }
        root.write(path, group.to_text().as_bytes(), 0o644)?;
    }
    Ok(())
}
