//! Reduces the calling process to a set of capabilities, for good.

use std::io;

use caps::{CapSet, Capability, CapsHashSet};
use shared::reducecap::bounding;

/// Takes everything that is not in `keep` out of the bounding set, and sets
/// permitted and effective to `keep`, inheritable and ambient to nothing
/// (capabilities(7)). Programs executed as uid 0 then have `keep`; setuid
/// and file capabilities work within it.
///
/// # Errors
/// EPERM without CAP_SETPCAP.
pub fn reduce(keep: &[Capability]) -> io::Result<()> {
    bound(keep)?;
    let keep: CapsHashSet = keep.iter().copied().collect();
    caps::set(None, CapSet::Effective, &keep).map_err(last_error)?;
    caps::set(None, CapSet::Permitted, &keep).map_err(last_error)
}

/// The part of [`reduce`] that must be done while everything is permitted:
/// the bounding, ambient and inheritable sets.
///
/// # Errors
/// EPERM without CAP_SETPCAP.
pub fn bound(keep: &[Capability]) -> io::Result<()> {
    let mask = keep.iter().map(Capability::bitmask).fold(0, |set, bit| set | bit);
    bounding::reduce(mask)?;
    if caps::runtime::ambient_set_supported().is_ok() {
        caps::clear(None, CapSet::Ambient).map_err(last_error)?;
    }
    caps::clear(None, CapSet::Inheritable).map_err(last_error)
}

/// The crate's errors are texts; the number is still the last one.
fn last_error(_: caps::errors::CapsError) -> io::Error {
    io::Error::last_os_error()
}
