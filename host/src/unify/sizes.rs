//! Which lengths of files are worth a second look. Pure.
//!
//! Only files of one length can be equal, and most lengths occur once: they are
//! counted first, in a table that doesn't grow however many there are. Two
//! lengths may have one place in it, which costs a look more and nothing else.

/// Places of the table; a byte each.
const PLACES: usize = 1 << 22;

/// Set where files of that length may be changed.
const WANTED: u8 = 1 << 7;

/// What is known of lengths.
#[derive(Debug)]
pub(super) struct Sizes(Vec<u8>);

impl Sizes {
    pub(super) fn new() -> Self {
        Self(vec![0; PLACES])
    }

    /// There is a file of this length on that file system.
    pub(super) fn note(&mut self, volume: usize, size: u64, is_wanted: bool) {
        if let Some(place) = self.0.get_mut(place(volume, size)) {
            let count = (*place & !WANTED).saturating_add(1).min(2);
            *place = count | (*place & WANTED) | if is_wanted { WANTED } else { 0 };
        }
    }

    /// Can there be two, one of which may be changed?
    pub(super) fn may_repeat(&self, volume: usize, size: u64) -> bool {
        self.0.get(place(volume, size)).is_some_and(|place| *place >= WANTED | 2)
    }
}

fn place(volume: usize, size: u64) -> usize {
    usize::try_from(mixed(size ^ mixed(volume as u64)) % PLACES as u64).unwrap_or_default()
}

/// In which of so many rounds files of this length are looked at: all of one
/// length in the same.
pub(super) fn round(size: u64, rounds: u64) -> u64 {
    // Other bits than those of the place.
    (mixed(size) >> 32) % rounds.max(1)
}

/// Spreads numbers that lie close together (the finalizer of MurmurHash3).
fn mixed(number: u64) -> u64 {
    let mut mixed = number ^ (number >> 33);
    mixed = mixed.wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed ^= mixed >> 33;
    mixed = mixed.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    mixed ^ (mixed >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_file_of_a_length_repeats_nothing() {
        let mut sizes = Sizes::new();
        sizes.note(0, 5000, true);
        assert!(!sizes.may_repeat(0, 5000));
        sizes.note(1, 5000, true);
        assert!(!sizes.may_repeat(0, 5000), "files of two file systems");
        for _ in 0..1000 {
            sizes.note(0, 5000, true);
            sizes.note(0, 6000, false);
        }
        assert!(sizes.may_repeat(0, 5000));
        assert!(!sizes.may_repeat(0, 6000), "nobody wants one changed");
        sizes.note(0, 6000, true);
        assert!(sizes.may_repeat(0, 6000));
    }

    #[test]
    fn every_length_has_its_round() {
        let rounds = (4096..8192).map(|size| round(size, 4)).fold([0; 4], |mut count, round| {
            count[usize::try_from(round).unwrap()] += 1;
            count
        });
        assert!(rounds.iter().all(|count| (900..1150).contains(count)), "{rounds:?}");
        assert_eq!((round(77, 1), round(77, 0)), (0, 0));
    }
}
