//! Guests on a network of many machines, on a bridge or by macvlan: who reaches
//! whom, what is refused, and that nothing of it is left.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use shared::stage::Stage;
use tests::{DEADLINE, Guest, Host, Network, Tree, command, eventually};

on! { Busybox: [
    guests_on_a_bridge_are_machines_of_its_network,
    guests_by_macvlan_are_machines_beside_the_host,
    a_bridge_that_is_made_anew_has_its_guests_again,
    a_parent_that_has_gone_is_told,
    nothing_is_left_of_a_guest_whose_supervisor_was_killed,
    a_step_that_fails_is_undone,
    what_is_not_there_or_is_anothers_is_refused,
    name_servers_are_written_at_each_start,
    addresses_that_move_here_are_found_at_once,
    links_are_filtered_before_they_are_up,
] }

const BRIDGE: [&str; 2] = ["network.bridge", "br0"];
const MACVLAN: [&str; 2] = ["network.parent", "lan0"];

/// The machine beside the host stands for a router, too.
const GATEWAYS: [&str; 2] = ["203.0.113.2", "2001:db8:1::2"];

/// What is behind it.
const FAR: [&str; 2] = ["198.51.100.7", "2001:db8:7::7"];

fn set(host: &Host, name: &str, words: &[&str]) {
    command::run(host.command(["config", "set", name]).args(words), DEADLINE).ok();
}

/// A guest on that network, with these addresses of it and a gateway.
fn guest<'h>(
    host: &'h Host,
    name: &str,
    tree: Tree,
    door: [&str; 2],
    addresses: &[&str],
) -> Guest<'h> {
    let has_v6 = addresses.iter().any(|address| address.contains(':'));
    let [key, value] = door;
    let guest = host.guest(name).tree(tree).set(key, value).list("network.addresses", addresses);
    guest.list("network.gateway", &GATEWAYS[..if has_v6 { 2 } else { 1 }]).build()
}

fn scene() -> (Host, Network) {
    let (here, beside) = Network::with_bridge();
    for address in FAR {
        beside.ip(&format!("address add {address} dev lo"));
    }
    (Host::on(here), beside)
}

#[track_caller]
fn ping_from(network: &Network, address: &str) {
    network.run("busybox", ["ping", "-c", "1", "-W", "10", address]).ok();
}

#[track_caller]
fn ping(guest: &Guest<'_>, address: &str) {
    guest.exec(["ping", "-c", "1", "-W", "10", address]).ok();
}

fn mac(guest: &Guest<'_>) -> String {
    guest.exec(["cat", "/sys/class/net/eth0/address"]).ok().trimmed().to_owned()
}

fn guests_on_a_bridge_are_machines_of_its_network(tree: Tree) {
    let (host, beside) = scene();
    let bridge =
        || host.network().ip("-o link show br0").split("link/ether").nth(1).map(str::to_owned);
    let bridges_own = bridge();
    let web = guest(&host, "web", tree, BRIDGE, &["203.0.113.10/24", "2001:db8:1::10/64"]);
    let db = guest(&host, "db", tree, BRIDGE, &["203.0.113.11/24", "2001:db8:1::11/64"]);
    web.start();
    db.start();
    for address in ["203.0.113.1", "203.0.113.2", "203.0.113.11", FAR[0]] {
        ping(&web, address);
    }
    for address in ["2001:db8:1::1", "2001:db8:1::2", "2001:db8:1::11", FAR[1]] {
        ping(&web, address);
    }
    for network in [host.network(), &beside] {
        ping_from(network, "203.0.113.10");
        ping_from(network, "2001:db8:1::10");
    }
    // A bridge that listens for groups hears of the guest's.
    let heard =
        || host.network().run("bridge", ["mdb", "show"]).ok().stdout.contains("ff02::1:ff00:10");
    eventually(DEADLINE, "the guest's group on the bridge", || heard().then_some(()));
    assert_eq!(bridge(), bridges_own, "the bridge keeps its hardware address");
    assert!(host.network().links().contains("master br0"), "{}", host.network().links());
    // The cable's machines know the guest again after a reboot.
    let before = mac(&web);
    assert_ne!(before, mac(&db));
    web.vserver("reboot", [""; 0]).ok();
    assert_eq!(mac(&web), before);
    ping_from(&beside, "203.0.113.10");
    // What runs has what it was started with, and says so.
    let addresses = ["203.0.113.20/24", "2001:db8:1::20/64"];
    let mut set = host.command(["config", "set", "web", "network.addresses"]);
    command::run(set.args(addresses), DEADLINE).ok().complains("next start");
    ping_from(&beside, "203.0.113.10");
    web.stop();
    db.stop();
    assert!(!host.network().links().contains("vserver-"), "{}", host.network().links());
}

