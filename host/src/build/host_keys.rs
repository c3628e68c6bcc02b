//! The ssh host keys of a new guest are its own.
//!
//! Keys that came with the files are shared with everybody who has them.
//! Debian's init script makes none (only its package's installation does), so
//! new ones of the same kinds are made by the host's ssh-keygen(1) right away.

use std::process::{Command, Stdio};

use crate::error::{Error, Result};

use super::Work;

const DIRECTORY: &str = "etc/ssh";

/// Kinds of keys that OpenSSH's server looks for (sshd_config(5), HostKey).
const KINDS: [&str; 3] = ["rsa", "ecdsa", "ed25519"];

/// Replaces all host keys that are there; makes them where a server has none.
pub(super) fn renew(work: &mut Work<'_>) -> Result<()> {
    let kinds = remove(work)?;
    let has_server = work.root.exists("usr/sbin/sshd") && work.root.is_dir(DIRECTORY);
    if kinds.is_empty() && !has_server {
        return Ok(());
    }
    let missing = KINDS.iter().filter(|kind| kinds.is_empty() || kinds.iter().any(|k| k == *kind));
    make_all(missing, work)
}

/// Replaces all host keys that are there, and makes no others.
pub(super) fn renew_existing(work: &mut Work<'_>) -> Result<()> {
    let kinds = remove(work)?;
    make_all(KINDS.iter().filter(|kind| kinds.iter().any(|k| k == *kind)), work)
}

/// Removes all keys; gives their kinds.
fn remove(work: &Work<'_>) -> Result<Vec<String>> {
    let mut kinds = Vec::new();
    for name in work.root.list(DIRECTORY)? {
        let Some(name) = name.to_str() else { continue };
        let Some(kind) = name.strip_prefix("ssh_host_") else { continue };
        if let Some(kind) = kind.strip_suffix("_key") {
            kinds.push(kind.to_owned());
        }
        let path = format!("{DIRECTORY}/{name}");
        work.root.allow_changes(&path)?;
        work.root.remove(path)?;
    }
    Ok(kinds)
}

fn make_all<'k>(kinds: impl Iterator<Item = &'k &'k str>, work: &mut Work<'_>) -> Result<()> {
    for kind in kinds {
        if !make(kind, work)? {
            work.remarks.push(
                "its ssh server has no host keys, because this host has no ssh-keygen: \
                 run 'ssh-keygen -A' inside"
                    .to_owned(),
            );
            break;
        }
    }
    Ok(())
}

/// Makes one pair of keys; false when the host can't.
fn make(kind: &str, work: &Work<'_>) -> Result<bool> {
    let failed = |cause| Error::os("cannot make ssh host keys", cause);
    let scratch = Scratch::new(work).map_err(failed)?;
    let key = scratch.0.join("key");
    let ran = Command::new("ssh-keygen")
        .args(["-q", "-N", "", "-C", "", "-t", kind, "-f"])
        .arg(&key)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match ran {
        Ok(status) if status.success() => {}
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Ok(status) => return Err(Error::new(format!("'ssh-keygen' failed ({status})"))),
        Err(cause) => return Err(failed(cause)),
    }
    let secret = std::fs::read(&key).map_err(failed)?;
    let public = std::fs::read(key.with_extension("pub")).map_err(failed)?;
    let file = format!("{DIRECTORY}/ssh_host_{kind}_key");
    work.root.write(&file, &secret, 0o600)?;
    work.root.write(format!("{file}.pub"), &public, 0o644)?;
    Ok(true)
}

/// A directory in the workspace, which only root can look into.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new(work: &Work<'_>) -> std::io::Result<Self> {
        let path = work.root.path().with_file_name("keys");
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The workspace around it is removed anyway.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
