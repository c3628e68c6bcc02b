//! What values of util-vserver's directory become. Pure.

use crate::config::Excluded;
use crate::config_import::legacy::capability;
use crate::config_import::values::{
    PAGE, UNLIMITED, bare_address, blocks, fine as is_fine, missing as none, mount, number,
    one_more, ours, size, unknown, with_remark,
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

/// What isn't unified.
pub(super) fn pattern(_: Theirs<'_>, setting: &Setting) -> Outcome {
    match Excluded::new([&*setting.value]) {
        // A file without a line.
        _ if setting.value.is_empty() => ours("unify.exclude", Vec::<String>::new()),
        Ok(_) => one_more("unify.exclude", &*setting.value),
        Err(why) => none(why),
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

/// A limit's number as `vlimit` read it: with a factor behind it, K and M of
/// 1024, k and m of 1000, and in the bases of C.
fn limited(text: &str) -> Option<u64> {
    let text = text.trim();
    let (digits, factor) = match text.char_indices().last()? {
        (at, 'K') => (&text[..at], 1 << 10),
        (at, 'M') => (&text[..at], 1 << 20),
        (at, 'k') => (&text[..at], 1_000),
        (at, 'm') => (&text[..at], 1_000_000),
        _ => (text, 1),
    };
    let number = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16),
        None if digits.len() > 1 && digits.starts_with('0') => u64::from_str_radix(digits, 8),
        None => digits.parse(),
    };
    number.ok()?.checked_mul(factor)
}

/// A limit that counts something.
pub(super) fn count(key: &'static str, setting: &Setting) -> Outcome {
    match limited(&setting.value).and_then(|number| i64::try_from(number).ok()) {
        Some(number) => ours(key, number),
        None => unknown(setting),
    }
}

/// Of one limit's files, that of the hard one counts.
pub(super) fn limit(
    theirs: Theirs<'_>,
    setting: &Setting,
    hard: impl FnOnce(&Setting) -> Outcome,
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

/// A number of pages.
pub(super) fn memory(key: &'static str, setting: &Setting) -> Outcome {
    match limited(&setting.value).and_then(|number| number.checked_mul(PAGE)) {
        _ if ["inf", "-1"].contains(&&*setting.value) => is_fine("that is no limit"),
        Some(bytes) if bytes >= UNLIMITED => is_fine("that is no limit"),
        Some(bytes) => size(key, bytes),
        None => unknown(setting),
    }
}

/// Pages of memory in use: the soft limit's are where the guest is slowed down.
pub(super) fn resident(theirs: Theirs<'_>, setting: &Setting) -> Outcome {
    if setting.key == "rlimits/rss.soft" {
        return memory("limits.memory_high", setting);
    }
    limit(theirs, setting, |hard| memory("limits.memory", hard))
}

/// Pages of anonymous memory, for which there is no limit but that of all
/// memory.
pub(super) fn anonymous(key: &'static str, theirs: Theirs<'_>, setting: &Setting) -> Outcome {
    let gives_it = |other: &Setting| match resident(theirs, other) {
        Outcome::Ours { parts, .. } => parts.iter().any(|part| part.key == key),
        _ => false,
    };
    if theirs.all().any(|other| other.key.starts_with("rlimits/rss") && gives_it(other)) {
        return none(format!("'{key}' counts all memory, and is that of 'rlimits/rss'"));
    }
    memory(key, setting)
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
    rate(&setting.value, theirs.value("sched/interval"))
        .unwrap_or_else(|| none("it says nothing without 'sched/interval': set 'limits.cpus'"))
}

/// The file of before `sched`: a rate, an interval, tokens at the start, at
/// least and at most, processors, a line each.
pub(super) fn schedule(theirs: Theirs<'_>, setting: &Setting) -> Outcome {
    let line = |number: usize| theirs.all().filter(|other| other.key == "schedule").nth(number);
    if theirs.value("sched/fill-rate").is_some() {
        return is_fine("'sched' counts");
    }
    match line(0) {
        Some(first) if first.line == setting.line => {
            let interval = line(1).map(|interval| &*interval.value);
            rate(&setting.value, interval)
                .unwrap_or_else(|| none("a rate and an interval are expected: set 'limits.cpus'"))
        }
        _ if line(1).is_some_and(|interval| interval.line == setting.line) => {
            is_fine("it goes with the first line")
        }
        _ => none("'limits.cpus' is a limit, 'limits.cpu_weight' a share"),
    }
}

/// So many ticks of each interval.
fn rate(rate: &str, interval: Option<&str>) -> Option<Outcome> {
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|number| *number > 0.0);
    let cpus = (number(rate)? / number(interval?)? * 1000.0).round() / 1000.0;
    Some(with_remark("limits.cpus", cpus, "without its buffer of tokens"))
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
