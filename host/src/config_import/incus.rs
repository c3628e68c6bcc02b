//! Incus's and LXD's instances, as `incus query /1.0/instances/NAME` and `incus
//! list NAME --format json` write them, and as they lie beside the files of a
//! guest and in a backup of it (`incus_yaml`). Pure.
//!
//! Keys are those of Incus's documentation, "Instance options" and "Devices".
//! Every value is a setting: `config.limits.memory`, `devices.eth0.parent`.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::cgroup::cpus;
use super::incus_yaml;
use super::rule::{Rule, fine, missing, takes};
use super::values::{
    bind, fine as is_fine, missing as none, mount, number, one_more, ours, size, unknown, yes_or_no,
};
use super::{Content, File, Outcome, Part, Setting, State, Theirs};

const ORDER: &str = "order comes from 'after', which names the guests that are up before";
const NOTE: &str = "Incus's own notes";
const OWN: &str = "vserver's own layers hold a guest: docs/SECURITY.md";

pub(super) const RULES: &[Rule] = &[
    fine("name", "the guest is called so"),
    takes("description", "description", "", |_, s| match &*s.value {
        "" => is_fine("that is none"),
        text => ours("description", text),
    }),
    takes("type", "", "containers only", |_, s| match &*s.value {
        "container" | "" => is_fine("a guest is one"),
        _ => none("a guest has no kernel of its own; its files can be a guest's all the same"),
    }),
    takes("ephemeral", "", "", |_, s| match yes_or_no(&s.value) {
        Some(false) => is_fine("a guest stays"),
        _ => none(
            "a guest stays until it is deleted; 'vserver start --ephemeral' forgets what \
                   is written",
        ),
    }),
    takes("architecture", "", "the machine's own", |_, s| match &*s.value {
        "x86_64" => is_fine("that is the machine's"),
        _ => none("a guest has the machine's own"),
    }),
    missing("profiles", "what they say isn't here: give the output of 'incus query', which has it"),
    takes("config.limits.cpu", "limits.cpus, limits.cpuset", "a number, or processors", |_, s| {
        match s.value.parse::<u32>() {
            Ok(number) => cpus(f64::from(number)),
            Err(_) => ours("limits.cpuset", &*s.value),
        }
    }),
    takes("config.limits.cpu.allowance", "limits.cpus", "times such as 25ms/100ms", allowance),
    missing("config.limits.cpu.*", "'limits.cpu_weight' is a guest's share"),
    takes("config.limits.memory", "limits.memory", "", memory),
    takes("config.limits.memory.enforce", "", "", |_, s| match &*s.value {
        "hard" => is_fine("'limits.memory' is a limit"),
        _ => none("'limits.memory' is a limit; 'limits.memory_high' slows a guest down"),
    }),
    takes("config.limits.memory.swap", "limits.swap", "", |_, s| match yes_or_no(&s.value) {
        Some(true) => is_fine("a guest has half of the host's unless 'limits.swap' says otherwise"),
        Some(false) => ours("limits.swap", 0),
        None => unknown(s),
    }),
    missing("config.limits.memory.*", "docs/limits.md has what can be limited"),
    takes("config.limits.processes", "limits.processes", "", |_, s| {
        number("limits.processes", &s.value)
    }),
    takes("config.limits.kernel.nofile", "limits.files", "the hard one", |_, s| {
        match s.value.rsplit(':').next().unwrap_or_default() {
            "unlimited" => is_fine("that is no limit"),
            most => number("limits.files", most),
        }
    }),
    missing("config.limits.*", "docs/limits.md has what can be limited"),
    takes("config.boot.autostart", "autostart", "", |_, s| {
        yes_or_no(&s.value).map_or_else(|| unknown(s), |is_on| ours("autostart", is_on))
    }),
    takes("config.boot.host_shutdown_timeout", "boot.stop_timeout", "", |_, s| {
        s.value.parse::<i64>().map_or_else(|_| unknown(s), |time| ours("boot.stop_timeout", time))
    }),
    missing("config.boot.*", ORDER),
    takes("config.environment.*", "boot.environment", "", |_, s| {
        let entry = s.key.strip_prefix("config.environment.").map(str::to_owned);
        let part = Part { key: "boot.environment", entry, value: s.value.as_str().into() };
        Outcome::Ours { parts: vec![part], remark: String::new() }
    }),
    takes("config.security.nesting", "security.nesting", "", |_, s| {
        yes_or_no(&s.value).map_or_else(|| unknown(s), |is_on| ours("security.nesting", is_on))
    }),
    takes("config.security.privileged", "", "", |_, s| match yes_or_no(&s.value) {
        Some(false) => is_fine("vserver gives it a range of ids"),
        _ => none(
            "vserver gives it a range of ids; 'security.users = \"host\"' gives it the \
                   host's, which is seldom needed",
        ),
    }),
    fine("config.security.idmap.*", "vserver gives it a range of ids"),
    missing("config.security.protection.*", "'vserver delete' asks"),
    missing("config.security.*", OWN),
    missing("config.raw.*", "it is written for LXC, QEMU or their filters"),
    missing("config.cloud-init.*", "'vserver build' has '--ssh-key' and more for a first boot"),
    missing("config.snapshots.*", "'vserver snapshot create' makes them, by cron(8) if need be"),
    missing("config.linux.*", "a guest has the modules that the host has loaded"),
    missing("config.nvidia.*", "name each node in 'devices.allow'"),
    fine("config.image.*", NOTE),
    fine("config.volatile.*", NOTE),
    fine("config.migration.*", "a guest that is moved boots anew"),
    fine("config.cluster.*", NOTE),
    missing("config.*", "vserver has nothing like it"),
    takes("devices.*.type", "", "nic, disk, unix-char; no others", kind),
    takes("devices.*.nictype", "", "bridged, macvlan, routed", |_, s| match &*s.value {
        "bridged" | "macvlan" | "routed" => is_fine("see its other properties"),
        _ => none("a guest's interface is routed, on a bridge, or macvlan: docs/network.md"),
    }),
    takes(
        "devices.*.parent",
        "network.bridge, network.parent, network.proxy_arp",
        "by the type; \
          one interface",
        link,
    ),
    takes("devices.*.network", "network.bridge", "the network's bridge has its name", link),
    takes("devices.*.ipv4.address", "network.addresses", "where they are routed", address),
    takes("devices.*.ipv6.address", "network.addresses", "where they are routed", address),
    takes("devices.*.path", "mounts.bind, mounts.tmpfs, devices.allow", "by the type", path),
    takes("devices.*.size", "limits.disk", "of the root", |t, s| match is_root(t, s) {
        true => bytes(&s.value).map_or_else(|| unknown(s), |bytes| size("limits.disk", bytes)),
        false => is_fine("it goes with 'path'"),
    }),
    fine("devices.*.source", "it goes with 'path'"),
    fine("devices.*.readonly", "it goes with 'path'"),
    fine("devices.*.required", "it goes with 'path'"),
    fine("devices.*.recursive", "it goes with 'path'"),
    fine("devices.*.pool", "its files: see below"),
    fine("devices.*.name", "a guest's interface is called eth0"),
    fine("devices.*.security.*_filtering", "a guest can't send from others' addresses"),
    missing("devices.*", "vserver has nothing like it: docs/network.md, docs/mounts.md"),
    missing("*", "it is no key of an instance"),
];

