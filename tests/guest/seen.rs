//! What guests on the host's network stack see of it, and share with others:
//! the table in docs/network.md, line by line (style/tables.rs).

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::thread;

use tests::{DEADLINE, Finished, Guest, Host, Network, Tree, eventually};

use crate::shared::{Server, guest, peer, scene, set_addresses};

on! { Busybox: [
    what_is_for_many_is_not_received,
    tables_of_the_kernel_are_visible,
    interfaces_and_routes_are_visible,
    a_ping_has_the_source_that_the_hosts_routes_give,
    abstract_names_can_be_reached,
    what_the_kernel_says_of_devices_is_heard,
    a_port_on_every_address_is_taken_for_all,
    bound_ports_are_each_addresss_own,
    ports_of_sockets_that_bind_nothing_are_shared,
    datagrams_to_localhost_are_answered_without_ipv4_addresses,
] }

/// Only what is for an address of its own is, whoever else hears the rest.
fn what_is_for_many_is_not_received(tree: Tree) {
    let (here, beside) = Network::with_neighbour();
    for network in [&here, &beside] {
        network.ip("route add 239.0.0.0/8 dev lan0");
    }
    let host = Host::on(here);
    let web = guest(&host, "web", tree, &["203.0.113.1"]);
    web.start();
    let peer = peer().to_str().expect("a path");
    let tells = [("own", "203.0.113.1"), ("broadcast", "203.0.113.255"), ("group", "239.1.2.3")];
    let heard = |hear: &(dyn Fn() -> Finished + Sync)| {
        thread::scope(|scope| {
            let hearing = scope.spawn(hear);
            let mut is_joined = false;
            while !hearing.is_finished() {
                for (text, address) in tells {
                    beside.run(peer, ["tell", &format!("{address}:4000"), text]).ok();
                }
                is_joined |= host.network().ip("maddress show dev lan0").contains("239.1.2.3");
            }
            (hearing.join().expect("it ends").stdout, is_joined)
        })
    };
    let anywhere = ["hear", "0.0.0.0:4000+239.1.2.3"];
    let of_host = heard(&|| host.network().run(peer, anywhere));
    assert_eq!(of_host, ("hear broadcast group own\n".to_owned(), true));
    let of_guest = heard(&|| web.exec([&["/peer"], &anywhere[..]].concat()));
    assert_eq!(of_guest, ("hear own\n".to_owned(), true));
    let chbind = ["chbind", "--silent", "--ip", "203.0.113.1/24", "--", peer];
    let of_chbind = heard(&|| host.vserver(chbind.iter().chain(&["hear", "203.0.113.255:4000"])));
    assert_eq!(of_chbind, ("hear broadcast\n".to_owned(), false));
    web.stop();
}

/// A server of the host's, at this address.
fn at_host(host: &Host, address: &str) -> Server {
    let peer = peer().to_str().expect("a path");
    Server::of(host.network().command(peer).args(["serve", address, "host"])).0
}

fn in_host(host: &Host, steps: &[&str]) -> Finished {
    host.network().run(peer().to_str().expect("a path"), steps).ok()
}

fn in_guest(guest: &Guest<'_>, steps: &[&str]) -> Finished {
    guest.exec([&["/peer"], steps].concat()).ok()
}

fn tables_of_the_kernel_are_visible(tree: Tree) {
    let host = scene();
    let web = guest(&host, "web", tree, &["192.0.2.1"]);
    web.start();
    let _servers = (at_host(&host, "192.0.2.2:4660"), at_host(&host, "@of-the-host"));
    // 192.0.2.2:4660, as proc_pid_net(5) has it.
    let tcp = web.exec(["cat", "/proc/net/tcp"]).ok();
    assert!(tcp.stdout.contains("020200C0:1234"), "{tcp}");
    // The host's /sys is that of the network which the host was booted with.
    let listed = web.exec(["ls", "/sys/class/net"]).ok();
    let interfaces = fs::read_dir("/sys/class/net").expect("the host's interfaces");
    for interface in interfaces.filter_map(Result::ok) {
        let name = interface.file_name().to_string_lossy().into_owned();
        assert!(listed.stdout.lines().any(|line| line == name), "{name}: {listed}");
    }
    let unix = web.exec(["cat", "/proc/net/unix"]).ok();
    assert!(unix.stdout.contains("@of-the-host"), "{unix}");
    web.stop();
}

