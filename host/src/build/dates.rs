//! Dates of a new guest's files, where two builds are to be alike: those that the
//! build has written are as old as `SOURCE_DATE_EPOCH` says
//! (reproducible-builds.org, "`SOURCE_DATE_EPOCH`").

use std::env;

use rustix::fs::{AtFlags, Timespec, Timestamps, UTIME_OMIT, futimens, utimensat};

use crate::error::{Error, Result};
use crate::fsroot::RootDir;
use crate::interrupt::Interrupt;
use crate::tree::{self, Step};

/// The variable's name.
pub(super) const EPOCH: &str = "SOURCE_DATE_EPOCH";

/// What the caller's is, in seconds since 1970.
///
/// # Errors
/// When it is no such number.
pub(super) fn epoch() -> Result<Option<i64>> {
    let Some(text) = env::var_os(EPOCH) else { return Ok(None) };
    let seconds = text.to_str().and_then(|text| text.parse().ok()).filter(|seconds| *seconds >= 0);
    seconds.map(Some).ok_or_else(|| {
        Error::usage(format!("{EPOCH} is '{}'", text.display()))
            .hint("it is a number of seconds since 1970, such as $(date +%s)")
    })
}

/// Has nothing below be younger than that.
///
/// # Errors
/// Those of utimensat(2); when the build is interrupted.
pub(super) fn clamp(root: &RootDir, epoch: i64, interrupt: &Interrupt) -> Result<()> {
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: epoch, tv_nsec: 0 },
    };
    tree::walk(root, &|| interrupt.check(), |step| {
        let Step::Enter(entry, directory) = step else { return Ok(()) };
        if entry.stat.st_mtime < epoch {
            return Ok(());
        }
        let dated = match directory {
            Some(directory) => futimens(directory, &times),
            None => utimensat(entry.parent, entry.name, &times, AtFlags::SYMLINK_NOFOLLOW),
        };
        dated.map_err(|cause| root.error("date", entry.path, cause))
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    #[test]
    fn what_is_younger_becomes_as_old_as_that() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        fs::create_dir(at("d")).unwrap();
        fs::write(at("d/new"), "").unwrap();
        fs::write(at("old"), "").unwrap();
        symlink("nowhere", at("link")).unwrap();
        let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(999);
        fs::File::options().write(true).open(at("old")).unwrap().set_modified(old).unwrap();
        let root = RootDir::open(place.path()).unwrap();
        clamp(&root, 1000, &Interrupt::default()).unwrap();
        let times = ["", "d", "d/new", "link", "old"].map(|name| {
            let metadata = fs::symlink_metadata(at(name)).unwrap();
            (metadata.mtime(), metadata.mtime_nsec())
        });
        assert_eq!(times, [(1000, 0), (1000, 0), (1000, 0), (1000, 0), (999, 0)]);
    }
}
