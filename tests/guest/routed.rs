//! Guests with addresses of their own: who reaches whom, what is refused, and
//! that nothing of a link is left.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use shared::stage::Stage;
use tests::{DEADLINE, Guest, Host, Network, Tree, command, eventually, executable};

use crate::shared::{Server, judge_traffic, peer};

on! { Busybox: [
    guests_are_reached_and_reach_others,
    an_address_has_one_owner,
    a_guest_that_gets_no_new_address_keeps_no_old_one,
    traffic_is_counted_on_the_link,
    two_starts_at_once_dont_share_an_address,
    no_user_of_the_host_holds_a_start_up,
    those_started_at_once_are_all_reached,
    a_link_comes_back_with_each_boot,
    the_host_answers_for_a_guest_on_its_own_network,
    what_the_host_loses_of_a_link_it_gets_back,
    a_step_of_the_link_that_fails_is_undone,
    a_guest_that_configures_its_link_again_is_still_reached,
    a_host_that_passes_nothing_on_says_so,
    without_addresses_there_is_a_loopback_interface_alone,
] }
on! { Busybox, Bookworm, Systemd: [the_link_is_ready_before_the_guest_runs] }

/// A host with a machine beside it.
fn scene() -> (Host, Network) {
    let (here, beside) = Network::with_neighbour();
    (Host::on(here), beside)
}

fn guest<'h>(host: &'h Host, name: &str, tree: Tree, addresses: &[&str]) -> Guest<'h> {
    host.guest(name).tree(tree).list("network.addresses", addresses).build()
}

fn guests_are_reached_and_reach_others(tree: Tree) {
    let (host, beside) = scene();
    let web = guest(&host, "web", tree, &["192.0.2.10", "192.0.2.20", "2001:db8::10"]);
    let db = guest(&host, "db", tree, &["192.0.2.11", "2001:db8::11"]);
    web.start();
    db.start();
    for address in ["203.0.113.1", "203.0.113.2", "192.0.2.11", "2001:db8:1::2", "2001:db8::11"] {
        web.exec(["ping", "-c", "1", "-W", "10", address]).ok();
    }
    for address in ["192.0.2.10", "192.0.2.20", "2001:db8::10", "192.0.2.11"] {
        for network in [host.network(), &beside] {
            network.run("busybox", ["ping", "-c", "1", "-W", "10", address]).ok();
        }
    }
    // Each on the same port; the client's address is the guest's.
    for guest in [&web, &db] {
        guest.shell("nc -ll -p 80 -e cat </dev/null >/dev/null 2>&1 &").ok();
    }
    let port = || db.shell("netstat -ltn").stdout.contains(":80 ").then_some(());
    eventually(DEADLINE, "a server on port 80", port);
    let look = "until netstat -tn | grep '192.0.2.11:80 .*ESTABLISHED' >/seen; do sleep 0.1; done";
    let echo = web.shell(&format!("(echo hello; {look}) | nc 192.0.2.11 80")).ok();
    assert_eq!(echo.trimmed(), "hello");
    let seen = web.shell("cat /seen").ok().stdout;
    let line = seen.lines().find(|line| line.contains("192.0.2.11:80")).expect(&seen);
    assert!(line.contains("192.0.2.10:"), "{seen}");

    let mut addresses = web.status().addresses;
    addresses.sort();
    assert_eq!(addresses, ["192.0.2.10", "192.0.2.20", "2001:db8::10"]);
    let names = host.network().links();
    assert!(names.contains("altname vserver-"), "{names}");
    web.stop();
    db.stop();
    assert!(!host.network().links().contains("vserver-"), "{}", host.network().links());
}

fn traffic_is_counted_on_the_link(tree: Tree) {
    let (host, beside) = scene();
    let web = guest(&host, "web", tree, &["192.0.2.10", "2001:db8::10"]);
    executable::copy(peer(), web.root().join("peer"));
    web.start();
    judge_traffic(&web, &beside, ["192.0.2.10:80", "[2001:db8::10]:80"], 14.0, |_| {});
}

