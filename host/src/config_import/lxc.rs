//! LXC's `config`: lxc.container.conf(5), from 1.x to 6. Pure.

use super::lxc_network::{self, NETWORK};
use super::rule::{Rule, fine, missing, takes};
use super::values::{
    added, dropped, fine as is_fine, missing as none, mount, not_kept, number, one_more, ours,
    own_init, unknown, variable, yes_or_no,
};
use super::{Content, File, Outcome, Part, Setting, State, Theirs, cgroup};
use crate::config::init;

const HOOK: &str = "what it did can be done by /etc/vservers/NAME.sh, called as 'NAME.sh ACTION \
                    NAME' with pre-start, post-start, pre-stop, post-stop (README.md); read it \
                    first";
const OWN: &str = "every guest has its own";

pub(super) const RULES: &[Rule] = &[
    takes("lxc.uts.name", "hostname", "", |_, s| ours("hostname", &*s.value)),
    takes("lxc.rootfs.path", "", "its files: see below, or give them by '--root'", rootfs),
    fine("lxc.rootfs.mount", "a guest's root is attached in its own mounts"),
    fine("lxc.rootfs.managed", "'vserver delete' is asked for"),
    takes("lxc.rootfs.options", "", "'idmap' only", |_, s| {
        match s.value.split(',').all(|word| ["", "idmap=container", "rw"].contains(&word)) {
            true => is_fine("a guest's root is mapped to its ids"),
            false => none("a guest's root has no options"),
        }
    }),
    takes("lxc.arch", "", "the machine's own", |_, s| match &*s.value {
        "x86_64" | "amd64" | "linux64" => is_fine("that is the machine's"),
        "x86" | "i386" | "i486" | "i586" | "i686" | "linux32" => {
            none("programs of 32 bits run, but 'uname -m' says x86_64: setarch(8)")
        }
        _ => none("a guest has the machine's own"),
    }),
    takes(
        "lxc.include",
        "",
        "not followed: those in /usr/share/lxc say what vserver does by itself",
        |_, s| match s.value.starts_with("/usr/share/lxc/config/") {
            true => is_fine("LXC's stock settings; vserver has its own"),
            false => none(
                "it isn't followed: put what it says into this file and import again, or \
                           set it by 'vserver config set'",
            ),
        },
    ),
    NETWORK[0],
    NETWORK[1],
    NETWORK[2],
    NETWORK[3],
    NETWORK[4],
    NETWORK[5],
    NETWORK[6],
    NETWORK[7],
    takes("lxc.mount.entry", "mounts.bind, mounts.tmpfs", "", entry),
    missing(
        "lxc.mount.fstab",
        "its lines aren't read: put them into 'mounts.bind', as \
            SOURCE:TARGET",
    ),
    fine("lxc.mount.auto", "every guest has its own /proc, /sys and cgroups"),
    takes("lxc.cap.drop", "security.capabilities.drop", "what no guest has is left out", |_, s| {
        match &*s.value {
            "" => is_fine("that is none"),
            name => dropped(name),
        }
    }),
    takes("lxc.cap.keep", "security.capabilities", "what it doesn't name is dropped", keep),
    fine("lxc.cgroup.dir*", "a guest's cgroup has its name"),
    fine("lxc.cgroup.relative", "a guest's cgroup has its name"),
    takes("lxc.cgroup2.*", cgroup::OURS, cgroup::NOTE, |t, s| {
        cgroup::attribute(t, s, "lxc.cgroup2.")
    }),
    takes("lxc.cgroup.*", cgroup::OURS, "the same, unless 'lxc.cgroup2' says it", of_version_1),
    takes("lxc.prlimit.nofile", "limits.files", "the hard one", |_, s| {
        match s.value.rsplit(':').next().unwrap_or_default().trim() {
            "unlimited" => is_fine("that is no limit"),
            most => number("limits.files", most),
        }
    }),
    missing(
        "lxc.prlimit.*",
        "limits of single processes are set inside, in \
            /etc/security/limits.conf; docs/limits.md has those of a guest",
    ),
    missing(
        "lxc.sysctl.*",
        "a guest sets those of its own network and IPC itself, by its \
            /etc/sysctl.conf",
    ),
    missing("lxc.proc.*", "processes have what the kernel gives them"),
    takes("lxc.start.auto", "autostart", "", |_, s| {
        yes_or_no(&s.value).map_or_else(|| unknown(s), |is_on| ours("autostart", is_on))
    }),
    missing(
        "lxc.start.delay",
        "a guest that is started is waited for: 'after' names those \
            before it",
    ),
    missing(
        "lxc.start.order",
        "order comes from 'after', which names the guests that are up \
            before",
    ),
    takes("lxc.group", "marks", "", |_, s| match &*s.value {
        "" => is_fine("that is none"),
        group => one_more("marks", group),
    }),
    fine(
        "lxc.idmap",
        "vserver gives it a range of ids; 'build' gives files their own owners \
         back",
    ),
    takes("lxc.apparmor.profile", "", "LXC's own are left out; others are set by hand", |_, s| {
        match &*s.value {
            "" | "generated" | "unconfined" | "unchanged" => {
                is_fine("vserver's own layers hold a guest")
            }
            profile if profile.starts_with("lxc-") => is_fine("vserver's own layers hold a guest"),
            profile => none(format!(
                "it is written for LXC: with the flag attach_disconnected, 'vserver config set \
                 NAME security.apparmor {profile}' sets it"
            )),
        }
    }),
    takes("lxc.apparmor.allow_nesting", "security.nesting", "", |_, s| {
        yes_or_no(&s.value).map_or_else(|| unknown(s), |is_on| ours("security.nesting", is_on))
    }),
    fine("lxc.apparmor.allow_incomplete", "a profile is demanded by 'security.apparmor' only"),
    missing(
        "lxc.apparmor.raw",
        "a profile is loaded on the host, and named by \
            'security.apparmor'",
    ),
    missing("lxc.selinux.*", "'security.selinux' takes a label whose policy is made for vserver"),
    takes("lxc.seccomp.profile", "", "vserver's own filter is for all", |_, s| {
        match s.value.starts_with("/usr/share/lxc/config/") {
            true => is_fine("vserver has its own filter"),
            false => none("vserver's own filter is for all guests: docs/SECURITY.md"),
        }
    }),
    missing("lxc.seccomp.*", "vserver's own filter is for all guests: docs/SECURITY.md"),
    missing("lxc.no_new_privs", "set-user-ID programs work in a guest"),
    missing("lxc.keyring.session", "every guest's keys are its own"),
    fine("lxc.tty.*", OWN),
    fine("lxc.pty.*", OWN),
    fine("lxc.devttydir", OWN),
    fine("lxc.autodev*", OWN),
    fine("lxc.kmsg", "no guest has the kernel's messages"),
    fine("lxc.console.*", "'vserver console' and 'vserver logs' show it"),
    fine("lxc.log.*", "'vserver logs --events' has what a supervisor says"),
    fine("lxc.hook.version", "there are no such hooks"),
    missing("lxc.hook.*", HOOK),
    takes("lxc.environment", "boot.environment", "", |_, s| variable(&s.value)),
    takes("lxc.init.cmd", "boot.command, boot.runlevel", "an init boots as an init", |_, s| {
        let words: Vec<&str> = s.value.split_ascii_whitespace().collect();
        match words.as_slice() {
            [] => is_fine("a guest boots by its own init"),
            [program, parameters @ ..] if init::is_init(program) => own_init(parameters),
            words => ours(
                "boot.command",
                words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>(),
            ),
        }
    }),
    missing("lxc.init.*", "PID 1 is the guest's root, in /"),
    missing("lxc.execute.cmd", "'boot.command' is one command that is all of a guest"),
    fine("lxc.signal.*", "vserver asks every family of init by its own way"),
    fine("lxc.monitor.*", "a supervisor may die, and its guest lives"),
    missing("lxc.namespace.*", "every guest has its own namespaces of all kinds, and shares none"),
    missing("lxc.time.offset.*", "a guest's clocks begin with it; its time is the host's"),
    missing("lxc.ephemeral", "a guest stays until it is deleted"),
    missing("lxc.*", "vserver has nothing like it"),
    missing("*", "it is no key of LXC's"),
];

