//! What guests' configurations add to their units: which are wanted at boot, in
//! what order, with what time to stop (systemd.generator(7)). Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use shared::name::GuestName;

use crate::cgroup;
use crate::config::{
    GuestConfig, KILL_GRACE, Network, NetworkMode, Order, STOP_TIMEOUT_OF_SYSTEMD,
};
use crate::paths::Paths;

/// What a unit depends on, of a guest's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Its name.
    pub name: GuestName,
    /// What it is for, one line.
    pub description: String,
    /// Is it started when the host boots?
    pub autostart: bool,
    /// Groups of guests that it belongs to.
    pub marks: Vec<String>,
    /// Guests that are up before it is started.
    pub after: Vec<GuestName>,
    /// Where its files are.
    pub root: PathBuf,
    /// Is that the place that its name gives it?
    pub is_usual: bool,
    /// Where those are that they lie over.
    pub base: Option<PathBuf>,
    /// What it has mounted of the host's.
    pub mounted: Vec<PathBuf>,
    /// Does it need a link of the host's?
    pub on_network: bool,
    /// How long its shutdown may take.
    pub stop: Duration,
}

/// A file below the generator's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum File {
    /// A symbolic link to a unit file.
    Link {
        /// Where.
        path: PathBuf,
        /// To what.
        to: PathBuf,
    },
    /// A drop-in.
    Text {
        /// Where.
        path: PathBuf,
        /// What it says.
        text: String,
    },
}

/// What all that is written for a guest's unit is called: what administrators have set
/// comes later, whatever they call it (systemd.unit(5)).
const DROP_IN: &str = "10-vserver.conf";

/// What says that a guest's files are where they usually are. systemd needn't hear of
/// it before the host's next boot, so that a guest can be built without its reading all
/// units anew.
pub(super) const USUAL_ROOT: &str = "10-root.conf";

/// What a shutdown may take beyond what is configured: it is the supervisor
/// that ends it, and systemd only where that doesn't.
const MARGIN: Duration = Duration::from_secs(120);

/// What it may take if nothing is configured: with [`MARGIN`] what the template says.
const STOP: Duration = STOP_TIMEOUT_OF_SYSTEMD.saturating_add(KILL_GRACE);

/// Takes from a configuration what its unit depends on.
pub fn describe(paths: &Paths, name: &GuestName, config: &GuestConfig) -> Description {
    let place = config.place(paths, name);
    Description {
        name: name.clone(),
        description: config.description.clone(),
        autostart: config.autostart,
        marks: config.marks.clone(),
        after: config.after.clone(),
        is_usual: place.root == paths.root(name),
        base: place.base().map(Path::to_owned),
        root: place.root,
        mounted: config.mounts.bind.iter().map(|bind| bind.source.clone()).collect(),
        on_network: needs_link(&config.network),
        // Nobody knows yet what is in it.
        stop: (config.boot.stop_timeout.unwrap_or(STOP_TIMEOUT_OF_SYSTEMD))
            .saturating_add(config.boot.kill_grace),
    }
}

/// Is it joined to a link that others make, without which it can't start?
fn needs_link(network: &Network) -> bool {
    matches!(network.mode(), NetworkMode::Bridge | NetworkMode::Macvlan)
        || network.proxy_arp.is_some()
}

/// The first version of systemd that starts a unit's process in a cgroup below
/// the unit's own (`DelegateSubgroup=`), and that replaces one without the unit
/// having failed meanwhile, which starts `OnFailure=` (`RestartMode=`); an older
/// one complains of these words.
const SUBGROUPS: u32 = 254;

/// The first one that has `WantsMountsFor=`: a mount that fails, or is undone, is no
/// matter to a guest that has what lies there already.
const WANTED_MOUNTS: u32 = 256;

