//! Values that several formats have: yes and no, sizes, addresses,
//! capabilities, mounts. Pure.

use std::net::{IpAddr, Ipv4Addr};

use caps::Capability;
use shared::capability::{capability, remedy, short};
use shared::reducecap::sets::SECURE;
use toml::Value;

use super::{Outcome, Part, Setting, Theirs};
use crate::config::limits::{self, written_bytes};

/// Bytes in a page, of every machine that vserver runs on.
pub(super) const PAGE: u64 = 4096;

/// This value of ours. More processes than Linux has are no limit.
pub(super) fn ours(key: &'static str, value: impl Into<Value>) -> Outcome {
    let value = value.into();
    let most = i64::from(limits::MOST_PROCESSES);
    match value.as_integer() {
        Some(number) if key == "limits.processes" && number > most => with_remark(key, "max", ""),
        _ => with_remark(key, value, ""),
    }
}

/// The same, and what is different.
pub(super) fn with_remark(
    key: &'static str,
    value: impl Into<Value>,
    remark: impl Into<String>,
) -> Outcome {
    let part = Part { key, entry: None, value: value.into() };
    Outcome::Ours { parts: vec![part], remark: remark.into() }
}

/// One more of a list of ours.
pub(super) fn one_more(key: &'static str, value: impl Into<String>) -> Outcome {
    ours(key, vec![value.into()])
}

pub(super) fn fine(why: impl Into<String>) -> Outcome {
    Outcome::Fine(why.into())
}

pub(super) fn missing(why: impl Into<String>) -> Outcome {
    Outcome::Missing(why.into())
}

/// The guest boots by its own init, which had these parameters.
pub(super) fn own_init(parameters: &[impl AsRef<str>]) -> Outcome {
    let is_level = |word: &str| matches!(word.as_bytes(), [b'1'..=b'5']);
    match parameters {
        [] => fine("a guest boots by its own init"),
        [level] if is_level(level.as_ref()) => ours("boot.runlevel", level.as_ref()),
        _ => missing("a guest's init has no parameters; 'boot.runlevel' is one's runlevel"),
    }
}

/// It says what isn't known.
pub(super) fn unknown(setting: &Setting) -> Outcome {
    missing(format!("'{}' is no value that is known for it", setting.value.escape_debug()))
}

/// A number, as numbers stand in a configuration.
pub(super) fn number(key: &'static str, text: &str) -> Outcome {
    match text.parse::<i64>() {
        Ok(number) => ours(key, number),
        Err(_) => ours(key, text),
    }
}

pub(super) fn yes_or_no(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "true" | "on" | "1" | "y" | "t" => Some(true),
        "no" | "false" | "off" | "0" | "n" | "f" => Some(false),
        _ => None,
    }
}

/// A size with a letter, of powers of 1024 or of pages, or `None` if it is
/// none.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_uppercase();
    let text = text.strip_suffix('B').unwrap_or(&text);
    match text.strip_suffix('P') {
        Some(pages) => pages.parse::<u64>().ok()?.checked_mul(PAGE),
        None => limits::bytes(text),
    }
}

/// A number of blocks of 1024 bytes, or a size with a letter.
pub(super) fn blocks(text: &str) -> Option<u64> {
    match text.trim().parse::<u64>() {
        Ok(number) => number.checked_mul(1024),
        Err(_) => bytes(text),
    }
}

/// A number of pages, or a size with a letter; `P` is pages, too.
pub(super) fn pages(text: &str) -> Option<u64> {
    match text.trim().parse::<u64>() {
        Ok(number) => number.checked_mul(PAGE),
        Err(_) => bytes(text),
    }
}

/// A size of ours.
pub(super) fn size(key: &'static str, bytes: u64) -> Outcome {
    ours(key, written_bytes(bytes))
}

/// More than this is how the kernel and others write "no limit".
pub(super) const UNLIMITED: u64 = 1 << 60;

/// The address in `[DEV:]IP[/MASK]`.
pub(super) fn bare_address(text: &str) -> Option<IpAddr> {
    let text = text.split('/').next().unwrap_or(text);
    let after = text.split_once(':').map(|(_, rest)| rest);
    text.parse().ok().or_else(|| after?.parse().ok())
}

/// The device in `DEV:IP`.
pub(super) fn device_of(text: &str) -> Option<&str> {
    let (device, rest) = text.split_once(':')?;
    let bare = rest.split('/').next().unwrap_or(rest);
    bare.parse::<Ipv4Addr>().ok().map(|_| device).filter(|device| !device.is_empty())
}

/// An address of the guest's that stands alone, routed to it.
pub(super) fn routed(setting: &Setting) -> Outcome {
    match bare_address(&setting.value) {
        Some(ip) => one_more("network.addresses", ip.to_string()),
        None => missing(format!("'{}' is no address", setting.value.escape_debug())),
    }
}

/// Is it in the set that a guest has anyway?
fn is_usual(known: Capability) -> bool {
    let others = [Capability::CAP_SYS_BOOT, Capability::CAP_NET_RAW];
    SECURE.contains(&known) || others.contains(&known)
}

/// A capability that the guest had beyond others.
pub(super) fn added(name: &str) -> Outcome {
    match capability(name) {
        Some(known) if is_usual(known) => fine("every guest has it"),
        Some(known) => one_more("security.capabilities.add", short(known)),
        None => not_known(name),
    }
}

