//! The system files of a copy that no package owns: made afresh, from what
//! packages ship as patterns, never from the host's own.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::build::accounts::{self, Accounts, Group, User};
use crate::build::apt_sources::Archives;
use crate::build::dpkg::database::{self, Database};
use crate::build::dpkg::status::Package;
use crate::build::{Work, rclinks, skeleton};
use crate::error::{Error, Result};
use crate::fsroot::RootDir;

/// No file read here is longer than this.
const LONGEST: usize = 4 * 1024 * 1024;

/// Directories that every system has (hier(7)), with their permissions.
const DIRECTORIES: [(&str, u32); 26] = [
    ("boot", 0o755),
    ("dev", 0o755),
    ("etc", 0o755),
    ("etc/init.d", 0o755),
    ("home", 0o755),
    ("media", 0o755),
    ("mnt", 0o755),
    ("opt", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("run", 0o755),
    ("run/lock", 0o1777),
    ("srv", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("usr/local/bin", 0o755),
    ("usr/local/sbin", 0o755),
    ("var/backups", 0o755),
    ("var/cache", 0o755),
    ("var/lib/misc", 0o755),
    ("var/log", 0o755),
    ("var/mail", 0o775),
    ("var/opt", 0o755),
    ("var/spool", 0o755),
    ("var/tmp", 0o1777),
    ("var/lib/apt/lists/partial", 0o755),
];

/// Files and the patterns that packages ship for them, best first.
const PATTERNS: [(&str, &[&str]); 8] = [
    (
        "etc/nsswitch.conf",
        &["usr/share/libc-bin/nsswitch.conf", "usr/share/base-files/nsswitch.conf"],
    ),
    ("etc/profile", &["usr/share/base-files/profile"]),
    ("etc/motd", &["usr/share/base-files/motd"]),
    ("etc/shells", &["usr/share/debianutils/shells"]),
    ("etc/ssh/sshd_config", &["usr/share/openssh/sshd_config"]),
    ("root/.bashrc", &["usr/share/base-files/dot.bashrc"]),
    ("root/.profile", &["usr/share/base-files/dot.profile"]),
    ("var/lib/dpkg/cmethopt", &[]),
];

/// Links that no package owns.
const LINKS: [(&str, &str); 3] =
    [("var/run", "/run"), ("var/lock", "/run/lock"), ("etc/mtab", "../proc/self/mounts")];

const FSTAB: &str = "# The host mounts what this guest needs: /proc, /sys, /dev, /run.\n";

/// What pam-auth-update(8) makes of its patterns when only local accounts are
/// used: each placeholder and its lines.
const PAM: [(&str, &str, &str); 5] = [
    ("common-auth", "auth", "auth\t[success=1 default=ignore]\tpam_unix.so nullok\n"),
    (
        "common-account",
        "account",
        "account\t[success=1 new_authtok_reqd=done default=ignore]\tpam_unix.so\n",
    ),
    (
        "common-password",
        "password",
        "password\t[success=1 default=ignore]\tpam_unix.so obscure yescrypt\n",
    ),
    ("common-session", "session", "session\t[default=1]\tpam_permit.so\n"),
    ("common-session-noninteractive", "session_nonint", "session\t[default=1]\tpam_permit.so\n"),
];

/// Makes all of them.
pub(super) fn write(
    host: &RootDir,
    database: &Database<'_>,
    packages: &[&Package],
    work: &mut Work<'_>,
) -> Result<()> {
    let root = work.root;
    for (directory, mode) in DIRECTORIES {
        if !root.exists(directory) {
            root.create_dir_all(directory, 0o755)?;
            set_mode(root, directory, mode)?;
        }
    }
    for (link, target) in LINKS {
        if !root.exists(link) && root.stat(link)?.is_none() {
            root.symlink(target, link)?;
        }
    }
    for (file, patterns) in PATTERNS {
        from_pattern(root, file, patterns)?;
    }
    for empty in ["etc/environment", "etc/resolv.conf"] {
        root.write(empty, b"", 0o644)?;
    }
    root.write("etc/fstab", FSTAB.as_bytes(), 0o644)?;
    let accounts = accounts(host, database, packages, root)?;
    write_accounts(root, &accounts)?;
    pam(root)?;
    time_zone(host, root)?;
    certificates(root)?;
    if packages.iter().any(|package| package.name == "apt") {
        let lines = Archives::of_host().map(|archives| archives.lines(&[])).unwrap_or_default();
        root.create_dir_all("etc/apt", 0o755)?;
        root.write("etc/apt/sources.list", lines.as_bytes(), 0o644)?;
    }
    skeleton::lay_into_copy(root)?;
    rc_links(root)?;
    linker_cache(root, work)
}

fn set_mode(root: &RootDir, directory: &str, mode: u32) -> Result<()> {
    let inside = std::path::Path::new(directory);
    root.open_parent(inside)
        .and_then(|(parent, name)| {
            let mode = rustix::fs::Mode::from_raw_mode(mode);
            rustix::fs::chmodat(&parent, name, mode, rustix::fs::AtFlags::empty())
        })
        .map_err(|cause| root.error("change the permissions of", inside, cause))
}

fn from_pattern(root: &RootDir, file: &str, patterns: &[&str]) -> Result<()> {
    if root.exists(file) {
        return Ok(());
    }
    for pattern in patterns {
        if let Some(bytes) = root.read(pattern, LONGEST)? {
            if let Some((parent, _)) = file.rsplit_once('/') {
                root.create_dir_all(parent, 0o755)?;
            }
            return root.write(file, &bytes, 0o644);
        }
    }
    Ok(())
}

/// base-passwd's, and those that the chosen packages' scripts or their
/// sysusers.d(5) files name.
fn accounts(
    host: &RootDir,
    database: &Database<'_>,
    packages: &[&Package],
    root: &RootDir,
) -> Result<Accounts> {
    let mut words = BTreeSet::new();
    let mut learn = |text: String| {
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        words.extend(text.split(|c| !is_part(c)).map(str::to_owned));
    };
    for package in packages {
        for kind in ["preinst", "postinst"] {
            learn(database.info(package, kind)?.unwrap_or_default());
        }
    }
    for name in root.list("usr/lib/sysusers.d")? {
        let text = root.read(std::path::Path::new("usr/lib/sysusers.d").join(name), LONGEST)?;
        learn(String::from_utf8_lossy(&text.unwrap_or_default()).into_owned());
    }
    let read = |path: &str| database::text(host, path);
    let master = |name: &str| {
        read(&format!("/usr/share/base-passwd/{name}.master"))?.ok_or_else(|| {
            Error::new(format!("this host has no '/usr/share/base-passwd/{name}.master'"))
                .hint("a copy needs a host of Debian's family; use another '--method'")
        })
    };
    let users = |text: String| accounts::parse_users(&text);
    let groups = |text: String| accounts::parse_groups(&text);
    Ok(Accounts::new(
        (users(master("passwd")?), groups(master("group")?)),
        (
            users(read("/etc/passwd")?.unwrap_or_default()),
            groups(read("/etc/group")?.unwrap_or_default()),
        ),
        |user: &User| words.contains(&user.name),
        |group: &Group| words.contains(&group.name),
    ))
}

fn write_accounts(root: &RootDir, accounts: &Accounts) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let shadow = accounts.gid("shadow").unwrap_or(0);
    let utmp = accounts.gid("utmp").unwrap_or(0);
    root.write("etc/passwd", accounts.passwd().as_bytes(), 0o644)?;
    root.write("etc/group", accounts.group().as_bytes(), 0o644)?;
    root.write_for("etc/shadow", accounts.shadow(now / 86_400).as_bytes(), 0o640, shadow)?;
    root.write_for("etc/gshadow", accounts.gshadow().as_bytes(), 0o640, shadow)?;
    root.write_for("var/log/wtmp", b"", 0o664, utmp)?;
    root.write_for("var/log/lastlog", b"", 0o664, utmp)?;
    root.write_for("var/log/btmp", b"", 0o660, utmp)
}

fn pam(root: &RootDir) -> Result<()> {
    for (file, kind, primary) in PAM {
        let Some(pattern) = root.read(format!("usr/share/pam/{file}"), LONGEST)? else { continue };
        let additional =
            if kind.starts_with("session") { "session\trequired\tpam_unix.so\n" } else { "" };
        let text = String::from_utf8_lossy(&pattern)
            .replace(&format!("${kind}_primary\n"), primary)
            .replace(&format!("${kind}_additional\n"), additional);
        root.create_dir_all("etc/pam.d", 0o755)?;
        root.write(format!("etc/pam.d/{file}"), text.as_bytes(), 0o644)?;
    }
    Ok(())
}

/// The host's zone, if it is one that the guest has, else UTC.
fn time_zone(host: &RootDir, root: &RootDir) -> Result<()> {
    const ZONES: &str = "/usr/share/zoneinfo/";
    let link = host.read_link("/etc/localtime")?.unwrap_or_default();
    let zone = link.to_str().and_then(|link| link.strip_prefix(ZONES)).unwrap_or("Etc/UTC");
    let zone = if root.exists(format!("{ZONES}{zone}")) { zone } else { "Etc/UTC" };
    root.symlink(format!("{ZONES}{zone}"), "etc/localtime")?;
    root.write("etc/timezone", format!("{zone}\n").as_bytes(), 0o644)
}

/// What update-ca-certificates(8) would make of the certificates that the
/// package ships: one bundle of all, and one link for each.
fn certificates(root: &RootDir) -> Result<()> {
    const SHIPPED: &str = "usr/share/ca-certificates/mozilla";
    let names = root.list(SHIPPED)?;
    if names.is_empty() {
        return Ok(());
    }
    root.create_dir_all("etc/ssl/certs", 0o755)?;
    let mut bundle = Vec::new();
    let mut enabled = String::new();
    for name in names {
        let Some(stem) = name.to_str().and_then(|name| name.strip_suffix(".crt")) else { continue };
        let path = format!("{SHIPPED}/{stem}.crt");
        bundle.extend(root.read(&path, LONGEST)?.unwrap_or_default());
        root.symlink(format!("/{path}"), format!("etc/ssl/certs/{stem}.pem"))?;
        enabled.push_str(&format!("mozilla/{stem}.crt\n"));
    }
    root.write("etc/ca-certificates.conf", enabled.as_bytes(), 0o644)?;
    root.write("etc/ssl/certs/ca-certificates.crt", &bundle, 0o644)
}

/// `rcN.d` for all scripts in the guest's `init.d`.
fn rc_links(root: &RootDir) -> Result<()> {
    let mut scripts = BTreeMap::new();
    for name in root.list("etc/init.d")? {
        let Some(name) = name.to_str() else { continue };
        if rclinks::reason_against(name).is_some() {
            continue;
        }
        let text = root.read(format!("etc/init.d/{name}"), LONGEST)?.unwrap_or_default();
        if let Some(header) = rclinks::parse_header(&String::from_utf8_lossy(&text)) {
            scripts.insert(name.to_owned(), header);
        }
    }
    for level in "0123456S".chars() {
        root.create_dir_all(format!("etc/rc{level}.d"), 0o755)?;
    }
    for link in rclinks::links(&scripts) {
        let target = format!("../init.d/{}", link.script);
        root.symlink(target, format!("etc/rc{}.d/{}", link.level, link.name))?;
    }
    Ok(())
}

/// The cache of shared libraries, by the host's ldconfig(8), which reads the
/// files just copied and executes none of them.
fn linker_cache(root: &RootDir, work: &mut Work<'_>) -> Result<()> {
    let mut ldconfig = Command::new("ldconfig");
    ldconfig.arg("-r").arg(root.path()).env_clear();
    ldconfig.env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin");
    let output = ldconfig.output().map_err(|cause| Error::os("cannot run 'ldconfig'", cause))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        work.remarks.push(format!("'ldconfig' failed: {}", text.trim()));
    }
    Ok(())
}
