//! Writes utmp and wtmp, where they exist.
//!
//! A distribution's boot scripts create or empty utmp, so records of the
//! boot are looked for and written again at the end of the boot scripts and
//! at every change of the runlevel. Nothing here ever blocks for long: a lock
//! that another program holds is not waited for.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use crate::utmp::{self, Kind, Record};

/// Longest utmp that is looked at; a longer one is no utmp.
const MAX_UTMP: u64 = 1024 * 1024;

/// What was recorded so far.
#[derive(Debug)]
pub struct Records {
    booted: (i32, i32),
    kernel: String,
    wtmp_has_boot: bool,
    wtmp_level: i32,
}

impl Records {
    /// Before anything is recorded; the time of the boot is now.
    pub fn new() -> Self {
        let kernel = nix::sys::utsname::uname()
            .map(|names| names.release().to_string_lossy().into_owned())
            .unwrap_or_default();
        Self { booted: now(), kernel, wtmp_has_boot: false, wtmp_level: 0 }
    }

    /// Records the boot, and a runlevel other than the boot's own.
    pub fn runlevel(&mut self, previous: char, level: char) {
        let boot = Record {
            kind: Kind::BootTime,
            pid: 0,
            line: "~",
            id: "~~",
            user: "reboot",
            host: &self.kernel,
            time: self.booted,
        };
        let pid = utmp::runlevel_pid(previous, level);
        let change =
            Record { kind: Kind::RunLevel, pid, user: "runlevel", time: now(), ..boot.clone() };
        let records: &[Record<'_>] =
            if level == 'S' && previous == 'N' { &[boot] } else { &[boot, change] };
        if let Some((mut file, bytes)) = open_utmp() {
            for record in records {
                let known = utmp::holds(&bytes, record.kind, record.pid, self.booted.0);
                if !known {
                    put(&mut file, record);
                }
            }
        }
        if let Some(mut wtmp) = open("/var/log/wtmp") {
            for record in records {
                let done = match record.kind {
                    Kind::BootTime => core::mem::replace(&mut self.wtmp_has_boot, true),
                    _ => core::mem::replace(&mut self.wtmp_level, record.pid) == record.pid,
                };
                if !done {
                    append(&mut wtmp, record);
                }
            }
        }
    }

    /// Records that a process of an inittab entry was started or has ended.
    pub fn process(&self, kind: Kind, id: &str, pid: i32) {
        let record = Record { kind, pid, line: "", id, user: "", host: "", time: now() };
        if let Some((mut file, _)) = open_utmp() {
            put(&mut file, &record);
        }
        if let Some(mut wtmp) = open("/var/log/wtmp") {
            append(&mut wtmp, &record);
        }
    }
}

/// Where pututline(3) would put it.
fn put(file: &mut File, record: &Record<'_>) {
    if let Some(bytes) = contents(file)
        && let Ok(at) = u64::try_from(utmp::place(&bytes, record))
    {
        let _ = file.write_all_at(&utmp::encode(record), at);
    }
}

/// At the end, and at the start of a record.
fn append(file: &mut File, record: &Record<'_>) {
    if let Ok(data) = file.metadata() {
        let size = utmp::SIZE as u64;
        let _ = file.write_all_at(&utmp::encode(record), data.len() / size * size);
    }
}

fn open_utmp() -> Option<(File, Vec<u8>)> {
    let mut file = open("/run/utmp").or_else(|| open("/var/run/utmp"))?;
    let bytes = contents(&mut file)?;
    Some((file, bytes))
}

fn contents(file: &mut File) -> Option<Vec<u8>> {
    use std::io::Seek;
    let mut bytes = Vec::new();
    file.rewind().ok()?;
    file.take(MAX_UTMP).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Opens an existing regular file, locked as pututline(3) locks it unless
/// somebody else has it locked at the moment.
fn open(path: &str) -> Option<File> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
    let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let lock = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    let _ = fcntl(&file, FcntlArg::F_SETLK(&lock));
    Some(file)
}

fn now() -> (i32, i32) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let micros = i32::try_from(since.subsec_micros()).unwrap_or(0);
    // The field is 32 bits wide; glibc wraps in 2038, too.
    (since.as_secs() as i32, micros)
}
