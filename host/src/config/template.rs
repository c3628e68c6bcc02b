//! What each key means: the text of a new configuration file and of
//! vserver.toml(5).
//!
//! The keys, their order and their defaults come from the types; a test
//! makes sure that each one is explained here and nothing else is.

use std::fmt::Write;

use super::GuestConfig;
use crate::error::{Error, Result};

/// A key's explanation.
pub struct Explanation {
    /// The dotted key.
    pub key: &'static str,
    /// What it means: sentences without line breaks.
    pub text: &'static str,
    /// A value to show where there is no default.
    pub example: &'static str,
}

/// Explains all keys, in the order of the types.
pub const EXPLANATIONS: [Explanation; 55] = [
    explain(
        "context",
        "The guest's number, 2 to 49151. Given once by 'build'; no two guests have the same.",
        "40000",
    ),
    explain(
        "hostname",
        "Host name inside; the guest's name when not given.",
        "\"web.example.org\"",
    ),
    explain("domainname", "NIS domain name inside, rarely wanted.", "\"example\""),
    explain("description", "One line about the guest, shown by 'list' and 'status'.", ""),
    explain(
        "root",
        "Directory of the guest's root; /var/lib/vservers/NAME when not given.",
        "\"/srv/guests/web\"",
    ),
    explain("autostart", "Is it started when the host boots?", ""),
    explain("marks", "Words by which groups of guests are chosen: 'vserver start --mark db'.", ""),
    explain(
        "after",
        "Guests that come up before this one when they are started together, and that are stopped after it.",
        "",
    ),
    explain(
        "boot.style",
        "Which boot files are followed: auto (look and choose), sysv (sysvinit's inittab), busybox (busybox init's inittab), rc (rcS.d, rc2.d, rc.local, run by guest-init), init (the guest's own init runs as PID 1). 'vserver status' says what was chosen and why.",
        "",
    ),
    explain(
        "boot.rc",
        "How a distribution's own rc runner is treated: written (lines of inittab run as they are written) or direct (guest-init stands in for it: faster, and each script is reported).",
        "",
    ),
    explain(
        "boot.runlevel",
        "Default runlevel in place of the guest's own: 0-9, S or a-c.",
        "\"3\"",
    ),
    explain(
        "boot.command",
        "One command that is the whole guest, in place of a boot: with its end the guest powers off, when it fails the guest has crashed. Stopping sends it SIGTERM, and SIGKILL after kill_grace.",
        "[\"nginx\", \"-g\", \"daemon off;\"]",
    ),
    explain(
        "boot.stop_timeout",
        "From the order to stop until what remains is killed. When not given 1m, or 6m with a systemd in it, which waits itself for what doesn't end, 90 s each time.",
        "\"1m\"",
    ),
    explain("boot.kill_grace", "Between SIGTERM and SIGKILL at the end of a shutdown.", ""),
    explain(
        "boot.restart",
        "What happens when PID 1 dies without having been asked to: never (the guest stays down) or on-crash (it is started again, with growing pauses).",
        "",
    ),
    explain(
        "boot.environment",
        "Variables for everything that is booted.",
        "{ LANG = \"C.UTF-8\" }",
    ),
    explain(
        "boot.credentials",
        "What the guest's root finds as files in /run/host/credentials, which CREDENTIALS_DIRECTORY names: names with a text, which everybody may read here, or for secrets with a file of the host's, { file = \"PATH\" }, which only root can write and which is read at each boot. systemd and its services import them (systemd.io/CREDENTIALS). docs/boot.md tells more.",
        "{ \"app.token\" = { file = \"/etc/vservers/web.token\" } }",
    ),
    explain(
        "console.log",
        "Where what it prints is kept: auto (in the host's journal if systemd runs the guest's supervisor, else in a file), file (/var/log/vserver/NAME.log) or both. 'vserver logs' finds it.",
        "",
    ),
    explain(
        "console.log_size",
        "Bytes after which the console's log file is rotated (one old one is kept); 0 for no file.",
        "",
    ),
    explain(
        "network.mode",
        "How it is joined to networks: routed (its own stack and a link to the host, which routes the addresses there; the default with addresses alone), shared (the host's stack, held to the addresses), bridge (its own stack, on a bridge of the host's; the default with addresses and network.bridge), macvlan (its own stack, on the network of an interface of the host's, but without the host; the default with addresses and network.parent) or none (its own stack with a loopback interface alone; the default without). docs/network.md tells more.",
        "\"routed\"",
    ),
    explain(
        "network.addresses",
        "Its addresses, IPv4 and IPv6, with shared, bridge and macvlan also with the length of their network (\"192.0.2.10/24\"). It can send from no other, whatever its root does.",
        "[\"192.0.2.10\", \"2001:db8::10\"]",
    ),
    explain("network.bridge", "With bridge: the host's bridge that it is joined to.", "\"br0\""),
    explain(
        "network.parent",
        "With macvlan: the interface of the host's on whose network it is.",
        "\"eth0\"",
    ),
    explain(
        "network.gateway",
        "With bridge and macvlan: the machine that passes on what is for others, one of IPv4 and one of IPv6; without it the guest reaches its own networks only.",
        "[\"192.0.2.1\", \"fe80::1\"]",
    ),
    explain(
        "network.proxy_arp",
        "With routed: an interface of the host, on whose network it answers ARP and neighbour discovery for these addresses. For addresses out of the host's own network, which its router doesn't send to the host by itself.",
        "\"eth0\"",
    ),
    explain(
        "network.dns",
        "Name servers, three at most. With them /etc/resolv.conf is written anew at each start; without, it stays as 'build' or the guest has made it.",
        "[\"192.0.2.53\"]",
    ),
    explain(
        "security.users",
        "Whose ids the guest's users have on the host: private (a range of 65,536 of its own), identity (0-65535 in a user namespace, for file systems that can't map ids) or host (the host's ids and no user namespace: root inside is held by capabilities, filters and covers alone).",
        "",
    ),
    explain(
        "security.capabilities.add",
        "Capabilities beyond the default set, as in capabilities(7), with or without 'CAP_'.",
        "",
    ),
    explain("security.capabilities.drop", "Capabilities taken from the default set.", ""),
    explain(
        "security.nesting",
        "May it make user namespaces, and run containers in them? Then nothing of its /proc is covered.",
        "",
    ),
    explain("security.io_uring", "May its programs use io_uring?", ""),
    explain(
        "security.hidepid",
        "What its users see of other users' processes: off (all), noaccess (that they are there), invisible (nothing), ptraceable (nothing but what they could trace); see proc(5).",
        "",
    ),
    explain(
        "security.apparmor",
        "AppArmor profile, loaded on the host, for everything in the guest. It needs the flag attach_disconnected: PID 1 is executed from a mount that no path leads to.",
        "\"vserver-guest\"",
    ),
    explain(
        "security.selinux",
        "SELinux label for everything in the guest. The policy has to allow nosuid_transition to it (class process2): PID 1 is executed from a mount that no path leads to.",
        "\"system_u:system_r:container_t:s0:c1,c2\"",
    ),
    explain(
        "devices.allow",
        "Device nodes of the host's that the guest may use besides those of every guest: paths below /dev, with rights of the letters r, w, m (rw when left out). m, to make nodes, also takes security.users = \"host\" and the capability mknod.",
        "[\"/dev/fuse rw\"]",
    ),
    explain(
        "storage.kind",
        "What is at the path of its root: directory (all files as they are), overlay (a directory with what differs from storage.base, which other guests may share) or image (a file with a file system of its own). 'build' and 'clone' write this; docs/storage.md tells more.",
        "",
    ),
    explain(
        "storage.base",
        "With overlay: the directory that it lies over, such as a snapshot of another guest. Nobody may write to it.",
        "\"/var/lib/vservers/.snapshots/golden/v1\"",
    ),
    explain(
        "unify.exclude",
        "Files that 'vserver unify' passes by: patterns of paths inside ('/var/log', '*.db'; '*' within a name, '**' over directories), the first that fits decides, and '+' in front is of what is not passed by.",
        "",
    ),
    explain(
        "mounts.bind",
        "Directories and files of the host's that the guest sees: SOURCE[:TARGET[:OPTIONS]]; the options, with commas, are ro, noexec, noidmap (files have the host's owners, which the guest sees as nobody's), rbind (with what is mounted below) and optional (it may be missing). docs/mounts.md tells more.",
        "[\"/srv/backup/web:/var/backup:ro\"]",
    ),
    explain(
        "mounts.tmpfs",
        "File systems in memory, empty at each start: TARGET[:OPTIONS]; the options are size= (10% of the host's memory when not given), mode= and noexec.",
        "[\"/var/cache:size=200M\"]",
    ),
    explain(
        "limits.memory",
        "The most memory, caches included: K, M, G, T (powers of 1024), a share of the host's (\"50%\"), or max for no limit. Beyond it a process of the guest's is killed. 80% when not given, where the host can enforce that. docs/limits.md tells more of all limits.",
        "\"2G\"",
    ),
    explain(
        "limits.memory_high",
        "From here on the guest is slowed down and its memory reclaimed; nothing is killed.",
        "\"1536M\"",
    ),
    explain(
        "limits.swap",
        "The most swap space; a share is one of the host's swap space. 50% when not given, where the host can enforce that.",
        "\"512M\"",
    ),
    explain(
        "limits.processes",
        "The most processes and threads, or max. 8000 when not given, where the host can enforce that.",
        "400",
    ),
    explain("limits.cpus", "The most processor time, in processors.", "1.5"),
    explain(
        "limits.cpu_weight",
        "Share of processors that all want: 1 to 10000, 100 for guests that don't say.",
        "200",
    ),
    explain("limits.cpuset", "Which processors it may use.", "\"0-3,5\""),
    explain(
        "limits.nice",
        "Nice level of everything in it, sessions included, and of the guest among others: -20 (first) to 19.",
        "5",
    ),
    explain(
        "limits.io_weight",
        "Share of block devices that all want: 1 to 10000, 100 for guests that don't say. Needs BFQ or io.cost.qos on the host.",
        "50",
    ),
    explain(
        "limits.io_max",
        "The most bytes (rbps, wbps) and operations (riops, wiops) a second with a block device: its node, any path on it, or its numbers.",
        "[\"/dev/sda rbps=50M wbps=20M wiops=500\"]",
    ),
    explain(
        "limits.disk",
        "The most space that its files take on the disk: by a project quota of ext4 or xfs, or the size of its image. No limit when not given.",
        "\"20G\"",
    ),
    explain(
        "limits.inodes",
        "The most files and directories, where limits.disk is a project quota. When not given its share: as much of the file system's as limits.disk is of its space, but 10000 at least.",
        "200000",
    ),
    explain(
        "limits.files",
        "The most open files of each process (RLIMIT_NOFILE, hard); 1048576 when not given. They begin with 1024 and can raise it.",
        "4096",
    ),
    explain(
        "limits.required",
        "What the host can't enforce of the limits above: true refuses to start, false warns.",
        "",
    ),
    explain(
        "accounting.processes",
        "Does the kernel record each process when it ends, as acct(5) describes, in /var/lib/vserver/usage/NAME.pacct? 'vserver usage NAME --commands' sums that up, lastcomm and sa read it. Takes effect when the guest is booted the next time; docs/process-accounting.md tells more.",
        "",
    ),
];