fn an_address_has_one_owner(tree: Tree) {
    let (host, _beside) = scene();
    let web = guest(&host, "web", tree, &["192.0.2.10"]);
    web.start();
    let before = host.network().state();
    for (address, owner) in [("192.0.2.10", "guest 'web'"), ("203.0.113.1", "on 'lan0'")] {
        let other = guest(&host, "other", tree, &["192.0.2.77", address]);
        let refused = other.vserver("start", [""; 0]).code(1);
        refused.complains(address).complains(owner).complains("config set other");
        assert_eq!(host.network().state(), before);
        host.vserver(["delete", "other", "--yes"]).ok();
    }
    web.stop();
}

fn a_guest_that_gets_no_new_address_keeps_no_old_one(tree: Tree) {
    let (host, _beside) = scene();
    let web = guest(&host, "web", tree, &["192.0.2.10"]);
    let db = guest(&host, "db", tree, &["192.0.2.11"]);
    let mail = guest(&host, "mail", tree, &["192.0.2.10"]);
    web.start();
    db.start();
    host.vserver(["config", "set", "web", "network.addresses", "192.0.2.11"]).ok();
    mail.vserver("start", [""; 0]).code(1).complains("it is the address of guest 'web'");
    web.vserver("reboot", [""; 0]).code(1).complains("it is the address of guest 'db'");
    mail.start();
    mail.stop();
    db.stop();
    web.vserver("stop", [""; 0]).ok();
}

fn two_starts_at_once_dont_share_an_address(tree: Tree) {
    let (host, _beside) = scene();
    let names = ["one", "two", "three"];
    let guests = names.map(|name| guest(&host, name, tree, &["192.0.2.10"]));
    let started = thread::scope(|scope| {
        let starts =
            guests.each_ref().map(|guest| scope.spawn(|| guest.vserver("start", [""; 0]).code));
        starts.map(|start| start.join().expect("a start ends"))
    });
    assert_eq!(started.iter().filter(|code| **code == 0).count(), 1, "{started:?}");
    let names = host.network().links();
    assert_eq!(names.matches("altname vserver-").count(), 1, "{names}");
}

/// Whoever may open a file may lock it.
fn no_user_of_the_host_holds_a_start_up(tree: Tree) {
    let (host, _beside) = scene();
    let web = guest(&host, "web", tree, &["192.0.2.10"]);
    web.start();
    web.stop();
    let mut locks = Vec::new();
    let mut found = vec![host.paths().run_dir()];
    while let Some(path) = found.pop() {
        let mode = fs::metadata(&path).map_or(0, |meta| meta.permissions().mode());
        if mode & 0o4 != 0 {
            let file = File::open(&path).expect("it can be opened");
            file.lock_shared().expect("it can be locked");
            locks.push(file);
        }
        let entries = fs::read_dir(&path).into_iter().flatten().flatten();
        found.extend(entries.map(|entry| entry.path()).filter(|_| mode & 0o1 != 0));
    }
    assert!(!locks.is_empty(), "not even the directory itself");
    web.start();
    host.vserver(["config", "set", "web", "description", "x"]).ok();
    web.vserver("limits", [""; 0]).ok();
    web.stop();
}

/// On links of their own, and on the host's stack.
fn those_started_at_once_are_all_reached(tree: Tree) {
    let (host, beside) = scene();
    let names = ["one", "two", "three", "four", "five", "six"];
    let address = |number: usize| format!("192.0.2.{}", 10 + number);
    let guests: Vec<_> = (0..names.len())
        .map(|number| {
            let (name, ip) = (names[number], address(number));
            let ip6 = format!("2001:db8::{}", 10 + number);
            if number % 2 == 0 {
                let web = guest(&host, name, tree, &[&ip, &ip6]);
                executable::copy(peer(), web.root().join("peer"));
                return web;
            }
            host.network().ip(&format!("address add {ip}/32 dev lo"));
            host.network().ip(&format!("address add {ip6}/128 dev lo nodad"));
            crate::shared::guest(&host, name, tree, &[&ip, &ip6])
        })
        .collect();
    thread::scope(|scope| {
        for guest in &guests {
            scope.spawn(|| guest.start());
        }
    });
    let servers: Vec<_> = names.map(|name| Server::new(&host, name, "[::]:80").0).into();
    let peer = peer().to_str().expect("a path");
    for (number, name) in names.into_iter().enumerate() {
        for (to, from) in [
            (format!("{}:80", address(number)), "203.0.113.2"),
            (format!("[2001:db8::{}]:80", 10 + number), "2001:db8:1::2"),
        ] {
            let said = beside.run(peer, ["ask", &to]).ok();
            let [from, mapped] = ["", "::ffff:"].map(|how| format!("ask {name} to {how}{from}\n"));
            assert!([from, mapped].contains(&said.stdout), "{to}: {said}");
        }
    }
    drop(servers);
    for guest in &guests {
        guest.stop();
    }
}

