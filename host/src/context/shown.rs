//! A status file of our own over that of a process that is about to execute
//! a command.

use std::fs::{self, File};
use std::io::{self, Read, Write};

use nix::mount::{MntFlags, MsFlags};
use rustix::fs::CWD;
use rustix::mount::{MoveMountFlags, move_mount};

use crate::sys;

use super::status;

/// The lines about addresses in the calling process's status file.
pub fn own_addresses() -> Vec<String> {
    status::addresses_in(&fs::read_to_string("/proc/self/status").unwrap_or_default())
}

/// The calling process's own status, and a file that lies over it.
#[derive(Debug)]
pub struct Shown {
    real: File,
    cover: File,
}

impl Shown {
    /// Lays an empty file over the calling process's status file, while it
    /// still may. It goes with the process: its directory in /proc does.
    ///
    /// A file of a file system that is mounted nowhere can be mounted only
    /// from Linux 6.15 on, so that file system stands in the process's
    /// directory for a moment. Nobody else looks for anything there so early.
    ///
    /// # Errors
    /// EPERM without CAP_SYS_ADMIN; else those of mount(2).
    pub fn new() -> io::Result<Self> {
        let real = File::open("/proc/self/status")?;
        let directory = format!("/proc/{}", std::process::id());
        let (tree, cover) = sys::mount::detached_file("status")?;
        let place = format!("{directory}/task");
        let empty = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        move_mount(&tree, "", CWD, &place, empty)?;
        let laid = nix::mount::mount(
            Some(format!("{place}/status").as_str()),
            format!("{directory}/status").as_str(),
            None::<&str>,
            MsFlags::MS_BIND,
            None::<&str>,
        );
        nix::mount::umount2(place.as_str(), MntFlags::MNT_DETACH)?;
        laid?;
        Ok(Self { real, cover })
    }

    /// Writes what it tells, for a process that is about to execute
    /// `program`: what it told before, and these lines.
    ///
    /// # Errors
    /// Those of read(2) and write(2).
    pub fn write(mut self, program: &str, lines: &[String]) -> io::Result<()> {
        let mut text = String::new();
        self.real.read_to_string(&mut text)?;
        self.cover.write_all(status::text(&text, program, lines).as_bytes())
    }
}