/// What isn't a setting, but how the instance was.
const STATE: [&str; 16] = [
    "backups",
    "config",
    "created_at",
    "devices",
    "expanded_config",
    "expanded_devices",
    "last_used_at",
    "location",
    "project",
    "restore",
    "snapshots",
    "source",
    "state",
    "stateful",
    "status",
    "status_code",
];

pub(super) fn read(files: &[File]) -> Vec<Setting> {
    files.iter().flat_map(of_file).collect()
}

fn of_file(file: &File) -> Vec<Setting> {
    let unclear = |why: &str| {
        let state = State::Unclear(why.to_owned());
        let (file, key) = (file.path.as_str().into(), file.name.clone());
        vec![Setting { file, line: 1, key, value: String::new(), state }]
    };
    let Content::Text(text) = &file.content else { return unclear("it isn't read") };
    let is_json = text.trim_start().starts_with(['{', '[']);
    let read = if is_json {
        serde_json::from_str(text).map_err(|cause| format!("it is no JSON: {cause}"))
    } else {
        incus_yaml::instance(text)
    };
    let instance = match read {
        Ok(Value::Object(instance)) => instance,
        Ok(Value::Array(mut all)) if all.len() == 1 => match all.pop() {
            Some(Value::Object(instance)) => instance,
            _ => return unclear("it is no instance"),
        },
        Ok(Value::Array(_)) => return unclear("it has several instances, or none"),
        Ok(_) => return unclear("it is no instance"),
        Err(why) => return unclear(&why),
    };
    let mut reader = Reader { file: file.path.as_str().into(), text, is_json, found: Vec::new() };
    reader.instance(&instance);
    reader.found
}

