//! Rules that types don't express: the form of names, limits of durations,
//! keys that contradict each other.

mod network;

use std::collections::BTreeSet;
use std::path::{Component, Path};
use std::time::Duration;

use caps::Capability;
use shared::capability::{capability, remedy, short};
use shared::message::StyleChoice;

use super::problem::{Problem, did_you_mean};
use super::{
    Excluded, GuestConfig, MOST_CREDENTIALS, STOP_TIMEOUT, StorageKind, UserMode, credential,
    is_of_host, limits,
};

/// Longest time that can be waited for anything of a guest's.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Everything that is wrong with a configuration.
pub fn problems(config: &GuestConfig) -> Vec<Problem> {
    let mut found = Vec::new();
    names(config, &mut found);
    root(config, &mut found);
    durations(config, &mut found);
    command(config, &mut found);
    environment(config, &mut found);
    credentials(config, &mut found);
    capabilities(config, &mut found);
    nesting(config, &mut found);
    labels(config, &mut found);
    network::check(config, &mut found);
    accounting(config, &mut found);
    mounts(config, &mut found);
    unify(config, &mut found);
    found.extend(limits::problems(&config.limits));
    found
}

/// Is this a host name: labels of letters, digits and hyphens (RFC 1123
/// §2.1), 64 bytes at most (`HOST_NAME_MAX`, hostname(7))?
pub fn is_hostname(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 64 && name.split('.').all(label)
}

fn names(config: &GuestConfig, found: &mut Vec<Problem>) {
    if let Some(name) = config.hostname.as_deref().filter(|name| !is_hostname(name)) {
        let text = format!(
            "'{}' is no host name: letters, digits and '-', separated by '.', at most 64 in all",
            name.escape_debug()
        );
        found.push(Problem::new("hostname", text));
    }
    if let Some(name) = &config.domainname {
        // setdomainname(2): at most 64 bytes.
        if name.len() > 64 || name.is_empty() || !name.bytes().all(|b| b.is_ascii_graphic()) {
            let text = "a NIS domain name has 1 to 64 visible characters";
            found.push(Problem::new("domainname", text));
        }
    }
    if config.description.chars().any(char::is_control) {
        found.push(Problem::new("description", "a description is one line of text"));
    }
    for mark in &config.marks {
        if mark.is_empty() || mark.chars().any(|c| c.is_whitespace() || c.is_control()) {
            found.push(Problem::new("marks", "a mark is one word"));
        }
    }
}

fn root(config: &GuestConfig, found: &mut Vec<Problem>) {
    let paths = [
        ("root", "a guest's root", config.root.as_deref()),
        ("storage.base", "a base", config.storage.base.as_deref()),
    ];
    for (key, what, path) in paths {
        let wrong = path.and_then(|path| wrong_directory(path, what));
        found.extend(wrong.map(|wrong| Problem::new(key, wrong)));
    }
    let text = match (config.storage.kind, &config.storage.base) {
        (StorageKind::Overlay, None) => {
            "an overlay needs a 'storage.base', the directory that it lies over"
        }
        (StorageKind::Directory | StorageKind::Image, Some(_)) => {
            "'storage.base' goes with storage.kind = \"overlay\" only"
        }
        (StorageKind::Overlay, Some(base)) if config.root.as_ref() == Some(base) => {
            "a guest's root can't be its base as well"
        }
        _ => return,
    };
    found.push(Problem::new("storage.base", text));
}

fn unify(config: &GuestConfig, found: &mut Vec<Problem>) {
    if let Err(wrong) = Excluded::new(config.unify.exclude.iter().map(String::as_str)) {
        found.push(Problem::new("unify.exclude", wrong));
    }
}

/// What is wrong with the path of a directory with a guest's files.
pub fn wrong_directory(path: &Path, what: &str) -> Option<String> {
    let plain = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
    if !path.is_absolute() {
        Some(format!("{what} is an absolute path"))
    } else if !path.components().all(plain) {
        Some(format!("{what} is a path without '..'"))
    } else if path.components().eq(Path::new("/").components()) {
        Some(format!("the host's root can't be {what}"))
    } else if is_of_host(path) {
        Some(format!("'{}' is a directory of the host's own, and can't be {what}", path.display()))
    } else if path.as_os_str().as_encoded_bytes().contains(&0) {
        Some("a path can't hold a NUL character".to_owned())
    } else {
        None
    }
}

