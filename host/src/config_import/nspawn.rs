//! systemd-nspawn's `NAME.nspawn`: systemd.nspawn(5). Pure.

use std::sync::Arc;

use super::rule::{Rule, fine, missing, takes};
use super::values::{
    added, bind as place, dropped, fine as is_fine, missing as none, number, ours, own_init,
    unknown, variable, yes_or_no,
};
use super::{Content, File, Outcome, Setting, State, Theirs};
use crate::config::init;

const LINK: &str = "give the guest addresses: 'vserver config set NAME network.addresses …', with \
                    'network.bridge' if it is to be on a bridge (docs/network.md)";

pub(super) const RULES: &[Rule] = &[
    takes(
        "Exec.Boot",
        "",
        "'no' makes Parameters the guest's one command",
        |t, s| match yes_or_no(&s.value) {
            Some(true) => is_fine("a guest boots"),
            Some(false) if t.value("Exec.Parameters").is_some() => is_fine("see Parameters"),
            Some(false) => none("one command that is all of a guest is 'boot.command'"),
            None => unknown(s),
        },
    ),
    takes("Exec.Ephemeral", "", "", |_, s| match yes_or_no(&s.value) {
        Some(false) => is_fine("a guest's files stay"),
        _ => none("a guest's files stay; 'vserver snapshot restore' puts them back"),
    }),
    takes("Exec.ProcessTwo", "", "", |_, s| match yes_or_no(&s.value) {
        Some(false) => is_fine("a guest boots"),
        _ => is_fine("vserver's own PID 1 stands before 'boot.command'"),
    }),
    takes(
        "Exec.Parameters",
        "boot.command, boot.runlevel",
        "without Boot; else they are an init's",
        parameters,
    ),
    takes("Exec.Environment", "boot.environment", "", |_, s| variable(&s.value)),
    missing(
        "Exec.User",
        "PID 1 is the guest's root; 'vserver suexec USER' runs commands as \
            others",
    ),
    missing("Exec.WorkingDirectory", "a guest begins in /"),
    missing("Exec.PivotRoot", "a guest's root is the directory itself: give that by '--root'"),
    takes(
        "Exec.Capability",
        "security.capabilities.add",
        "what every guest has anyway is left \
          out",
        |_, s| match &*s.value {
            "all" => none(
                "no guest has all: name those that it needs in \
                           'security.capabilities.add'",
            ),
            name => added(name),
        },
    ),
    takes(
        "Exec.DropCapability",
        "security.capabilities.drop",
        "what no guest has is left out",
        |_, s| match &*s.value {
            "all" => none("name them in 'security.capabilities.drop'"),
            name => dropped(name),
        },
    ),
    missing(
        "Exec.AmbientCapability",
        "PID 1 is the guest's root, which has the guest's \
            capabilities",
    ),
    takes("Exec.NoNewPrivileges", "", "", |_, s| match yes_or_no(&s.value) {
        Some(false) => is_fine("set-user-ID programs work in a guest"),
        _ => none("set-user-ID programs work in a guest"),
    }),
    fine("Exec.KillSignal", "vserver asks every family of init by its own way"),
    takes("Exec.Personality", "", "the machine's own", |_, s| match &*s.value {
        "x86-64" => is_fine("that is the machine's"),
        _ => none("a guest has the machine's own; setarch(8) inside changes that"),
    }),
    missing(
        "Exec.MachineID",
        "it stands in the guest's own /etc/machine-id, which 'build --method \
            directory' keeps",
    ),
    takes("Exec.PrivateUsers", "", "vserver gives a guest a range of its own", |_, s| {
        match yes_or_no(&s.value) {
            Some(false) => is_fine("vserver gives it a range of its own, files keep theirs"),
            _ => is_fine("vserver gives it a range of its own"),
        }
    }),
    fine("Exec.NotifyReady", "'start' waits until a guest is up"),
    missing("Exec.SystemCallFilter", "vserver's own filter is for all guests: docs/SECURITY.md"),
    takes("Exec.LimitNOFILE", "limits.files", "the hard one", |_, s| {
        match s.value.rsplit(':').next().unwrap_or_default() {
            "infinity" => is_fine("that is no limit"),
            most => number("limits.files", most),
        }
    }),
    missing(
        "Exec.Limit*",
        "limits of single processes are set inside, in \
            /etc/security/limits.conf; docs/limits.md has those of a guest",
    ),
    missing(
        "Exec.OOMScoreAdjust",
        "the kernel chooses among the guest's own processes, at \
            'limits.memory'",
    ),
    takes("Exec.CPUAffinity", "limits.cpuset", "", |_, s| {
        let words: Vec<&str> = s.value.split([' ', ',']).filter(|word| !word.is_empty()).collect();
        ours("limits.cpuset", words.join(","))
    }),
    takes("Exec.Hostname", "hostname", "", |_, s| ours("hostname", &*s.value)),
    takes("Exec.ResolvConf", "", "'off' is how a guest is", |_, s| match &*s.value {
        "off" | "auto" => is_fine("its /etc/resolv.conf stays, or is 'network.dns''s"),
        _ => none("'network.dns' names the servers that /etc/resolv.conf is to have"),
    }),
    takes("Exec.Timezone", "", "'off' is how a guest is", |_, s| match &*s.value {
        "off" | "auto" => is_fine("its /etc/localtime stays"),
        _ => none("a guest's /etc/localtime is its own"),
    }),
    takes("Exec.LinkJournal", "", "", |_, s| match &*s.value {
        "no" | "auto" | "try-guest" | "try-host" => is_fine("the guest's journal is its own"),
        _ => none("the guest's journal is its own; its console is in the host's ('vserver logs')"),
    }),
    takes("Exec.SuppressSync", "", "", |_, s| match yes_or_no(&s.value) {
        Some(false) => is_fine("a guest's files are written"),
        _ => none("a guest's files are written when it says so"),
    }),
    takes("Files.ReadOnly", "", "", |_, s| match yes_or_no(&s.value) {
        Some(false) => is_fine("a guest's root can be written"),
        _ => none("a guest's root can be written"),
    }),
    takes("Files.Volatile", "", "", |_, s| match yes_or_no(&s.value) {
        Some(false) => is_fine("a guest's files stay"),
        _ => none("a guest's files stay; 'mounts.tmpfs' has places that are empty at each start"),
    }),
    takes("Files.Bind", "mounts.bind", "", |_, s| bind(s, false)),
    takes("Files.BindReadOnly", "mounts.bind", "", |_, s| bind(s, true)),
    takes("Files.TemporaryFileSystem", "mounts.tmpfs", "", tmpfs),
    missing(
        "Files.BindUser",
        "make the account inside, and its directory a mount by \
            'mounts.bind'",
    ),
    missing("Files.Inaccessible", "change the permissions inside"),
    missing("Files.Overlay*", "mount it on the host, and name it in 'mounts.bind'"),
    fine("Files.PrivateUsersOwnership", "a guest's root is mapped to its ids"),
    fine("Files.PrivateUsersChown", "a guest's root is mapped to its ids"),
    takes("Network.Private", "", "'no' was the host's own network", |_, s| {
        match yes_or_no(&s.value) {
            Some(true) => is_fine("without addresses a guest has a loopback interface alone"),
            _ => none(
                "a guest has its own network stack, or with 'network.mode = \"shared\"' \
                       addresses on the host's",
            ),
        }
    }),
    takes("Network.VirtualEthernet", "", "addresses are written down", |_, s| {
        match yes_or_no(&s.value) {
            Some(false) => is_fine("a guest has a link if it has addresses"),
            _ => none(LINK),
        }
    }),
    takes("Network.Bridge", "network.bridge", "with addresses, which are to be set", |_, s| {
        ours("network.bridge", &*s.value)
    }),
    takes("Network.MACVLAN", "network.parent", "one, with addresses, which are to be set", parent),
    missing("Network.VirtualEthernetExtra", LINK),
    missing(
        "Network.Interface",
        "interfaces of the host's stay the host's: 'network.parent' \
            shares one",
    ),
    missing("Network.IPVLAN", "'network.parent' shares an interface by macvlan"),
    missing("Network.Zone", LINK),
    missing("Network.Port", "a guest has addresses of its own, and all of their ports"),
    missing("*", "vserver has nothing like it"),
];

