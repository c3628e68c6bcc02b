//! `--method rsync`: the root of another machine, or of a guest on another
//! host, by the host's rsync(1) over ssh(1).

use std::ffi::OsString;
use std::path::Path;

use crate::error::{Error, Result};

use super::{Work, template, tool};

/// Everything that belongs to a file, in numbers, of one file system, without
/// device nodes: the host makes a guest's. Nobody can be asked for a password.
const OPTIONS: [&str; 5] = [
    "-rlptgoHAXSx",
    "--specials",
    "--numeric-ids",
    "--info=progress2",
    "--rsh=ssh -o BatchMode=yes",
];

const AGENT: &str = "SSH_AUTH_SOCK";

/// Copies from a source as rsync writes it: `HOST:DIR`, `rsync://…` or a
/// directory.
pub(super) fn fill(from: &Path, options: &[OsString], work: &mut Work<'_>) -> Result<String> {
    let source = source(from)?;
    if tool::first_of(&["rsync"]).is_none() {
        return Err(Error::new("this host has no rsync")
            .hint("install it on both machines, or send an archive to '--method template'"));
    }
    work.progress.lines("starting");
    let arguments = arguments(&source, options, work.root.path());
    let mut command = tool::confined("rsync", &arguments);
    // The user's own keys may open the other machine (ssh-agent(1)).
    command.envs(std::env::var_os(AGENT).map(|socket| (AGENT, socket)));
    let ran = tool::follow(command, "rsync", work.interrupt, work.progress);
    work.interrupt.check()?;
    ran?;
    template::settle(work, &source)?;
    Ok(source)
}

/// What is in the directory, not the directory itself.
fn source(from: &Path) -> Result<String> {
    let text = from.to_str().filter(|text| !text.is_empty() && !text.starts_with('-'));
    let text = text.ok_or_else(|| {
        Error::usage(format!("'{}' is no source for rsync", from.display()))
            .hint("it is written like 'host:/srv/web' or 'root@host:/'")
    })?;
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
        for bad in ["", "--rsh=x", "-e"] {
            assert!(source(bad.as_ref()).is_err(), "{bad:?} was taken");
        }
    }
}