struct Reader<'a> {
    file: Arc<str>,
    text: &'a str,
    is_json: bool,
    found: Vec<Setting>,
}

impl Reader<'_> {
    fn instance(&mut self, instance: &Map<String, Value>) {
        let is_expanded = instance.contains_key("expanded_config");
        for (key, value) in instance {
            let needless = STATE.contains(&&**key) || key == "profiles" && is_expanded;
            if !needless {
                self.push(key.clone(), value, &[key]);
            }
        }
        let section = |name: &'static str, expanded: &'static str| {
            let name = if instance.contains_key(expanded) { expanded } else { name };
            (name, instance.get(name).and_then(Value::as_object))
        };
        let (name, config) = section("config", "expanded_config");
        for (key, value) in config.into_iter().flatten() {
            self.push(format!("config.{key}"), value, &[name, key]);
        }
        let (name, devices) = section("devices", "expanded_devices");
        for (device, properties) in devices.into_iter().flatten() {
            for (key, value) in properties.as_object().into_iter().flatten() {
                self.push(format!("devices.{device}.{key}"), value, &[name, device, key]);
            }
        }
    }

    fn push(&mut self, key: String, value: &Value, path: &[&str]) {
        let value = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let (file, line) = (Arc::clone(&self.file), self.line(path));
        self.found.push(Setting { file, line, key, value, state: State::Plain });
    }

    /// The line in which a key stands, of objects in each other.
    fn line(&self, path: &[&str]) -> usize {
        let mut at = 0;
        for key in path {
            let rest = self.text.get(at..).unwrap_or_default();
            let word = if self.is_json { format!("\"{key}\"") } else { format!(" {key}") };
            let mut found = rest.match_indices(&word).map(|(here, found)| here + found.len());
            let is_key = |end: &usize| {
                rest.get(*end..).is_some_and(|after| after.trim_start().starts_with(':'))
            };
            at += found.find(is_key).unwrap_or_default();
        }
        self.text.get(..at).unwrap_or_default().matches('\n').count() + 1
    }
}

/// A size: units of 1000, or with an 'i' of 1024.
fn bytes(text: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 9] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
        ("kB", 1000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
        ("B", 1),
    ];
    let unit = UNITS.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)));
    let (digits, unit) = unit.unwrap_or((text, 1));
    digits.trim().parse::<u64>().ok()?.checked_mul(unit)
}

fn memory(_: Theirs<'_>, setting: &Setting) -> Outcome {
    match bytes(&setting.value) {
        Some(bytes) => size("limits.memory", bytes),
        None if setting.value.ends_with('%') => ours("limits.memory", &*setting.value),
        None => unknown(setting),
    }
}

fn allowance(_: Theirs<'_>, setting: &Setting) -> Outcome {
    let time = |text: &str| text.trim().strip_suffix("ms")?.parse::<f64>().ok();
    match setting.value.split_once('/').map(|(most, period)| (time(most), time(period))) {
        Some((Some(most), Some(period))) if period > 0.0 => cpus(most / period),
        _ => none("it was a share of processors that all want: 'limits.cpu_weight'"),
    }
}

/// The device of a setting, `devices.NAME`.
fn device(setting: &Setting) -> &str {
    let after = setting.key.strip_prefix("devices.").unwrap_or_default();
    let length = after.find('.').unwrap_or(after.len());
    setting.key.get(.."devices.".len() + length).unwrap_or_default()
}

fn of<'a>(theirs: Theirs<'a>, setting: &Setting, key: &str) -> &'a str {
    theirs.value(&format!("{}.{key}", device(setting))).unwrap_or_default()
}