/// Keys that hold several values, with what stands between them.
const LISTS: [(&str, &[char]); 5] = [
    ("Exec.Environment", &[]),
    ("Exec.Capability", &[' ']),
    ("Exec.DropCapability", &[' ']),
    ("Exec.AmbientCapability", &[' ']),
    ("Network.MACVLAN", &[' ']),
];

/// Keys that grow with each line; others are replaced by the last.
const GROWING: [&str; 14] = [
    "Exec.Environment",
    "Exec.Capability",
    "Exec.DropCapability",
    "Exec.AmbientCapability",
    "Exec.SystemCallFilter",
    "Files.Bind",
    "Files.BindReadOnly",
    "Files.TemporaryFileSystem",
    "Files.BindUser",
    "Files.Inaccessible",
    "Files.Overlay",
    "Files.OverlayReadOnly",
    "Network.MACVLAN",
    "Network.Port",
];

pub(super) fn read(files: &[File]) -> Vec<Setting> {
    let mut found = Vec::new();
    for file in files {
        match &file.content {
            Content::Text(text) => of_text(&file.path, text, &mut found),
            _ => found.push(Setting {
                file: file.path.as_str().into(),
                line: 1,
                key: file.name.clone(),
                value: String::new(),
                state: State::Unclear("it isn't read".to_owned()),
            }),
        }
    }
    found
}

