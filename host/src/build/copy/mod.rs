//! `--method copy`: a small server from the host's own packages, offline.
//!
//! What gets in is what the chosen packages own and what is as they shipped
//! it; system files are made afresh. So nothing of the host's data, accounts,
//! keys or settings can get in, and a file that its administrator changed is
//! left out and named.

mod files;
mod inventory;
mod own_database;
mod system;

use crate::error::{Error, Result};
use crate::fsroot::RootDir;

use super::Work;
use super::dpkg::choose::{self, Choice};
use super::dpkg::database::Database;
use super::dpkg::status::Package;
use super::dpkg::wishes::{self, REFUSED};
use inventory::Inventory;

/// How many left-out files a remark names.
const NAMED: usize = 8;

/// Has the host these packages?
///
/// # Errors
/// When it hasn't, or one can't be in a copy.
pub(super) fn check(host: &RootDir, include: &[String]) -> Result<()> {
    refuse(&Database::read(host)?, include)
}

/// Fills the root from the packages of the host with this root.
pub(super) fn fill(host: &RootDir, include: &[String], work: &mut Work<'_>) -> Result<String> {
    work.progress.lines("reading the package database");
    let database = Database::read(host)?;
    let choice = choose_packages(&database, include)?;
    let packages: Vec<&Package> =
        choice.packages.iter().filter_map(|&index| database.packages.get(index)).collect();
    let inventory = Inventory::read(&database, &packages, host)?;
    let left_out = files::copy(host, &inventory, work)?;
    work.progress.lines("making system files");
    own_database::write(host, &database, &packages, work.root)?;
    system::write(host, &database, &packages, work)?;
    work.remarks.extend(choice.left_out.iter().map(|name| format!("left out: {name}")));
    work.remarks.extend(choice.unmet.iter().map(|unmet| format!("unmet: {unmet}")));
    if !left_out.is_empty() {
        work.remarks.push(remark_on(&left_out));
    }
    Ok(format!("{} packages of this host", packages.len()))
}

fn choose_packages(database: &Database<'_>, include: &[String]) -> Result<Choice> {
    refuse(database, include)?;
    Ok(choose::choose(&database.packages, &database.native, include))
}

fn refuse(database: &Database<'_>, include: &[String]) -> Result<()> {
    let known = |name: &&String| database.packages.iter().any(|package| package.name == **name);
    if let Some(unknown) = include.iter().find(|name| !known(name)) {
        return Err(Error::new(format!("package '{unknown}' is not installed on this host")).hint(
            "a copy has only what the host has; use '--method debootstrap', or install it inside",
        ));
    }
    for name in include {
        if let Some(reason) = wishes::reason(REFUSED, name) {
            return Err(Error::new(format!("package '{name}' can't be in a copy: {reason}")));
        }
    }
    Ok(())
}

fn remark_on(left_out: &[String]) -> String {
    let named = left_out.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    let more = left_out.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("left out, because they were changed on this host: {named}{more}")
}

#[cfg(test)]
mod tests;
