//! One TCP socket of a guest on the host's network stack serves all of its
//! addresses.

use tests::{DEADLINE, Network, Tree, eventually};

use crate::shared::{Server, guest, peer, scene, set_addresses};

on! { Busybox: [
    one_socket_serves_all_addresses,
    what_listens_at_the_very_address_comes_first,
    who_serves_all_addresses_serves_new_ones_too,
    one_that_is_left_of_several_serves_all_addresses,
    what_speaks_both_families_serves_both_whatever_the_guest_has,
    as_many_addresses_as_there_can_be_are_served,
] }

/// The guest "web" with all of the host's addresses but the third ones.
pub(crate) const BOTH: [&str; 4] = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"];

/// What answers at an address.
pub(crate) fn asked(network: &Network, address: &str) -> String {
    let peer = peer().to_str().expect("a path");
    network.run(peer, ["ask", address]).ok().stdout
}

fn one_socket_serves_all_addresses(tree: Tree) {
    let host = scene();
    let web = guest(&host, "web", tree, &BOTH);
    web.start();
    let all = |port: u16, families: [bool; 2]| {
        for address in BOTH.iter().chain(&["192.0.2.3", "2001:db8::3"]) {
            let is_v6 = address.contains(':');
            let at =
                if is_v6 { format!("[{address}]:{port}") } else { format!("{address}:{port}") };
            let is_served = families[usize::from(is_v6)] && !address.ends_with('3');
            let said = asked(host.network(), &at);
            assert_eq!(said.starts_with("ask web to "), is_served, "{at}: {said}");
        }
        for (address, is_served) in [("127.0.0.1", families[0]), ("[::1]", families[1])] {
            let said = web.exec(["/peer", "ask", &format!("{address}:{port}")]).ok().stdout;
            let expected = format!("ask web to {address}\n").replace(['[', ']'], "");
            assert_eq!(said.replace("::ffff:", "") == expected, is_served, "{address}: {said}");
        }
    };
    let (_v4, at) = Server::new(&host, "web", "0.0.0.0:80");
    assert_eq!(at, "serving 192.0.2.1:80");
    all(80, [true, false]);
    let (_both, at) = Server::new(&host, "web", "[::]:81");
    assert_eq!(at, "serving [::ffff:192.0.2.1]:81");
    all(81, [true, true]);
    // Any address of IPv4, by an IPv6 socket.
    let (_mapped, at) = Server::new(&host, "web", "[::ffff:0.0.0.0]:82");
    assert_eq!(at, "serving [::ffff:192.0.2.1]:82");
    all(82, [true, false]);
    // Nothing of it hangs on the supervisor.
    web.kill_supervisor();
    all(81, [true, true]);
    // Nobody is led to what has ended.
    web.exec(["killall", "peer"]).ok();
    eventually(DEADLINE, "nothing answers", || {
        (asked(host.network(), "192.0.2.2:80") == "ask: ECONNREFUSED\n").then_some(())
    });
    drop((_v4, _both, _mapped));
    web.stop();
}

fn what_listens_at_the_very_address_comes_first(tree: Tree) {
    let host = scene();
    let web = guest(&host, "web", tree, &BOTH);
    web.start();
    let peer = peer().to_str().expect("a path");
    // Of the host, on the port of a second address: as if it were the first.
    let at_host = |at: &str| Server::of(host.network().command(peer).args(["serve", at, "host"])).0;
    let _host = (at_host("192.0.2.2:80"), at_host("[2001:db8::2]:82"), at_host("0.0.0.0:84"));
    let binds =
        ["/peer", "tcp", "0.0.0.0:80", "tcp", "[::]:80", "tcp", "[::]:82", "only6", "[::]:82"];
    web.exec(binds)
        .ok()
        .says("tcp: EADDRINUSE\ntcp: EADDRINUSE\ntcp: EADDRINUSE\nonly6: EADDRINUSE\n");
    // Of the guest itself.
    let _any = Server::new(&host, "web", "0.0.0.0:83").0;
    let mut own = host.command(["exec", "web", "--", "/peer", "serve", "192.0.2.2:83", "own"]);
    let _own = Server::of(&mut own).0;
    assert_eq!(asked(host.network(), "192.0.2.2:83"), "ask own to 192.0.2.1\n");
    assert_eq!(asked(host.network(), "192.0.2.1:83"), "ask web to 192.0.2.1\n");
    // A port that the host has on every address is taken on each.
    web.exec(["/peer", "tcp", "0.0.0.0:84"]).ok().says("tcp: EADDRINUSE\n");
    drop((_any, _own, _host));
    web.stop();
}

fn who_serves_all_addresses_serves_new_ones_too(tree: Tree) {
    let host = scene();
    let web = guest(&host, "web", tree, &["192.0.2.1", "192.0.2.2"]);
    let db = guest(&host, "db", tree, &["2001:db8::1"]);
    web.start();
    db.start();
    let _server = Server::new(&host, "web", "0.0.0.0:80").0;
    // Also by another supervisor.
    for supervisor in 0..2 {
        if supervisor > 0 {
            web.kill_supervisor();
        }
        set_addresses(&host, &["192.0.2.1", "192.0.2.3"]).ok();
        assert_eq!(asked(host.network(), "192.0.2.3:80"), "ask web to 192.0.2.1\n");
        assert_eq!(asked(host.network(), "192.0.2.2:80"), "ask: ECONNREFUSED\n");
        set_addresses(&host, &["192.0.2.1", "192.0.2.2"]).ok();
        assert_eq!(asked(host.network(), "192.0.2.2:80"), "ask web to 192.0.2.1\n");
        assert_eq!(asked(host.network(), "192.0.2.3:80"), "ask: ECONNREFUSED\n");
    }
    // Guests come and go, and others stay.
    db.stop();
    assert_eq!(asked(host.network(), "192.0.2.2:80"), "ask web to 192.0.2.1\n");
    drop(_server);
    web.stop();
}

