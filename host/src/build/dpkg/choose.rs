//! Decides which of the host's packages a copy gets. Pure.
//!
//! A copy is a small server: what every system must have, and of a list of
//! services whatever the host has, with all that these need. What drives
//! hardware or is the host's own init stays out, each with its reason.

use std::collections::{BTreeMap, BTreeSet};

use super::status::Package;

/// Packages that a server wants, where the host has them.
pub const WANTED: [&str; 46] = [
    // Services and what starts them.
    "anacron",
    "at",
    "busybox-syslogd",
    "cron",
    "dropbear-run",
    "inetutils-syslogd",
    "initscripts",
    "insserv",
    "logrotate",
    "openbsd-inetd",
    "openssh-server",
    "rsyslog",
    "startpar",
    "sysv-rc",
    "sysvinit-core",
    "sysvinit-utils",
    // To look around, to edit, to install.
    "apt-utils",
    "bash-completion",
    "bsdextrautils",
    "bsdutils",
    "busybox",
    "ca-certificates",
    "curl",
    "file",
    "iproute2",
    "iputils-ping",
    "less",
    "locales",
    "login",
    "lsof",
    "nano",
    "netbase",
    "openssh-client",
    "passwd",
    "procps",
    "psmisc",
    "rsync",
    "screen",
    "strace",
    "sudo",
    "tmux",
    "tzdata",
    "vim-tiny",
    "wget",
    "whiptail",
    "xz-utils",
];

/// Packages that never get in. A name that ends in `*` stands for all that
/// start so.
pub const UNWANTED: [(&str, &str); 27] = [
    ("console-setup*", "a guest has no keyboard and no screen"),
    ("dbus*", "nothing chosen here needs a bus; install it inside if wanted"),
    ("dmidecode", "reads hardware"),
    ("dmsetup", "manages the host's block devices"),
    ("dracut*", "makes the host's boot image"),
    ("firmware-*", "for hardware"),
    ("grub-*", "the host's boot loader"),
    ("ifupdown*", "the host configures a guest's network"),
    ("initramfs-tools*", "makes the host's boot image"),
    ("isc-dhcp-client", "the host configures a guest's network"),
    ("keyboard-configuration", "a guest has no keyboard"),
    ("kmod", "a guest loads no kernel modules"),
    ("libnss-systemd", "asks the host's init"),
    ("libpam-systemd", "asks the host's init"),
    ("linux-base", "the host's kernel"),
    ("linux-headers-*", "the host's kernel"),
    ("linux-image-*", "the host's kernel"),
    ("network-manager*", "the host configures a guest's network"),
    ("os-prober", "looks for other systems on the host's disks"),
    ("resolvconf", "the host writes a guest's resolv.conf"),
    ("systemd", "the copy boots by rc scripts"),
    ("systemd-resolved", "the copy boots by rc scripts"),
    ("systemd-sysv", "its reboot and shutdown speak to systemd only"),
    ("systemd-timesyncd", "a guest can't set the clock"),
    ("udev", "a guest has no hardware"),
    ("usrmerge", "has done its work"),
    ("vserver*", "for hosts"),
];

/// What was chosen.
#[derive(Debug, PartialEq, Eq)]
pub struct Choice {
    /// Indices into the packages, in the order of their names.
    pub packages: Vec<usize>,
    /// "PACKAGE needs NAME" for what stays out or isn't installed.
    pub unmet: Vec<String>,
}

/// Why this package stays out, if it does.
pub fn reason_against(name: &str) -> Option<&'static str> {
    let fits = |pattern: &str| match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    };
    UNWANTED.iter().find(|(pattern, _)| fits(pattern)).map(|(_, reason)| *reason)
}

/// Chooses from the host's packages; `native` is its architecture, `include`
/// names packages wanted besides the usual ones.
pub fn choose(packages: &[Package], native: &str, include: &[String]) -> Choice {
    let names = Names::of(packages, native);
    // `init` only stands for one of several init programs; without any of
    // them it would keep the guest's package manager unhappy.
    let without_init = !names.real.contains_key("sysvinit-core");
    let mut chosen = BTreeSet::new();
    let mut unmet = Vec::new();
    let mut todo: Vec<usize> = (0..packages.len())
        .rev()
        .filter(|&index| packages.get(index).is_some_and(|p| is_wanted(p, native, include)))
        .filter(|&index| !(without_init && packages.get(index).is_some_and(|p| p.name == "init")))
        .collect();
    while let Some(index) = todo.pop() {
        let Some(package) = packages.get(index) else { continue };
        if !chosen.insert(index) {
            continue;
        }
        for group in &package.depends {
            match names.best(group, package, packages, &chosen) {
                Some(needed) => todo.push(needed),
                None => unmet.push(format!("{} needs {}", package.name, group.join(" or "))),
            }
        }
    }
    let mut chosen: Vec<usize> = chosen.into_iter().collect();
    chosen.sort_by_key(|&index| packages.get(index).map(|p| (&p.name, &p.architecture)));
    Choice { packages: chosen, unmet }
}

