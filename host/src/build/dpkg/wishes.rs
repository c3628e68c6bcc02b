//! Which packages a copy wants, which it takes only if it must, and which it
//! never takes. Data, each refusal with its reason.

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

/// Packages that get in only if another one can't do without. A name that
/// ends in `*` stands for all that start so.
pub const UNLOVED: &[(&str, &str)] = &[
    ("console-setup*", "a guest has no keyboard and no screen"),
    ("dbus*", "few services need a bus"),
    ("dhcpcd*", "the host configures a guest's network"),
    ("dmidecode", "reads hardware"),
    ("dmsetup", "manages the host's block devices"),
    ("ifupdown*", "the host configures a guest's network"),
    ("init", "stands for an init program, which a copy does without"),
    ("isc-dhcp-client", "the host configures a guest's network"),
    ("keyboard-configuration", "a guest has no keyboard"),
    ("kmod", "a guest loads no kernel modules"),
    ("libnss-systemd", "asks the host's init"),
    ("libpam-systemd", "asks the host's init"),
    ("network-manager*", "the host configures a guest's network"),
    ("nftables", "the host filters a guest's packets"),
    ("os-prober", "looks for other systems on the host's disks"),
    ("resolvconf", "the host writes a guest's resolv.conf"),
    ("systemd", "the copy boots by rc scripts"),
    ("systemd-resolved", "the copy boots by rc scripts"),
    ("systemd-timesyncd", "a guest can't set the clock"),
    ("udev", "a guest has no hardware"),
    ("usrmerge", "has done its work"),
];

/// Packages that never get in; what needs one of them stays out too.
pub const REFUSED: &[(&str, &str)] = &[
    ("dracut*", "it makes the host's boot image"),
    ("firmware-*", "it is for hardware"),
    ("grub-*", "it is the host's boot loader"),
    ("initramfs-tools*", "it makes the host's boot image"),
    ("linux-headers-*", "it is for the host's kernel"),
    ("linux-image-*", "it is the host's kernel"),
    ("linux-modules-*", "it is for the host's kernel"),
    ("systemd-boot*", "it is the host's boot loader"),
    ("systemd-sysv", "its reboot and shutdown speak to systemd only"),
    ("vserver*", "it is for hosts"),
];

/// The reason of the entry that fits this name.
pub fn reason(list: &[(&str, &'static str)], name: &str) -> Option<&'static str> {
    let fits = |pattern: &str| match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    };
    list.iter().find(|(pattern, _)| fits(pattern)).map(|(_, reason)| *reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_ending() {
        assert!(reason(REFUSED, "linux-image-6.1.0-1-amd64").is_some());
        assert!(reason(UNLOVED, "systemd").is_some());
        assert!(reason(UNLOVED, "systemd-standalone-sysusers").is_none());
        assert!(reason(REFUSED, "systemd").is_none());
    }
}