fn the_link_is_ready_before_the_guest_runs(tree: Tree) {
    let (host, _beside) = scene();
    let web = guest(&host, "web", tree, &["192.0.2.10", "2001:db8::10"]);
    // The first program that runs inside sends at once.
    let start = ["--rescue", "sh", "-c", "cat /proc/net/route /proc/net/if_inet6; exec sleep 600"];
    web.vserver("start", start).ok();
    let log = || {
        let log = web.vserver("logs", [""; 0]).ok().stdout;
        log.contains("20010db8000000000000000000000010").then_some(log)
    };
    let log = eventually(DEADLINE, "the console's log", log);
    // Destination 0.0.0.0 by 169.254.1.1, in the order of the machine.
    assert!(log.contains("eth0\t00000000\t0101FEA9"), "{log}");
    web.vserver("stop", ["--timeout", "1"]).ok();
}

fn a_link_comes_back_with_each_boot(tree: Tree) {
    let (host, beside) = scene();
    let web = guest(&host, "web", tree, &["192.0.2.10"]);
    web.start();
    let reached = || {
        let ping = beside.run("busybox", ["ping", "-c", "1", "-W", "1", "192.0.2.10"]);
        (ping.code == 0).then_some(())
    };
    eventually(DEADLINE, "the guest's answer", reached);
    let before = web.status().init_pid;
    web.vserver("reboot", [""; 0]).ok();
    assert_ne!(web.status().init_pid, before);
    eventually(DEADLINE, "the guest's answer after a reboot", reached);
    // Its supervisor's death changes nothing; the next one knows the link.
    web.kill_supervisor();
    eventually(DEADLINE, "the guest's answer after a kill", reached);
    assert_eq!(web.status().addresses, ["192.0.2.10"]);
    // A changed address holds from the next boot on.
    host.vserver(["config", "set", "web", "network.addresses", "192.0.2.30"]).ok();
    web.vserver("reboot", [""; 0]).ok();
    beside.run("busybox", ["ping", "-c", "1", "-W", "10", "192.0.2.30"]).ok();
    assert!(!host.network().ip("route").contains("192.0.2.10"));
    web.stop();
    assert!(!host.network().links().contains("vserver-"), "{}", host.network().links());
}

/// With addresses out of the host's own network, and no routes elsewhere.
fn the_host_answers_for_a_guest_on_its_own_network(tree: Tree) {
    let (host, beside) = scene();
    let addresses = ["203.0.113.50", "2001:db8:1::50"];
    let web = guest(&host, "web", tree, &addresses);
    let proxied = || {
        let network = host.network();
        network.ip("neighbour show proxy") + &network.ip("-6 neighbour show proxy")
    };
    host.vserver(["config", "set", "web", "network.proxy_arp", "lan1"]).ok();
    web.vserver("start", [""; 0]).code(1).complains("network.proxy_arp");
    assert_eq!(host.network().links().matches("altname").count(), 0);
    // By any of its names.
    host.network().ip("link property add dev lan0 altname cable0");
    host.vserver(["config", "set", "web", "network.proxy_arp", "cable0"]).ok();
    web.start();
    for address in addresses {
        beside.run("busybox", ["ping", "-c", "1", "-W", "10", address]).ok();
        assert!(proxied().contains(address), "{}", proxied());
    }
    web.exec(["ping", "-c", "1", "-W", "10", "203.0.113.2"]).ok();
    // Its end is noticed by another supervisor than the one that began it, and
    // with another configuration.
    host.vserver(["config", "set", "web", "network.addresses", "192.0.2.10"]).ok();
    web.kill_supervisor();
    web.stop();
    assert_eq!(proxied(), "");
}