fn is_root(theirs: Theirs<'_>, setting: &Setting) -> bool {
    of(theirs, setting, "type") == "disk" && of(theirs, setting, "path") == "/"
}

fn is_first_interface(theirs: Theirs<'_>, setting: &Setting) -> bool {
    let is_link = |other: &Setting| {
        other.key.ends_with(".type") && other.key.starts_with("devices.") && other.value == "nic"
    };
    theirs.all().find(|other| is_link(other)).is_some_and(|first| device(first) == device(setting))
}

fn kind(theirs: Theirs<'_>, setting: &Setting) -> Outcome {
    match &*setting.value {
        "disk" | "unix-char" => is_fine("see its path"),
        "none" => is_fine("it isn't there"),
        "nic" if !is_first_interface(theirs, setting) => none("a guest has one interface"),
        "nic" if of(theirs, setting, "nictype") == "routed" => is_fine("see its addresses"),
        "nic" => none(
            "it asked for its addresses when it ran (DHCP); a guest's are written down: 'vserver \
             config set NAME network.addresses ADDRESS/BITS', and 'network.gateway'",
        ),
        "proxy" => none("a guest has addresses of its own, and all of their ports"),
        _ => none("a guest has no such device; 'devices.allow' names nodes of the host's"),
    }
}

fn link(theirs: Theirs<'_>, setting: &Setting) -> Outcome {
    match of(theirs, setting, "nictype") {
        _ if of(theirs, setting, "type") != "nic" => none("a guest has no such device"),
        _ if !is_first_interface(theirs, setting) => none("a guest has one interface"),
        "macvlan" => ours("network.parent", &*setting.value),
        "routed" => ours("network.proxy_arp", &*setting.value),
        "bridged" | "" => ours("network.bridge", &*setting.value),
        _ => none("a guest's interface is routed, on a bridge, or macvlan: docs/network.md"),
    }
}

fn address(theirs: Theirs<'_>, setting: &Setting) -> Outcome {
    match of(theirs, setting, "nictype") {
        _ if !is_first_interface(theirs, setting) => none("a guest has one interface"),
        _ if ["none", "auto", ""].contains(&&*setting.value) => is_fine("that is none"),
        "routed" => ours(
            "network.addresses",
            setting.value.split(',').map(|one| one.trim().to_owned()).collect::<Vec<_>>(),
        ),
        _ => none(format!(
            "on a bridge an address has the length of its network: 'vserver config set NAME \
             network.addresses {}/BITS'",
            setting.value.escape_debug()
        )),
    }
}

fn path(theirs: Theirs<'_>, setting: &Setting) -> Outcome {
    let (target, source) = (&*setting.value, of(theirs, setting, "source"));
    match of(theirs, setting, "type") {
        "disk" if target == "/" => is_fine("its files: see below, or give them by '--root'"),
        "disk" if source.starts_with("tmpfs:") => mount("tmpfs", target, "tmpfs", ""),
        "disk" if !source.starts_with('/') => {
            none("a volume: name its directory on the host in 'mounts.bind'")
        }
        "disk" => {
            let is = |key, word| yes_or_no(of(theirs, setting, key)) == Some(word);
            let options = [
                ("ro", is("readonly", true)),
                ("optional", is("required", false)),
                ("rbind", is("recursive", true)),
            ];
            let options: Vec<&str> =
                options.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name).collect();
            bind(source, target, &options)
        }
        "unix-char" if source.is_empty() || source == target => {
            one_more("devices.allow", format!("{target} rw"))
        }
        _ => none("a guest has no such device; 'devices.allow' names nodes of the host's"),
    }
}

/// Where Incus keeps the files, if its pool is a directory or one is mounted
/// there.
pub(super) fn root(theirs: Theirs<'_>) -> Option<String> {
    let is_root = |other: &&Setting| other.key.ends_with(".path") && is_root(theirs, other);
    let pool = of(theirs, theirs.all().find(is_root)?, "pool");
    let name = theirs.value("name")?;
    let is_plain = |name: &str| !name.is_empty() && !name.contains('/');
    (is_plain(pool) && is_plain(name))
        .then(|| format!("/var/lib/incus/storage-pools/{pool}/containers/{name}"))
}
