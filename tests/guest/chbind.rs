//! `chbind`: commands with addresses of their own, in a network namespace
//! that stands for the host's. The judges are the kernel's answers to a
//! program that does with sockets what programs do (tests/peer).

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use tests::place::Place;
use tests::{DEADLINE, Finished, command, eventually, host, machine};

/// Three addresses of each family, on no interface of the machine's.
const SETUP: &str = "\
    for n in 1 2 3; do \
        ip address add 192.0.2.$n/24 dev lo && ip -6 address add 2001:db8::$n/64 dev lo nodad; \
    done && ip link set lo up && echo ready && exec cat";

/// A network with nothing but a loopback interface, and `chbind` in it.
pub struct Network {
    /// Ends the holder with its last copy.
    _holds: ChildStdin,
    holder: Child,
    place: Place,
}

impl Network {
    pub fn new() -> Self {
        let mut unshare = Command::new("unshare");
        unshare.args(["--net", "--", "sh", "-c", SETUP]);
        let mut holder =
            unshare.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("unshare");
        let holds = holder.stdin.take().expect("a pipe");
        assert_eq!(line(&mut holder), "ready");
        Self { _holds: holds, holder, place: Place::new() }
    }

    fn command(&self, words: &str) -> Command {
        let mut command = self.place.command("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.holder.id()));
        let cgroup =
            format!("{}$(sed -n s/^0:://p /proc/self/cgroup)", machine::cgroup_root().display());
        command.args(["--", "sh", "-c", &format!("G={cgroup}; {words}")]).current_dir("/");
        command.env("C", format!("{} chbind", host::program().display())).env("P", peer());
        command.env("V", host::program());
        command
    }

    /// Runs a line of shell as the host's root, in the network.
    pub fn shell(&self, line: &str) -> Finished {
        command::run(&mut self.command(line), DEADLINE)
    }

    /// Starts a server; returns when it serves, and where it says it does.
    pub fn serve(&self, line: &str) -> (Server, String) {
        let mut child =
            self.command(&format!("exec {line}")).stdout(Stdio::piped()).spawn().expect("a server");
        let serving = self::line(&mut child);
        (Server(child), serving)
    }

    /// Demands that no cgroup of any chbind is left.
    pub fn nothing_is_left(&self) {
        let find = "find $G -name 'chbind-*'";
        eventually(DEADLINE, "no cgroup is left", || {
            self.shell(find).stdout.is_empty().then_some(())
        });
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// A server that ends with this value.
pub struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn line(child: &mut Child) -> String {
    let mut line = String::new();
    let stdout = child.stdout.as_mut().expect("a pipe");
    BufReader::new(stdout).read_line(&mut line).expect("a line");
    line.trim_end().to_owned()
}

/// The program of tests/peer, in the virtual machine of tests/vm as well.
fn peer() -> &'static str {
    there(env!("CARGO_BIN_EXE_peer"), "/payload/peer")
}

/// What is built where the tests are, and carried into that machine.
pub fn there(built: &'static str, carried: &'static str) -> &'static str {
    if Path::new(built).exists() { built } else { carried }
}

#[test]
#[ignore = "root: makes cgroups"]
fn the_addresses_are_printed_and_the_commands_end_passed_on() {
    let network = Network::new();
    let said = network.shell("$C --ip 192.0.2.1 --ip 2001:db8::2/64 -- sh -c 'echo in; exit 7'");
    said.code(7).says("Adding 192.0.2.1 2001:db8::2\nin\n");
    network.shell("$C --silent --ip 192.0.2.1 true").ok().says("");
    network.shell("$C --silent --ip 192.0.2.1 -- sh -c 'kill -TERM $$'").code(128 + 15);
    network.shell("$C --silent --ip 192.0.2.1 -- /nonexistent").code(127).complains("'/nonexist");
    network.shell("$C --silent --ip 192.0.2.1 -- /etc/passwd").code(126).complains("'/etc/passwd'");
    network.shell("echo in | $C --silent --ip 192.0.2.1 cat").ok().says("in\n");
    network.shell("$C --ip lo -- true").ok().says(
        "Adding 127.0.0.1 192.0.2.1 192.0.2.2 192.0.2.3 2001:db8::3 2001:db8::2 2001:db8::1 ::1\n",
    );
    network.shell("$C --ip nolink -- true").code(255).complains("there is no interface 'nolink'");
    network.shell("$C --ip 192.0.2.300 -- true").code(255).complains("neither an address nor");
    network.shell("$C --lback 192.0.2.1 -- true").code(255).complains("is not in 127.0.0.0/8");
    network.shell("$C --nid 1 -- true").code(255);
    network.shell("$C --ip 192.0.2.1").code(255);
    // It takes the place of chbind, as a service's main process has to.
    let line = "sh -c 'echo $$; exec $C --silent --ip 192.0.2.1 -- sh -c \"echo \\$\\$\"'";
    let said = network.shell(line).ok();
    let pids: Vec<_> = said.stdout.lines().collect();
    assert!(pids.len() == 2 && pids.first() == pids.last(), "{said}");
    network.nothing_is_left();
}

#[test]
#[ignore = "root: makes cgroups"]
fn sockets_are_bound_to_own_addresses_only() {
    let network = Network::new();
    let said = network.shell(
        "$C --silent --ip 192.0.2.1 --ip 2001:db8::1 --ip 198.51.100.1 -- $P \
         tcp 0.0.0.0:80 udp 0.0.0.0:53 tcp 192.0.2.1:81 tcp 192.0.2.2:80 tcp 198.51.100.1:80 \
         tcp 127.0.0.2:80 udp 255.255.255.255:67 udp 224.0.0.1:67 \
         tcp [::]:80 udp [::]:53 tcp [2001:db8::2]:80 tcp [::ffff:0.0.0.0]:82 \
         tcp [::ffff:192.0.2.2]:82 tcp [::1]:80",
    );
    said.ok().says(
        "tcp 192.0.2.1:80\nudp 192.0.2.1:53\ntcp 192.0.2.1:81\ntcp: EADDRNOTAVAIL\n\
         tcp: EADDRNOTAVAIL\ntcp: EADDRNOTAVAIL\nudp: EADDRNOTAVAIL\nudp: EADDRNOTAVAIL\n\
         tcp [::ffff:192.0.2.1]:80\nudp [2001:db8::1]:53\ntcp: EADDRNOTAVAIL\n\
         tcp [::ffff:192.0.2.1]:82\ntcp: EADDRNOTAVAIL\ntcp: EADDRNOTAVAIL\n",
    );
    // A host that doesn't have the address says so when it is used.
    let said = network.shell("$C --ip 198.51.100.1 -- $P tcp 0.0.0.0:80 connect 192.0.2.1:80").ok();
    said.says("Adding 198.51.100.1\ntcp: EADDRNOTAVAIL\nconnect: EADDRNOTAVAIL\n");
    // IPv6 sockets speak IPv4 where there is nothing else.
    let said = network.shell("$C --silent --ip 192.0.2.1 -- $P tcp [::]:80 connect 192.0.2.1:80");
    said.ok().says(
        "tcp [::ffff:192.0.2.1]:80\n\
         connect from 192.0.2.1 to 192.0.2.1:80, accepted ::ffff:192.0.2.1 at \
         [::ffff:192.0.2.1]:80\n",
    );
    let said = network.shell("$C --silent --ip 192.0.2.2/24 -- $P udp 192.0.2.255:99");
    said.ok().says("udp 192.0.2.255:99\n");
    network.nothing_is_left();
}

#[test]
#[ignore = "root: makes cgroups"]
fn two_and_the_host_serve_on_one_port() {
    let network = Network::new();
    let serve =
        |ip: &str| network.serve(&format!("$C --silent --ip {ip} $P serve 0.0.0.0:80 {ip}"));
    let (_first, at) = serve("192.0.2.1");
    assert_eq!(at, "serving 192.0.2.1:80");
    let (_second, at) = serve("192.0.2.2");
    assert_eq!(at, "serving 192.0.2.2:80");
    let (_host, _) = network.serve("$P serve 192.0.2.3:80 host");
    let all = "ask 192.0.2.1:80 ask 192.0.2.2:80 ask 192.0.2.3:80";
    // A client's source is its own address.
    let said = network.shell(&format!("$C --silent --ip 192.0.2.2 $P {all}")).ok();
    said.says("ask 192.0.2.1 to 192.0.2.2\nask 192.0.2.2 to 192.0.2.2\nask host to 192.0.2.2\n");
    let said = network.shell(&format!("$P {all}")).ok();
    said.says("ask 192.0.2.1 to 192.0.2.1\nask 192.0.2.2 to 192.0.2.1\nask host to 192.0.2.1\n");
    // The same for IPv6.
    let (_six, at) = network.serve("$C --silent --ip 2001:db8::1 $P serve [::]:80 six");
    assert_eq!(at, "serving [2001:db8::1]:80");
    let (_more, at) = network.serve("$C --silent --ip 2001:db8::2 $P serve [::]:80 more");
    assert_eq!(at, "serving [2001:db8::2]:80");
    let said = network.shell(
        "$C --silent --ip 2001:db8::3 -- $P ask [2001:db8::1]:80 ask [2001:db8::2]:80 \
         ask [::ffff:192.0.2.1]:80 ask 192.0.2.1:80",
    );
    said.ok().says(
        "ask six to 2001:db8::3\nask more to 2001:db8::3\nask: ENETUNREACH\nask: ENETUNREACH\n",
    );
}

#[test]
#[ignore = "root: makes cgroups"]
fn one_socket_serves_all_addresses() {
    let network = Network::new();
    let both = "$C --silent --ip 192.0.2.1 --ip 192.0.2.2 --ip 2001:db8::1 --ip 2001:db8::2 $P";
    let asks = |port: u16| {
        let all = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "[2001:db8::2]", "[2001:db8::3]"];
        let said =
            network.shell(&format!("$P {}", all.map(|at| format!("ask {at}:{port}")).join(" ")));
        said.ok().stdout
    };
    let (_v4, at) = network.serve(&format!("{both} serve 0.0.0.0:80 v4"));
    assert_eq!(at, "serving 192.0.2.1:80");
    let refused = "ask: ECONNREFUSED\n";
    let v4 = |word: &str| format!("ask {word} to 192.0.2.1\nask {word} to 192.0.2.2\n{refused}");
    assert_eq!(asks(80), format!("{}{refused}{refused}", v4("v4").replace(".2.2", ".2.1")));
    let (_all, at) = network.serve(&format!("{both} serve [::]:81 all"));
    assert_eq!(at, "serving [::ffff:192.0.2.1]:81");
    assert!(asks(81).contains("ask all to 2001:db8::"), "{}", asks(81));
    let (_mapped, at) = network.serve(&format!("{both} serve [::ffff:0.0.0.0]:82 mapped"));
    assert_eq!(at, "serving [::ffff:192.0.2.1]:82");
    assert!(asks(82).contains("mapped") && !asks(82).contains("mapped to 2001"), "{}", asks(82));