fn mounts(config: &GuestConfig, found: &mut Vec<Problem>) {
    let binds = config.mounts.bind.iter().map(|bind| ("mounts.bind", &bind.target));
    let tmpfs = config.mounts.tmpfs.iter().map(|tmpfs| ("mounts.tmpfs", &tmpfs.target));
    let mut seen = BTreeSet::new();
    for (key, target) in binds.chain(tmpfs) {
        if !seen.insert(target) {
            found.push(Problem::new(key, format!("two mounts have the target '/{target}'")));
        }
    }
}

fn durations(config: &GuestConfig, found: &mut Vec<Problem>) {
    let boot = &config.boot;
    let stop_timeout = boot.stop_timeout.unwrap_or(STOP_TIMEOUT);
    for (key, duration) in
        [("boot.stop_timeout", stop_timeout), ("boot.kill_grace", boot.kill_grace)]
    {
        if duration > LONGEST {
            found.push(Problem::new(key, format!("'{key}' is longer than a day")));
        }
    }
    if boot.kill_grace > stop_timeout {
        let text = "'boot.kill_grace' is a part of 'boot.stop_timeout' and can't be longer";
        found.push(Problem::new("boot.kill_grace", text));
    }
}

fn command(config: &GuestConfig, found: &mut Vec<Problem>) {
    let boot = &config.boot;
    let Some(program) = boot.command.first() else { return };
    if program.is_empty() || boot.command.iter().any(|word| word.contains('\0')) {
        let text = "'boot.command' begins with a program, and holds no NUL character";
        found.push(Problem::new("boot.command", text));
    }
    if boot.style != StyleChoice::Auto {
        let text = "'boot.style' says which boot files are followed: with 'boot.command' none are";
        found.push(Problem::new("boot.style", text));
    }
}

fn environment(config: &GuestConfig, found: &mut Vec<Problem>) {
    for (name, value) in &config.boot.environment {
        let shown = name.escape_debug();
        let key = format!("boot.environment.{name}");
        if name.is_empty() || name.contains(['=', '\0']) {
            let text = format!("'{shown}' can't be a variable's name");
            found.push(Problem::new(key, text));
        } else if value.contains('\0') {
            let text = format!("the value of '{shown}' holds a NUL character");
            found.push(Problem::new(key, text));
        }
    }
}

fn credentials(config: &GuestConfig, found: &mut Vec<Problem>) {
    let mut length = 0;
    for (name, credential) in &config.boot.credentials {
        let key = format!("boot.credentials.{name}");
        length += name.len() + credential.length();
        if !credential::is_name(name) {
            let text = format!(
                "'{}' can't be a credential's name: at most 255 visible characters of ASCII and \
                 blanks, without '/' and ':'",
                name.escape_debug()
            );
            found.push(Problem::new(key, text));
        } else if let Some(mistake) = credential.mistake(name) {
            found.push(Problem::new(key, format!("'{name}': {mistake}")));
        }
    }
    if length > MOST_CREDENTIALS {
        let text = "all credentials together are longer than 1 MiB";
        found.push(Problem::new("boot.credentials", text));
    }
}

fn capabilities(config: &GuestConfig, found: &mut Vec<Problem>) {
    let changes = &config.security.capabilities;
    let mut known = Vec::new();
    for (key, names) in
        [("security.capabilities.add", &changes.add), ("security.capabilities.drop", &changes.drop)]
    {
        for name in names {
            match capability(name) {
                None => found.push(unknown_capability(key, name)),
                Some(cap) if known.contains(&(cap, key)) => {}
                Some(cap) if known.iter().any(|(other, _)| *other == cap) => {
                    let text = format!("'{}' is both added and dropped", short(cap));
                    found.push(Problem::new(key, text));
                }
                Some(cap) => known.push((cap, key)),
            }
        }
    }
}

