//! util-vserver's `NAME.conf`: shell assignments. Pure.
//!
//! Keys are those of vserver(8) of util-vserver's old line, up to 0.30.

use super::flags::flag;
use super::rule::{Rule, fine, missing, takes};
use super::shell;
use super::values::{
    added, bare_address, device_of, dropped, fine as is_fine, missing as none, number, one_more,
    ours, unknown, yes_or_no,
};
use super::{Content, File, Outcome, Part, Setting, State, Theirs};

pub(super) const RULES: &[Rule] = &[
    takes(
        "IPROOT",
        "network.addresses; network.proxy_arp",
        "an address is routed to the guest \
          (docs/network.md); masks don't count",
        address,
    ),
    takes("IPROOTDEV", "network.proxy_arp", "the host answers for the addresses there", device),
    fine("IPROOTMASK", "an address stands alone, without a network"),
    fine("IPROOTBCAST", "an address stands alone, without a network"),
    takes("S_HOSTNAME", "hostname", "", |_, s| ours("hostname", &*s.value)),
    takes("S_DOMAINNAME", "domainname", "", |_, s| match &*s.value {
        "" | "none" | "(none)" => is_fine("that is none"),
        name => ours("domainname", name),
    }),
    takes("S_CONTEXT", "context", "another one if a guest has it", context),
    takes("ONBOOT", "autostart", "", |_, s| {
        yes_or_no(&s.value).map_or_else(|| unknown(s), |is_on| ours("autostart", is_on))
    }),
    takes("S_NICE", "limits.nice", "", |_, s| number("limits.nice", &s.value)),
    takes("S_CAPS", "security.capabilities", "what every guest has anyway is left out", |_, s| {
        capability(&s.value)
    }),
    takes("S_FLAGS", "", "most are every guest's; each is listed", flag),
    takes("ULIMIT", "limits.processes, limits.files", "-u and -n; no others", ulimit),
    takes("PROFILE", "", "a guest has one configuration", |_, s| match &*s.value {
        "" | "prod" => is_fine("it is the only one"),
        _ => none("a guest has one configuration: import each profile under its own name"),
    }),
    missing("PRIORITY", "order comes from 'after', which names the guests that are up before"),
    missing(
        "NAME.sh",
        "vserver runs /etc/vservers/NAME.sh as well, by the same actions and \
            arguments, if it is executable: read it first, and see README.md for what it may \
            rely on",
    ),
    missing("*", "a variable of the file's own"),
];

pub(super) fn read(files: &[File]) -> Vec<Setting> {
    files.iter().flat_map(of_file).collect()
}

fn of_file(file: &File) -> Vec<Setting> {
    match &file.content {
        Content::Text(text) => {
            shell::read(&file.path, text, &[]).into_iter().flat_map(split).collect()
        }
        _ => vec![Setting {
            file: file.path.as_str().into(),
            line: 1,
            key: "NAME.sh".to_owned(),
            value: file.name.clone(),
            state: State::Plain,
        }],
    }
}

fn split(setting: Setting) -> Vec<Setting> {
    match &*setting.key {
        "IPROOT" | "S_FLAGS" | "S_CAPS" => shell::words(setting),
        "ULIMIT" if setting.state == State::Plain => limits(&setting),
        _ => vec![setting],
    }
}

/// `-HS -u 1000 -n 64`: a setting for each limit.
fn limits(setting: &Setting) -> Vec<Setting> {
    let mut limits = Vec::new();
    let mut words = setting.value.split_ascii_whitespace().peekable();
    while let Some(word) = words.next() {
        let is_mode = word.starts_with('-') && word.chars().skip(1).all(|c| c == 'H' || c == 'S');
        if is_mode && word.len() > 1 {
            continue;
        }
        let value = words.next_if(|next| !next.starts_with('-'));
        let value = value.map_or_else(|| word.to_owned(), |value| format!("{word} {value}"));
        limits.push(Setting { value, ..setting.clone() });
    }
    if limits.is_empty() { vec![setting.clone()] } else { limits }
}

fn ulimit(_: Theirs<'_>, setting: &Setting) -> Outcome {
    match setting.value.split_once(' ') {
        None if setting.value.is_empty() => is_fine("that is none"),
        Some((_, "unlimited")) => is_fine("that is no limit"),
        Some(("-u" | "-Hu" | "-Su" | "-HSu" | "-SHu", most)) => number("limits.processes", most),
        Some(("-n" | "-Hn" | "-Sn" | "-HSn" | "-SHn", most)) => number("limits.files", most),
        _ => none("limits of single processes are set inside, in /etc/security/limits.conf"),
    }
}

fn address(_: Theirs<'_>, setting: &Setting) -> Outcome {
    let text = &*setting.value;
    match text {
        "" => return is_fine("that is none"),
        "0.0.0.0" | "ALL" => {
            return none(
                "a guest has addresses of its own, or with 'network.mode = \"shared\"' some of \
                 the host's: 'vserver config set NAME network.addresses …'",
            );
        }
        _ => {}
    }
    let Some(ip) = bare_address(text) else {
        return none(format!("'{}' is no address", text.escape_debug()));
    };
    let address = one_more("network.addresses", ip.to_string());
    let (Some(device), Outcome::Ours { mut parts, remark }) = (device_of(text), address) else {
        return one_more("network.addresses", ip.to_string());
    };
    parts.push(Part { key: "network.proxy_arp", entry: None, value: device.into() });
    Outcome::Ours { parts, remark }
}

/// An interface of the host's, without an alias.
fn device(theirs: Theirs<'_>, setting: &Setting) -> Outcome {
    let has_own = |other: &Setting| other.key == "IPROOT" && device_of(&other.value).is_some();
    match setting.value.split(':').next().unwrap_or_default() {
        "" => is_fine("that is none"),
        _ if theirs.all().any(has_own) => is_fine("an address in IPROOT names its own"),
        _ if !theirs.all().any(|s| s.key == "IPROOT" && bare_address(&s.value).is_some()) => {
            is_fine("no address is there for it")
        }
        device => ours("network.proxy_arp", device),
    }
}

pub(super) fn context(_: Theirs<'_>, setting: &Setting) -> Outcome {
    match &*setting.value {
        "" => is_fine("one is chosen"),
        text => number("context", text),
    }
}

/// A capability, or with '!' or '~' one that is taken away.
pub(super) fn capability(text: &str) -> Outcome {
    match text.strip_prefix(['!', '~']) {
        Some(name) => dropped(name),
        None if text.is_empty() => is_fine("that is none"),
        None => added(text),
    }
}
