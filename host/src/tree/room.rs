//! Room for the directories that a walk holds open: a process begins with 1024
//! descriptors (file-max is far beyond), and may have more if it says so.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::walk::DEEPEST;

/// For the deepest tree: what it is compared with and what is made of it are open as
/// well, and some files.
const ENOUGH: u64 = 3 * DEEPEST as u64 + 256;

/// How many walks there are, and what the limit was before the first.
static WALKS: Mutex<(usize, Option<Rlimit>)> = Mutex::new((0, None));

/// While it is there this process may have more descriptors. Nothing is started from
/// within a walk, so that no other program and no guest begins with that.
#[derive(Debug)]
pub(super) struct Room(());

impl Room {
    /// Makes it, as far as that goes.
    pub(super) fn make() -> Self {
        let mut walks = walks();
        if walks.0 == 0 {
            walks.1 = raised();
        }
        walks.0 += 1;
        Self(())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut walks = walks();
        walks.0 -= 1;
        if walks.0 == 0
            && let Some(had) = walks.1.take()
        {
            // Less is always granted.
            let _ = setrlimit(Resource::Nofile, had);
        }
    }
}

fn walks() -> MutexGuard<'static, (usize, Option<Rlimit>)> {
    WALKS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Raises the limit; gives what it was, if it is another one now.
fn raised() -> Option<Rlimit> {
    let had = getrlimit(Resource::Nofile);
    let wanted = had.maximum.map_or(ENOUGH, |hard| hard.min(ENOUGH));
    if had.current.is_none_or(|now| now >= wanted) {
        return None;
    }
    let limit = Rlimit { current: Some(wanted), maximum: had.maximum };
    setrlimit(Resource::Nofile, limit).ok().map(|()| had)
}
