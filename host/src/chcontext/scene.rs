//! What a context sees: the host's file systems, with /proc and the places of
//! IPC its own.
//!
//! Done by its first process, in namespaces that are new and still the host's
//! view.

use std::fs;
use std::io;
use std::path::Path;

use nix::mount::{MsFlags, mount};

use crate::context;
use crate::sys;

use super::report::{Failed, Step, at};

/// Where writing changes the kernel: read-only with `--secure`.
const READ_ONLY: [&str; 5] =
    ["/proc/sys", "/proc/irq", "/proc/bus", "/proc/fs", "/proc/sysrq-trigger"];

/// How the scene is set.
#[derive(Clone, Copy, Debug)]
pub struct Scene {
    /// The context's number; that of its PID namespace if none was asked for.
    pub number: Option<u32>,
    /// Is PID 1 a reaper, which nobody should meet?
    pub hides_init: bool,
    /// Is what changes the kernel read-only?
    pub is_secure: bool,
}

/// What became of it.
#[derive(Clone, Copy, Debug)]
pub struct Set {
    /// The context's number.
    pub number: u32,
    /// Inode of its PID namespace.
    pub pid_namespace: u64,
}

/// Sets the scene. What is mounted doesn't reach the host; what the host
/// mounts later comes in.
pub fn set(scene: &Scene) -> Result<Set, Failed> {
    let pid_namespace = context::pid_namespace("self").map_err(at(Step::Proc))?;
    let number = scene.number.unwrap_or_else(|| context::dynamic(pid_namespace));
    let slave = MsFlags::MS_SLAVE | MsFlags::MS_REC;
    plain(None, "/", None, slave, None).map_err(at(Step::Mounts))?;
    let source = context::source(number);
    new_proc(&source, "/proc").map_err(at(Step::Proc))?;
    if scene.is_secure {
        READ_ONLY.into_iter().try_for_each(read_only).map_err(at(Step::Proc))?;
    }
    if scene.hides_init {
        hide_init(&source).map_err(at(Step::Proc))?;
    }
    let data = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    if Path::new("/dev/shm").is_dir() {
        plain(Some("tmpfs"), "/dev/shm", Some("tmpfs"), data, Some("mode=1777"))
            .map_err(at(Step::Ipc))?;
    }
    if Path::new("/dev/mqueue").is_dir() {
        plain(Some("mqueue"), "/dev/mqueue", Some("mqueue"), data | MsFlags::MS_NOEXEC, None)
            .map_err(at(Step::Ipc))?;
    }
    Ok(Set { number, pid_namespace })
}

fn new_proc(source: &str, target: &str) -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    plain(Some(source), target, Some("proc"), flags, None)
}

/// Covers /proc/1 with an empty directory, so that ps(1) and its like show
/// the context's own processes only.
///
/// User namespaces inside may mount a fresh proc only where one can be seen
/// that nothing covers (user_namespaces(7); `mnt_already_visible` in the
/// kernel). So a second one is mounted, and covered as a whole: the kernel
/// finds it, no path leads to it.
fn hide_init(source: &str) -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let cover = || plain(Some("none"), "/proc/1", Some("tmpfs"), flags, Some("size=4k,mode=555"));
    cover()?;
    fs::create_dir("/proc/1/proc")?;
    new_proc(source, "/proc/1/proc")?;
    cover()?;
    plain(None, "/proc/1", None, flags | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY, None)
}

fn read_only(path: &str) -> io::Result<()> {
    if !Path::new(path).exists() {
        return Ok(());
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_BIND;
    plain(Some(path), path, None, MsFlags::MS_BIND, None)?;
    plain(None, path, None, flags | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY, None)
}

fn plain(
    source: Option<&str>,
    target: &str,
    kind: Option<&str>,
    flags: MsFlags,
    data: Option<&str>,
) -> io::Result<()> {
    Ok(mount(source, target, kind, flags, data)?)
}

/// Maps the caller's own ids into a user namespace that it has just made
/// (user_namespaces(7): an ordinary user may map that one id, and a group
/// only with setgroups(2) refused).
pub fn map_own_ids(uid: u32, gid: u32) -> Result<(), Failed> {
    let write = |file: &str, text: String| fs::write(format!("/proc/self/{file}"), text);
    write("setgroups", "deny".to_owned())
        .and_then(|()| write("uid_map", format!("{uid} {uid} 1")))
        .and_then(|()| write("gid_map", format!("{gid} {gid} 1")))
        .map_err(at(Step::Ids))
}

/// Ends a first process that has failed.
pub fn give_up() -> ! {
    sys::exit_now(255)
}