/// With the host's ids, a root with every capability in a namespace of its
/// own could write what belongs to the host's root: sysctls, cgroups.
fn nesting(config: &GuestConfig, found: &mut Vec<Problem>) {
    if config.security.nesting && config.security.users != UserMode::Private {
        let text = "'security.nesting' needs ids of the guest's own: \
                    'security.users = \"private\"'";
        found.push(Problem::new("security.nesting", text));
    }
}

/// What is written to `/proc/self/attr/exec` is one word of printable text.
fn labels(config: &GuestConfig, found: &mut Vec<Problem>) {
    let security = &config.security;
    for (key, label) in
        [("security.apparmor", &security.apparmor), ("security.selinux", &security.selinux)]
    {
        let plain = |label: &&String| {
            !label.is_empty() && label.len() < 4096 && label.bytes().all(|b| b.is_ascii_graphic())
        };
        if label.as_ref().is_some_and(|label| !plain(&label)) {
            found.push(Problem::new(key, format!("'{key}' is one word without blanks")));
        }
    }
    if security.apparmor.is_some() && security.selinux.is_some() {
        let text = "a host has AppArmor or SELinux: give one of 'security.apparmor' and \
                    'security.selinux'";
        found.push(Problem::new("security.selinux", text));
    }
}

/// Without a user namespace the capability is one over the host: the guest
/// could end its accounting, or have it written elsewhere.
fn accounting(config: &GuestConfig, found: &mut Vec<Problem>) {
    let security = &config.security;
    let reaches = |name: &String| capability(name) == Some(Capability::CAP_SYS_PACCT);
    if config.accounting.processes
        && security.users == UserMode::Host
        && security.capabilities.add.iter().any(reaches)
    {
        let text = "with 'security.users = \"host\"' and the capability 'sys_pacct' the guest \
                    could end what 'accounting.processes' begins";
        found.push(Problem::new("accounting.processes", text));
    }
}

