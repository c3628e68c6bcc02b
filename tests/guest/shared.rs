//! Guests on the host's own network stack, in a network that stands for the
//! host's: what they can use, and what they can't.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::command::Finished;
use tests::{DEADLINE, Guest, Host, Network, Tree, command, eventually, executable};

on! { Busybox: [
    guests_and_the_host_serve_on_one_port,
    only_own_addresses_can_be_used,
    a_loopback_address_of_ipv6_is_its_own,
    low_ports_are_for_who_has_the_capability,
    nothing_of_the_hosts_network_can_be_changed,
    the_hosts_sys_is_read_only,
    an_address_is_one_guests,
    traffic_is_counted_by_family,
    addresses_are_changed_in_a_guest_that_runs,
    addresses_that_cannot_be_noted_are_not_changed,
    addresses_alone_are_asked_of_a_guest_that_runs,
    a_guest_between_two_boots_has_new_addresses_with_the_next,
] }
on! { Systemd: [guests_boot_without_a_network_of_their_own] }

/// A host with three addresses of each family.
pub(crate) fn scene() -> Host {
    let network = Network::new();
    for number in 1..=3 {
        network.ip(&format!("address add 192.0.2.{number}/24 dev lo"));
        network.ip(&format!("address add 2001:db8::{number}/64 dev lo nodad"));
    }
    Host::on(network)
}

pub(crate) fn guest<'h>(host: &'h Host, name: &str, tree: Tree, addresses: &[&str]) -> Guest<'h> {
    let guest = host.guest(name).tree(tree).list("network.addresses", addresses);
    let guest = guest.set("network.mode", "shared").build();
    executable::copy(peer(), guest.root().join("peer"));
    guest
}

/// The program of tests/peer, in the virtual machine of tests/vm as well.
pub(crate) fn peer() -> &'static Path {
    let built = Path::new(env!("CARGO_BIN_EXE_peer"));
    if built.exists() { built } else { Path::new("/payload/peer") }
}

/// A server that ends with this value.
pub(crate) struct Server(Child);

impl Server {
    /// In a guest, at this address.
    pub(crate) fn new(host: &Host, name: &str, address: &str) -> (Self, String) {
        Self::of(&mut host.command(["exec", name, "--", "/peer", "serve", address, name]))
    }

