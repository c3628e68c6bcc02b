//! What a word of theirs means depends on others, or on how it is written.

use super::examples::becomes;
use super::{text, tree};
use crate::config_import::Format;

#[test]
fn an_init_by_any_name_is_no_command() {
    for (command, ours) in [
        ("/sbin/init", ""),
        ("/usr/lib/systemd/systemd", ""),
        ("/sbin/runit-init", ""),
        ("/sbin/init 3", "boot.runlevel = \"3\"\n"),
        ("/usr/sbin/nginx -g x", "boot.command = [\"/usr/sbin/nginx\", \"-g\", \"x\"]\n"),
        ("/opt/app/init", "boot.command = [\"/opt/app/init\"]\n"),
    ] {
        let lxc = format!("lxc.init.cmd = {command}\n");
        becomes(Format::Lxc, &[text("config", &lxc)], ours, &[]);
        let nspawn = format!("[Exec]\nBoot=no\nParameters={command}\n");
        becomes(Format::Nspawn, &[text("x.nspawn", &nspawn)], ours, &[]);
    }
    let debug = "lxc.init.cmd = /lib/systemd/systemd --log-level=debug\n";
    becomes(Format::Lxc, &[text("config", debug)], "", &[(1, "lxc.init.cmd")]);
}

#[test]
fn of_both_versions_of_cgroups_the_newer_counts() {
    let said = "lxc.cgroup2.memory.max = 512M\nlxc.cgroup.memory.limit_in_bytes = 1G\n\
                lxc.cgroup.cpuset.cpus = 0\n";
    becomes(
        Format::Lxc,
        &[text("config", said)],
        "limits.memory = \"512M\"\nlimits.cpuset = \"0\"\n",
        &[],
    );
    let older = "lxc.cgroup.memory.limit_in_bytes = 1G\n";
    becomes(Format::Lxc, &[text("config", older)], "limits.memory = \"1G\"\n", &[]);
}

#[test]
fn blanks_in_names_are_written_as_numbers() {
    let said = "lxc.mount.entry = /srv/my\\040data srv/a\\134b none bind 0 0\n\
                lxc.mount.entry = /srv/\\x srv/x none bind 0 0\n";
    becomes(
        Format::Lxc,
        &[text("config", said)],
        "mounts.bind = ['/srv/my data:/srv/a\\b', '/srv/\\x:/srv/x']\n",
        &[],
    );
}

#[test]
fn a_link_says_nothing_by_where_it_leads() {
    let files = tree(&[
        ("apps/init/mark", "-> /etc/vservers/.common/mark"),
        ("bcapabilities", "-> /etc/vservers/.common/bcapabilities"),
        ("fstab", "-> /etc/vservers/.common/fstab"),
        ("interfaces/0/ip", "192.0.2.1\n"),
        ("run", "-> /var/run/vservers/web"),
        ("vdir", "-> /vservers/web"),
    ]);
    becomes(
        Format::Directory,
        &files,
        "network.addresses = [\"192.0.2.1\"]\n",
        &[(1, "apps/init/mark"), (1, "bcapabilities"), (1, "fstab")],
    );
}