fn unknown_capability(key: &str, name: &str) -> Problem {
    let all: Vec<String> = caps::all().into_iter().map(short).collect();
    let wanted = name.to_ascii_lowercase();
    let wanted = wanted.strip_prefix("cap_").unwrap_or(&wanted);
    let hint = remedy(name)
        .map(str::to_owned)
        .or_else(|| did_you_mean(wanted, all.iter().map(String::as_str)))
        .or_else(|| Some("capabilities(7) lists them".to_owned()));
    Problem::new(key, format!("there is no capability '{}'", name.escape_debug())).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn texts(text: &str) -> Vec<String> {
        let problems = parse::parse(text).expect_err(text);
        problems.into_iter().map(|problem| format!("{}: {}", problem.key, problem.text)).collect()
    }

    #[test]
    fn wrong_values_are_refused() {
        for (text, key) in [
            ("hostname = \"a b\"", "hostname"),
            ("hostname = \"-a\"", "hostname"),
            ("hostname = \"\"", "hostname"),
            ("hostname = \"a..b\"", "hostname"),
            ("domainname = \"\"", "domainname"),
            ("description = \"a\\nb\"", "description"),
            ("marks = [\"a b\"]", "marks"),
            ("root = \"srv\"", "root"),
            ("root = \"/\"", "root"),
            ("root = \"//.\"", "root"),
            ("root = \"/etc\"", "root"),
            ("root = \"/usr/lib/\"", "root"),
            ("root = \"/proc/1/root\"", "root"),
            ("root = \"/a/../..\"", "root"),
            ("boot.stop_timeout = \"2d\"", "boot.stop_timeout"),
            ("boot.stop_timeout = \"1s\"", "boot.kill_grace"),
            ("boot.command = [\"\"]", "boot.command"),
            ("boot.command = [\"a\", \"\\u0000\"]", "boot.command"),
            ("boot = { command = [\"a\"], style = \"init\" }", "boot.style"),
            ("boot.environment = { \"A=B\" = \"x\" }", "boot.environment.A=B"),
            ("boot.environment = { A = \"\\u0000\" }", "boot.environment.A"),
            ("boot.credentials = { \"a:b\" = \"x\" }", "boot.credentials.a:b"),
            ("boot.credentials = { a = 1 }", "boot.credentials.a"),
            ("boot.credentials = { a = { path = \"/x\" } }", "boot.credentials.a"),
            ("boot.credentials = { a = { file = \"x\" } }", "boot.credentials.a"),
            ("boot.credentials = { a = { file = \"/x/../y\" } }", "boot.credentials.a"),
            (
                "boot.credentials.\"passwd.hashed-password.root\" = \"$6$x\"",
                "boot.credentials.passwd.hashed-password.root",
            ),
            ("security.capabilities.add = [\"net_rav\"]", "security.capabilities.add"),
            (
                "security.capabilities = { add = [\"net_raw\"], drop = [\"CAP_NET_RAW\"] }",
                "security.capabilities.drop",
            ),
            ("security = { nesting = true, users = \"host\" }", "security.nesting"),
            ("security = { nesting = true, users = \"identity\" }", "security.nesting"),
            (
                "accounting.processes = true\n\
                 security = { users = \"host\", capabilities.add = [\"sys_pacct\"] }",
                "accounting.processes",
            ),
            ("network = { mode = \"none\", addresses = [\"192.0.2.1\"] }", "network.addresses"),
            ("network.mode = \"routed\"", "network.mode"),
            ("network.mode = \"shared\"", "network.mode"),
            (
                "network = { mode = \"shared\", addresses = [\"192.0.2.1/24\"] }\n\
                 security = { users = \"host\", capabilities.add = [\"NET_RAW\"] }",
                "security.capabilities",
            ),
            (
                // An old name of the same.
                "network = { mode = \"shared\", addresses = [\"192.0.2.1\"] }\n\
                 security = { users = \"host\", capabilities.add = [\"raw_icmp\"] }",
                "security.capabilities",
            ),
            (
                "network.addresses = [\"192.0.2.1\"]\n\
                 security = { users = \"host\", capabilities.add = [\"net_admin\"] }",
                "security.capabilities",
            ),
            (
                "network = { bridge = \"br0\", addresses = [\"192.0.2.1/24\"] }\n\
                 security = { users = \"host\", capabilities.add = [\"CAP_NET_ADMIN\"] }",
                "security.capabilities",
            ),
            ("network.addresses = [\"192.0.2.1\", \"192.0.2.1/32\"]", "network.addresses"),
            ("network.addresses = [\"192.0.2.1/24\"]", "network.addresses"),
            ("network.proxy_arp = \"eth0\"", "network.proxy_arp"),
            (
                "network = { addresses = [\"192.0.2.1\"], proxy_arp = \"../all\" }",
                "network.proxy_arp",
            ),
        ] {
            let found = texts(text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert!(found[0].starts_with(key), "{text}: {found:?}");
        }
    }

    #[test]
    fn right_values_are_taken() {
        for text in [
            "hostname = \"web-1.example.org\"",
            "root = \"/srv/web\"",
            "security.capabilities.add = [\"CAP_SYS_NICE\", \"mknod\", \"Mknod\"]",
            "boot.environment = { LANG = \"C.UTF-8\" }",
            "boot.credentials = { a = \"x\", \"b.c\" = { file = \"/etc/vservers/b\" } }",
            "network.addresses = [\"192.0.2.1\", \"2001:db8::1/128\"]",
            "accounting.processes = true\nsecurity.capabilities.add = [\"sys_pacct\"]",
            "network.mode = \"none\"",
            "network = { mode = \"shared\", addresses = [\"192.0.2.1/24\"] }",
            // An own network without a way to the host's.
            "security = { users = \"host\", capabilities.add = [\"net_admin\"] }",
            "network.addresses = [\"192.0.2.1\"]\n\
             security = { users = \"host\", capabilities.add = [\"net_raw\"] }",
            "network.addresses = [\"192.0.2.1\"]\n\
             security = { users = \"identity\", capabilities.add = [\"net_admin\"] }",
        ] {
            assert!(parse::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn the_nearest_capability_is_named() {
        let problem = unknown_capability("k", "CAP_NET_RAV");
        assert_eq!(problem.hint.as_deref(), Some("did you mean 'net_raw'?"));
    }
}