    // Another with some of the addresses takes nothing from the first.
    let some = "$C --silent --ip 192.0.2.2 --ip 192.0.2.3 $P";
    let (_some, at) = network.serve(&format!("{some} serve 0.0.0.0:83 some"));
    assert_eq!(at, "serving 192.0.2.2:83");
    assert_eq!(asks(80).lines().nth(1), Some("ask v4 to 192.0.2.1"));
    assert_eq!(asks(83).matches("ask some").count(), 2, "{}", asks(83));
    drop((_v4, _all, _mapped, _some));
    network.nothing_is_left();
    assert_eq!(asks(80), refused.repeat(5));
}

#[test]
#[ignore = "root: makes cgroups"]
fn sources_are_on_the_destinations_network() {
    let network = Network::new();
    network.shell("ip address add 198.51.100.7/24 dev lo").ok();
    let (_host, _) = network.serve("$P serve 0.0.0.0:80 host");
    let said = network.shell(
        "$C --silent --ip 192.0.2.1/24 --ip 198.51.100.7/24 -- $P ask 192.0.2.3:80 \
         ask 198.51.100.7:80",
    );
    said.ok().says("ask host to 192.0.2.1\nask host to 198.51.100.7\n");
}

#[test]
#[ignore = "root: makes cgroups"]
fn the_loopback_address_is_private() {
    let network = Network::new();
    let bind = "$C --silent --ip 192.0.2.1 --nid 42 -- $P";
    // It is one's own, and looks like every other.
    let said = network.shell(&format!("{bind} tcp 127.0.0.1:80 connect 127.0.0.1:80"));
    said.ok().says(
        "tcp 127.0.0.1:80\n\
         connect from 127.0.0.1 to 127.0.0.1:80, accepted 127.0.0.1 at 127.0.0.1:80\n",
    );
    let said = network.shell(&format!("{bind} udp 127.0.0.1:53 send 127.0.0.1:53"));
    said.ok().says("udp 127.0.0.1:53\nsend from 192.0.2.1, answered from 127.0.0.1:53\n");
    // What serves any address is found there as well.
    for (any, port) in
        [("127.0.0.1", 84), ("127.9.9.9", 85), ("0.0.0.0", 86), ("[::1]", 87), ("[::]", 88)]
    {
        let said = network.shell(&format!("{bind} tcp 0.0.0.0:{port} connect {any}:{port}")).ok();
        let accepted = format!(" accepted 192.0.2.1 at 192.0.2.1:{port}\n");
        assert!(said.stdout.contains(&accepted), "{said}");
    }
    let said = network.shell(&format!("{bind} udp 0.0.0.0:53 send 127.0.0.1:53"));
    said.ok().says("udp 192.0.2.1:53\nsend from 192.0.2.1, answered from 192.0.2.1:53\n");

    let (_own, at) = network.serve(&format!("{bind} serve 127.0.0.1:83 private"));
    assert_eq!(at, "serving 127.0.0.1:83");
    let sockets = network.shell("ss -Hltn").ok();
    assert!(sockets.stdout.contains(" 127.0.42.1:83 "), "{sockets}");
    let (_host, _) = network.serve("$P serve 127.0.0.1:81 host");
    let (_any, _) = network.serve("$P serve 0.0.0.0:82 host");
    // Nobody else gets there, nor does the host by the address behind, unless it takes
    // an own one for its source.
    network
        .shell("$P ask 127.0.0.1:83 ask 127.0.42.1:83 ask-from 192.0.2.2 127.0.42.1:83")
        .ok()
        .says("ask: ECONNREFUSED\nask: nothing\nask-from: EINPROGRESS\n");
    let said =
        network.shell("$P ask-from 127.0.42.1 127.0.42.1:83 ask-from 192.0.2.1 127.0.42.1:83");
    said.ok().says("ask-from private to 127.0.0.1\nask-from private to 192.0.2.1\n");
    let other = "$C --silent --ip 192.0.2.2 -- $P ask 127.0.0.1:83 ask 127.0.42.1:83";
    network.shell(other).ok().says("ask: ECONNREFUSED\nask: ECONNREFUSED\n");
    // Nor does the command get to the host's.
    let said =
        network.shell(&format!("{bind} ask 127.0.0.1:81 ask 127.0.0.1:82 send 127.0.0.1:82"));
    said.ok().says("ask: ECONNREFUSED\nask: ECONNREFUSED\nsend sent\n");
    let said = network.shell(&format!("{bind} send-as 127.0.0.1 192.0.2.3:53"));
    said.ok().says("send-as: EPERM\n");
}

