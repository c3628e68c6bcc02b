//! Loopback addresses of commands under chbind that are in no context, and of guests
//! of two installations on one host.

use tests::{DEADLINE, Host, Tree, command, eventually, host};
use vserver::variables;

use crate::chbind::Network;
use crate::shared;

on! { Busybox: [guests_of_two_installations_have_different_ones] }

fn guests_of_two_installations_have_different_ones(tree: Tree) {
    let (here, other) = (shared::scene(), Host::new());
    let before = here.network().ip("address");
    let web = shared::guest(&here, "web", tree, &["192.0.2.1", "2001:db8::1"]);
    let theirs = shared::guest(&other, "web", tree, &["192.0.2.2", "2001:db8::2"]);
    web.start();
    let ours = here.network().ip("-6 -o address show dev lo");
    // In the same network as the first installation.
    let vserver = |verb: &str| {
        let mut command = here.network().command(host::program());
        command.args([verb, "web"]).env(variables::PREFIX, other.prefix());
        command::run(&mut command, DEADLINE).ok();
    };
    vserver("start");
    assert_eq!(theirs.status().context, web.status().context);
    let both = here.network().ip("-6 -o address show dev lo");
    let of_guests = |list: &str| list.matches(" fd76:7365:7276:").count();
    assert_eq!((of_guests(&ours), of_guests(&both)), (1, 2), "{both}");
    // Whoever ends first takes away its own.
    vserver("stop");
    assert_eq!(here.network().ip("-6 -o address show dev lo"), ours);
    web.exec(["/peer", "tcp", "[::1]:81", "connect", "[::1]:81"]).ok();
    web.stop();
    assert_eq!(here.network().ip("address"), before);
}

#[test]
#[ignore = "root: makes cgroups"]
fn no_two_have_the_same_loopback_address() {
    let network = Network::new();
    let bind = "$C --silent --ip 192.0.2.1 -- $P serve 127.0.0.1:83 private";
    let (one, _) = network.serve(bind);
    let (two, _) = network.serve(bind);
    let sockets = network.shell("ss -Hltn").ok();
    for address in [" 127.255.255.1:83 ", " 127.255.254.1:83 "] {
        assert!(sockets.stdout.contains(address), "{sockets}");
    }
    // It is free with the last that has it.
    drop(one);
    eventually(DEADLINE, "the first one's is had again", || {
        let (_again, _) = network.serve(bind);
        network.shell("ss -Hltn").ok().stdout.contains(" 127.255.255.1:83 ").then_some(())
    });
    drop(two);
}
