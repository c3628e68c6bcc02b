//! Work of a known length.

use std::fs::File;
use std::hint::black_box;
use std::io::Write;

use rustix::time::{ClockId, clock_gettime};

use crate::Said;

/// Works until this process has been on processors for so many seconds, by turns in
/// user mode and in the kernel. Tells for how many nanoseconds it has been.
pub fn burn(seconds: &str) -> Said {
    let wanted: f64 = seconds.parse().expect("a number");
    let mut nothing = File::options().write(true).open("/dev/null")?;
    while nanoseconds() as f64 <= wanted * 1e9 {
        black_box((0..10_000_u64).fold(0, |sum, next| black_box(sum) ^ next));
        for _ in 0..100 {
            nothing.write_all(b"x")?;
        }
    }
    Ok(nanoseconds().to_string())
}

/// What the kernel has counted for this process (clock_gettime(2)).
fn nanoseconds() -> i64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}
