//! What guests' configurations add to their units: which are wanted at boot, in
//! what order, with what time to stop (systemd.generator(7)). Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use shared::name::GuestName;

use crate::cgroup;
use crate::config::{GuestConfig, Order, STOP_TIMEOUT_OF_SYSTEMD};
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
    /// Where its files are, and those that they lie over.
    pub places: Vec<PathBuf>,
    /// What it has mounted of the host's.
    pub mounted: Vec<PathBuf>,
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

/// What a shutdown may take beyond what is configured: it is the supervisor
/// that ends it, and systemd only where that doesn't.
const MARGIN: Duration = Duration::from_secs(120);

/// Takes from a configuration what its unit depends on.
pub fn describe(paths: &Paths, name: &GuestName, config: &GuestConfig) -> Description {
    Description {
        name: name.clone(),
        description: config.description.clone(),
        autostart: config.autostart,
        marks: config.marks.clone(),
        after: config.after.clone(),
        places: places(paths, name, config),
        mounted: config.mounts.bind.iter().map(|bind| bind.source.clone()).collect(),
        // Nobody knows yet what is in it.
        stop: (config.boot.stop_timeout.unwrap_or(STOP_TIMEOUT_OF_SYSTEMD))
            .saturating_add(config.boot.kill_grace),
    }
}

/// Where a guest's files are, and those that they lie over.
fn places(paths: &Paths, name: &GuestName, config: &GuestConfig) -> Vec<PathBuf> {
    let place = config.place(paths, name);
    let base = place.base().map(Path::to_owned);
    [place.root].into_iter().chain(base).collect()
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
        let path = format!("{}.d/50-cgroup.conf", cgroup::unit_template());
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
            let path = PathBuf::from(format!("{unit}.d")).join("50-vserver.conf");
            let is_own = unit == cgroup::unit(&guest.name);
            let mut text = drop_in(guest, &order, is_own);
            if is_own && version >= WANTED_MOUNTS {
                wait_for_mounts(&mut text, guest);
            }
            files.push(File::Text { path, text });
        }
    }
    for (mark, text) in marked {
        let path = PathBuf::from(format!("vservers@{mark}.target.d")).join("50-vserver.conf");
        files.push(File::Text { path, text });
    }
    // Also for guests that 'systemctl enable' has made it want.
    let path = PathBuf::from("multi-user.target.wants/vservers.target");
    files.push(File::Link { path, to: units.join("vservers.target") });
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

/// What one of a guest's units is told; `is_own` is the guest's, the other one says
/// itself what it is.
fn drop_in(guest: &Description, order: &Order, is_own: bool) -> String {
    let mut text = format!("# From /etc/vservers/{}.toml.\n[Unit]\n", guest.name);
    if is_own && !guest.description.is_empty() {
        let _ = writeln!(text, "Description=Virtual server %i, {}", escaped(&guest.description));
    }
    // systemd would drop one of a circle: it wouldn't be started at all.
    let keeps_back =
        |other: &&GuestName| **other != guest.name && !order.is_mutual(&guest.name, other);
    for other in guest.after.iter().filter(keeps_back) {
        let _ = writeln!(text, "After={} {}", cgroup::unit(other), adopting(other));
    }
    for place in &guest.places {
        let _ = writeln!(text, "RequiresMountsFor={}", quoted(place));
    }
    let seconds = guest.stop.saturating_add(MARGIN).as_secs();
    let _ = write!(text, "[Service]\nTimeoutStopSec={seconds}s\n");
    text
}