/// The files for these guests, with the unit files in this directory, for this
/// version of systemd.
pub fn files(guests: &[Description], units: &Path, version: u32) -> Vec<File> {
    let order = Order::new(guests.iter().map(|guest| (guest.name.clone(), guest.after.clone())));
    let mut files = Vec::new();
    if version >= SUBGROUPS {
        let path = format!("{}.d/10-cgroup.conf", cgroup::unit_template());
        let text =
            format!("[Service]\nDelegateSubgroup={}\nRestartMode=direct\n", cgroup::SUPERVISOR);
        files.push(File::Text { path: path.into(), text });
    }
    let template = units.join("vserver@.service");
    let mut marked: BTreeMap<&str, String> = BTreeMap::new();
    for guest in guests {
        let unit = cgroup::unit(&guest.name);
        if guest.autostart {
            let path = Path::new("vservers.target.wants").join(&unit);
            files.push(File::Link { path, to: template.clone() });
        }
        // By no links: 'systemctl is-enabled' would take them for one.
        for mark in guest.marks.iter().filter(|mark| is_instance(mark)) {
            let wants = marked.entry(mark).or_insert_with(|| "[Unit]\n".to_owned());
            let _ = writeln!(wants, "Wants={unit}");
        }
        for unit in [unit, adopting(&guest.name)] {
            let path = PathBuf::from(format!("{unit}.d")).join(DROP_IN);
            let is_own = unit == cgroup::unit(&guest.name);
            if guest.is_usual {
                let text = format!("[Unit]\n{}", requires(&guest.root));
                files.push(File::Text { path: path.with_file_name(USUAL_ROOT), text });
            }
            let text = drop_in(guest, &order, is_own, version);
            files.extend(text.map(|text| File::Text { path, text }));
        }
    }
    for (mark, text) in marked {
        let path = PathBuf::from(format!("vservers@{mark}.target.d")).join(DROP_IN);
        files.push(File::Text { path, text });
    }
    files
}

/// The unit that looks after a guest whose own has failed.
pub(super) fn adopting(name: &GuestName) -> String {
    format!("vserver-adopt@{name}.service")
}

/// May this stand after the `@` of a unit's name (systemd.unit(5))?
fn is_instance(word: &str) -> bool {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\".contains(&byte);
    word.len() < 200 && !word.is_empty() && word.bytes().all(valid)
}

/// What one of a guest's units is told beyond the template, if anything; `is_own` is the
/// guest's, the other one says itself what it is.
fn drop_in(guest: &Description, order: &Order, is_own: bool, version: u32) -> Option<String> {
    let mut text = String::new();
    if is_own && !guest.description.is_empty() {
        let _ = writeln!(text, "Description=Virtual server %i, {}", escaped(&guest.description));
    }
    // systemd would drop one of a circle: it wouldn't be started at all.
    let keeps_back =
        |other: &&GuestName| **other != guest.name && !order.is_mutual(&guest.name, other);
    for other in guest.after.iter().filter(keeps_back) {
        let _ = writeln!(text, "After={} {}", cgroup::unit(other), adopting(other));
    }
    for mark in guest.marks.iter().filter(|mark| is_instance(mark)) {
        let _ = writeln!(text, "PartOf=vservers@{mark}.target");
    }
    let root = Some(&guest.root).filter(|_| !guest.is_usual);
    root.into_iter().chain(&guest.base).for_each(|place| text.push_str(&requires(place)));
    if is_own {
        wait_for_mounts(&mut text, guest, version);
    }
    if is_own && guest.on_network {
        text.push_str("Wants=network-online.target\nAfter=network-online.target\n");
    }
    if guest.stop != STOP {
        let seconds = guest.stop.saturating_add(MARGIN).as_secs();
        let _ = write!(text, "[Service]\nTimeoutStopSec={seconds}s\n");
    }
    (!text.is_empty()).then(|| format!("# From /etc/vservers/{}.toml.\n[Unit]\n{text}", guest.name))
}

/// The file systems of what it has mounted are mounted first, and unmounted afterwards. An
/// older systemd can't be asked to mount them; those that it mounts anyhow, also when
/// nothing depends on it (`nofail`), are waited for by the names of their units.
fn wait_for_mounts(text: &mut String, guest: &Description, version: u32) {
    let is_elsewhere = |path: &&PathBuf| **path != guest.root && Some(*path) != guest.base.as_ref();
    let paths: BTreeSet<_> = guest.mounted.iter().filter(is_elsewhere).collect();
    if version >= WANTED_MOUNTS {
        for path in paths {
            let _ = writeln!(text, "WantsMountsFor={}", quoted(path));
        }
        return;
    }
    let above = paths.iter().flat_map(|path| path.ancestors());
    for mount in above.filter_map(mount_unit).collect::<BTreeSet<_>>() {
        let _ = writeln!(text, "After={mount}");
    }
}

/// The unit of what is mounted at this path (systemd.unit(5), "String Escaping for
/// Inclusion in Unit Names"); none of the root directory, which is always there, and of what
/// has no such name.
fn mount_unit(path: &Path) -> Option<String> {
    let mut unit = String::new();
    for part in path.strip_prefix("/").ok()?.components() {
        let Component::Normal(part) = part else { return None };
        if !unit.is_empty() {
            unit.push('-');
        }
        for byte in part.as_encoded_bytes() {
            let is_first = unit.is_empty();
            match byte {
                b'.' if is_first => unit.push_str("\\x2e"),
                b':' | b'_' | b'.' => unit.push(char::from(*byte)),
                byte if byte.is_ascii_alphanumeric() => unit.push(char::from(*byte)),
                byte => {
                    let _ = write!(unit, "\\x{byte:02x}");
                }
            }
        }
    }
    let is_name = !unit.is_empty() && unit.len() < 250;
    is_name.then(|| format!("{unit}.mount"))
}

