//! The ssh host keys of a new guest are its own.
//!
//! Keys that came with the files are shared with everybody who has them.
//! Debian's init script makes none (only its package's installation does), so
//! new ones of the same kinds are made by the host's ssh-keygen(1) right away:
//! side by side, and those of a copy while its files are copied.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::error::{Error, Result};
use crate::fsroot::RootDir;

use super::Work;

const DIRECTORY: &str = "etc/ssh";

/// Kinds of keys that OpenSSH's server looks for (sshd_config(5), HostKey).
const KINDS: [&str; 3] = ["rsa", "ecdsa", "ed25519"];

/// Replaces all host keys that are there; makes them where a server has none.
pub(super) fn renew(work: &mut Work<'_>) -> Result<()> {
    let kinds = remove(work)?;
    let has_server = work.root.exists("usr/sbin/sshd") && work.root.is_dir(DIRECTORY);
    if kinds.is_empty() && has_server {
        return make(&KINDS, work);
    }
    make(&kinds, work)
}

/// Replaces all host keys that are there, and makes no others.
pub(super) fn renew_existing(work: &mut Work<'_>) -> Result<()> {
    let kinds = remove(work)?;
    make(&kinds, work)
}

/// The kinds of keys that a root has.
fn kinds(root: &RootDir) -> Result<Vec<&'static str>> {
    let names = root.list(DIRECTORY)?;
    let has = |kind: &&str| names.iter().any(|name| *name == *format!("ssh_host_{kind}_key"));
    Ok(KINDS.into_iter().filter(has).collect())
}

/// Removes all keys; gives the kinds of those that can be made anew.
fn remove(work: &Work<'_>) -> Result<Vec<&'static str>> {
    let kinds = kinds(work.root)?;
    for name in work.root.list(DIRECTORY)? {
        if name.to_str().is_some_and(|name| name.starts_with("ssh_host_")) {
            let path = format!("{DIRECTORY}/{}", name.display());
            work.root.allow_changes(&path)?;
            work.root.remove(path)?;
        }
    }
    Ok(kinds)
}

/// Makes keys of these kinds, as far as that hasn't been begun, and puts them there.
fn make(kinds: &[&'static str], work: &mut Work<'_>) -> Result<()> {
    work.keys.begin(kinds)?;
    for key in std::mem::take(&mut work.keys.begun) {
        let kind = key.kind;
        if !kinds.contains(&kind) {
            continue;
        }
        let Some([secret, public]) = key.finish()? else {
            work.remarks.push(
                "its ssh server has no host keys, because this host has no ssh-keygen: \
                 run 'ssh-keygen -A' inside"
                    .to_owned(),
            );
            break;
        };
        let file = format!("{DIRECTORY}/ssh_host_{kind}_key");
        work.root.write(&file, &secret, 0o600)?;
        work.root.write(format!("{file}.pub"), &public, 0o644)?;
    }
    Ok(())
}

/// Keys that are being made.
pub(super) struct Keys {
    begun: Vec<Making>,
    workspace: PathBuf,
}

impl Keys {
    /// None yet; what is needed for them lies beside this root, in its workspace.
    pub(super) fn beside(root: &Path) -> Self {
        let workspace = root.parent().unwrap_or(root).to_owned();
        Self { begun: Vec::new(), workspace }
    }

    /// Begins with those that a copy of this root needs, so that [`renew_existing`] finds
    /// them made.
    pub(super) fn begin_for(&mut self, copied: &RootDir) -> Result<()> {
        self.begin(&kinds(copied)?)
    }

    /// Begins with those of these kinds that haven't been begun.
    fn begin(&mut self, kinds: &[&'static str]) -> Result<()> {
        for kind in kinds {
            if !self.begun.iter().any(|key| key.kind == *kind) {
                self.begun.push(Making::begin(kind, &self.workspace).map_err(failed)?);
            }
        }
        Ok(())
    }
}

/// A pair of keys that ssh-keygen is making, in a directory in the workspace, which only
/// root can look into.
struct Making {
    kind: &'static str,
    directory: PathBuf,
    /// None where the host has no such program.
    tool: Option<Child>,
}

impl Making {
    fn begin(kind: &'static str, workspace: &Path) -> io::Result<Self> {
        let directory = workspace.join(format!("key-{kind}"));
        std::fs::create_dir(&directory)?;
        let mut making = Self { kind, directory, tool: None };
        let ran = Command::new("ssh-keygen")
            .args(["-q", "-N", "", "-C", "", "-t", kind, "-f"])
            .arg(making.directory.join("key"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match ran {
            Err(cause) if cause.kind() == ErrorKind::NotFound => {}
            ran => making.tool = Some(ran?),
        }
        Ok(making)
    }

    /// Both keys, or none when the host can't.
    fn finish(mut self) -> Result<Option<[Vec<u8>; 2]>> {
        let Some(mut tool) = self.tool.take() else { return Ok(None) };
        let status = tool.wait().map_err(failed)?;
        if !status.success() {
            return Err(Error::new(format!("'ssh-keygen' failed ({status})")));
        }
        let read = |name| std::fs::read(self.directory.join(name)).map_err(failed);
        Ok(Some([read("key")?, read("key.pub")?]))
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        if let Some(tool) = &mut self.tool {
            let _ = tool.kill();
            let _ = tool.wait();
        }
        // The workspace around it is removed anyway.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn failed(cause: io::Error) -> Error {
    Error::os("cannot make ssh host keys", cause)
}