fn interfaces_and_routes_are_visible(tree: Tree) {
    let host = scene();
    host.network().ip("route add unreachable 203.0.113.0/24");
    let web = guest(&host, "web", tree, &["192.0.2.1"]);
    web.start();
    let addresses = web.exec(["ip", "address"]).ok();
    assert!(addresses.stdout.contains("192.0.2.2/24"), "{addresses}");
    let routes = web.exec(["ip", "route"]).ok();
    assert!(routes.stdout.contains("203.0.113.0/24"), "{routes}");
    // To change them is refused.
    for change in ["address add 192.0.2.9/32 dev lo", "route del unreachable 203.0.113.0/24"] {
        let refused = web.exec(["ip"].into_iter().chain(change.split(' ')));
        assert!(refused.stderr.contains("not permitted"), "{change}: {refused}");
    }
    assert!(host.network().ip("route").contains("203.0.113.0/24"));
    web.stop();
}

fn a_ping_has_the_source_that_the_hosts_routes_give(tree: Tree) {
    let (here, _beside) = Network::with_neighbour();
    here.ip("address add 192.0.2.1/32 dev lo");
    here.set("ipv4/ping_group_range", "0 2147483647");
    let host = Host::on(here);
    let web = guest(&host, "web", tree, &["192.0.2.1"]);
    web.start();
    let ping = |source| ["ping", source, "203.0.113.2"];
    // The host's own: nothing of it leaves.
    in_guest(&web, &ping("0.0.0.0")).says("ping: EPERM\n");
    in_guest(&web, &ping("192.0.2.1")).says("ping answered\n");
    in_guest(&web, &ping("203.0.113.1")).says("ping: EPERM\n");
    in_guest(&web, &["ping", "0.0.0.0", "192.0.2.1"]).says("ping answered\n");
    in_guest(&web, &["ping", "0.0.0.0", "127.0.0.1"]).says("ping answered\n");
    web.stop();
}

fn abstract_names_can_be_reached(tree: Tree) {
    let host = scene();
    let web = guest(&host, "web", tree, &["192.0.2.1"]);
    web.start();
    let _ours = at_host(&host, "@of-the-host");
    let _theirs = Server::new(&host, "web", "@of-a-guest");
    in_guest(&web, &["ask", "@of-the-host"]).says("ask host\n");
    in_host(&host, &["ask", "@of-a-guest"]).says("ask web\n");
    web.stop();
}

fn what_the_kernel_says_of_devices_is_heard(tree: Tree) {
    let host = scene();
    let web = guest(&host, "web", tree, &["192.0.2.1"]);
    web.start();
    let name = "seen-link0";
    let mut hears = host.command(["exec", "web", "--", "/peer", "announced", name]);
    let mut hears = hears.stdout(Stdio::piped()).spawn().expect("a listener");
    let stdout = hears.stdout.take().expect("a pipe");
    let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
    assert_eq!(lines.next().as_deref(), Some("serving seen-link0"));
    host.network().ip(&format!("link add {name} type veth peer name seen-link1"));
    let heard = format!("announced add@/devices/virtual/net/{name}");
    assert_eq!(lines.next(), Some(heard));
    assert!(hears.wait().expect("it ends").success());
    web.stop();
}

fn a_port_on_every_address_is_taken_for_all(tree: Tree) {
    let host = scene();
    let web = guest(&host, "web", tree, &["192.0.2.1"]);
    web.start();
    let _server = at_host(&host, "0.0.0.0:80");
    in_guest(&web, &["tcp", "0.0.0.0:80", "tcp", "192.0.2.1:80", "tcp", "127.0.0.1:80"])
        .says("tcp: EADDRINUSE\ntcp: EADDRINUSE\ntcp: EADDRINUSE\n");
    // A guest takes only its own.
    let _guests = Server::new(&host, "web", "0.0.0.0:81");
    in_host(&host, &["tcp", "192.0.2.2:81", "tcp", "192.0.2.1:81"])
        .says("tcp 192.0.2.2:81\ntcp: EADDRINUSE\n");
    // But nobody else has every address then.
    in_host(&host, &["tcp", "0.0.0.0:81", "tcp", "[::]:81"])
        .says("tcp: EADDRINUSE\ntcp: EADDRINUSE\n");
    web.stop();
}

/// Ten ports for sockets that name none.
fn with_ten_ports(host: &Host) {
    host.network().set("ipv4/ip_local_port_range", "50000 50009");
}