const fn explain(key: &'static str, text: &'static str, example: &'static str) -> Explanation {
    Explanation { key, text, example }
}

/// Width of comment lines.
const WIDTH: usize = 76;

/// A complete configuration file: every key with its explanation, those with
/// a default value commented out.
///
/// # Errors
/// When it holds a path that is no text.
pub fn render(config: &GuestConfig) -> Result<String> {
    let head = "# Configuration of a vserver guest; see vserver.toml(5).\n\
                # Lines that are commented out show the default or an example.\n";
    let values = table(config)
        .map_err(|cause| Error::new(format!("the configuration can't be written: {cause}")))?;
    Ok(write(head, &values, &[]))
}

/// The same for all guests: a file in which everything is commented out.
pub fn render_defaults() -> String {
    let head = "# Defaults for all guests; see vserver.toml(5). What a guest's own file says\n\
                # replaces them. Lines that are commented out show what holds without them,\n\
                # or an example.\n";
    write(head, &toml::Table::new(), &OWN)
}

/// Keys that no two guests share.
const OWN: [&str; 7] = [
    "context",
    "hostname",
    "description",
    "root",
    "network.addresses",
    "storage.kind",
    "storage.base",
];

fn write(head: &str, values: &toml::Table, without: &[&str]) -> String {
    let defaults = table(&GuestConfig::default()).unwrap_or_default();
    let mut text = head.to_owned();
    let mut section = "";
    for explanation in EXPLANATIONS.iter().filter(|it| !without.contains(&it.key)) {
        let (its_section, key) = explanation.key.split_once('.').unwrap_or(("", explanation.key));
        if its_section != section {
            section = its_section;
            let _ = write!(text, "\n[{section}]\n");
        }
        let (value, default) =
            (lookup(values, explanation.key), lookup(&defaults, explanation.key));
        text.push('\n');
        comment(&mut text, explanation.text);
        let _ = match (value, default) {
            (Some(value), default) if Some(value) != default => {
                writeln!(text, "{key} = {}", inline(value))
            }
            (_, Some(default)) if explanation.example.is_empty() => {
                writeln!(text, "#{key} = {}", inline(default))
            }
            _ => writeln!(text, "#{key} = {}", explanation.example),
        };
    }
    text
}