    pub(crate) fn of(command: &mut Command) -> (Self, String) {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("a server");
        let mut line = String::new();
        let stdout = child.stdout.as_mut().expect("a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        (Self(child), line.trim_end().to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn guests_and_the_host_serve_on_one_port(tree: Tree) {
    let host = scene();
    let web = guest(&host, "web", tree, &["192.0.2.1", "2001:db8::1"]);
    let db = guest(&host, "db", tree, &["192.0.2.2"]);
    web.start();
    db.start();
    let (_web, at) = Server::new(&host, "web", "0.0.0.0:80");
    assert_eq!(at, "serving 192.0.2.1:80");
    let (_db, at) = Server::new(&host, "db", "0.0.0.0:80");
    assert_eq!(at, "serving 192.0.2.2:80");
    let peer = peer().to_str().expect("a path");
    let mut serve = host.network().command(peer);
    let (_host, at) = Server::of(serve.args(["serve", "192.0.2.3:80", "host"]));
    assert_eq!(at, "serving 192.0.2.3:80");
    let asks = ["ask", "192.0.2.1:80", "ask", "192.0.2.2:80", "ask", "192.0.2.3:80"];
    let said = host.network().run(peer, asks).ok();
    said.says("ask web to 192.0.2.1\nask db to 192.0.2.1\nask host to 192.0.2.1\n");
    let said = db.exec([&["/peer"], &asks[..]].concat()).ok();
    said.says("ask web to 192.0.2.2\nask db to 192.0.2.2\nask host to 192.0.2.2\n");
    // 192.0.2.1:80, as the guest's own tools find it (proc_pid_net(5)).
    let listed = web.exec(["cat", "/proc/net/tcp"]).ok();
    assert!(listed.stdout.contains(" 010200C0:0050 00000000:0000 0A "), "{listed}");

    // By datagrams, too: answers come from the address that was asked, to where the
    // client is.
    let echo = |name: &str| {
        Server::of(&mut host.command(["exec", name, "--", "/peer", "echo", "0.0.0.0:53", name]))
    };
    let ((_web, at), (_db, _)) = (echo("web"), echo("db"));
    assert_eq!(at, "serving 192.0.2.1:53");
    let mut serve = host.network().command(peer);
    let (_host, _) = Server::of(serve.args(["echo", "192.0.2.3:53", "host"]));
    let calls = ["call", "192.0.2.1:53", "call", "192.0.2.2:53", "call", "192.0.2.3:53"];
    let heard = |own: &str| {
        ["web", "db", "host"].map(|name| format!("call {name} to {own} at {own}\n")).concat()
    };
    host.network().run(peer, calls).ok().says(&heard("192.0.2.1"));
    db.exec([&["/peer"], &calls[..]].concat()).ok().says(&heard("192.0.2.2"));
    drop((_web, _db, _host));
    web.stop();
    db.stop();
}

fn only_own_addresses_can_be_used(tree: Tree) {
    let host = scene();
    let web = guest(&host, "web", tree, &["192.0.2.1", "2001:db8::1"]);
    web.start();
    let steps = "tcp 0.0.0.0:80 tcp 192.0.2.2:80 tcp [::]:81 tcp [2001:db8::2]:80 \
                 tcp 127.0.0.1:82 connect 127.0.0.1:82 udp 0.0.0.0:53 send 192.0.2.1:53 \
                 send-as 192.0.2.2 192.0.2.1:53 make raw make packet make mptcp";
    let steps: Vec<_> = steps.split_ascii_whitespace().collect();
    web.exec([&["/peer"], &steps[..]].concat()).ok().says(
        "tcp 192.0.2.1:80\ntcp: EADDRNOTAVAIL\ntcp [::ffff:192.0.2.1]:81\ntcp: EADDRNOTAVAIL\n\
         tcp 127.0.0.1:82\n\
         connect from 127.0.0.1 to 127.0.0.1:82, accepted 127.0.0.1 at 127.0.0.1:82\n\
         udp 192.0.2.1:53\nsend from 192.0.2.1, answered from 192.0.2.1:53\nsend-as: EPERM\n\
         make: EPERM\nmake: EPERM\nmake: EPROTONOSUPPORT\n",
    );
    web.stop();
}

fn a_loopback_address_of_ipv6_is_its_own(tree: Tree) {
    let host = scene();
    let before = host.network().ip("address");
    let web = guest(&host, "web", tree, &["192.0.2.1"]);
    let db = guest(&host, "db", tree, &["192.0.2.2"]);
    web.start();
    db.start();
    // Without an address of the family, a socket for both has an IPv4 one.
    let steps = "tcp [::]:80 connect [::1]:80 tcp [::1]:81 connect [::1]:81 only6 [::]:83 \
                 udp [::1]:53 send [::1]:53 connect [2001:db8::1]:81";
    let steps: Vec<_> = steps.split_ascii_whitespace().collect();
    web.exec([&["/peer"], &steps[..]].concat()).ok().says(
        "tcp [::ffff:192.0.2.1]:80\n\
         connect from ::1 to [::1]:80, accepted ::1 at [::1]:80\n\
         tcp [::1]:81\nconnect from ::1 to [::1]:81, accepted ::1 at [::1]:81\n\
         only6 [::1]:83\n\
         udp [::1]:53\nsend from ::1, answered from [::1]:53\nconnect: ENETUNREACH\n",
    );
    let (_server, at) = Server::new(&host, "web", "[::1]:82");
    assert_eq!(at, "serving [::1]:82");
    let own = own_loopback(&host, &web);
    let peer = peer().to_str().expect("a path");
    let refused = host.network().run(peer, ["connect", "[::1]:82"]).ok();
    assert!(refused.stdout.starts_with("connect: "), "from the host: {refused}");
    for address in ["[::1]:82".to_owned(), format!("[{own}]:82")] {
        let refused = db.exec(["/peer", "connect", &address]).ok();
        assert!(refused.stdout.starts_with("connect: "), "{address} from a neighbour: {refused}");
    }
    // It is never what the host sends from.
    let chosen = host.network().ip("-6 route get 2001:db8::2");
    assert!(!chosen.contains(&own), "{chosen}");
    drop(_server);
    web.stop();
    // Also when nobody was there to take it away.
    db.kill_supervisor();
    db.stop();
    assert_eq!(host.network().ip("address"), before);
}

/// The address on the host's loopback interface that is a guest's ::1.
fn own_loopback(host: &Host, guest: &Guest<'_>) -> String {
    let context = format!("{:x}", guest.status().context);
    let list = host.network().ip("-o -6 address show dev lo");
    let mut addresses = list.split_ascii_whitespace().filter_map(|word| word.strip_suffix("/128"));
    let own = addresses.find(|address| {
        address.starts_with("fd76:7365:7276:") && address.ends_with(&format!(":{context}:1"))
    });
    own.unwrap_or_else(|| panic!("no loopback address of context {context}: {list}")).to_owned()
}

fn low_ports_are_for_who_has_the_capability(tree: Tree) {
    let host = scene();
    let web = guest(&host, "web", tree, &["192.0.2.1", "2001:db8::1"]);
    web.start();
    let bind = "tcp 0.0.0.0:80 tcp [::]:81";
    web.shell(&format!("/peer {bind}")).ok().says("tcp 192.0.2.1:80\ntcp [::ffff:192.0.2.1]:81\n");
    let user = web.shell(&format!("su user -c '/peer {bind} tcp 0.0.0.0:8080'")).ok();
    user.says("tcp: EACCES\ntcp: EACCES\ntcp 192.0.2.1:8080\n");
    // Root without it; and a user who has kept it.
    web.shell(&format!("/peer drop {bind}")).ok().says("drop \ntcp: EACCES\ntcp: EACCES\n");
    let kept = web.shell(&format!("/peer user {bind}")).ok();
    kept.says("user 1000\ntcp 192.0.2.1:80\ntcp [::ffff:192.0.2.1]:81\n");
    // One in a namespace of its own has it there, and nothing here.
    host.vserver(["config", "set", "web", "security.nesting", "true"]).ok();
    web.vserver("restart", [""; 0]).ok();
    let nested = web.shell(&format!("su user -c 'unshare -Ur /peer {bind}'")).ok();
    nested.says("tcp: EACCES\ntcp: EACCES\n");
    web.stop();
}

fn nothing_of_the_hosts_network_can_be_changed(tree: Tree) {
    let host = scene();
    let web = guest(&host, "web", tree, &["192.0.2.1"]);
    for users in ["private", "identity", "host"] {
        host.vserver(["config", "set", "web", "security.users", users]).ok();
        web.start();
        let changes = "ip addr add 192.0.2.9/32 dev lo; ip link set lo down; \
                       echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/sys/class/net/lo/mtu; \
                       : >/sys/kernel/mm/ksm/run";
        let before = host.network().ip("address") + &host.network().ip("-o link");
        web.exec(["sh", "-c", changes]);
        let after = host.network().ip("address") + &host.network().ip("-o link");
        assert_eq!(before, after, "with security.users = {users}");
        let forward = host.network().run("cat", ["/proc/sys/net/ipv4/ip_forward"]).ok();
        forward.says("0\n");
        web.stop();
    }
}

fn guests_boot_without_a_network_of_their_own(tree: Tree) {
    let host = scene();
    let web = guest(&host, "web", tree, &["192.0.2.1", "2001:db8::1"]);
    web.start();
    eventually(DEADLINE, "systemd says that all is well", || {
        (web.exec(["systemctl", "is-system-running"]).stdout == "running\n").then_some(())
    });
    web.exec(["/peer", "tcp", "0.0.0.0:80"]).ok().says("tcp 192.0.2.1:80\n");
    web.stop();
}

fn addresses_are_changed_in_a_guest_that_runs(tree: Tree) {
    let host = scene();
    let web = guest(&host, "web", tree, &["192.0.2.1"]);
    let other = guest(&host, "other", tree, &["192.0.2.2"]);
    web.start();
    other.start();
    let peer = peer().to_str().expect("a path");
    let (_server, _) = Server::new(&host, "web", "0.0.0.0:80");
    // On which nobody calls, so that nothing of a connection is left.
    let (_silent, _) = Server::new(&host, "web", "192.0.2.1:83");
    let set = |addresses: &[&str]| {
        let mut set = host.command(["config", "set", "web", "network.addresses"]);
        command::run(set.args(addresses), DEADLINE)
    };
    // Another's: nothing changes.
    let before = host.vserver(["config", "show", "web"]).ok().stdout;
    set(&["192.0.2.3", "192.0.2.2"]).code(1).complains("192.0.2.2").complains("guest 'other'");
    assert_eq!(host.vserver(["config", "show", "web"]).ok().stdout, before);
    let ask = || host.network().run(peer, ["ask", "192.0.2.1:80"]).ok().stdout;
    assert_eq!(ask(), "ask web to 192.0.2.1\n");
    let said = set(&["192.0.2.3", "2001:db8::3"]).ok();
    assert_eq!(said.stderr, "", "it counts at once");
    let binds = ["/peer", "tcp", "0.0.0.0:81", "tcp", "[::]:82", "tcp", "192.0.2.1:81"];
    let bound = web.exec(binds).ok();
    bound.says("tcp 192.0.2.3:81\ntcp [::ffff:192.0.2.3]:82\ntcp: EADDRNOTAVAIL\n");
    // The server that still listens there hears nothing.
    assert_eq!(ask(), "ask: nothing\n");
    assert_eq!(web.status().addresses, ["192.0.2.3", "2001:db8::3"]);
    // What it has lost is free.
    let mut third = host.command(["config", "set", "other", "network.addresses", "192.0.2.1"]);
    command::run(&mut third, DEADLINE).ok();
    // But for the ports that it still holds, which nothing takes from it.
    let bind = ["/peer", "tcp", "192.0.2.1:83", "tcp", "192.0.2.1:84"];
    other.exec(bind).ok().says("tcp: EADDRINUSE\ntcp 192.0.2.1:84\n");
    web.stop();
    other.exec(bind).ok().says("tcp 192.0.2.1:83\ntcp 192.0.2.1:84\n");
    other.stop();
}

fn the_hosts_sys_is_read_only(tree: Tree) {
    let host = scene();
    let web = guest(&host, "web", tree, &["192.0.2.1"]);
    for users in ["private", "identity", "host"] {
        host.vserver(["config", "set", "web", "security.users", users]).ok();
        web.start();
        let mounts = web.exec(["cat", "/proc/self/mountinfo"]).ok().stdout;
        // Number, parent, device, root, place, options (proc_pid_mountinfo(5)).
        let found = mounts.lines().find_map(|line| {
            let fields: Vec<_> = line.split(' ').collect();
            (fields[4] == "/sys").then(|| fields[5].to_owned())
        });
        let options = found.expect("there is a /sys");
        assert!(options.split(',').any(|option| option == "ro"), "{users}: {options}");
        web.shell("echo 1 >/sys/class/net/lo/mtu").code(1);
        web.stop();
    }
}

/// Of the guest "web".
pub(crate) fn set_addresses(host: &Host, addresses: &[&str]) -> Finished {
    let mut set = host.command(["config", "set", "web", "network.addresses"]);
    command::run(set.args(addresses), DEADLINE)
}

fn addresses_that_cannot_be_noted_are_not_changed(tree: Tree) {
    let host = scene();
    let web = guest(&host, "web", tree, &["192.0.2.1"]);
    web.start();
    let before = host.vserver(["config", "show", "web"]).ok().stdout;
    // In the way of the file that becomes the state.
    let obstacle = host.paths().run_dir().join("web/state.new");
    fs::create_dir(&obstacle).expect("a directory");
    set_addresses(&host, &["192.0.2.3"]).code(1).complains("state");
    fs::remove_dir(&obstacle).expect("it is empty");
    assert_eq!(host.vserver(["config", "show", "web"]).ok().stdout, before);
    assert_eq!(web.status().addresses, ["192.0.2.1"]);
    web.exec(["/peer", "tcp", "0.0.0.0:81"]).ok().says("tcp 192.0.2.1:81\n");
    set_addresses(&host, &["192.0.2.3"]).ok();
    web.exec(["/peer", "tcp", "0.0.0.0:81"]).ok().says("tcp 192.0.2.3:81\n");
    web.stop();
}

fn addresses_alone_are_asked_of_a_guest_that_runs(tree: Tree) {
    let host = scene();
    let web = guest(&host, "web", tree, &["192.0.2.1"]);
    let other = guest(&host, "other", tree, &["192.0.2.2"]);
    web.start();
    other.start();
    // Whoever asks for the addresses in the file now is refused.
    let file = host.paths().config_dir().join("web.toml");
    let text = fs::read_to_string(&file).expect("a configuration");
    let taken = text.replace("\"192.0.2.1\"", "\"192.0.2.2\"");
    assert_ne!(text, taken);
    fs::write(&file, taken).expect("it can be written");
    let said = host.vserver(["config", "set", "web", "network.dns", "192.0.2.53"]).ok();
    said.complains("'network.dns' counts from its next start");
    set_addresses(&host, &["192.0.2.2", "192.0.2.3"]).code(1).complains("guest 'other'");
    // Nor is it asked for what its start decides.
    host.vserver(["config", "set", "web", "network.mode", "routed"]).ok();
    let said = set_addresses(&host, &["192.0.2.2", "192.0.2.3"]).ok();
    said.complains("'network.addresses' counts from its next start");
    let said = host.vserver(["config", "set", "web", "accounting.processes", "true"]).ok();
    said.complains("counts from its next boot");
    assert_eq!(web.status().addresses, ["192.0.2.1"]);
    web.stop();
    other.stop();
}

fn a_guest_between_two_boots_has_new_addresses_with_the_next(tree: Tree) {
    let host = scene();
    let web = guest(&host, "web", tree, &["192.0.2.1"]);
    web.start();
    // Pauses double: one is long enough in the end.
    for _ in 0..3 {
        let init = web.init_pid();
        kill(Pid::from_raw(init), Signal::SIGKILL).expect("PID 1 can be killed");
        web.wait_for_reboot(init);
    }
    kill(Pid::from_raw(web.init_pid()), Signal::SIGKILL).expect("PID 1 can be killed");
    eventually(DEADLINE, "it backs off", || (web.status().state == "backing-off").then_some(()));
    let said = set_addresses(&host, &["192.0.2.3"]).ok();
    said.complains("'network.addresses' counts from its next start");
    eventually(DEADLINE, "it boots again", || web.status().init_pid);
    assert_eq!(web.status().addresses, ["192.0.2.3"]);
    web.exec(["/peer", "tcp", "0.0.0.0:81"]).ok().says("tcp 192.0.2.3:81\n");
    web.stop();
}

fn traffic_is_counted_by_family(tree: Tree) {
    let (here, beside) = Network::with_neighbour();
    for address in ["192.0.2.1/32", "2001:db8::1/128"] {
        here.ip(&format!("address add {address} dev lo"));
    }
    let host = Host::on(here);
    let web = guest(&host, "web", tree, &["192.0.2.1", "2001:db8::1"]);
    web.start();
    let peer = peer().to_str().expect("a path");
    // It is no traffic for whom it doesn't leave the host.
    let inside = |address: &str| drop(host.network().run(peer, ["fetch", address]).ok());
    judge_traffic(&web, &beside, ["192.0.2.1:80", "[2001:db8::1]:80"], 0.0, inside);
}

/// Has a machine beside the host fetch much from a guest, by IPv4 and by IPv6,
/// and the guest fetch as much from it, and compares what is counted with what has
/// come out of that machine's link and gone into it. `frame` is how many bytes of a
/// frame on a link count beside the packet in it.
pub(crate) fn judge_traffic(
    guest: &Guest<'_>,
    beside: &Network,
    addresses: [&str; 2],
    frame: f64,
    between: impl Fn(&str),
) {
    let word = format!("*{MUCH}");
    let mut sent = 0.0;
    for (address, family) in addresses.into_iter().zip(["ipv4", "ipv6"]) {
        let mut server = guest.command("exec", ["--", "/peer", "serve", address, &word]);
        let _server = Server::of(&mut server).0;
        let before = (link_bytes(beside, "rx", frame), used(guest, "sent"));
        let peer = peer().to_str().expect("a path");
        beside.run(peer, ["fetch", address]).ok().says(&format!("fetch {MUCH}\n"));
        between(address);
        let after = (link_bytes(beside, "rx", frame), used(guest, "sent"));
        let truth = after.0 - before.0;
        let [all, ipv6] = [0, 1].map(|i| after.1[i] - before.1[i]);
        assert!((all / truth - 1.0).abs() < 0.01, "{family}: counted {all}, on the link {truth}");
        let others = if family == "ipv6" { all - ipv6 } else { ipv6 };
        assert!(others < 0.01 * all, "{family}: of {all}, {ipv6} are IPv6");
        sent += all;
        // `stat` reads the same.
        let [received_now, sent_now] = shown(guest);
        assert!(received_now > 0.0, "{family}: nothing received");
        assert!((sent_now / after.1[0] - 1.0).abs() < 0.01, "{family}: stat {sent_now}");
    }
    // A supervisor that takes over goes on counting, and nothing comes twice.
    guest.kill_supervisor();
    let now = || used(guest, "sent")[0];
    assert!((now() / sent - 1.0).abs() < 0.01, "{} of {sent} after a kill", now());
    judge_received(guest, beside, frame);
    let sent = now();
    guest.stop();
    assert!((now() / sent - 1.0).abs() < 0.01, "{} of {sent} after the stop", now());
}

/// The other way round, over a kill of the supervisor and a reboot.
fn judge_received(guest: &Guest<'_>, beside: &Network, frame: f64) {
    let word = format!("*{MUCH}");
    let begin = (link_bytes(beside, "tx", frame), used(guest, "received"));
    for (address, family) in [("203.0.113.2:81", "ipv4"), ("[2001:db8:1::2]:81", "ipv6")] {
        let mut server = beside.command(peer());
        let _server = Server::of(server.args(["serve", address, &word])).0;
        let before = (link_bytes(beside, "tx", frame), used(guest, "received"));
        guest.exec(["/peer", "fetch", address]).ok().says(&format!("fetch {MUCH}\n"));
        let after = (link_bytes(beside, "tx", frame), used(guest, "received"));
        let truth = after.0 - before.0;
        let [all, ipv6] = [0, 1].map(|i| after.1[i] - before.1[i]);
        assert!((all / truth - 1.0).abs() < 0.01, "{family}: counted {all}, on the link {truth}");
        let others = if family == "ipv6" { all - ipv6 } else { ipv6 };
        assert!(others < 0.01 * all, "{family}: of {all}, {ipv6} are IPv6");
        if family == "ipv4" {
            guest.kill_supervisor();
            let init = guest.init_pid();
            guest.exec(["reboot"]);
            guest.wait_for_reboot(init);
        }
    }
    let truth = link_bytes(beside, "tx", frame) - begin.0;
    let all = used(guest, "received")[0] - begin.1[0];
    assert!((all / truth - 1.0).abs() < 0.01, "in all: counted {all}, on the link {truth}");
}

/// Bytes that go over a link in a test of what is counted.
const MUCH: u64 = 4_000_000;

/// Bytes that a machine has received ("rx") or sent ("tx") on its link, with so many
/// of each frame but the packet.
fn link_bytes(network: &Network, way: &str, frame: f64) -> f64 {
    const ETHERNET: f64 = 14.0;
    let read = |name: &str| -> f64 {
        let line =
            format!("mount -t sysfs sysfs /sys && cat /sys/class/net/lan0/statistics/{name}");
        let text = network.run("unshare", ["--mount", "sh", "-c", &line]).ok();
        text.trimmed().parse().expect("a number")
    };
    let [bytes, packets] = ["bytes", "packets"].map(|what| read(&format!("{way}_{what}")));
    bytes - (ETHERNET - frame) * packets
}

/// Bytes that a guest has received and sent, by `vserver stat`.
fn shown(guest: &Guest<'_>) -> [f64; 2] {
    let json = guest.host().vserver(["stat", "--json"]).ok().stdout;
    let all: Vec<serde_json::Value> = serde_json::from_str(&json).expect("JSON");
    let own = all.iter().find(|row| row["name"] == guest.name()).expect("a row");
    ["received_bytes", "sent_bytes"].map(|key| own[key].as_f64().expect("it is counted"))
}

/// Bytes that a guest has "sent" or "received", and what of them was IPv6.
fn used(guest: &Guest<'_>, way: &str) -> [f64; 2] {
    let json = guest.vserver("usage", ["--json"]).ok().stdout;
    let all: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    ["", "ipv6_"].map(|family| all[0][format!("{way}_{family}bytes")].as_f64().expect("a number"))
}

fn an_address_is_one_guests(tree: Tree) {
    let host = scene();
    let web = guest(&host, "web", tree, &["192.0.2.1"]);
    let other = guest(&host, "other", tree, &["192.0.2.2", "192.0.2.1"]);
    web.start();
    let refused = other.vserver("start", [""; 0]).code(1);
    refused.complains("192.0.2.1").complains("guest 'web'").complains("config set other");
    assert!(!other.is_running());
    // However it is joined.
    host.vserver(["config", "set", "other", "network.mode", "routed"]).ok();
    other.vserver("start", [""; 0]).code(1).complains("guest 'web'");
    host.vserver(["config", "set", "other", "network.mode", "shared"]).ok();
    web.stop();
    other.start();
    web.vserver("start", [""; 0]).code(1).complains("guest 'other'");
    other.stop();
}
