//! Names that are something else from one moment to the next.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{RenameFlags, renameat_with};

use crate::outcome::{Attempt, Failure, Prepare, number};

/// Exchanges two names, one beside the other, for so many seconds.
pub fn swap(one: &str, other: &str, seconds: &str) -> Attempt {
    let (one, other) = (Path::new(one), Path::new(other));
    let above = one.parent().unwrap_or(Path::new("/"));
    let above = File::open(above).prepare("opening the directory")?;
    let seconds = number(seconds)?.try_into().unwrap_or(0);
    let end = Instant::now() + Duration::from_secs(seconds);
    let (one, other) = (one.file_name(), other.file_name());
    let (Some(one), Some(other)) = (one, other) else {
        return Err(Failure::Untried("there are no names".to_owned()));
    };
    let mut count = 0u64;
    while Instant::now() < end {
        renameat_with(&above, one, &above, other, RenameFlags::EXCHANGE)
            .map_err(std::io::Error::from)
            .prepare("exchanging")?;
        count += 1;
    }
    Err(Failure::Refused(format!("exchanged {count} times")))
}