#[test]
#[ignore = "root: makes cgroups"]
fn datagrams_have_own_sources() {
    let network = Network::new();
    let both = "$C --silent --ip 192.0.2.1 --ip 2001:db8::1 -- $P";
    let said = network.shell(&format!(
        "{both} udp 0.0.0.0:53 send 192.0.2.1:53 send-as 192.0.2.1 192.0.2.1:53 \
         send-as 192.0.2.2 192.0.2.1:53 send-as 10.1.1.1 192.0.2.1:53 \
         udp [::]:53 send [2001:db8::1]:53 send-as 2001:db8::1 [2001:db8::1]:53 \
         send-as 2001:db8::2 [2001:db8::1]:53"
    ));
    said.ok().says(
        "udp 192.0.2.1:53\nsend from 192.0.2.1, answered from 192.0.2.1:53\n\
         send-as from 192.0.2.1\nsend-as: EPERM\nsend-as: EPERM\n\
         udp [2001:db8::1]:53\nsend from 2001:db8::1, answered from [2001:db8::1]:53\n\
         send-as from 2001:db8::1\nsend-as: EPERM\n",
    );
}

#[test]
#[ignore = "root: makes cgroups"]
fn implicit_binds_reach_nothing_else() {
    let network = Network::new();
    // listen(2) alone binds to any address, past the programs on addresses.
    let (_server, at) = network.serve("$C --silent --ip 192.0.2.1 -- $P serve - implicit");
    let port = at.strip_prefix("serving 0.0.0.0:").expect("any address");
    let said = network.shell(&format!("$P ask 192.0.2.1:{port} ask 192.0.2.2:{port}")).ok();
    said.says("ask implicit to 192.0.2.1\nask: nothing\n");
}

