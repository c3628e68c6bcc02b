//! The calling thread's bounding set. The kernel is asked about each number,
//! so that capabilities newer than this program are seen and taken, too.

use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, capability_is_in_bounding_set, remove_capability_from_bounding_set,
};

use super::sets::{Mask, numbers};

/// The bounding set, and the number of the kernel's last capability.
///
/// # Errors
/// Those of prctl(2), `PR_CAPBSET_READ`.
pub fn read() -> Result<(Mask, u32), Errno> {
    let mut set = 0;
    for number in 0..Mask::BITS {
        match capability_is_in_bounding_set(bit(number)) {
            Ok(true) => set |= 1 << number,
            Ok(false) => {}
            Err(Errno::INVAL) if number > 0 => return Ok((set, number - 1)),
            Err(error) => return Err(error),
        }
    }
    Ok((set, Mask::BITS - 1))
}

/// Takes everything that is not in `keep` out of the bounding set, and looks
/// whether it is gone.
///
/// # Errors
/// EPERM without CAP_SETPCAP; EPROTO if the kernel has not done it.
pub fn reduce(keep: Mask) -> Result<(), Errno> {
    let (bounding, _) = read()?;
    for number in numbers(bounding & !keep) {
        remove_capability_from_bounding_set(bit(number))?;
    }
    match read()? {
        (now, _) if now & !keep == 0 => Ok(()),
        _ => Err(Errno::PROTO),
    }
}

fn bit(number: u32) -> CapabilitySet {
    CapabilitySet::from_bits_retain(1 << number)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::reducecap::sets::Sets;

    #[test]
    fn the_set_is_read_as_the_kernel_shows_it() {
        let (set, last) = read().unwrap();
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        assert_eq!(Sets::read(&status).unwrap().bounding, set);
        let number = fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap();
        assert_eq!(number.trim().parse(), Ok(last));
    }
}
