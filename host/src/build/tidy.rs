//! What every new guest gets, whatever its files came from: its own name, the
//! host's name servers, no way in without its administrator's wish; and no
//! identity of another machine, unless it is that machine.
//!
//! The files may have come from anybody, so a link in them is never followed
//! out of the root, and a missing `/etc` is made.

use std::path::Path;

use rustix::fs::FileType;

use crate::error::{Error, Result};
use crate::fsroot::RootDir;

use super::{Request, Work, fstab, host_keys, resolver};

const RESOLVER: &str = "etc/resolv.conf";

/// No file changed here is longer than this.
pub(super) const LONGEST: usize = 4 * 1024 * 1024;

/// Longest host name (gethostname(2)).
const LONGEST_HOSTNAME: usize = 64;

/// Is it a host name (hostname(7))? It goes into several files as it is.
pub(super) fn check_hostname(hostname: &str) -> Result<()> {
    let is_label = |label: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        !label.is_empty() && !label.starts_with('-') && label.chars().all(allowed)
    };
    if hostname.len() <= LONGEST_HOSTNAME && hostname.split('.').all(is_label) {
        return Ok(());
    }
    Err(Error::usage(format!("'{}' is not a host name", hostname.escape_default()))
        .hint("letters, digits, '-' and '.', at most 64 characters"))
}

/// Tidies the new root.
pub(super) fn tidy(request: &Request, work: &mut Work<'_>) -> Result<()> {
    let root = work.root;
    let hostname = request.site.hostname();
    if !root.is_dir("etc") {
        // A dangling link or a file of that name is of no use to anybody.
        root.remove("etc")?;
        root.create_dir_all("etc", 0o755)?;
    }
    root.write("etc/hostname", format!("{hostname}\n").as_bytes(), 0o644)?;
    let is_move = request.method.is_move();
    let hosts = changed_hosts(&text(root, "etc/hosts")?, hostname, is_move);
    root.write("etc/hosts", hosts.as_bytes(), 0o644)?;
    if !is_move || !has_servers(root)? {
        inherit_servers(work)?;
    }
    leave_checks_to_host(work)?;
    lock_root(root)?;
    // Debian's builders use it to keep services from starting in a chroot.
    root.remove("usr/sbin/policy-rc.d")?;
    if is_move {
        return Ok(());
    }
    // Empty, not absent: then the guest makes one at its first boot
    // (machine-id(5)).
    root.write("etc/machine-id", b"", 0o444)?;
    if root.stat("var/lib/dbus/machine-id")?.is_some() {
        root.symlink("/etc/machine-id", "var/lib/dbus/machine-id")?;
    }
    host_keys::renew(work)
}

/// Does the guest say itself whom it asks for names? A link is a service's of its own.
fn has_servers(root: &RootDir) -> Result<bool> {
    Ok(root.stat(RESOLVER)?.is_some_and(|found| {
        let kind = FileType::from_raw_mode(found.st_mode);
        kind.is_symlink() || kind.is_file() && found.st_size > 0
    }))
}

fn inherit_servers(work: &mut Work<'_>) -> Result<()> {
    let read = |file| std::fs::read_to_string(file).unwrap_or_default();
    let inherited =
        resolver::inherited(&resolver::FILES.map(read)).or_else(|(text, is_lost)| {
            if is_lost {
                work.remarks.push(resolver::NONE.to_owned());
            }
            Ok(text)
        })?;
    work.root.write(RESOLVER, inherited.as_bytes(), 0o644)
}

/// Its boot scripts can't check file systems.
fn leave_checks_to_host(work: &mut Work<'_>) -> Result<()> {
    let path = "etc/fstab";
    let Some(stat) = work.root.stat(path)? else { return Ok(()) };
    if !FileType::from_raw_mode(stat.st_mode).is_file() {
        return Ok(());
    }
    let old = String::from_utf8(work.root.read(path, LONGEST)?.unwrap_or_default());
    if let Some(new) = old.ok().and_then(|old| fstab::unchecked(&old)) {
        work.root.write(path, new.as_bytes(), stat.st_mode & 0o777)?;
        work.remarks.push(
            "file systems that were checked at boot by its /etc/fstab are so no longer: the \
             host does that"
                .to_owned(),
        );
    }
    Ok(())
}