#[test]
#[ignore = "root: makes cgroups"]
fn one_in_another_only_takes_away() {
    let network = Network::new();
    let inner = "$C --silent --ip 192.0.2.2 -- $P tcp 192.0.2.2:80 tcp 192.0.2.1:80";
    let outer = |ips: &str| format!("$C --silent {ips} -- sh -c '{inner}'");
    let said = network.shell(&outer("--ip 192.0.2.1 --ip 192.0.2.2"));
    said.ok().says("tcp 192.0.2.2:80\ntcp: EADDRNOTAVAIL\n");
    let said = network.shell(&outer("--ip 192.0.2.1"));
    said.ok().says("tcp: EADDRNOTAVAIL\ntcp: EADDRNOTAVAIL\n");
    network.nothing_is_left();
}

#[test]
#[ignore = "root: makes cgroups"]
fn contexts_and_capabilities_are_chained_in_any_order() {
    let network = Network::new();
    let test = "-- sh -c '$P tcp 0.0.0.0:80 tcp 192.0.2.2:80; ps -eo comm=; exit 5'";
    let bind = "$C --silent --ip 192.0.2.1";
    let context = "$V chcontext --silent --ctx 7301";
    let reduce = "$V reducecap --secure";
    for chain in [
        format!("{bind} {context} {test}"),
        format!("{context} {bind} {test}"),
        format!("{bind} -- {context} {reduce} {test}"),
        format!("{reduce} -- true && {context} {bind} {reduce} {test}"),
    ] {
        let said = network.shell(&chain).code(5);
        assert!(said.stdout.starts_with("tcp 192.0.2.1:80\ntcp: EADDRNOTAVAIL\n"), "{said}");
        assert!(!said.stdout.contains("init"), "{said}");
    }
    network.nothing_is_left();
}

