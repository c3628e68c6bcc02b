//! Guests that configure their network themselves, as their distributions have
//! it: the host has done that before, and nothing is lost or waited for.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use tests::{DEADLINE, Guest, Host, Network, Tree, command, tree};

on! { Trixie, SystemdTrixie: [ifupdown_finds_all_configured] }
on! { Busybox: [busybox_finds_all_configured] }
on! { Systemd, SystemdTrixie: [networkd_changes_nothing] }

/// What installers, images and administrators write into
/// `/etc/network/interfaces` (interfaces(5)).
const STANZAS: [&str; 2] = [
    "auto eth0\niface eth0 inet dhcp\n",
    "allow-hotplug eth0\niface eth0 inet static\n  address 192.0.2.10/24\n  gateway 192.0.2.1\n",
];

/// A client of DHCP that nobody answers waits; at a shutdown it only gives back what
/// it has.
const CLIENT: &str = "#!/bin/sh\ncase \" $* \" in *' -r '*) exit ;; esac\n\
                      echo asked >>/var/log/dhclient\nexec sleep 600\n";

/// No test waits that long; systemd-networkd-wait-online(8) does for two minutes.
const UP: Duration = Duration::from_secs(100);

fn guest(host: &Host, tree: Tree) -> Guest<'_> {
    host.guest("web").tree(tree).list("network.addresses", &["192.0.2.10", "2001:db8::10"]).build()
}

/// Its boot has waited for nothing, and its network is what the host has made.
fn judge(guest: &Guest<'_>, beside: &Network) {
    let begun = Instant::now();
    guest.start();
    assert!(begun.elapsed() < UP, "{:?}", begun.elapsed());
    let addresses = guest.exec(["ip", "-o", "address", "show", "dev", "eth0"]).ok();
    for address in ["192.0.2.10/32", "2001:db8::10/128"] {
        assert!(addresses.stdout.contains(address), "{addresses}");
    }
    for (family, gateway) in [("-4", "169.254.1.1"), ("-6", "fe80::1")] {
        let route = guest.exec(["ip", family, "route", "show", "default"]).ok();
        assert!(route.stdout.starts_with(&format!("default via {gateway} dev eth0")), "{route}");
    }
    for address in ["203.0.113.2", "2001:db8:1::2"] {
        guest.exec(["ping", "-c", "1", "-W", "10", address]).ok();
    }
    for address in ["192.0.2.10", "2001:db8::10"] {
        beside.run("busybox", ["ping", "-c", "1", "-W", "10", address]).ok();
    }
}

fn ifupdown_finds_all_configured(tree: Tree) {
    let (here, beside) = Network::with_neighbour();
    let host = Host::on(here);
    let web = guest(&host, tree);
    let copy = "tar -C \"$1\" -c . | tar -C \"$2\" -x --keep-directory-symlink";
    let mut shell = Command::new("sh");
    shell.args(["-c", copy, "sh"]).arg(tree::unpacked("ifupdown")).arg(web.root());
    command::run(&mut shell, DEADLINE).ok();
    web.write("/usr/sbin/dhclient", CLIENT, 0o755);
    let has_systemd = tree == Tree::SystemdTrixie;
    let enable =
        if has_systemd { "systemctl enable networking" } else { "update-rc.d networking defaults" };
    web.shell(enable).ok();
    for stanza in STANZAS {
        let text = format!("auto lo\niface lo inet loopback\n{stanza}");
        web.write("/etc/network/interfaces", &text, 0o644);
        judge(&web, &beside);
        if has_systemd {
            web.wait_for_systemd();
            web.exec(["systemctl", "is-active", "networking"]).ok();
        } else {
            let log = web.log();
            assert!(log.contains("Configuring network interfaces...done"), "{stanza}{log}");
        }
        web.exec(["ifquery", "--state", "eth0"]).ok().says("eth0=eth0\n");
        web.exec(["test", "-e", "/var/log/dhclient"]).code(1);
        web.stop();
    }
}

fn busybox_finds_all_configured(tree: Tree) {
    let (here, beside) = Network::with_neighbour();
    let host = Host::on(here);
    let web = guest(&host, tree);
    web.shell("mkdir -p /etc/network").ok();
    web.write("/etc/network/interfaces", &format!("auto lo\n{}", STANZAS[0]), 0o644);
    judge(&web, &beside);
    web.exec(["ifup", "eth0"]).complains("interface eth0 already configured");
    web.stop();
    // Who may configure it, does.
    host.vserver(["config", "set", "web", "security.capabilities.add", "net_admin"]).ok();
    web.start();
    web.exec(["test", "-e", "/run/network", "-o", "-e", "/run/ifstate"]).code(1);
    web.stop();
    host.vserver(["config", "unset", "web", "security.capabilities.add"]).ok();
    let ours = host.prefix().join("state");
    fs::create_dir(&ours).expect("a directory");
    let bind = format!("{}:/run/network:ro", ours.display());
    host.vserver(["config", "set", "web", "mounts.bind", &bind]).ok();
    web.start();
    web.exec(["test", "-e", "/run/ifstate"]).ok();
    web.stop();
}

/// It needs a capability that guests don't have.
fn networkd_changes_nothing(tree: Tree) {
    let (here, beside) = Network::with_neighbour();
    let host = Host::on(here);
    let web = guest(&host, tree);
    // Something waits until the network is online, as databases do.
    let wanted = "systemctl enable systemd-networkd && \
                  systemctl add-wants multi-user.target network-online.target";
    web.shell(wanted).ok();
    let text = "[Match]\nName=eth0\n[Network]\nDHCP=yes\n";
    web.write("/etc/systemd/network/10-eth0.network", text, 0o644);
    judge(&web, &beside);
    web.wait_for_systemd();
    web.exec(["systemctl", "is-active", "network-online.target"]).ok();
    web.stop();
}