fn guests_by_macvlan_are_machines_beside_the_host(tree: Tree) {
    let (here, beside) = Network::with_neighbour();
    for address in FAR {
        beside.ip(&format!("address add {address} dev lo"));
    }
    let host = Host::on(here);
    let web = guest(&host, "web", tree, MACVLAN, &["203.0.113.10/24", "2001:db8:1::10/64"]);
    let db = guest(&host, "db", tree, MACVLAN, &["203.0.113.11/24", "2001:db8:1::11/64"]);
    web.start();
    db.start();
    for address in ["203.0.113.2", "203.0.113.11", FAR[0]] {
        ping(&web, address);
    }
    for address in ["2001:db8:1::2", "2001:db8:1::11", FAR[1]] {
        ping(&web, address);
    }
    for address in ["203.0.113.10", "2001:db8:1::10", "203.0.113.11"] {
        ping_from(&beside, address);
    }
    // The host itself isn't on that network for them, as with any macvlan.
    web.shell("! ping -c 1 -W 1 203.0.113.1").ok();
    assert!(
        host.network().links().contains("altname macvlan-vserver-"),
        "{}",
        host.network().links()
    );
    let before = mac(&web);
    web.vserver("reboot", [""; 0]).ok();
    assert_eq!(mac(&web), before);
    ping_from(&beside, "203.0.113.10");
    web.stop();
    db.stop();
    assert!(!host.network().links().contains("vserver-"), "{}", host.network().links());
}

fn a_bridge_that_is_made_anew_has_its_guests_again(tree: Tree) {
    let (host, beside) = scene();
    let web = guest(&host, "web", tree, BRIDGE, &["203.0.113.10/24", "2001:db8:1::10/64"]);
    web.start();
    ping_from(&beside, "203.0.113.10");
    host.network().ip("link del br0");
    web.vserver("reload", [""; 0]).code(1).complains("no interface 'br0'");
    for words in ["link add br0 type bridge", "link set lan0 master br0", "link set br0 up"] {
        host.network().ip(words);
    }
    web.vserver("reload", [""; 0]).ok();
    for address in ["203.0.113.10", "2001:db8:1::10"] {
        ping_from(&beside, address);
    }
    // A port of another bridge is somebody's wish.
    let link = host.network().interface("vserver-");
    for words in ["link add br1 type bridge", &format!("link set {link} master br1")] {
        host.network().ip(words);
    }
    web.vserver("reload", [""; 0]).ok();
    assert!(host.network().ip(&format!("-o link show {link}")).contains("master br1"));
    web.stop();
}

/// What was on it went with it, and with that the filter: only a boot makes both.
fn a_parent_that_has_gone_is_told(tree: Tree) {
    let (here, beside) = Network::with_neighbour();
    let host = Host::on(here);
    let web = guest(&host, "web", tree, MACVLAN, &["203.0.113.10/24", "2001:db8:1::10/64"]);
    web.start();
    ping_from(&beside, "203.0.113.10");
    host.network().ip("link del lan0");
    let reload = web.vserver("reload", [""; 0]).code(1);
    reload.complains("has gone").complains("vserver reboot web");
    let status = web.vserver("status", [""; 0]).ok();
    assert!(status.stdout.contains("has gone (vserver reboot web)"), "{status}");
    host.network().join(
        "lan0",
        &["203.0.113.1/24", "2001:db8:1::1/64"],
        &beside,
        ("lan0", &["203.0.113.2/24", "2001:db8:1::2/64"]),
    );
    web.vserver("reboot", [""; 0]).ok();
    ping_from(&beside, "203.0.113.10");
    let status = web.vserver("status", [""; 0]).ok();
    assert!(!status.stdout.contains("\nNetwork:"), "{status}");
    web.stop();
}

fn nothing_is_left_of_a_guest_whose_supervisor_was_killed(tree: Tree) {
    let (host, beside) = scene();
    // A port of a bridge can be nobody's parent.
    host.network().ip("link add lan1 type veth peer name lan2");
    host.network().ip("link set lan1 up");
    let before = host.network().state();
    for door in [BRIDGE, ["network.parent", "lan1"]] {
        let web = guest(&host, "web", tree, door, &["203.0.113.10/24", "2001:db8:1::10/64"]);
        web.start();
        web.kill_supervisor();
        if door == BRIDGE {
            ping_from(&beside, "203.0.113.10");
        }
        assert_eq!(web.status().addresses.len(), 2);
        web.stop();
        assert!(!host.network().links().contains("vserver-"), "{}", host.network().links());
        // And with everything of it killed at once, from the next start on.
        web.start();
        let status = web.status();
        for pid in [status.supervisor_pid, status.keeper_pid, status.init_pid] {
            let pid = pid.expect("a process").to_string();
            command::run(Command::new("kill").args(["-9", &pid]), DEADLINE).ok();
        }
        web.wait_until_stopped();
        web.start().stop();
        host.vserver(["delete", "web", "--yes"]).ok();
        assert_eq!(
            host.network().links().matches("vserver-").count(),
            0,
            "{}",
            host.network().links()
        );
    }
    assert_eq!(host.network().state(), before);
}

