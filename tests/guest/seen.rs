//! What guests on the host's network stack see of it, and share with others:
//! the table in docs/network.md, line by line (style/tables.rs).

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;

use tests::{DEADLINE, Finished, Guest, Host, Network, Tree, eventually};

use crate::shared::{Server, guest, peer, scene, set_addresses};

on! { Busybox: [
    an_address_that_the_host_lacks_is_told,
    what_is_for_many_is_not_received,
    tables_of_the_kernel_are_visible,
    interfaces_and_routes_are_visible,
    a_ping_has_the_source_that_the_hosts_routes_give,
    abstract_names_can_be_reached,
    what_the_kernel_says_of_devices_is_heard,
    programs_write_to_each_other_by_netlink,
    numbers_of_pings_are_for_all,
    neighbours_are_in_one_table,
    tracked_connections_are_for_the_hosts_root,
    a_port_on_every_address_is_taken_for_all,
    bound_ports_are_each_addresss_own,
    ports_of_sockets_that_bind_nothing_are_shared,
    datagrams_to_localhost_are_answered_without_ipv4_addresses,
] }

/// At each start, when it is given to a guest that runs, and by `status` as long as it
/// lacks.
fn an_address_that_the_host_lacks_is_told(tree: Tree) {
    let host = scene();
    let web = guest(&host, "web", tree, &["192.0.2.1", "203.0.113.9"]);
    let lacks = |ip: &str| format!("the host doesn't have the address {ip}");
    let told = || web.vserver("status", [""; 0]).ok().stdout.contains(&lacks("203.0.113.9"));
    web.vserver("start", [""; 0]).ok().complains(&lacks("203.0.113.9"));
    assert!(told());
    in_guest(&web, &["tcp", "203.0.113.9:80"]).says("tcp: EADDRNOTAVAIL\n");
    host.network().ip("address add 203.0.113.9/32 dev lo");
    web.vserver("reload", [""; 0]).ok();
    assert!(!told());
    in_guest(&web, &["tcp", "203.0.113.9:80"]).says("tcp 203.0.113.9:80\n");
    set_addresses(&host, &["203.0.113.9", "2001:db8:7::9"]).ok().complains(&lacks("2001:db8:7::9"));
    assert_eq!(web.status().addresses, ["203.0.113.9", "2001:db8:7::9"]);
    host.network().ip("address del 203.0.113.9/32 dev lo");
    web.vserver("reload", [""; 0]).ok();
    assert!(told());
    assert_eq!(set_addresses(&host, &["192.0.2.1"]).ok().stderr, "");
    assert!(!told());
    web.stop();
}

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
    let mut hears = web.command("exec", ["--", "/peer", "announced", name]);
    let (mut lines, mut hears) = listener(&mut hears);
    assert_eq!(lines.next().as_deref(), Some("serving seen-link0"));
    host.network().ip(&format!("link add {name} type veth peer name seen-link1"));
    let heard = format!("announced add@/devices/virtual/net/{name}");
    assert_eq!(lines.next(), Some(heard));
    assert!(hears.wait().expect("it ends").success());
    web.stop();
}

/// What a program says line by line, and the program.
fn listener(command: &mut Command) -> (impl Iterator<Item = String>, Child) {
    let mut child = command.stdout(Stdio::piped()).spawn().expect("a listener");
    let stdout = child.stdout.take().expect("a pipe");
    (BufReader::new(stdout).lines().map_while(Result::ok), child)
}

fn programs_write_to_each_other_by_netlink(tree: Tree) {
    let host = scene();
    let web = guest(&host, "web", tree, &["192.0.2.1"]);
    web.start();
    let mut of_host = host.network().command(peer());
    let (mut lines, mut reads) = listener(of_host.args(["read-mail", "4660"]));
    assert_eq!(lines.next().as_deref(), Some("serving 4660"));
    in_guest(&web, &["mail", "4660", "of-the-guest"]).says("mail sent\n");
    assert_eq!(lines.next().as_deref(), Some("read-mail of-the-guest"));
    assert!(reads.wait().expect("it ends").success());
    let mut of_guest = web.command("exec", ["--", "/peer", "read-mail", "22136"]);
    let (mut lines, mut reads) = listener(&mut of_guest);
    assert_eq!(lines.next().as_deref(), Some("serving 22136"));
    in_host(&host, &["mail", "22136", "of-the-host"]).says("mail sent\n");
    assert_eq!(lines.next().as_deref(), Some("read-mail of-the-host"));
    assert!(reads.wait().expect("it ends").success());
    // What goes to groups isn't for it.
    in_guest(&web, &["read-mail", "+1"]).says("read-mail: EPERM\n");
    web.stop();
}

