//! Loopback addresses of commands under chbind that are in no context.

use tests::{DEADLINE, eventually};

use crate::chbind::Network;

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