/// The default of a key as it is written; `None` when there is none.
pub fn default_of(key: &str) -> Option<String> {
    let defaults = table(&GuestConfig::default()).ok()?;
    lookup(&defaults, key).map(inline)
}

/// How a value of a key is written: its example, or else its default.
pub fn example_of(key: &str) -> Option<String> {
    let explanation = EXPLANATIONS.iter().find(|explanation| explanation.key == key)?;
    match explanation.example {
        "" => default_of(key).filter(|default| !matches!(&**default, "[]" | "\"\"" | "{}")),
        example => Some(example.to_owned()),
    }
}

fn table(config: &GuestConfig) -> std::result::Result<toml::Table, toml::ser::Error> {
    toml::Table::try_from(config)
}

fn lookup<'t>(table: &'t toml::Table, key: &str) -> Option<&'t toml::Value> {
    match key.split_once('.') {
        None => table.get(key),
        Some((section, rest)) => lookup(table.get(section)?.as_table()?, rest),
    }
}

/// A value on one line.
fn inline(value: &toml::Value) -> String {
    match value {
        toml::Value::Table(inner) => {
            let pairs = inner.iter().map(|(key, value)| {
                let key = toml_edit::Key::new(key);
                format!("{} = {}", key.display_repr(), inline(value))
            });
            let pairs: Vec<_> = pairs.collect();
            if pairs.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", pairs.join(", ")) }
        }
        other => other.to_string(),
    }
}

