//! What values of util-vserver's directory become. Pure.

use crate::config_import::legacy::capability;
use crate::config_import::values::{
    UNLIMITED, bare_address, blocks, fine as is_fine, missing as none, mount, number, one_more,
    ours, pages, size, unknown, with_remark,
};
use crate::config_import::{Outcome, Setting, Theirs};

pub(super) fn same_number(theirs: Theirs<'_>, setting: &Setting) -> Outcome {
    match theirs.value("context") {
        None => none("a guest has one number, 'context'"),
        Some(context) if context == setting.value => is_fine("it is the context"),
        Some(_) => none("a guest has one number, 'context'"),
    }
}

pub(super) fn mark(theirs: Theirs<'_>, setting: &Setting) -> Outcome {
    let marks = one_more("marks", &*setting.value);
    let is_started = setting.value == "default" && theirs.value("disabled").is_none();
    let (Outcome::Ours { mut parts, remark }, true) = (marks, is_started) else {
        return one_more("marks", &*setting.value);
    };
    if let Outcome::Ours { parts: more, .. } = ours("autostart", true) {
        parts.extend(more);
    }
    Outcome::Ours { parts, remark }
}

pub(super) fn style(_: Theirs<'_>, setting: &Setting) -> Outcome {
    match &*setting.value {
        "" | "sysv" | "plain" | "gentoo" | "openrc" | "arch" => {
            is_fine("vserver looks at the guest's files and boots by them")
        }
        "minit" => none("give it as 'boot.command', or set 'boot.style'"),
        _ => none("vserver has no such style; 'boot.style' has its own"),
    }
}

/// `15 5 9`: a signal, a time, a signal.
pub(super) fn kill_sequence(_: Theirs<'_>, setting: &Setting) -> Outcome {
    let words: Vec<&str> = setting.value.split_ascii_whitespace().collect();
    match words.as_slice() {
        ["15" | "TERM" | "SIGTERM", time, "9" | "KILL" | "SIGKILL"] => {
            number("boot.kill_grace", time)
        }
        _ => none("a guest's processes get SIGTERM, and after 'boot.kill_grace' SIGKILL"),
    }
}

/// The directory of an interface, or of a disk limit.
fn interface(setting: &Setting) -> &str {
    setting.key.rsplit_once('/').map_or("", |(directory, _)| directory)
}

fn is_disabled(theirs: Theirs<'_>, interface: &str) -> bool {
    theirs.value(&format!("{interface}/disabled")).is_some()
}

pub(super) fn address(theirs: Theirs<'_>, setting: &Setting) -> Outcome {
    match bare_address(&setting.value) {
        _ if is_disabled(theirs, interface(setting)) => is_fine("this interface is disabled"),
        Some(ip) => one_more("network.addresses", ip.to_string()),
        None => none(format!("'{}' is no address", setting.value.escape_debug())),
    }
}

pub(super) fn device(theirs: Theirs<'_>, setting: &Setting) -> Outcome {
    let own = interface(setting);
    let device = setting.value.split(':').next().unwrap_or_default();
    let counts = |other: &Setting| {
        let is_device = other.key.starts_with("interfaces/") && other.key.ends_with("/dev");
        let interface = interface(other);
        is_device
            && !is_disabled(theirs, interface)
            && (interface == "interfaces" || theirs.value(&format!("{interface}/nodev")).is_none())
    };
    let first = theirs.all().find(|other| counts(other)).map(|first| &*first.value);
    match first {
        _ if !counts(setting) => is_fine("the host has no address there"),
        Some(first) if first != setting.value => none(format!(
            "the host answers for a guest's addresses on one interface: '{first}' is the first"
        )),
        _ if own.is_empty() || device.is_empty() => unknown(setting),
        _ => ours("network.proxy_arp", device),
    }
}

/// Of one limit's files, that of the hard one counts.
pub(super) fn limit(
    theirs: Theirs<'_>,
    setting: &Setting,
    hard: fn(&Setting) -> Outcome,
) -> Outcome {
    let bare = setting.key.trim_end_matches(".hard").trim_end_matches(".soft");
    let bare = bare.trim_end_matches(".min");
    let has = |suffix: &str| theirs.value(&format!("{bare}{suffix}")).is_some();
    if ["inf", "-1"].contains(&&*setting.value) {
        return is_fine("that is no limit");
    }
    match setting.key.strip_prefix(bare).unwrap_or_default() {
        ".min" => none("a guest has no guarantees"),
        ".soft" if has(".hard") || has("") => is_fine("the hard limit counts"),
        "" if has(".hard") => is_fine("the hard limit counts"),
        "" | ".soft" | ".hard" => hard(setting),
        _ => none("util-vserver has no such limit"),
    }
}

pub(super) fn memory(key: &'static str, setting: &Setting) -> Outcome {
    match pages(&setting.value) {
        _ if ["inf", "-1"].contains(&&*setting.value) => is_fine("that is no limit"),
        Some(bytes) if bytes >= UNLIMITED => is_fine("that is no limit"),
        Some(bytes) => size(key, bytes),
        None => unknown(setting),
    }
}

/// The space of a disk limit, of the first one.
pub(super) fn disk(theirs: Theirs<'_>, setting: &Setting) -> Outcome {
    let limit = interface(setting);
    let is_total = |other: &Setting| other.key.ends_with("/space_total");
    match blocks(&setting.value) {
        _ if is_disabled(theirs, limit) => is_fine("this limit is disabled"),
        _ if setting.value == "-1" => is_fine("that is no limit"),
        _ if !theirs.is_first(setting, is_total) => {
            none("'limits.disk' is the root's: another file system has its own size")
        }
        Some(bytes) => size("limits.disk", bytes),
        None => unknown(setting),
    }
}

pub(super) fn by_name(_: Theirs<'_>, setting: &Setting) -> Outcome {
    let bare = setting.value.trim_start_matches(['!', '~']);
    let bare = bare.to_ascii_lowercase();
    let bare = bare.strip_prefix("vxc_").unwrap_or(&bare);
    match bare {
        // util-vserver gave it to everybody, as it is harmless in a guest.
        "set_utsname" => is_fine("'hostname' sets it"),
        _ => capability(&setting.value),
    }
}

pub(super) fn processor_time(theirs: Theirs<'_>, setting: &Setting) -> Outcome {
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|number| *number > 0.0);
    let interval = theirs.value("sched/interval").and_then(number);
    match (number(&setting.value), interval) {
        (Some(rate), Some(interval)) => {
            let cpus = (rate / interval * 1000.0).round() / 1000.0;
            with_remark("limits.cpus", cpus, "without its buffer of tokens")
        }
        _ => none("it says nothing without 'sched/interval': set 'limits.cpus'"),
    }
}

/// A line as in fstab(5).
pub(super) fn line(_: Theirs<'_>, setting: &Setting) -> Outcome {
    let words: Vec<&str> = setting.value.split_ascii_whitespace().collect();
    match words.as_slice() {
        [_, "/", ..] => none("mount the guest's root on the host, before the guest is started"),
        [source, target, kind, options, ..] => mount(source, target, kind, options),
        [] => is_fine("nothing is in it"),
        _ => none("a line of fstab(5) has four words at least"),
    }
}