fn bound_ports_are_each_addresss_own(tree: Tree) {
    let host = scene();
    with_ten_ports(&host);
    let web = guest(&host, "web", tree, &["192.0.2.1"]);
    web.start();
    let all = "exhaust 10 ports\nexhaust: EADDRINUSE\n";
    in_guest(&web, &["exhaust", "tcp:0.0.0.0", "exhaust", "tcp:0.0.0.0"]).says(all);
    // They are held while others take theirs.
    let line = "/peer exhaust tcp:0.0.0.0 serve @held x >/tmp/held &";
    web.shell(line).ok();
    eventually(DEADLINE, "they are taken", || {
        web.read("/tmp/held").contains("serving").then_some(())
    });
    in_guest(&web, &["tcp", "0.0.0.0:0"]).says("tcp: EADDRINUSE\n");
    in_host(&host, &["exhaust", "tcp:192.0.2.2"]).says("exhaust 10 ports\n");
    web.stop();
}

fn ports_of_sockets_that_bind_nothing_are_shared(tree: Tree) {
    let host = scene();
    with_ten_ports(&host);
    let web = guest(&host, "web", tree, &["192.0.2.1"]);
    web.start();
    web.shell("/peer exhaust udp:192.0.2.1 serve @held x >/tmp/held &").ok();
    eventually(DEADLINE, "they are taken", || {
        web.read("/tmp/held").contains("serving").then_some(())
    });
    assert_eq!(web.read("/tmp/held"), "exhaust 10 ports\nserving @held\n");
    in_host(&host, &["udp", "192.0.2.2:0"]).says("udp: EADDRINUSE\n");
    // Whoever names a port has it.
    in_host(&host, &["udp", "192.0.2.2:53"]).says("udp 192.0.2.2:53\n");
    web.exec(["killall", "peer"]).ok();
    eventually(DEADLINE, "they are given back", || {
        in_host(&host, &["udp", "192.0.2.2:0"]).stdout.starts_with("udp 192.").then_some(())
    });
    // One that is shared by who has it already takes all that is for it, and isn't
    // given away where that is forbidden.
    let echo = |at: &str| {
        let peer = peer().to_str().expect("a path");
        Server::of(host.network().command(peer).args(["echo", at, "host"])).0
    };
    // Answers to this one have the address that was asked.
    let calls = ["call", "127.0.0.1:50005", "call", "192.0.2.3:50006"];
    let all_answer = || in_host(&host, &calls).stdout.matches(" host to ").count() == 2;
    let _echoes = (echo("0.0.0.0:50005"), echo("192.0.2.3:50006"));
    assert!(all_answer());
    let reuse = "/peer reuse 50006 192.0.2.1 reuse 50005 192.0.2.1 serve @held x >/tmp/reuse &";
    web.shell(reuse).ok();
    eventually(DEADLINE, "it has both", || {
        web.read("/tmp/reuse").contains("serving").then_some(())
    });
    let both = "reuse 0.0.0.0:50006\nreuse 0.0.0.0:50005\nserving @held\n";
    assert_eq!(web.read("/tmp/reuse"), both);
    // Whoever has named its address keeps it.
    let said = in_host(&host, &calls).stdout;
    assert!(said.starts_with("call: nothing\ncall host to "), "{said}");
    web.exec(["killall", "peer"]).ok();
    eventually(DEADLINE, "the host's has it again", || all_answer().then_some(()));
    host.network().set("ipv4/ip_local_reserved_ports", "50005");
    let refused = in_guest(&web, &["reuse", "50005", "192.0.2.1"]);
    assert!(refused.stdout.starts_with("reuse: "), "{refused}");
    web.stop();
}

fn datagrams_to_localhost_are_answered_without_ipv4_addresses(tree: Tree) {
    let host = scene();
    let web = guest(&host, "web", tree, &["2001:db8::1"]);
    web.start();
    let steps = ["udp", "127.0.0.1:53", "send", "127.0.0.1:53"];
    let answered = "udp 127.0.0.1:53\nsend from 127.0.0.1, answered from 127.0.0.1:53\n";
    in_guest(&web, &steps).says(answered);
    // As with one.
    set_addresses(&host, &["2001:db8::1", "192.0.2.1"]).ok();
    let said = in_guest(&web, &steps).stdout;
    assert!(said.ends_with("answered from 127.0.0.1:53\n"), "{said}");
    web.stop();
}