fn comment(text: &mut String, sentences: &str) {
    let mut line = String::from("#");
    for word in sentences.split(' ') {
        if line.len() + 1 + word.len() > WIDTH {
            text.push_str(&line);
            text.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    text.push_str(&line);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse::parse;
    use crate::config::schema;

    #[test]
    fn every_key_is_explained_in_order() {
        let explained: Vec<_> = EXPLANATIONS.iter().map(|e| e.key.to_owned()).collect();
        assert_eq!(schema::keys(), explained);
    }

    #[test]
    fn a_rendered_file_means_what_was_meant() {
        let mut config = GuestConfig { hostname: Some("a.b".into()), ..Default::default() };
        config.context = 40_000.try_into().ok();
        config.boot.environment.insert("A B".into(), "x \"y\"".into());
        config.security.capabilities.add.push("mknod".into());
        let text = render(&config).unwrap();
        assert_eq!(parse(&text), Ok(config), "{text}");
    }

    #[test]
    fn a_path_that_is_no_text_makes_no_empty_file() {
        let root = std::os::unix::ffi::OsStringExt::from_vec(b"/srv/w\xe9b".to_vec());
        let root: std::ffi::OsString = root;
        let config = GuestConfig { root: Some(root.into()), ..Default::default() };
        assert!(render(&config).is_err());
    }

    #[test]
    fn defaults_for_all_guests_say_nothing_yet() {
        let text = render_defaults();
        assert_eq!(parse(&text), Ok(GuestConfig::default()), "{text}");
        assert!(text.contains("\n#memory = ") && !text.contains("\n#context"), "{text}");
        assert!(OWN.iter().all(|key| schema::keys().iter().any(|other| other == key)));
    }

    #[test]
    fn the_shown_defaults_are_the_defaults_and_examples_are_right() {
        let text = render(&GuestConfig::default()).unwrap();
        let mut shown = String::new();
        for line in text.lines() {
            // A host has one of the two.
            if line.starts_with("#selinux") {
                continue;
            }
            // They go with other modes than the one shown.
            if ["#bridge", "#parent", "#gateway", "#base"].iter().any(|key| line.starts_with(key)) {
                continue;
            }
            let is_value = line.starts_with('#') && !line.starts_with("# ");
            let line = if is_value { line.trim_start_matches('#') } else { line };
            shown.push_str(line);
            shown.push('\n');
        }
        let mut config = parse(&shown).expect(&shown);
        assert!(config.context.take().is_some());
        assert!(config.hostname.take().is_some());
        assert!(config.domainname.take().is_some());
        assert!(config.root.take().is_some());
        assert!(config.boot.runlevel.take().is_some());
        assert!(config.boot.stop_timeout.take().is_some());
        assert!(!std::mem::take(&mut config.boot.command).is_empty());
        assert!(config.security.apparmor.take().is_some());
        assert!(!std::mem::take(&mut config.devices.allow).is_empty());
        assert!(!std::mem::take(&mut config.mounts.bind).is_empty());
        assert!(!std::mem::take(&mut config.mounts.tmpfs).is_empty());
        assert!(config.network.mode.take().is_some());
        assert!(!std::mem::take(&mut config.network.addresses).is_empty());
        assert!(config.network.proxy_arp.take().is_some());
        assert!(!std::mem::take(&mut config.network.dns).is_empty());
        config.boot.environment.clear();
        assert!(!std::mem::take(&mut config.boot.credentials).is_empty());
        let limits = std::mem::take(&mut config.limits);
        assert!(limits.memory.is_some() && limits.files.is_some() && !limits.io_max.is_empty());
        assert_eq!(config, GuestConfig::default());
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    }
}