fn a_step_that_fails_is_undone(tree: Tree) {
    let (host, _beside) = scene();
    host.network().ip("link add lan1 type veth peer name lan2");
    host.network().ip("link set lan1 up");
    for door in [BRIDGE, ["network.parent", "lan1"]] {
        let web = guest(&host, "web", tree, door, &["203.0.113.10/24", "2001:db8:1::10/64"]);
        web.start().stop();
        let before = host.network().state();
        for fault in ["link", "link:2", "addresses", "first-message"] {
            let mut start = web.command("start", [""; 0]);
            let start = command::run(start.env("VSERVER_FAULT", fault), DEADLINE).code(1);
            let stage = fault.split(':').next().and_then(Stage::from_name).expect("a stage");
            start.complains(stage.describe());
            assert_eq!(host.network().state(), before, "{fault}");
        }
        host.vserver(["delete", "web", "--yes"]).ok();
    }
}

fn what_is_not_there_or_is_anothers_is_refused(tree: Tree) {
    let (host, _beside) = scene();
    let web = guest(&host, "web", tree, BRIDGE, &["203.0.113.10/24"]);
    web.start();
    let before = host.network().state();
    for (door, address, why) in [
        (["network.bridge", "br7"], "203.0.113.77/24", "no interface 'br7'"),
        (["network.bridge", "lan0"], "203.0.113.77/24", "'lan0' is no bridge"),
        (["network.parent", "lan0"], "203.0.113.77/24", "bridge's port"),
        (BRIDGE, "203.0.113.10/24", "guest 'web'"),
        (BRIDGE, "203.0.113.1/24", "on 'br0'"),
    ] {
        let other = guest(&host, "other", tree, door, &[address]);
        other.vserver("start", [""; 0]).code(1).complains(why).complains("config set other");
        assert_eq!(host.network().state(), before, "{why}");
        host.vserver(["delete", "other", "--yes"]).ok();
    }
    web.stop();
}

fn name_servers_are_written_at_each_start(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    let file = web.root().join("etc/resolv.conf");
    // A link to a file of the host's, if it were followed there.
    let outside = host.prefix().join("outside");
    fs::write(&outside, "the host's").expect("a file of the installation can be written");
    let _ = fs::remove_file(&file);
    symlink(&outside, &file).expect("a link can be made");
    web.start();
    assert!(file.is_symlink(), "without servers it is left alone");
    set(&host, "web", &["network.dns", "192.0.2.53", "2001:db8::53"]);
    web.vserver("reboot", [""; 0]).ok();
    let text = web.exec(["cat", "/etc/resolv.conf"]).ok().stdout;
    assert!(text.ends_with("nameserver 192.0.2.53\nnameserver 2001:db8::53\n"), "{text}");
    let metadata = fs::symlink_metadata(&file).expect("the file");
    assert!(metadata.is_file(), "the link is replaced");
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o644);
    assert_eq!(web.exec(["stat", "-c", "%u:%g", "/etc/resolv.conf"]).ok().trimmed(), "0:0");
    assert_eq!(fs::read_to_string(&outside).expect("the host's file"), "the host's");
    // What the guest writes lasts until the next start, and longer without.
    let own = "nameserver 192.0.2.99\n";
    web.shell("echo nameserver 192.0.2.99 >/etc/resolv.conf").ok();
    web.vserver("reboot", [""; 0]).ok();
    assert_eq!(web.read("/etc/resolv.conf"), text);
    web.shell("echo nameserver 192.0.2.99 >/etc/resolv.conf").ok();
    host.vserver(["config", "unset", "web", "network.dns"]).ok().complains("next start");
    web.vserver("reboot", [""; 0]).ok();
    assert_eq!(web.read("/etc/resolv.conf"), own);
    web.stop();
    // A directory of that name is no reason to write elsewhere.
    fs::remove_file(&file).expect("the file can be removed");
    fs::create_dir(&file).expect("a directory can be made");
    set(&host, "web", &["network.dns", "192.0.2.53"]);
    web.vserver("start", [""; 0]).code(1).complains("resolv.conf").complains("network.dns");
    assert!(!web.is_running());
}