#[test]
#[ignore = "root: makes cgroups"]
fn programs_that_look_for_linux_vserver_find_it() {
    let network = Network::new();
    let lines = "ipv4root: 010200c0/00ffffff 020200c0/ffffffff\nipv4root_bcast: ff0200c0\n";
    let bind = "$C --silent --ip 192.0.2.1/24 --ip 192.0.2.2";
    let status = network.shell(&format!("{bind} cat /proc/self/status")).ok();
    assert!(
        status.stdout.starts_with("Name:\tcat\n") && status.stdout.ends_with(lines),
        "{status}"
    );
    let child = network.shell(&format!("{bind} -- sh -c 'cat /proc/self/status; :'")).ok();
    assert!(!child.stdout.contains("ipv4root"), "{child}");
    let context = "$V chcontext --silent --ctx 7302";
    let both = "s_context: 7302\nVxID: 7302\n";
    let inner = network.shell(&format!("{context} {bind} cat /proc/self/status")).ok();
    assert!(inner.stdout.ends_with(&format!("{both}{lines}")), "{inner}");
    let outer = network.shell(&format!("{bind} {context} cat /proc/self/status")).ok();
    assert!(outer.stdout.ends_with(&format!("{both}{lines}")), "{outer}");
    let host = network.shell("cat /proc/self/status").ok();
    assert!(!host.stdout.contains("ipv4root"), "{host}");
    // The file that lies over the status is in the process's own mounts, and
    // never in the host's.
    let mounts = "p=$!; grep -c /proc/$p/ /proc/self/mountinfo; grep -c /proc/$p/ \
                  /proc/$p/mountinfo; kill $p; wait $p; grep -c /proc/$p/ /proc/self/mountinfo";
    let said = network.shell(&format!(
        "{bind} sleep 7307 & until grep -qs ' /proc/[0-9]*/status ' /proc/$!/mountinfo; \
         do sleep 0.05; done; {mounts}"
    ));
    said.says("0\n1\n0\n");
    network.nothing_is_left();
}