/// The file systems of what it has mounted are mounted first, as far as systemd can.
fn wait_for_mounts(text: &mut String, guest: &Description) {
    let is_elsewhere = |path: &&PathBuf| !guest.places.contains(path);
    let paths: BTreeSet<_> = guest.mounted.iter().filter(is_elsewhere).collect();
    if !paths.is_empty() {
        text.push_str("[Unit]\n");
    }
    for path in paths {
        let _ = writeln!(text, "WantsMountsFor={}", quoted(path));
    }
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

    const TARGET: &str =
        "multi-user.target.wants/vservers.target -> /lib/systemd/system/vservers.target";

    fn guest(name: &str) -> Description {
        Description {
            name: name.parse().unwrap(),
            description: String::new(),
            autostart: false,
            marks: Vec::new(),
            after: Vec::new(),
            places: vec![format!("/var/lib/vservers/{name}").into()],
            mounted: Vec::new(),
            stop: Duration::from_secs(65),
        }
    }

    fn shown(guests: &[Description]) -> Vec<String> {
        let show = |file| match file {
            File::Link { path, to } => format!("{} -> {}", path.display(), to.display()),
            File::Text { path, text } => format!("{}: {text}", path.display()),
        };
        files(guests, Path::new("/lib/systemd/system"), 252).into_iter().map(show).collect()
    }

    #[test]
    fn a_guest_that_nobody_starts_has_drop_ins_only() {
        let text = "# From /etc/vservers/web.toml.\n[Unit]\n\
              RequiresMountsFor=\"/var/lib/vservers/web\"\n[Service]\nTimeoutStopSec=185s\n";
        let drop_in = |unit| format!("{unit}@web.service.d/50-vserver.conf: {text}");
        assert_eq!(
            shown(&[guest("web")]),
            [&*drop_in("vserver"), &*drop_in("vserver-adopt"), TARGET]
        );
    }

    #[test]
    fn the_supervisors_cgroup_is_named_where_systemd_knows_that() {
        let text = |version| match files(&[], Path::new("/"), version).as_slice() {
            [File::Text { path, text }, File::Link { .. }] => format!("{}: {text}", path.display()),
            _ => String::new(),
        };
        let drop_in = "vserver@.service.d/50-cgroup.conf: [Service]\n\
                       DelegateSubgroup=supervisor\nRestartMode=direct\n";
        assert_eq!([text(253), text(254), text(257)], ["", drop_in, drop_in]);
    }

    #[test]
    fn what_it_has_mounted_is_waited_for_where_systemd_can() {
        let web = Description {
            places: vec!["/srv/web".into(), "/srv/golden/v1".into()],
            mounted: vec!["/srv/www".into(), "/srv/web".into(), "/srv/www".into()],
            ..guest("web")
        };
        let of = |version, unit: &str| {
            let path = PathBuf::from(format!("{unit}@web.service.d/50-vserver.conf"));
            let files = files(std::slice::from_ref(&web), Path::new("/"), version);
            let text = files.iter().find_map(|file| match file {
                File::Text { path: found, text } if *found == path => Some(text),
                _ => None,
            });
            let is_mount = |line: &&str| line.contains("MountsFor");
            text.unwrap().lines().filter(is_mount).collect::<Vec<_>>().join("\n")
        };
        let files = "RequiresMountsFor=\"/srv/web\"\nRequiresMountsFor=\"/srv/golden/v1\"";
        assert_eq!([of(255, "vserver"), of(256, "vserver-adopt")], [files, files]);
        assert_eq!(of(256, "vserver"), format!("{files}\nWantsMountsFor=\"/srv/www\""));
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
        let after = "\nAfter=vserver@db.service vserver-adopt@db.service\n";
        for (file, unit) in [(&files[1], "vserver@web"), (&files[2], "vserver-adopt@web")] {
            assert!(file.starts_with(unit) && file.contains(after), "{file}");
        }
        let marked =
            "vservers@customers.target.d/50-vserver.conf: [Unit]\nWants=vserver@web.service\n";
        assert_eq!(files[3], marked);
        assert_eq!(files[4], TARGET);
        assert_eq!(files.len(), 5);
    }

    #[test]
    fn those_of_a_circle_are_not_ordered() {
        let waits = |name: &str, after: &[&str]| Description {
            after: after.iter().map(|other| other.parse().unwrap()).collect(),
            ..guest(name)
        };
        let files = shown(&[waits("a", &["b", "c"]), waits("b", &["a", "b"]), guest("c")]);
        assert!(files[0].contains("After=vserver@c") && !files[0].contains("@b"), "{}", files[0]);
        assert!(!files[2].contains("After="), "{}", files[2]);
    }

    #[test]
    fn texts_of_administrators_are_no_settings() {
        let web = Description {
            description: "50 % off\n[Service]\nExecStart=/bin/evil \\".into(),
            places: vec!["/srv/a \"b\"%i".into()],
            ..guest("web")
        };
        let text = &shown(&[web])[0];
        assert!(
            text.contains(
                "Description=Virtual server %i, 50 %% off [Service] ExecStart=/bin/evil \\\\\n"
            ),
            "{text}"
        );
        assert!(text.contains("RequiresMountsFor=\"/srv/a \\\"b\\\"%%i\"\n"), "{text}");
    }
}
