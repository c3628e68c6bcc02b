//! Debian's own servers run unmodified, with an own stack and on the host's,
//! and are reached from outside and from inside.

use tests::{DEADLINE, Guest, Host, Network, Tree, command, eventually};

use crate::shared::{Server, peer};

on! { Services: [
    run_on_a_link_of_their_own,
    run_on_the_stack_of_the_host,
    run_on_the_stack_of_the_host_without_ipv6_addresses,
] }

/// Servers, and the ports at which they listen.
const SERVERS: [(&str, u16); 5] =
    [("sshd", 22), ("master", 25), ("named", 53), ("nginx", 80), ("postgres", 5432)];

fn run_on_a_link_of_their_own(tree: Tree) {
    let (here, beside) = Network::with_neighbour();
    let host = Host::on(here);
    let web = guest(&host, tree, "routed", &["192.0.2.10", "2001:db8::10"]);
    serves_inside(&web, "::1");
    for network in [host.network(), &beside] {
        serves_outside(network, &["192.0.2.10", "2001:db8::10"]);
    }
    web.exec(["ping", "-c", "1", "-W", "10", "203.0.113.2"]).ok();
    // Its own sockets, and no others, such as the host has one.
    let peer = peer().to_str().expect("a path");
    let mut serve = host.network().command(peer);
    let _server = Server::of(serve.args(["serve", "0.0.0.0:4660", "host"])).0;
    for tool in ["ss -Htlnp", "netstat -tlnp"] {
        let listed = web.exec(tool.split(' ')).ok().stdout;
        for line in listed.lines().filter(|line| line.contains("LISTEN")) {
            // What rndc talks to is at a port of its own.
            let mut known = SERVERS.into_iter().chain([("named", 953)]);
            let is_known = known.any(|(server, port)| {
                // The local address is the fourth column of both.
                let local = line.split_whitespace().nth(3).unwrap_or_default();
                local.ends_with(&format!(":{port}")) && line.contains(server)
            });
            assert!(is_known, "{tool}: {line}");
        }
        for (server, port) in SERVERS {
            let line = |line: &&str| line.contains(&format!(":{port} ")) && line.contains(server);
            assert!(listed.lines().any(|l| line(&l)), "{server} in {tool}: {listed}");
        }
    }
    web.stop();
}

fn run_on_the_stack_of_the_host(tree: Tree) {
    on_the_stack_of_the_host(tree, &["192.0.2.1", "2001:db8::1"], |_, _| {});
}

fn run_on_the_stack_of_the_host_without_ipv6_addresses(tree: Tree) {
    on_the_stack_of_the_host(tree, &["192.0.2.1"], beside_another_and_the_host);
}

/// All that serves on one port: two guests with all of their servers, and the host.
fn beside_another_and_the_host(host: &Host, web: &Guest<'_>) {
    let db = guest_of(host, Tree::Services, "db", "shared", &["192.0.2.3"]);
    let peer = peer().to_str().expect("a path");
    let _server =
        Server::of(host.network().command(peer).args(["serve", "192.0.2.2:80", "host"])).0;
    for guest in [web, &db] {
        guest.shell(&format!("echo of-{} >/var/www/html/index.html", guest.name())).ok();
    }
    for (address, page) in [("192.0.2.1", "of-web\n"), ("192.0.2.3", "of-db\n")] {
        let url = format!("http://{address}/");
        host.network().run("curl", ["-sS", "--noproxy", "*", &url]).ok().says(page);
        for guest in [web, &db] {
            guest.exec(["curl", "-sS", &url]).ok().says(page);
        }
    }
    host.network().run(peer, ["ask", "192.0.2.2:80"]).ok().says("ask host to 192.0.2.1\n");
    for (guest, page) in [(web, "of-web\n"), (&db, "of-db\n")] {
        guest.exec(["curl", "-sS", "http://localhost/"]).ok().says(page);
        guest.exec(["dig", "+short", "@127.0.0.1", "localhost"]).ok().says("127.0.0.1\n");
    }
    db.stop();
}