/// A file system without which the guest isn't there.
fn requires(path: &Path) -> String {
    format!("RequiresMountsFor={}\n", quoted(path))
}

/// A path as one word.
fn quoted(path: &Path) -> String {
    format!("\"{}\"", escaped(&path.to_string_lossy()).replace('"', "\\\""))
}

/// A text in which nothing means something else to systemd: specifiers,
/// escapes, and the end of the line (systemd.syntax(7)).
fn escaped(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text.replace('\\', "\\\\").replace('%', "%%")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(name: &str) -> Description {
        Description {
            name: name.parse().unwrap(),
            description: String::new(),
            autostart: false,
            marks: Vec::new(),
            after: Vec::new(),
            root: format!("/var/lib/vservers/{name}").into(),
            is_usual: true,
            base: None,
            mounted: Vec::new(),
            on_network: false,
            stop: STOP,
        }
    }

    fn shown(guests: &[Description]) -> Vec<String> {
        let show = |file| match file {
            File::Link { path, to } => format!("{} -> {}", path.display(), to.display()),
            File::Text { path, text } => format!("{}: {text}", path.display()),
        };
        files(guests, Path::new("/lib/systemd/system"), 252).into_iter().map(show).collect()
    }

    /// Those that are written for the guest 'web' itself, by their names.
    fn of_web(web: Description, version: u32) -> BTreeMap<String, String> {
        let files = files(&[web], Path::new("/lib/systemd/system"), version).into_iter();
        let own = |path: &Path| path.parent() == Some(Path::new("vserver@web.service.d"));
        let file = |file| match file {
            File::Text { path, text } if own(&path) => {
                Some((path.file_name()?.to_str()?.to_owned(), text))
            }
            _ => None,
        };
        files.filter_map(file).collect()
    }

    #[test]
    fn a_guest_of_which_nothing_is_said_has_its_file_system_only() {
        let text = "[Unit]\nRequiresMountsFor=\"/var/lib/vservers/web\"\n";
        let drop_in = |unit| format!("{unit}@web.service.d/10-root.conf: {text}");
        assert_eq!(shown(&[guest("web")]), [drop_in("vserver"), drop_in("vserver-adopt")]);
    }

    /// All that is as it usually is the template says.
    #[test]
    fn the_template_has_the_usual_time_to_stop() {
        let paths = Paths::new("/");
        let usual = describe(&paths, &"web".parse().unwrap(), &GuestConfig::default());
        assert_eq!(usual.stop, STOP);
        let seconds = STOP.saturating_add(MARGIN).as_secs();
        for (path, text) in crate::systemd::texts(Path::new("/usr/sbin")) {
            let said = text.lines().filter_map(|line| line.strip_prefix("TimeoutStopSec="));
            let is_guests = path.extension() == Some("service".as_ref());
            let own = is_guests.then(|| format!("{seconds}s"));
            assert_eq!(said.collect::<Vec<_>>(), own.iter().collect::<Vec<_>>(), "{path:?}");
        }
        let web = of_web(Description { stop: Duration::from_secs(65), ..usual }, 252);
        assert!(web[DROP_IN].ends_with("[Unit]\n[Service]\nTimeoutStopSec=185s\n"), "{web:?}");
    }

    /// By the order of names, as systemd has it.
    #[test]
    fn what_administrators_have_set_comes_later() {
        for theirs in ["20-limits.conf", "50-TasksMax.conf", "local.conf", "override.conf"] {
            assert!([DROP_IN, USUAL_ROOT, "10-cgroup.conf"].iter().all(|own| *own < theirs));
        }
    }

    #[test]
    fn the_supervisors_cgroup_is_named_where_systemd_knows_that() {
        let text = |version| match files(&[], Path::new("/"), version).as_slice() {
            [File::Text { path, text }] => format!("{}: {text}", path.display()),
            _ => String::new(),
        };
        let drop_in = "vserver@.service.d/10-cgroup.conf: [Service]\n\
                       DelegateSubgroup=supervisor\nRestartMode=direct\n";
        assert_eq!([text(253), text(254), text(257)], ["", drop_in, drop_in]);
    }

    #[test]
    fn what_it_has_mounted_is_waited_for() {
        let web = Description {
            root: "/srv/web".into(),
            is_usual: false,
            base: Some("/srv/golden/v1".into()),
            mounted: vec!["/mnt/w-w/x".into(), "/srv/web".into(), "/mnt/w-w/x".into()],
            ..guest("web")
        };
        let of = |version| of_web(web.clone(), version)[DROP_IN].clone();
        let files = "[Unit]\nRequiresMountsFor=\"/srv/web\"\n\
                     RequiresMountsFor=\"/srv/golden/v1\"\n";
        let (wanted, ordered) = (of(256), of(255));
        let wants = format!("{files}WantsMountsFor=\"/mnt/w-w/x\"\n");
        assert!(wanted.ends_with(&wants), "{wanted}");
        let after =
            format!("{files}After=mnt-w\\x2dw-x.mount\nAfter=mnt-w\\x2dw.mount\nAfter=mnt.mount\n");
        assert!(ordered.ends_with(&after), "{ordered}");
    }

    /// As `systemd-escape --path --suffix=mount` has it.
    #[test]
    fn a_mount_has_the_units_name() {
        let unit = |path: &str| mount_unit(Path::new(path));
        for (path, name) in [
            ("/srv", "srv.mount"),
            ("/srv//a b/", "srv-a\\x20b.mount"),
            ("/.hidden/.x", "\\x2ehidden-.x.mount"),
            ("/50%/\u{e4}\\:_", "50\\x25-\\xc3\\xa4\\x5c:_.mount"),
        ] {
            assert_eq!(unit(path).as_deref(), Some(name), "{path}");
        }
        let long = format!("/{}", "x".repeat(250));
        assert_eq!([unit("/"), unit("srv"), unit("/a/../b"), unit(&long)], [const { None }; 4]);
    }

    #[test]
    fn one_that_is_started_at_boot_is_wanted() {
        let web = Description {
            autostart: true,
            marks: vec!["customers".into(), "a/b".into()],
            after: vec!["db".parse().unwrap()],
            ..guest("web")
        };
        let files = shown(&[web]);
        let template = "/lib/systemd/system/vserver@.service";
        assert_eq!(files[0], format!("vservers.target.wants/vserver@web.service -> {template}"));
        let text = "[Unit]\nAfter=vserver@db.service vserver-adopt@db.service\n\
                    PartOf=vservers@customers.target\n";
        for (file, unit) in [(&files[2], "vserver@web"), (&files[4], "vserver-adopt@web")] {
            assert!(file.starts_with(unit) && file.ends_with(text), "{file}");
        }
        let marked =
            "vservers@customers.target.d/10-vserver.conf: [Unit]\nWants=vserver@web.service\n";
        assert_eq!(files[5], marked);
        assert_eq!(files.len(), 6);
    }

    #[test]
    fn one_on_a_link_of_the_hosts_waits_for_the_network() {
        let of = |text: &str| {
            let config = crate::config::parse::parse(text).unwrap();
            let web = describe(&Paths::new("/"), &"web".parse().unwrap(), &config);
            of_web(web, 252).get(DROP_IN).cloned().unwrap_or_default()
        };
        let waits = "Wants=network-online.target\nAfter=network-online.target\n";
        for key in ["bridge = \"br0\"", "parent = \"eth0\"", "proxy_arp = \"eth0\""] {
            let text = of(&format!("[network]\naddresses = [\"192.0.2.1\"]\n{key}\n"));
            assert!(text.ends_with(waits), "{key}: {text}");
        }
        assert_eq!(of("[network]\naddresses = [\"192.0.2.1\"]\n"), "");
    }

    #[test]
    fn those_of_a_circle_are_not_ordered() {
        let waits = |name: &str, after: &[&str]| Description {
            after: after.iter().map(|other| other.parse().unwrap()).collect(),
            ..guest(name)
        };
        let files = shown(&[waits("a", &["b", "c"]), waits("b", &["a", "b"]), guest("c")]);
        let after = |unit: &str| {
            let line = |file: &String| Some(file.split_once("After=")?.1.trim_end().to_owned());
            files.iter().filter(|file| file.starts_with(unit)).find_map(line)
        };
        let c = "vserver@c.service vserver-adopt@c.service".to_owned();
        assert_eq!([after("vserver@a"), after("vserver@b")], [Some(c), None]);
    }

    #[test]
    fn texts_of_administrators_are_no_settings() {
        let web = Description {
            description: "50 % off\n[Service]\nExecStart=/bin/evil \\".into(),
            root: "/srv/a \"b\"%i".into(),
            is_usual: false,
            ..guest("web")
        };
        let text = &of_web(web, 252)[DROP_IN];
        assert!(
            text.contains(
                "Description=Virtual server %i, 50 %% off [Service] ExecStart=/bin/evil \\\\\n"
            ),
            "{text}"
        );
        assert!(text.contains("RequiresMountsFor=\"/srv/a \\\"b\\\"%%i\"\n"), "{text}");
    }
}
