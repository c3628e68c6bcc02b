//! As much as there is of something, and then some. What was taken is kept
//! until standard input ends.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering::Relaxed;

use crate::outcome::{Attempt, Prepare, number, untried};
use crate::sys::Arg::{N, Shared};
use crate::sys::{self};

/// More than any limit of a kernel that was not told otherwise.
const MANY: usize = 100_000;

fn hold(count: usize, end: &io::Error) -> Attempt {
    println!("holding {count}: {end}");
    io::stdout().flush().prepare("saying so")?;
    let _ = io::stdin().read(&mut [0]);
    Ok(format!("held {count}"))
}

/// inotify instances.
pub fn inotify() -> Attempt {
    for count in 0..MANY {
        if let Err(error) = sys::call(libc::SYS_inotify_init1, &[N(0)]) {
            return hold(count, &error);
        }
    }
    untried("there is no end of inotify instances")
}

/// Open files of one process.
pub fn open_files() -> Attempt {
    let mut files = Vec::new();
    loop {
        match File::open("/dev/null") {
            Ok(file) => files.push(file),
            Err(error) => return hold(files.len(), &error),
        }
    }
}

/// Pseudo-terminals, this many at most.
pub fn terminals(count: &str) -> Attempt {
    let count = number(count)? as usize;
    let mut masters = Vec::new();
    while masters.len() < count {
        match File::options().read(true).write(true).open("/dev/pts/ptmx") {
            Ok(master) => masters.push(master),
            Err(error) => return hold(masters.len(), &error),
        }
    }
    hold(count, &io::Error::other("as many as were asked for"))
}

/// The soft limit to the hard one.
fn raise_limit_on_processes() -> io::Result<()> {
    let limit = [const { AtomicU8::new(0) }; 16];
    let resource = N(libc::RLIMIT_NPROC.into());
    sys::call(libc::SYS_prlimit64, &[N(0), resource, N(0), Shared(&limit)])?;
    let (soft, hard) = limit.split_at(8);
    for (soft, hard) in soft.iter().zip(hard) {
        soft.store(hard.load(Relaxed), Relaxed);
    }
    sys::call(libc::SYS_prlimit64, &[N(0), resource, Shared(&limit), N(0)])?;
    Ok(())
}

/// Processes of several users, this many at most, with all that this one's
/// limit on them can be raised to.
pub fn fork(count: &str) -> Attempt {
    const USERS: i64 = 4;
    let count = number(count)?;
    raise_limit_on_processes().prepare("raising the limit")?;
    for made in 0..count {
        match sys::fork() {
            Ok(0) => loop {
                // The child of a bomb does nothing but be there.
                let _ = sys::call(libc::SYS_setuid, &[N(made % USERS)]);
                let _ = sys::call(libc::SYS_pause, &[]);
            },
            Ok(_) => {}
            Err(error) => return hold(made as usize, &error),
        }
    }
    hold(count as usize, &io::Error::other("as many as were asked for"))
}