fn on_the_stack_of_the_host(
    tree: Tree,
    addresses: &[&str],
    and_then: impl FnOnce(&Host, &Guest<'_>),
) {
    let network = Network::new();
    for number in 1..=3 {
        network.ip(&format!("address add 192.0.2.{number}/24 dev lo"));
        network.ip(&format!("address add 2001:db8::{number}/64 dev lo nodad"));
    }
    // As systemd sets it, for ping without a capability.
    network.set("ipv4/ping_group_range", "0 2147483647");
    let before = network.ip("address");
    let host = Host::on(network);
    let web = guest(&host, tree, "shared", addresses);
    serves_inside(&web, "::1");
    serves_outside(host.network(), addresses);
    // The host has its ports for itself.
    for other in ["192.0.2.2", "2001:db8::2", "127.0.0.1", "::1"] {
        for (server, port) in SERVERS {
            assert!(!answers(host.network(), other, port), "{server} answers at {other}");
        }
    }
    // It is told of the host's sockets (sock_diag(7)), and can't end them.
    let peer = peer().to_str().expect("a path");
    let mut serve = host.network().command(peer);
    let _server = Server::of(serve.args(["serve", "192.0.2.2:4660", "host"])).0;
    let listed = web.exec(["ss", "-Htln", "sport = :4660"]).ok();
    assert!(listed.stdout.contains("192.0.2.2:4660"), "{listed}");
    web.exec(["ss", "-HtlnK", "sport = :4660"]);
    assert!(answers(host.network(), "192.0.2.2", 4660));
    for address in ["192.0.2.2", "127.0.0.1", "::1"] {
        web.exec(["ping", "-c", "1", "-W", "10", address]).ok();
    }
    drop(_server);
    and_then(&host, &web);
    web.stop();
    assert_eq!(host.network().ip("address"), before);
}

fn guest<'h>(host: &'h Host, tree: Tree, mode: &str, addresses: &[&str]) -> Guest<'h> {
    guest_of(host, tree, "web", mode, addresses)
}

fn guest_of<'h>(
    host: &'h Host,
    tree: Tree,
    name: &str,
    mode: &str,
    addresses: &[&str],
) -> Guest<'h> {
    let guest = host.guest(name).tree(tree).build();
    let mut set = host.command(["config", "set", name, "network.addresses"]);
    command::run(set.args(addresses), DEADLINE).ok();
    host.vserver(["config", "set", name, "network.mode", mode]).ok();
    guest.start();
    for (server, port) in SERVERS {
        guest.wait_for_process(server);
        let connect = format!("exec 3<>/dev/tcp/127.0.0.1/{port}");
        eventually(DEADLINE, "the server listens", || {
            (guest.exec(["bash", "-c", &connect]).code == 0).then_some(())
        });
    }
    guest
}

/// Each at 127.0.0.1 and at the other loopback address.
fn serves_inside(web: &Guest<'_>, loopback6: &str) {
    let bracketed = format!("[{loopback6}]");
    for url in ["http://127.0.0.1/", "http://localhost/", &format!("http://{bracketed}/")] {
        let page = web.exec(["curl", "-sS", url]).ok();
        assert!(page.stdout.contains("Welcome to nginx"), "{url}: {page}");
    }
    for address in ["127.0.0.1", loopback6] {
        web.exec(["pg_isready", "--quiet", "--host", address]).ok();
        let answer = web.exec(["dig", "+short", &format!("@{address}"), "localhost"]).ok();
        answer.says("127.0.0.1\n");
        let greeting = format!("exec 3<>/dev/tcp/{address}/22; head -n 1 <&3");
        let greeting = web.exec(["timeout", "10", "bash", "-c", &greeting]).ok();
        assert!(greeting.stdout.starts_with("SSH-2.0-"), "{address}: {greeting}");
    }
    web.exec(["rndc", "status"]).ok();
    let password = "alter user postgres password 'secret'";
    web.exec(["su", "postgres", "-c", &format!("psql --quiet -c \"{password}\"")]).ok();
    let query = "PGPASSWORD=secret psql -At -h localhost -U postgres -c 'select 6 * 7'";
    web.exec(["sh", "-c", query]).ok().says("42\n");
    let mail = "printf 'Subject: test\n\nhello\n' | curl -sS smtp://127.0.0.1 \
                --mail-from root@localhost --mail-rcpt root@localhost --upload-file -";
    web.exec(["sh", "-c", mail]).ok();
    let arrived = || web.read("/var/mail/root").contains("hello").then_some(());
    eventually(DEADLINE, "the mail is in the mailbox", arrived);
}

/// At the addresses, to who is outside.
fn serves_outside(network: &Network, addresses: &[&str]) {
    for address in addresses {
        let bracketed =
            if address.contains(':') { format!("[{address}]") } else { (*address).to_owned() };
        let url = format!("http://{bracketed}/");
        let page = network.run("curl", ["-sS", "--noproxy", "*", &url]).ok();
        assert!(page.stdout.contains("Welcome to nginx"), "{url}: {page}");
        // By UDP and by TCP.
        for transport in ["+notcp", "+tcp"] {
            let question = [&format!("@{address}"), "+short", transport, "localhost"];
            network.run("dig", question).ok().says("127.0.0.1\n");
        }
        for (server, port) in [("sshd", 22), ("master", 25)] {
            assert!(answers(network, address, port), "{server} doesn't answer at {address}");
        }
        // It listens on localhost alone.
        assert!(!answers(network, address, 5432), "PostgreSQL answers at {address}");
    }
}

/// Does anything take a connection there?
fn answers(network: &Network, address: &str, port: u16) -> bool {
    let connect = format!("exec 3<>/dev/tcp/{address}/{port}");
    network.run("timeout", ["10", "bash", "-c", &connect]).code == 0
}