fn addresses_that_move_here_are_found_at_once(tree: Tree) {
    const ADDRESSES: [&str; 2] = ["203.0.113.10/24", "2001:db8:1::10/64"];
    for door in [BRIDGE, MACVLAN] {
        // A macvlan has no parent that is a bridge's port.
        let (here, beside) =
            if door == BRIDGE { Network::with_bridge() } else { Network::with_neighbour() };
        let host = Host::on(here);
        let web = guest(&host, "web", tree, door, &ADDRESSES);
        found_at_once(&web, &beside);
    }
    // Also where the host answers for them.
    let (here, beside) = Network::with_neighbour();
    let host = Host::on(here);
    let addresses = ADDRESSES.map(|address| address.split('/').next().expect("an address"));
    let web = host.guest("web").tree(tree).list("network.addresses", &addresses).build();
    set(&host, "web", &["network.proxy_arp", "lan0"]);
    found_at_once(&web, &beside);
}

/// A machine that knows the guest's addresses from another host learns where
/// they are now, without asking.
#[track_caller]
fn found_at_once(web: &Guest<'_>, beside: &Network) {
    const ELSEWHERE: &str = "02:00:00:00:00:99";
    for address in ["203.0.113.10", "2001:db8:1::10"] {
        let entry = format!("neighbour replace {address} lladdr {ELSEWHERE} dev lan0 nud stale");
        beside.ip(&entry);
    }
    web.start();
    for address in ["203.0.113.10", "2001:db8:1::10"] {
        eventually(DEADLINE, "the neighbour has heard", || {
            let entry = beside.ip(&format!("neighbour show {address} dev lan0"));
            (entry.contains("lladdr") && !entry.contains(ELSEWHERE)).then_some(())
        });
    }
    web.stop();
}

/// As the kernel tells it (rtnetlink(7)): what belongs to the filter is set
/// before any interface of the guest's is up, and where it can't be filtered,
/// none ever is.
fn links_are_filtered_before_they_are_up(tree: Tree) {
    for door in [None, Some(BRIDGE), Some(MACVLAN)] {
        let (here, _beside) = match door {
            Some(BRIDGE) => Network::with_bridge(),
            _ => Network::with_neighbour(),
        };
        // Of what it is already, nobody is told.
        here.set("ipv4/conf/default/rp_filter", "0");
        let host = Host::on(here);
        let web = match door {
            Some(door) => guest(&host, "web", tree, door, &["203.0.113.10/24"]),
            None => host.guest("web").tree(tree).list("network.addresses", &["192.0.2.10"]).build(),
        };
        let is_own = |line: &str| {
            let name = line.split(' ').nth(1);
            name.is_some_and(|name| name.starts_with("vs") || name.starts_with("vm"))
        };
        let is_filtered = |line: &str| is_own(line) && line.contains("rp_filter strict");
        let is_up = |line: &str| is_own(line) && line.contains(",UP");

        // Every step before the filter is done, and nothing of those after it.
        let told = told_meanwhile(&host, || {
            let mut start = web.command("start", [""; 0]);
            command::run(start.env("VSERVER_FAULT", "link:1"), DEADLINE).code(1);
        });
        let made: Vec<_> = told.lines().filter(|line| is_own(line)).collect();
        let kinds = if door == Some(MACVLAN) { ["vs", "vm"] } else { ["vs", "vs"] };
        for kind in kinds {
            assert!(made.iter().any(|line| line.contains(&format!(" {kind}"))), "{door:?}: {told}");
        }
        assert!(!made.iter().any(|line| is_up(line) || is_filtered(line)), "{door:?}: {told}");

        let told = told_meanwhile(&host, || {
            web.start();
        });
        let first = |found: &dyn Fn(&str) -> bool| told.lines().position(found);
        let [filtered, up] = [first(&is_filtered), first(&is_up)];
        assert!(filtered.is_some() && up.is_some() && filtered < up, "{door:?}: {told}");
        web.stop();
    }
}

/// What the kernel tells of links and their settings while something is done.
fn told_meanwhile(host: &Host, action: impl FnOnce()) -> String {
    let file = host.prefix().join("told");
    let told = || fs::read_to_string(&file).expect("what the kernel has told");
    let mut monitor = host.network().command("ip");
    monitor.args(["-o", "monitor", "link", "netconf"]);
    monitor.stdout(fs::File::create(&file).expect("a file of the installation"));
    let mut monitor = monitor.spawn().expect("ip(8) can be run");
    let mut mtu = 60_000;
    eventually(DEADLINE, "somebody listens", || {
        mtu += 1;
        host.network().ip(&format!("link set lo mtu {mtu}"));
        told().contains(" lo: ").then_some(())
    });
    action();
    host.network().ip("link set lo mtu 65000");
    eventually(DEADLINE, "all is told", || told().contains("mtu 65000").then_some(()));
    monitor.kill().expect("it can be ended");
    monitor.wait().expect("it ends");
    told()
}