/// As a restart of the host's network does it.
fn what_the_host_loses_of_a_link_it_gets_back(tree: Tree) {
    let (here, beside) = Network::with_neighbour();
    for family in ["ipv4", "ipv6"] {
        here.set(&format!("{family}/conf/all/forwarding"), "1");
    }
    beside.ip("route del 192.0.2.0/24");
    beside.ip("-6 route del 2001:db8::/64");
    for network in ["192.0.2.0/24", "2001:db8::/64"] {
        beside.ip(&format!("route add {network} dev lan0"));
    }
    let host = Host::on(here);
    let addresses = ["192.0.2.10", "2001:db8::10"];
    let web = guest(&host, "web", tree, &addresses);
    host.vserver(["config", "set", "web", "network.proxy_arp", "lan0"]).ok();
    web.start();
    let is_reached = || {
        for address in addresses {
            beside.run("busybox", ["ping", "-c", "1", "-W", "10", address]).ok();
        }
    };
    is_reached();
    let link = host.network().interface("vserver-");
    let state = || {
        let network = host.network();
        let proxied =
            ["neighbour show proxy", "-6 neighbour show proxy"].map(|words| network.ip(words));
        let of_link = ["route show", "-6 route show", "neighbour show nud permanent"]
            .map(|words| network.ip(&format!("{words} dev {link}")));
        let own = network.ip(&format!("-o address show dev {link}"));
        let own = own.lines().map(|line| line.split("valid_lft").next().unwrap_or_default());
        (proxied.concat(), of_link.concat(), own.collect::<Vec<_>>().join("\n"))
    };
    let before = state();
    let cycle = |interface: &str| {
        for state in ["down", "up"] {
            host.network().ip(&format!("link set {interface} {state}"));
        }
        if interface == "lan0" {
            // The kernel keeps none of IPv6.
            host.network().ip("address replace 2001:db8:1::1/64 dev lan0 nodad");
        }
    };
    // Which looks at it by itself, too, from time to time.
    let supervisor = web.status().supervisor_pid.expect("it has one");
    let send = |signal| kill(Pid::from_raw(supervisor), signal).expect("it is there");
    for interface in ["lan0", &link] {
        send(Signal::SIGSTOP);
        cycle(interface);
        assert_ne!(state(), before, "{interface}");
        send(Signal::SIGCONT);
        web.vserver("reload", [""; 0]).ok();
        assert_eq!(state(), before, "{interface}");
        is_reached();
    }
    // By the supervisor itself, another one with another configuration.
    host.vserver(["config", "set", "web", "network.addresses", "192.0.2.77"]).ok();
    web.kill_supervisor();
    web.vserver("exec", ["--", "true"]).ok();
    cycle("lan0");
    cycle(&link);
    eventually(DEADLINE, "all is as it was", || (state() == before).then_some(()));
    is_reached();
    // What somebody has set down stays down, and is told.
    host.network().ip(&format!("link set {link} down"));
    web.vserver("reload", [""; 0])
        .code(1)
        .complains("is down")
        .complains(&format!("ip link set {link} up"));
    let status = web.vserver("status", [""; 0]).ok();
    assert!(
        status.stdout.contains("\nNetwork:              the host's end of its link"),
        "{status}"
    );
    host.network().ip(&format!("link set {link} up"));
    web.vserver("reload", [""; 0]).ok();
    assert_eq!(state(), before);
    let status = web.vserver("status", [""; 0]).ok();
    assert!(!status.stdout.contains("\nNetwork:"), "{status}");
    web.stop();
}

