//! Which context and which range of ids a new guest gets. Pure.

use std::collections::BTreeSet;
use std::ops::Range;

use shared::name::ContextId;

/// How many ids each guest has of its own, as systemd's containers have.
pub const RANGE: u32 = 0x1_0000;

/// Where guests' ranges lie: above the ids that systemd gives to containers
/// (up to 0x6FFF_FFFF), below its foreign ids (from 0x7FFE_0000) and below
/// 2³¹, where some programs stop (systemd, docs/UIDS-GIDS.md).
pub const POOL: Range<u32> = 0x7000_0000..0x7FFE_0000;

/// A base whose range of [`RANGE`] ids overlaps none of `taken`. The search
/// starts at a place that depends on `seed`, so that two installations on one
/// machine don't meet; `None` when the pool is full.
pub fn base(taken: &[Range<u64>], seed: u32) -> Option<u32> {
    let slots = (POOL.end - POOL.start) / RANGE;
    (0..slots).map(|step| POOL.start + (seed % slots + step) % slots * RANGE).find(|base| {
        let wanted = range(*base);
        !taken.iter().any(|other| other.start < wanted.end && wanted.start < other.end)
    })
}

/// The ids of a base. In 64 bits, since ranges of others may end at 2³².
pub fn range(base: u32) -> Range<u64> {
    u64::from(base)..u64::from(base) + u64::from(RANGE)
}

/// The smallest free context from 40000, as util-vserver counted, else from
/// 2; `None` when all are taken.
pub fn context(taken: &BTreeSet<u32>) -> Option<ContextId> {
    let new = ContextId::FIRST_NEW..=ContextId::MAX_STATIC;
    let old = ContextId::MIN..=ContextId::FIRST_NEW - 1;
    new.chain(old).find(|number| !taken.contains(number))?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::slice;

    use proptest::prelude::*;

    #[test]
    fn contexts_count_from_40000() {
        let mut taken = BTreeSet::from([40_001]);
        for wanted in [40_000, 40_002, 40_003] {
            assert_eq!(context(&taken).map(ContextId::get), Some(wanted));
            taken.insert(wanted);
        }
        assert_eq!(context(&(40_000..=49_151).collect()).map(ContextId::get), Some(2));
        assert_eq!(context(&(0..=49_151).collect()), None);
    }

    #[test]
    fn a_full_pool_says_so() {
        let all = 0..1 << 32;
        let all_but_one = 0..u64::from(POOL.end - RANGE);
        assert_eq!(base(slice::from_ref(&all), 7), None);
        assert_eq!(base(slice::from_ref(&all_but_one), 7), Some(POOL.end - RANGE));
    }

    proptest! {
        #[test]
        fn ranges_never_overlap(
            foreign in proptest::collection::vec((0x6FF0_0000u64..0x8010_0000, 0u64..0x100_0000), 0..20),
            seed: u32, guests in 1usize..40,
        ) {
            let mut taken: Vec<_> =
                foreign.into_iter().map(|(start, length)| start..start + length).collect();
            for _ in 0..guests {
                let Some(base) = base(&taken, seed) else { break };
                let new = range(base);
                prop_assert!(base % RANGE == 0);
                prop_assert!(base >= POOL.start && new.end <= u64::from(POOL.end));
                for other in taken.iter().filter(|other| !other.is_empty()) {
                    prop_assert!(other.end <= new.start || new.end <= other.start);
                }
                taken.push(new);
            }
        }
    }
}