#[test]
#[ignore = "root: makes cgroups"]
fn the_cgroup_goes_with_its_last_process() {
    let network = Network::new();
    // What the command leaves behind keeps its addresses, and holds nothing of
    // the caller's open but what it was given.
    let line =
        "$C --silent --ip 192.0.2.1 -- sh -c '$P serve 0.0.0.0:80 left >/dev/null 2>&1 & echo $!'";
    let left = network.shell(line).ok().trimmed().to_owned();
    eventually(DEADLINE, "it serves", || {
        let said = network.shell("$P ask 192.0.2.1:80").ok();
        (said.stdout == "ask left to 192.0.2.1\n").then_some(())
    });
    network.shell("ls -d $G/chbind-*").ok();
    network.shell(&format!("kill {left}")).ok();
    network.nothing_is_left();
    // One whose watcher was killed is removed by the next.
    let (server, at) = network.serve("$C --silent --ip 192.0.2.1 -- $P serve 0.0.0.0:81 x");
    assert_eq!(at, "serving 192.0.2.1:81");
    let watcher = "for p in $(cat $G/cgroup.procs); do \
                       grep -qsx chbind /proc/$p/comm && kill -9 $p && echo killed; \
                   done; :";
    eventually(DEADLINE, "its watcher is killed", || {
        (network.shell(watcher).stdout == "killed\n").then_some(())
    });
    drop(server);
    network.shell("ls -d $G/chbind-*").ok();
    network.shell("$C --silent --ip 192.0.2.1 -- true").ok();
    network.nothing_is_left();
}

#[test]
#[ignore = "root: makes cgroups"]
fn many_addresses_fit() {
    let network = Network::new();
    let line = "$C --silent $(for n in $(seq 1 126); do echo --ip 10.0.0.$n --ip fd00::$n; done) \
                --ip 192.0.2.1 --ip 2001:db8::1 -- $P tcp 192.0.2.1:80 connect 192.0.2.1:80 \
                tcp [2001:db8::1]:80 connect [2001:db8::1]:80 tcp 192.0.2.2:80";
    network.shell(line).ok().says(
        "tcp 192.0.2.1:80\n\
         connect from 192.0.2.1 to 192.0.2.1:80, accepted 192.0.2.1 at 192.0.2.1:80\n\
         tcp [2001:db8::1]:80\n\
         connect from 2001:db8::1 to [2001:db8::1]:80, accepted 2001:db8::1 at [2001:db8::1]:80\n\
         tcp: EADDRNOTAVAIL\n",
    );
    let line = "$C $(for n in $(seq 1 257); do echo --ip fd00::$n; done) -- true";
    network.shell(line).code(255).complains("more than 256 addresses");
}

#[test]
#[ignore = "root: makes cgroups"]
fn ordinary_users_are_told() {
    let network = Network::new();
    let line = "cp ${C% *} /tmp/chbind-$$ && chmod 755 /tmp/chbind-$$; \
                runuser -u nobody -- /tmp/chbind-$$ chbind --ip 192.0.2.1 -- true; \
                code=$?; rm /tmp/chbind-$$; exit $code";
    network.shell(line).code(255).complains("only the host's root can bind to addresses");
    let line = "$C --silent --secure --ip 192.0.2.1 -- sh -c 'ip link set lo down'";
    let said = network.shell(line);
    assert_ne!(said.code, 0, "{said}");
    assert!(said.stderr.contains("not permitted"), "{said}");
}

/// A cover in the host's /proc would keep private guests from having one.
#[test]
#[ignore = "root: boots guests"]
fn guests_start_beside_one() {
    let network = Network::new();
    let covers = || {
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo can be read");
        mounts
            .lines()
            .filter(|line| line.contains(" /proc/"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let before = covers();
    let (_server, _) = network.serve("$C --silent --ip 192.0.2.1 -- $P serve 0.0.0.0:80 one");
    assert_eq!(covers(), before);
    let host = host::Host::new();
    let web = host.guest("web").build();
    web.start().stop();
}