/// Where LXC has cgroup v2, that version's attributes count.
fn of_version_1(theirs: Theirs<'_>, setting: &Setting) -> Outcome {
    const NEWER: &str = "lxc.cgroup2.";
    let outcome = cgroup::attribute(theirs, setting, "lxc.cgroup.");
    let keys = |outcome: &Outcome| match outcome {
        Outcome::Ours { parts, .. } => parts.iter().map(|part| part.key).collect(),
        _ => Vec::new(),
    };
    let same = keys(&outcome);
    let by = theirs.all().filter(|other| other.key.starts_with(NEWER)).find(|other| {
        let newer = keys(&cgroup::attribute(theirs, other, NEWER));
        newer.iter().any(|key| same.contains(key) && *key != "devices.allow")
    });
    by.map_or(outcome, |by| is_fine(format!("'{}' says it, which counts with cgroup v2", by.key)))
}

/// Keys of LXC 1.x and 2.0, and what they became in 2.1.
const RENAMED: [(&str, &str); 27] = [
    ("lxc.utsname", "lxc.uts.name"),
    ("lxc.rootfs", "lxc.rootfs.path"),
    ("lxc.rootfs.backend", "lxc.rootfs.managed"),
    ("lxc.mount", "lxc.mount.fstab"),
    ("lxc.pts", "lxc.pty.max"),
    ("lxc.tty", "lxc.tty.max"),
    ("lxc.devttydir", "lxc.tty.dir"),
    ("lxc.console", "lxc.console.path"),
    ("lxc.id_map", "lxc.idmap"),
    ("lxc.aa_profile", "lxc.apparmor.profile"),
    ("lxc.aa_allow_incomplete", "lxc.apparmor.allow_incomplete"),
    ("lxc.se_context", "lxc.selinux.context"),
    ("lxc.seccomp", "lxc.seccomp.profile"),
    ("lxc.init_cmd", "lxc.init.cmd"),
    ("lxc.init_uid", "lxc.init.uid"),
    ("lxc.init_gid", "lxc.init.gid"),
    ("lxc.haltsignal", "lxc.signal.halt"),
    ("lxc.rebootsignal", "lxc.signal.reboot"),
    ("lxc.stopsignal", "lxc.signal.stop"),
    ("lxc.logfile", "lxc.log.file"),
    ("lxc.loglevel", "lxc.log.level"),
    ("lxc.syslog", "lxc.log.syslog"),
    ("lxc.limit.nofile", "lxc.prlimit.nofile"),
    ("lxc.kmsg", "lxc.kmsg"),
    ("lxc.include", "lxc.include"),
    ("lxc.console.logpath", "lxc.console.logfile"),
    ("lxc.monitor.unshare", "lxc.monitor.unshare"),
];

