//! `--method rsync`: the root of another machine, or of a guest on another
//! host, by the host's rsync(1) over ssh(1).

use std::ffi::OsString;
use std::path::Path;

use caps::{CapSet, Capability};
use rustix::fs::{self, AtFlags, FileType};

use crate::error::{Error, Result};
use crate::tree::{self, Step};

use super::unpack::{LeftOut, remarks};
use super::{Work, template, tool};

/// Everything that belongs to a file, in numbers, of one file system. Nobody can be
/// asked for a password.
const OPTIONS: [&str; 5] = [
    "-rlptgoHAXSx",
    "--specials",
    "--numeric-ids",
    "--info=progress2",
    "--rsh=ssh -o BatchMode=yes",
];

/// With device nodes, of which one means something to an overlay.
const DEVICES: &str = "--devices";

const AGENT: &str = "SSH_AUTH_SOCK";

/// Is there all that is needed to begin?
///
/// # Errors
/// When the source is none, or the host lacks rsync.
pub(super) fn check(from: &Path) -> Result<()> {
    source(from)?;
    if tool::first_of(&["rsync"]).is_none() {
        return Err(Error::new("this host has no rsync")
            .hint("install it on both machines, or send an archive to '--method template'"));
    }
    Ok(())
}

/// Copies from a source as rsync writes it: `HOST:DIR`, `rsync://…` or a
/// directory.
pub(super) fn fill(from: &Path, options: &[OsString], work: &mut Work<'_>) -> Result<String> {
    check(from)?;
    let source = source(from)?;
    work.progress.lines("starting");
    let mut options = options.to_vec();
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_MKNOD).unwrap_or_default() {
        options.insert(0, DEVICES.into());
    }
    let arguments = arguments(&source, &options, work.root.path());
    let mut command = tool::confined("rsync", &arguments);
    // The user's own keys may open the other machine (ssh-agent(1)).
    command.envs(std::env::var_os(AGENT).map(|socket| (AGENT, socket)));
    let ran = tool::follow(command, "rsync", work.interrupt, work.progress);
    work.interrupt.check()?;
    ran?;
    leave_devices_out(work)?;
    template::settle(work, &source)?;
    Ok(source)
}

/// Removes what rsync has made of the other side's devices, for the host makes a
/// guest's; but not 0:0, by which an overlay that a container inside has knows what was
/// removed.
fn leave_devices_out(work: &mut Work<'_>) -> Result<()> {
    let (root, interrupt) = (work.root, work.interrupt);
    let mut left_out = LeftOut::default();
    tree::walk(root, &|| interrupt.check(), |step| {
        let Step::Enter(entry, None) = step else { return Ok(()) };
        let is_device = matches!(entry.kind(), FileType::CharacterDevice | FileType::BlockDevice);
        if is_device && !tree::is_whiteout(entry.stat) {
            left_out.add("device nodes are left out", entry.path);
            fs::unlinkat(entry.parent, entry.name, AtFlags::empty())
                .map_err(|cause| root.error("remove", entry.path, cause))?;
        }
        Ok(())
    })?;
    work.remarks.extend(remarks(&left_out));
    Ok(())
}

/// What is in the directory, not the directory itself.
fn source(from: &Path) -> Result<String> {
    let text = from.to_str().filter(|text| !text.is_empty() && !text.starts_with('-'));
    let text = text.ok_or_else(|| {
        Error::usage(format!("'{}' is no source for rsync", from.display()))
            .hint("it is written like 'host:/srv/web' or 'root@host:/'")
    })?;
    // A name without a colon is nobody else's.
    if !text.contains(':') && !Path::new(text).is_dir() {
        return Err(Error::new(format!("there is no directory '{text}' on this host"))
            .hint("of another machine it is written like 'host:/srv/web' or 'root@host:/'"));
    }
    Ok(format!("{}/", text.trim_end_matches('/')))
}

fn arguments(source: &str, options: &[OsString], root: &Path) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = OPTIONS.map(OsString::from).into();
    arguments.extend(options.iter().cloned());
    arguments.push("--".into());
    arguments.push(source.into());
    arguments.push(root.join("").into());
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_options_come_last_and_the_contents_are_copied() {
        let options = ["--bwlimit=1m".into(), "--exclude=/srv".into()];
        let line = arguments(&source("root@old:/".as_ref()).unwrap(), &options, "/r".as_ref());
        let words: Vec<_> = line.iter().skip(OPTIONS.len()).collect();
        assert_eq!(words, ["--bwlimit=1m", "--exclude=/srv", "--", "root@old:/", "/r/"]);
        assert_eq!(source("old:/srv/web".as_ref()).unwrap(), "old:/srv/web/");
        assert_eq!(source("/proc/self".as_ref()).unwrap(), "/proc/self/");
        for bad in ["", "--rsh=x", "-e", "old", "/no/such/directory"] {
            assert!(source(bad.as_ref()).is_err(), "{bad:?} was taken");
        }
    }
}
