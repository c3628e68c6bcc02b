//! Access lists (acl(5)) of an archive's entries. Their users may have names, which
//! the guest's own files number, and these come in later.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::error::Result;
use crate::fsroot::RootDir;

use super::acl::{self, List, Who, number};
use super::entry::Entry;
use super::left_out::LeftOut;
use super::metadata::{Metadata, set_attribute};
use super::shift::{ACCESS, DEFAULT, NOBODY, Shift};

/// A guest's own accounts are read up to this length.
const LONGEST: usize = 4 * 1024 * 1024;

/// Those with names of users; for new files in a directory, if the flag is set.
#[derive(Default)]
pub(super) struct Lists(Vec<(PathBuf, bool, List)>);

impl Lists {
    /// Lists of numbers are set with the file, others at the end.
    pub(super) fn give(&mut self, entry: &Entry, path: &Path, shift: Shift, to: &mut Metadata) {
        for (is_default, list) in &entry.lists {
            let user = |who: &Who| number(who, |id| shift.user(id));
            let group = |who: &Who| number(who, |id| shift.group(id));
            match acl::encode(list, user, group) {
                Some(bytes) => to.add(name(*is_default), bytes),
                None => self.0.push((path.to_owned(), *is_default, list.clone())),
            }
        }
    }

    /// Sets those whose users the guest's own files number.
    pub(super) fn set(
        &mut self,
        root: &RootDir,
        shift: Shift,
        left_out: &mut LeftOut,
    ) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let numbers = |file| -> Result<BTreeMap<String, u32>> {
            let text = root.read(file, LONGEST)?.unwrap_or_default();
            Ok(numbers(&String::from_utf8_lossy(&text)))
        };
        let (users, groups) = (numbers("etc/passwd")?, numbers("etc/group")?);
        for (path, is_default, list) in std::mem::take(&mut self.0) {
            let user = |who: &Who| named(who, &users).or_else(|| number(who, |id| shift.user(id)));
            let group =
                |who: &Who| named(who, &groups).or_else(|| number(who, |id| shift.group(id)));
            let Some(bytes) = acl::encode(&list, user, group) else {
                left_out.add("access lists of unknown users are left out", &path);
                continue;
            };
            let given = match root.open_at(&path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty()) {
                Ok(file) => set_attribute(file.as_fd(), name(is_default), &bytes),
                // A later entry has replaced what it was in.
                Err(Errno::NOTDIR | Errno::LOOP | Errno::NOENT) => Ok(true),
                Err(cause) => Err(cause),
            };
            let failed = |cause| root.error("set the access list of", &path, cause);
            left_out.count(given.map_err(failed)?);
        }
        Ok(())
    }
}

fn name(is_default: bool) -> &'static str {
    if is_default { DEFAULT } else { ACCESS }
}

fn named(who: &Who, numbers: &BTreeMap<String, u32>) -> Option<u32> {
    match who {
        Who::Name(name) => numbers.get(name).copied(),
        Who::Id(_) | Who::Nobody => None,
    }
}

/// The names in passwd(5) or group(5), with their numbers.
fn numbers(text: &str) -> BTreeMap<String, u32> {
    let line = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        let id = fields.nth(1)?.parse().ok().filter(|id| *id <= NOBODY)?;
        Some((name, id))
    };
    text.lines().filter_map(line).collect()
}