/// Keys whose values are words.
const LISTS: [&str; 3] = ["lxc.cap.drop", "lxc.cap.keep", "lxc.group"];

pub(super) fn read(files: &[File]) -> Vec<Setting> {
    let mut found = Vec::new();
    for file in files {
        let path = file.path.as_str().into();
        let setting = |line, key: &str, value: &str, state| {
            let (key, value) = (key.to_owned(), value.to_owned());
            Setting { file: std::sync::Arc::clone(&path), line, key, value, state }
        };
        match &file.content {
            Content::Text(text) => {
                for (line, text) in (1..).zip(text.lines().map(str::trim)) {
                    if text.is_empty() || text.starts_with('#') {
                        continue;
                    }
                    let Some((key, value)) = text.split_once('=') else {
                        let state = State::Unclear("a line is written 'KEY = VALUE'".to_owned());
                        found.push(setting(line, text, "", state));
                        continue;
                    };
                    let (key, value) = (key.trim(), unquoted(value.trim()));
                    let key =
                        RENAMED.iter().find(|(old, _)| *old == key).map_or(key, |(_, new)| new);
                    let words: Vec<&str> = value.split_ascii_whitespace().collect();
                    if LISTS.contains(&key) && words.len() > 1 {
                        found.extend(
                            words.iter().map(|word| setting(line, key, word, State::Plain)),
                        );
                    } else {
                        found.push(setting(line, key, value, State::Plain));
                    }
                }
            }
            _ => found.push(setting(1, &file.name, "", State::Unclear("it isn't read".to_owned()))),
        }
    }
    lxc_network::number(&mut found);
    clear(&mut found);
    found
}