fn numbers_of_pings_are_for_all(tree: Tree) {
    let host = scene();
    host.network().set("ipv4/ping_group_range", "0 2147483647");
    let web = guest(&host, "web", tree, &["192.0.2.1"]);
    web.start();
    // What becomes of a ping of the host's whose number somebody else takes before it
    // is sent.
    let answered = |take: &dyn Fn()| {
        let mut command = host.network().command(peer());
        command.args(["number", "4660", "read-mail", "22137", "ping-so", "192.0.2.2"]);
        let (lines, mut pings) = listener(&mut command);
        let mut lines = lines.skip(1);
        assert_eq!(lines.next().as_deref(), Some("serving 22137"));
        take();
        in_host(&host, &["mail", "22137", "go"]).says("mail sent\n");
        let said = lines.nth(1);
        pings.wait().expect("it ends");
        said
    };
    let taken = answered(&|| {
        web.shell("/peer number 4660 serve @held x >/tmp/held &").ok();
        let is_held = || web.read("/tmp/held").contains("serving").then_some(());
        eventually(DEADLINE, "it is held", is_held);
    });
    assert_eq!(web.read("/tmp/held"), "number 4660\nserving @held\n");
    assert_eq!(taken.as_deref(), Some("ping-so: nothing"));
    // By raw sockets, as root has them, numbers are nothing to that.
    host.network().run("busybox", ["ping", "-c", "1", "-W", "10", "192.0.2.2"]).ok();
    web.stop();
    assert_eq!(answered(&|| ()).as_deref(), Some("ping-so answered"));
}

/// And a guest fills it.
fn neighbours_are_in_one_table(tree: Tree) {
    let (here, _beside) = Network::with_neighbour();
    let host = Host::on(here);
    let web = guest(&host, "web", tree, &["203.0.113.1"]);
    web.start();
    host.network().ip("neighbour add 203.0.113.7 lladdr 02:00:00:00:00:07 dev lan0");
    for table in ["cat /proc/net/arp", "ip neigh"] {
        let seen = web.shell(table).ok();
        let row = seen.stdout.lines().find(|line| line.starts_with("203.0.113.7 "));
        assert!(row.is_some_and(|row| row.contains("02:00:00:00:00:07")), "{table}: {seen}");
    }
    in_guest(&web, &["send", "203.0.113.8:9"]).says("send sent\n");
    let table = host.network().ip("neighbour show nud all dev lan0");
    assert!(table.contains("203.0.113.8 "), "{table}");
    let refused = web.exec(["arp", "-i", "lan0", "-d", "203.0.113.7"]);
    assert!(refused.stderr.contains("not permitted"), "{refused}");
    assert!(host.network().ip("neighbour show dev lan0").contains("203.0.113.7 "));
    web.stop();
}

/// Of whom a guest has the ids where it has none of its own.
fn tracked_connections_are_for_the_hosts_root(tree: Tree) {
    let host = scene();
    let web = guest(&host, "web", tree, &["192.0.2.1"]);
    for (users, is_read) in [("private", false), ("identity", true), ("host", true)] {
        host.vserver(["config", "set", "web", "security.users", users]).ok();
        web.start();
        let read = web.exec(["cat", "/proc/net/nf_conntrack"]);
        assert_eq!(read.code == 0, is_read, "{users}: {read}");
        web.stop();
    }
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
    host.network().set("ipv4/ip_local_reserved_ports", "");
    // SO_REUSEPORT is for sockets of one user, which are two where ids are private.
    let said = |guest: &Guest<'_>| in_guest(guest, &["reuse-own", "50005", "192.0.2.1"]).stdout;
    assert_eq!(said(&web), "reuse-own: entity not found\n");
    web.stop();
    host.vserver(["config", "set", "web", "security.users", "identity"]).ok();
    web.start();
    assert_eq!(said(&web), "reuse-own 0.0.0.0:50005\n");
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