fn a_step_of_the_link_that_fails_is_undone(tree: Tree) {
    let (host, _beside) = scene();
    let web = guest(&host, "web", tree, &["192.0.2.10", "2001:db8::10"]);
    web.start().stop();
    let before = host.network().state();
    for fault in ["link", "route", "route:1", "addresses", "exec-init", "first-message"] {
        let mut start = web.command("start", [""; 0]);
        let start = command::run(start.env("VSERVER_FAULT", fault), DEADLINE).code(1);
        let stage = fault.split(':').next().and_then(Stage::from_name).expect("a stage");
        start.complains(stage.describe());
        assert_eq!(host.network().state(), before, "{fault}");
    }
    // An interface of the link's name that isn't vserver's is left alone.
    web.start();
    let names = host.network().links();
    let name = names.lines().find(|line| line.contains("altname vserver-")).expect("a link");
    let name = name.split([':', '@']).nth(1).expect("its name").trim().to_owned();
    web.stop();
    host.network().ip(&format!("link add {name} type veth peer name other"));
    let with_foreign = host.network().state();
    web.vserver("start", [""; 0]).code(1).complains("interface of the link's name");
    assert_eq!(host.network().state(), with_foreign);
}

/// As a guest's own network scripts do, if its root may.
fn a_guest_that_configures_its_link_again_is_still_reached(tree: Tree) {
    let (host, beside) = scene();
    let web = host.guest("web").tree(tree).set("security.capabilities.add", "net_admin");
    let web = web.list("network.addresses", &["192.0.2.10", "2001:db8::10"]).build();
    web.start();
    let again = "ip link set eth0 down && ip address flush dev eth0 && ip link set eth0 up && \
                 ip address add 192.0.2.10/32 dev eth0 && \
                 ip route add 169.254.1.1 dev eth0 && ip route add default via 169.254.1.1";
    web.shell(again).ok();
    web.exec(["ping", "-c", "1", "-W", "10", "203.0.113.2"]).ok();
    beside.run("busybox", ["ping", "-c", "1", "-W", "10", "192.0.2.10"]).ok();
    web.stop();
}

/// Of each family that the guest has addresses of.
fn a_host_that_passes_nothing_on_says_so(tree: Tree) {
    let (host, beside) = scene();
    let web = guest(&host, "web", tree, &["192.0.2.10", "2001:db8::10"]);
    for (family, sysctl) in
        [("ipv4", "net.ipv4.ip_forward=1"), ("ipv6", "net.ipv6.conf.all.forwarding=1")]
    {
        host.network().set(&format!("{family}/conf/all/forwarding"), "0");
        let said = web.vserver("start", [""; 0]).ok();
        said.complains("the host doesn't pass packets on").complains("'vserver doctor'");
        let doctor = host.vserver(["doctor"]).stdout;
        let line = doctor.lines().find(|line| line.contains(&format!("sysctl -w {sysctl}")));
        assert!(line.is_some(), "{doctor}");
        web.stop();
        host.network().set(&format!("{family}/conf/all/forwarding"), "1");
    }
    let said = web.vserver("start", [""; 0]).ok();
    assert!(!said.stderr.contains("pass packets on"), "{said}");
    beside.run("busybox", ["ping", "-c", "1", "-W", "10", "192.0.2.10"]).ok();
    web.stop();
}

fn without_addresses_there_is_a_loopback_interface_alone(tree: Tree) {
    let (host, _beside) = scene();
    let web = host.guest("web").tree(tree).set("network.mode", "none").build();
    let before = host.network().state();
    web.start();
    assert_eq!(host.network().state(), before);
    let links = web.exec(["ip", "-o", "link"]).ok();
    assert!(links.stdout.starts_with("1: lo: <LOOPBACK,UP"), "{links}");
    assert_eq!(links.stdout.lines().count(), 1, "{links}");
    assert_eq!(web.exec(["ip", "route"]).ok().stdout, "");
    for address in ["127.0.0.1", "::1"] {
        web.exec(["ping", "-c", "1", "-W", "10", address]).ok();
    }
    for address in ["203.0.113.1", "2001:db8:1::1"] {
        web.exec(["ping", "-c", "1", "-W", "1", address]).complains("unreachable");
    }
    web.stop();
}