fn unquoted(value: &str) -> &str {
    let without = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    without('"').or_else(|| without('\'')).unwrap_or(value)
}

/// A key without value clears what was said of it before.
fn clear(settings: &mut [Setting]) {
    for at in 0..settings.len() {
        let (before, after) = settings.split_at_mut(at);
        let Some(clearing) = after.first() else { continue };
        if !clearing.value.is_empty() || clearing.state != State::Plain {
            continue;
        }
        for setting in before.iter_mut() {
            let is_below = setting
                .key
                .strip_prefix(&clearing.key)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
            if is_below && setting.state == State::Plain {
                setting.state = State::Replaced(clearing.line);
            }
        }
    }
}

/// What kinds of roots are written like, besides a bare path.
const KINDS: [(&str, &str); 9] = [
    ("overlayfs:", "an overlay: mount it, and give the mount point"),
    ("overlay:", "an overlay: mount it, and give the mount point"),
    ("btrfs:", ""),
    ("dir:", ""),
    ("zfs:", "a data set: give its mount point"),
    ("lvm:", "a block device: mount it, and give the mount point"),
    ("loop:", "a disk image: mount it, and give the mount point"),
    ("nbd:", "a disk image: mount it, and give the mount point"),
    ("rbd:", "a block device: mount it, and give the mount point"),
];

fn rootfs(_: Theirs<'_>, setting: &Setting) -> Outcome {
    let value = &*setting.value;
    let kind = KINDS.iter().find(|(start, _)| value.starts_with(start));
    match kind {
        Some((_, what)) if !what.is_empty() => {
            none(format!("it is {what}, to 'vserver build --method directory' or by '--root'"))
        }
        _ if value.starts_with("/dev/") => none(
            "it is a block device: mount it, and give the mount point to 'vserver build --method \
             directory' or by '--root'",
        ),
        _ => is_fine("its files: see below, or give them by '--root'"),
    }
}

/// The directory of the guest's files.
pub(super) fn root(theirs: &Theirs<'_>) -> Option<String> {
    let value = theirs.value("lxc.rootfs.path")?;
    let bare = value.strip_prefix("dir:").or_else(|| value.strip_prefix("btrfs:")).unwrap_or(value);
    (bare.starts_with('/') && !bare.starts_with("/dev/")).then(|| bare.to_owned())
}

fn entry(_: Theirs<'_>, setting: &Setting) -> Outcome {
    let words: Vec<&str> = setting.value.split_ascii_whitespace().collect();
    match words.as_slice() {
        [] => is_fine("that is none"),
        [source, target, kind, options, ..] => mount(source, target, kind, options),
        _ => none("a line of fstab(5) has four words at least"),
    }
}

/// A capability that is kept; the first one drops those that aren't named.
fn keep(theirs: Theirs<'_>, setting: &Setting) -> Outcome {
    const KEY: &str = "lxc.cap.keep";
    let own = match &*setting.value {
        "" => return is_fine("that is none"),
        "none" => is_fine("see what is dropped"),
        name => added(name),
    };
    let not_kept = not_kept(theirs, KEY);
    if !theirs.is_first(setting, |other| other.key == KEY) || not_kept.is_empty() {
        return own;
    }
    let drop = not_kept.iter().map(|known| shared::capability::short(*known).into());
    let drop = Part {
        key: "security.capabilities.drop",
        entry: None,
        value: toml::Value::Array(drop.collect()),
    };
    match own {
        Outcome::Ours { mut parts, remark } => {
            parts.push(drop);
            Outcome::Ours { parts, remark }
        }
        Outcome::Fine(_) => Outcome::Ours { parts: vec![drop], remark: String::new() },
        missing => missing,
    }
}