/// Sections, `KEY=VALUE`, comments, and lines that go on (systemd.syntax(7)).
fn of_text(path: &str, text: &str, found: &mut Vec<Setting>) {
    let file: Arc<str> = path.into();
    let mut section = String::new();
    let mut lines = (1..).zip(text.lines());
    while let Some((line, raw)) = lines.next() {
        let mut whole = raw.trim().to_owned();
        if whole.is_empty() || whole.starts_with(['#', ';']) {
            continue;
        }
        while let Some(begun) = whole.strip_suffix('\\') {
            // A comment in between is passed over.
            let next = lines.by_ref().find(|(_, next)| !next.trim_start().starts_with(['#', ';']));
            whole = format!("{begun} {}", next.map_or("", |(_, next)| next.trim()));
        }
        if let Some(name) = whole.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name.clone_into(&mut section);
            continue;
        }
        let setting = |key: &str, value: &str, state| Setting {
            file: Arc::clone(&file),
            line,
            key: key.to_owned(),
            value: value.to_owned(),
            state,
        };
        let Some((key, value)) = whole.split_once('=') else {
            let state = State::Unclear("a line is written 'KEY=VALUE'".to_owned());
            found.push(setting(&whole, "", state));
            continue;
        };
        let (key, value) = (format!("{section}.{}", key.trim()), value.trim());
        if value.is_empty() || !GROWING.contains(&&*key) {
            for old in found.iter_mut().filter(|old| old.key == key && old.state == State::Plain) {
                old.state = State::Replaced(line);
            }
        }
        if value.is_empty() {
            let state = State::Replaced(line);
            found.push(Setting { state, ..setting(&key, value, State::Plain) });
            continue;
        }
        let words: Vec<String> = match LISTS.iter().find(|(list, _)| *list == key) {
            Some((_, [])) => quoted(value),
            Some(_) => {
                value.split([' ', ',']).filter(|word| !word.is_empty()).map(str::to_owned).collect()
            }
            None => vec![value.to_owned()],
        };
        found.extend(words.iter().map(|word| setting(&key, word, State::Plain)));
    }
}

/// Words, of which some are in quotes.
fn quoted(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for c in text.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, c) if c.is_whitespace() => words.push(String::new()),
            (_, c) => {
                if let Some(word) = words.last_mut() {
                    word.push(c);
                }
            }
        }
    }
    words.retain(|word| !word.is_empty());
    if words.is_empty() { vec![text.to_owned()] } else { words }
}

fn parameters(theirs: Theirs<'_>, setting: &Setting) -> Outcome {
    let boots = theirs.value("Exec.Boot").and_then(yes_or_no);
    match boots {
        Some(false) => {
            let words = quoted(&setting.value);
            match words.split_first() {
                Some((program, rest)) if init::is_init(program) => own_init(rest),
                _ => ours("boot.command", words),
            }
        }
        _ => own_init(&quoted(&setting.value)),
    }
}

/// `SOURCE[:TARGET[:OPTIONS]]`, and a '+' or '-' in front.
fn bind(setting: &Setting, is_read_only: bool) -> Outcome {
    let mut fields = setting.value.splitn(3, ':');
    let source = fields.next().unwrap_or_default();
    let target = fields.next().filter(|target| !target.is_empty());
    let (source, is_optional) = match source.strip_prefix('-') {
        Some(source) => (source, true),
        None => (source, false),
    };
    if setting.value.contains('\\') || source.is_empty() || source.starts_with('+') {
        return none("name the place on the host in 'mounts.bind', as SOURCE:TARGET");
    }
    let mut options: Vec<&str> = fields.next().unwrap_or_default().split(',').collect();
    // systemd-nspawn mounts with what is mounted below, unless it is told not to.
    if !options.contains(&"norbind") {
        options.push("rbind");
    }
    options.extend(is_read_only.then_some("ro"));
    options.extend(is_optional.then_some("optional"));
    options.retain(|option| !option.is_empty());
    options.sort_unstable();
    options.dedup();
    place(source, target.unwrap_or(source), &options)
}

fn tmpfs(_: Theirs<'_>, setting: &Setting) -> Outcome {
    let (target, options) = setting.value.split_once(':').unwrap_or((&setting.value, ""));
    super::values::mount("tmpfs", target, "tmpfs", options)
}

fn parent(theirs: Theirs<'_>, setting: &Setting) -> Outcome {
    match theirs.is_first(setting, |other| other.key == setting.key) {
        true => ours("network.parent", setting.value.split(':').next().unwrap_or_default()),
        false => none("a guest has one interface"),
    }
}