fn text(root: &RootDir, path: &str) -> Result<String> {
    let bytes = root.read(path, LONGEST)?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// `/etc/hosts` with a line for the guest's own name, and with the lines for
/// the loopback addresses that every program expects. Other names of these addresses
/// are kept if it is the same guest.
fn changed_hosts(old: &str, hostname: &str, is_same: bool) -> String {
    let mut own: [(&str, Vec<&str>); 3] = [
        ("127.0.0.1", vec!["localhost"]),
        ("127.0.1.1", vec![hostname]),
        ("::1", vec!["localhost", "ip6-localhost", "ip6-loopback"]),
    ];
    if let Some((short, _)) = hostname.split_once('.') {
        own[1].1.push(short);
    }
    let mut rest = String::new();
    for line in old.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let address = words.next().unwrap_or_default();
        match own.iter_mut().find(|(known, _)| *known == address) {
            Some((_, names)) if is_same => {
                for name in words {
                    if !names.contains(&name) {
                        names.push(name);
                    }
                }
            }
            Some(_) => {}
            None => {
                rest.push_str(line);
                rest.push('\n');
            }
        }
    }
    let lines = own.map(|(address, names)| format!("{address}\t{}\n", names.join(" ")));
    lines.concat() + &rest
}

/// Locks root's password unless the files' maker has set one.
fn lock_root(root: &RootDir) -> Result<()> {
    let Some(stat) = root.stat("etc/shadow")? else { return Ok(()) };
    let old = text(root, "etc/shadow")?;
    if let Some(new) = with_locked_root(&old) {
        root.write_for(Path::new("etc/shadow"), new.as_bytes(), stat.st_mode & 0o777, stat.st_gid)?;
    }
    Ok(())
}

/// shadow(5) with root locked; `None` when it is, or has a password. Empty,
/// the password would let everybody in.
fn with_locked_root(shadow: &str) -> Option<String> {
    let mut changed = false;
    let mut text = String::new();
    for line in shadow.lines() {
        match line.strip_prefix("root:").and_then(|rest| rest.split_once(':')) {
            Some(("" | "*", rest)) => {
                changed = true;
                text.push_str(&format!("root:!*:{rest}"));
            }
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    changed.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_open_root_is_locked_and_a_password_is_kept() {
        let locked = Some("root:!*:1:0:::::\nbin:*:1::::::\n".to_owned());
        assert_eq!(with_locked_root("root::1:0:::::\nbin:*:1::::::\n"), locked);
        assert_eq!(with_locked_root("root:*:1:0:::::\nbin:*:1::::::\n"), locked);
        assert_eq!(with_locked_root("root:$y$x:1:0:::::\n"), None);
        assert_eq!(with_locked_root("root:!:1:0:::::\n"), None);
    }

    #[test]
    fn hosts_get_the_guests_name_and_keep_other_lines() {
        let old = "127.0.0.1 localhost builder\n# a comment\n10.0.0.1 db\n127.0.1.1 builder\n";
        assert_eq!(
            changed_hosts(old, "web.example.org", false),
            "127.0.0.1\tlocalhost\n127.0.1.1\tweb.example.org web\n\
             ::1\tlocalhost ip6-localhost ip6-loopback\n# a comment\n10.0.0.1 db\n"
        );
        // A guest that has moved has its own names on.
        assert_eq!(
            changed_hosts("127.0.0.1 localhost shop # its\n::1 six localhost\n", "web", true),
            "127.0.0.1\tlocalhost shop\n127.0.1.1\tweb\n\
             ::1\tlocalhost ip6-localhost ip6-loopback six\n"
        );
    }

    #[test]
    fn host_names_hold_nothing_that_breaks_a_file() {
        for good in ["web", "web.example.org", "a-b_c"] {
            assert!(check_hostname(good).is_ok(), "{good} was refused");
        }
        for bad in ["", ".", "a..b", "-a", "a b", "a\nb", "ä", &"x".repeat(65)] {
            assert!(check_hostname(bad).is_err(), "{bad:?} was taken");
        }
    }

    proptest! {
        #[test]
        fn no_shadow_leaves_root_open(text in "(root|bin|:|\\*|!|\\n|1){0,30}") {
            let new = with_locked_root(&text).unwrap_or(text);
            prop_assert!(!new.lines().any(|line| line.starts_with("root::")));
        }
    }
}