fn is_wanted(package: &Package, native: &str, include: &[String]) -> bool {
    if include.contains(&package.name) {
        return true;
    }
    let at_home = package.architecture == native || package.architecture == "all";
    let ranked = matches!(package.priority.as_str(), "required" | "important");
    let listed = WANTED.contains(&package.name.as_str());
    at_home && (package.essential || ranked || listed) && reason_against(&package.name).is_none()
}

/// Which packages have a name, or provide it.
struct Names<'a> {
    real: BTreeMap<&'a str, Vec<usize>>,
    provided: BTreeMap<&'a str, Vec<usize>>,
    native: &'a str,
}

impl<'a> Names<'a> {
    fn of(packages: &'a [Package], native: &'a str) -> Self {
        let mut names = Self { real: BTreeMap::new(), provided: BTreeMap::new(), native };
        for (index, package) in packages.iter().enumerate() {
            names.real.entry(package.name.as_str()).or_default().push(index);
            for name in &package.provides {
                names.provided.entry(name.as_str()).or_default().push(index);
            }
        }
        names
    }

    /// The package that serves best: one that is chosen already, else a real
    /// one before a provided one, in the order of the alternatives, and of
    /// the same architecture first.
    fn best(
        &self,
        group: &[String],
        of: &Package,
        packages: &[Package],
        chosen: &BTreeSet<usize>,
    ) -> Option<usize> {
        let named = |map: &BTreeMap<&str, Vec<usize>>| -> Vec<usize> {
            group
                .iter()
                .flat_map(|name| map.get(name.as_str()).cloned().unwrap_or_default())
                .collect()
        };
        let mut candidates = named(&self.real);
        candidates.extend(named(&self.provided));
        candidates.retain(|&index| {
            let is_unwanted = |p: &Package| reason_against(&p.name).is_some();
            chosen.contains(&index) || !packages.get(index).is_some_and(is_unwanted)
        });
        if let Some(done) = candidates.iter().find(|index| chosen.contains(index)) {
            return Some(*done);
        }
        let home = if of.architecture == "all" { self.native } else { &of.architecture };
        let is_near = |index: &&usize| {
            packages.get(**index).is_some_and(|p| p.architecture == home || p.architecture == "all")
        };
        candidates.iter().find(is_near).or_else(|| candidates.first()).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn package(name: &str, priority: &str, depends: &[&[&str]]) -> Package {
        let group = |names: &&[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        Package {
            name: name.to_owned(),
            architecture: "amd64".to_owned(),
            priority: priority.to_owned(),
            depends: depends.iter().map(group).collect(),
            ..Package::default()
        }
    }

    fn chosen(packages: &[Package]) -> Vec<&str> {
        let choice = choose(packages, "amd64", &[]);
        choice.packages.iter().map(|&i| packages[i].name.as_str()).collect()
    }

    #[test]
    fn required_packages_come_with_what_they_need() {
        let mut mta = package("exim4", "optional", &[]);
        mta.provides.push("mail-transport-agent".to_owned());
        let packages = [
            package("bash", "required", &[&["libtinfo6"], &["none", "base"]]),
            package("libtinfo6", "optional", &[]),
            package("base", "optional", &[]),
            package("game", "optional", &[]),
            package("cron", "optional", &[&["mail-transport-agent"]]),
            mta,
        ];
        assert_eq!(chosen(&packages), ["base", "bash", "cron", "exim4", "libtinfo6"]);
    }

    #[test]
    fn the_hosts_init_and_kernel_stay_out() {
        let packages = [
            package("systemd-sysv", "important", &[&["systemd"]]),
            package("systemd", "important", &[]),
            package("init", "important", &[&["systemd-sysv", "sysvinit-core"]]),
            package("linux-image-6.1.0-1-amd64", "required", &[]),
            package("needy", "required", &[&["udev"]]),
        ];
        assert_eq!(chosen(&packages), ["needy"]);
        assert_eq!(choose(&packages, "amd64", &[]).unmet, ["needy needs udev"]);
    }

    proptest! {
        #[test]
        fn every_dependency_is_chosen_or_named(
            edges in prop::collection::vec((0usize..12, 0usize..14), 0..40),
            wanted in prop::collection::vec(any::<bool>(), 12),
        ) {
            let mut packages: Vec<Package> = (0..12)
                .map(|i| package(&format!("p{i}"), if wanted[i] { "required" } else { "optional" }, &[]))
                .collect();
            for (from, to) in edges {
                packages[from].depends.push(vec![format!("p{to}")]);
            }
            let choice = choose(&packages, "amd64", &[]);
            for &index in &choice.packages {
                for group in &packages[index].depends {
                    let met = choice.packages.iter().any(|&other| group.contains(&packages[other].name));
                    let named = choice.unmet.iter().any(|line| line.ends_with(&group.join(" or ")));
                    prop_assert!(met || named);
                }
            }
        }
    }
}
