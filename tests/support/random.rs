//! Random choices that can be made again.

use std::env;

use fastrand::Rng;

/// A source of them. Its seed is printed, so that a test that fails shows it,
/// and is taken from `$VSERVER_TEST_SEED` if that is set.
pub fn random() -> Rng {
    let given = env::var("VSERVER_TEST_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| fastrand::u64(..));
    println!("VSERVER_TEST_SEED={seed}");
    Rng::with_seed(seed)
}