/// Several sockets at one address and port (SO_REUSEPORT), whichever is closed first.
fn one_that_is_left_of_several_serves_all_addresses(tree: Tree) {
    let host = scene();
    let web = guest(&host, "web", tree, &BOTH);
    web.start();
    let share = |word: &str| {
        let words = ["exec", "web", "--", "/peer", "share", "[::]:80", word];
        let (server, at) = Server::of(&mut host.command(words));
        assert_eq!(at, "serving [::ffff:192.0.2.1]:80");
        server
    };
    let all_are_served_by = |words: &[&str]| {
        let by = |said: &str| words.iter().any(|word| said.starts_with(&format!("ask {word} to ")));
        for address in ["192.0.2.1", "192.0.2.2", "[2001:db8::1]", "[2001:db8::2]"] {
            eventually(DEADLINE, "those that are left serve", || {
                by(&asked(host.network(), &format!("{address}:80"))).then_some(())
            });
        }
    };
    let mut servers: Vec<_> = (0..8).map(|number| (number, share(&format!("w{number}")))).collect();
    // The newest, the oldest, some in between; then all old ones of a program that was
    // replaced while it served.
    for (close, left) in [(vec![7], 7), (vec![0, 1, 2], 4), (vec![3, 6, 4], 1), (vec![5], 12)] {
        if left == 12 {
            servers.extend((10..22).map(|number| (number, share(&format!("w{number}")))));
        }
        servers.retain(|(number, _)| !close.contains(number));
        for number in &close {
            // By its last word, in the guest.
            let line = format!(
                "for one in /proc/[0-9]*; do tr '\\0' ' ' <$one/cmdline | grep -q 'share .*w{number} $' \
                 && kill ${{one#/proc/}}; done; true"
            );
            web.shell(&line).ok();
        }
        assert_eq!(servers.len(), left);
        let words: Vec<_> = servers.iter().map(|(number, _)| format!("w{number}")).collect();
        all_are_served_by(&words.iter().map(String::as_str).collect::<Vec<_>>());
    }
    web.exec(["killall", "peer"]).ok();
    eventually(DEADLINE, "nothing answers", || {
        (asked(host.network(), "192.0.2.2:80") == "ask: ECONNREFUSED\n").then_some(())
    });
    drop(servers);
    web.stop();
}

fn what_speaks_both_families_serves_both_whatever_the_guest_has(tree: Tree) {
    let host = scene();
    let web = guest(&host, "web", tree, &["2001:db8::1", "2001:db8::2"]);
    web.start();
    let (server, at) = Server::new(&host, "web", "[::]:80");
    assert_eq!(at, "serving [::ffff:127.0.0.1]:80");
    for address in ["127.0.0.1", "[::1]", "[2001:db8::1]", "[2001:db8::2]"] {
        let said = web.exec(["/peer", "ask", &format!("{address}:80")]).ok().stdout;
        assert!(said.starts_with("ask web to "), "{address}: {said}");
    }
    let is_served =
        |address: &str| asked(host.network(), &format!("{address}:80")).starts_with("ask web to ");
    assert!(is_served("[2001:db8::1]") && is_served("[2001:db8::2]"));
    assert!(!is_served("192.0.2.2") && !is_served("[2001:db8::3]"));
    set_addresses(&host, &["2001:db8::1", "192.0.2.2"]).ok();
    assert!(is_served("[2001:db8::1]") && is_served("192.0.2.2"));
    assert!(!is_served("[2001:db8::2]"));
    // Somebody's own port is taken, at each of the addresses.
    let peer = peer().to_str().expect("a path");
    let at_host = |at: &str| Server::of(host.network().command(peer).args(["serve", at, "host"])).0;
    let _host = at_host("[2001:db8::1]:81");
    web.exec(["/peer", "tcp", "[::]:81"]).ok().says("tcp: EADDRINUSE\n");
    drop(server);
    web.stop();
}

fn as_many_addresses_as_there_can_be_are_served(tree: Tree) {
    let host = scene();
    host.network().ip("route add local 198.51.100.0/24 dev lo");
    host.network().ip("-6 route add local 2001:db8:1::/64 dev lo");
    let v4 = (1..=128).map(|number| format!("198.51.100.{number}"));
    let all: Vec<_> = v4.chain((1..=128).map(|number| format!("2001:db8:1::{number}"))).collect();
    let all: Vec<_> = all.iter().map(String::as_str).collect();
    let web = guest(&host, "web", tree, &all);
    web.start();
    let _servers = [(80, "0.0.0.0:80"), (81, "[::]:81")].map(|(port, any)| {
        let server = Server::new(&host, "web", any).0;
        let said = asked(host.network(), &format!("198.51.100.128:{port}"));
        assert!(said.starts_with("ask web to "), "{any}: {said}");
        server
    });
    let said = asked(host.network(), "[2001:db8:1::128]:81");
    assert!(said.starts_with("ask web to "), "{said}");
    web.stop();
}