/// A capability that the guest hadn't.
pub(super) fn dropped(name: &str) -> Outcome {
    match capability(name) {
        Some(known) if is_usual(known) => one_more("security.capabilities.drop", short(known)),
        Some(_) => fine("no guest has it unless it is added"),
        None => not_known(name),
    }
}

fn not_known(name: &str) -> Outcome {
    match remedy(name) {
        Some(remedy) => missing(format!("it is no capability of the kernel's: {remedy}")),
        None => missing(format!("there is no capability '{}'", name.escape_debug())),
    }
}

/// Capabilities that a guest has and that no setting of this key names.
pub(super) fn not_kept(theirs: Theirs<'_>, key: &str) -> Vec<Capability> {
    let kept: Vec<Capability> = theirs
        .all()
        .filter(|setting| setting.key == key)
        .filter_map(|setting| capability(&setting.value))
        .collect();
    let mut rest: Vec<Capability> = caps::all().into_iter().collect();
    rest.retain(|known| is_usual(*known) && !kept.contains(known));
    rest.sort_by_key(Capability::index);
    rest
}

/// `NAME=VALUE` for everything that is booted.
pub(super) fn variable(text: &str) -> Outcome {
    let Some((name, value)) = text.split_once('=') else {
        return missing("a variable is written NAME=VALUE");
    };
    let entry = Some(name.trim().to_owned());
    let part = Part { key: "boot.environment", entry, value: value.into() };
    Outcome::Ours { parts: vec![part], remark: String::new() }
}

/// A word of fstab(5), in which what parts words, and the backslash, is written as a
/// number: three octal digits (getmntent(3)).
fn unescaped(word: &str) -> String {
    const WRITTEN: [(&str, &str); 4] =
        [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    let mut text = String::new();
    let mut rest = word;
    while let Some(at) = rest.find('\\') {
        let (before, from) = rest.split_at(at);
        let known = WRITTEN.iter().find(|(written, _)| from.starts_with(written));
        let (length, meant) = known.map_or((1, "\\"), |(written, meant)| (written.len(), *meant));
        text.push_str(before);
        text.push_str(meant);
        rest = from.get(length..).unwrap_or_default();
    }
    text + rest
}

/// A line as in fstab(5), whose target is a path inside.
pub(super) fn mount(source: &str, target: &str, kind: &str, options: &str) -> Outcome {
    let source = &unescaped(source);
    let target = format!("/{}", unescaped(target).trim_start_matches('/'));
    let options: Vec<&str> = options.split(',').filter(|option| !option.is_empty()).collect();
    let is_bind = options.iter().any(|option| matches!(*option, "bind" | "rbind"));
    match kind {
        "proc" | "sysfs" | "devpts" | "mqueue" | "cgroup" | "cgroup2" => {
            fine("every guest has its own")
        }
        "swap" => missing("swap space is the host's"),
        "tmpfs" if ["/dev/shm", "/run", "/dev", "/run/lock"].contains(&&*target) => {
            fine("every guest has its own")
        }
        "tmpfs" => tmpfs(&target, &options),
        _ if is_bind => bind(source, &target, &options),
        _ => missing(format!(
            "vserver mounts no devices: mount '{source}' on the host, and list the place in \
             'mounts.bind' as PLACE:{target}"
        )),
    }
}

/// Options that mean nothing more than what is so anyway.
const USUAL: [&str; 17] = [
    "auto",
    "bind",
    "create=dir",
    "create=file",
    "defaults",
    "dev",
    "exec",
    "nodev",
    "nosuid",
    "rw",
    "suid",
    "private",
    "rprivate",
    "slave",
    "rslave",
    "relative",
    "norbind",
];

fn tmpfs(target: &str, options: &[&str]) -> Outcome {
    let mut kept = Vec::new();
    for option in options.iter().filter(|option| !USUAL.contains(option)) {
        let is_kept =
            option.starts_with("size=") || option.starts_with("mode=") || *option == "noexec";
        match option {
            option if is_kept => kept.push(*option),
            option if is_of_times(option) => {}
            option => return option_missing(option, "mounts.tmpfs", target),
        }
    }
    let options = if kept.is_empty() { String::new() } else { format!(":{}", kept.join(",")) };
    one_more("mounts.tmpfs", format!("{target}{options}"))
}

/// A place of the host's.
pub(super) fn bind(source: &str, target: &str, options: &[&str]) -> Outcome {
    let mut kept = Vec::new();
    for option in options.iter().filter(|option| !USUAL.contains(option)) {
        match *option {
            option @ ("ro" | "noexec" | "noidmap" | "rbind" | "optional") => kept.push(option),
            "idmap" | "rootidmap" | "owneridmap" => {}
            option if is_of_times(option) => {}
            option => return option_missing(option, "mounts.bind", target),
        }
    }
    let options = if kept.is_empty() { String::new() } else { format!(":{}", kept.join(",")) };
    if source.starts_with("/dev/") && target == source {
        return one_more("devices.allow", format!("{source} rw"));
    }
    one_more("mounts.bind", format!("{source}:{target}{options}"))
}

fn is_of_times(option: &str) -> bool {
    ["atime", "noatime", "relatime", "strictatime", "nodiratime", "diratime", "lazytime"]
        .contains(&option)
}

fn option_missing(option: &str, key: &str, target: &str) -> Outcome {
    missing(format!(
        "a mount can't have the option '{}': list '{target}' in '{key}' without it, if that \
         will do",
        option.escape_debug()
    ))
}
